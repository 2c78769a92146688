"""The places for associations, of which all receivers of a node have so many together.

Each receiver has a table of the places that it gave away, in memory that all of them can read and nobody else can
name. It writes into its own and reads the others'; so there is no lock that one of them could take along when it is
killed or stopped. Whoever takes a place counts afterwards: two receivers that take the last one at the same moment may
both give it back, and never are there too many.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from typing import Final

from scp_node.inbound.guard import Load

_PLACE_BYTES = 16
"""One place: a digest of the address of who has it, zeros if nobody."""
_NOBODY = bytes(_PLACE_BYTES)


def shared_places(receivers: int, most: int) -> int:
    """Make the tables of so many receivers with ``most`` places each; a descriptor that they shall inherit.

    Raises
    ------
    OSError
        If there is no memory for it.
    """
    descriptor = os.memfd_create("places", os.MFD_CLOEXEC)
    try:
        # All of it now: a page that is not there when it is written to is a fault in the middle of an admission.
        os.posix_fallocate(descriptor, 0, receivers * most * _PLACE_BYTES)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


class Places:
    """The tables as one receiver sees them; used by one thread at a time.

    That a receiver lives is told by a lock of its own on one byte, which the kernel takes from the dead: whatever stood
    in their tables does not count any more.

    Parameters
    ----------
    descriptor : int
        Of :func:`shared_places`; to be left open as long as the process lives. It must have no other one of the same
        tables: closing that would end the lock.
    receiver : int
        Number of this one, from 1.
    receivers : int
        How many there are.
    """

    def __init__(self, descriptor: int, *, receiver: int, receivers: int) -> None:
        self.receivers: Final = receivers
        self.most: Final = os.fstat(descriptor).st_size // (receivers * _PLACE_BYTES)
        """All together may give away so many."""
        self._descriptor = descriptor
        self._own = receiver - 1
        self._table_bytes = self.most * _PLACE_BYTES
        # Waits no longer than another one needs to see that the one before us is dead.
        fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, self._own)
        os.pwrite(descriptor, bytes(self._table_bytes), self._own * self._table_bytes)
        self._free = list(range(self.most))

    def load(self, address: str, *, besides: int | None = None) -> Load:
        """How many places are taken, by all and by one address; the place ``besides`` does not count."""
        wanted = _digest(address)
        in_all = from_address = 0
        for number in range(self.receivers):
            for place, holder in self._taken(number):
                if number == self._own and place == besides:
                    continue
                in_all += 1
                from_address += holder == wanted
        return Load(in_all=in_all, from_address=from_address)

    def is_fuller_than_another(self) -> bool:
        """Whether another living receiver has given away fewer than this one."""
        own = self.most - len(self._free)
        others = (number for number in range(self.receivers) if number != self._own)
        return own > 0 and any(len(self._taken(number)) < own and self._lives(number) for number in others)

    def take(self, address: str) -> int:
        """Take one of our own places, of which there are as many as all receivers may give away together."""
        place = self._free.pop()
        self._write(place, _digest(address))
        return place

    def give_back(self, place: int) -> None:
        """Free a place."""
        self._write(place, _NOBODY)
        self._free.append(place)

    def _taken(self, number: int) -> list[tuple[int, bytes]]:
        """Number and holder of each place that a receiver gave away."""
        table = os.pread(self._descriptor, self._table_bytes, number * self._table_bytes)
        starts = range(0, len(table), _PLACE_BYTES)
        taken = [
            (start // _PLACE_BYTES, holder)
            for start in starts
            if (holder := table[start : start + _PLACE_BYTES]) != _NOBODY
        ]
        return taken if taken and self._lives(number) else []

    def _lives(self, number: int) -> bool:
        if number == self._own:
            return True
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, number)
        except OSError:
            return True
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, number)
        return False

    def _write(self, place: int, holder: bytes) -> None:
        os.pwrite(self._descriptor, holder, self._own * self._table_bytes + place * _PLACE_BYTES)


def _digest(address: str) -> bytes:
    return hashlib.blake2b(address.encode(), digest_size=_PLACE_BYTES).digest()
