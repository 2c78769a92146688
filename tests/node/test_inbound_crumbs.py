"""Objects whose fragments are very small: put together in the buffer, and their senders made to rest."""

import mmap
import secrets
from collections.abc import Sequence
from typing import cast

import pytest

from scp_node.inbound import lane
from scp_node.inbound.intake import Store
from scp_node.inbound.lane import CRUMBS_AT_ONCE, CRUMBS_BETWEEN_RESTS, SMALL_FRAGMENT_BYTES, _Pieces
from scp_node.inbound.wire import BUFFER_BYTES, Wire

HEADER_BYTES = 12


class MemoryWire(Wire):
    """The buffer of a connection whose bytes are all here."""

    def __init__(self, stream: bytes) -> None:
        self.buffer = mmap.mmap(-1, BUFFER_BYTES)
        self.view = memoryview(self.buffer)
        self.lo = self.hi = 0
        self._left = memoryview(stream)

    def fill_behind(self) -> bool:
        count = min(BUFFER_BYTES - self.hi, len(self._left), 65_536)
        self.view[self.hi : self.hi + count] = self._left[:count]
        self._left = self._left[count:]
        self.hi += count
        return count > 0


class Collecting:
    """Takes what is written out while an object comes."""

    def __init__(self) -> None:
        self.content = b""

    def spill(self, pieces: Sequence[memoryview]) -> None:
        self.content += b"".join(pieces)


@pytest.mark.parametrize(
    ("lengths", "most_pieces"),
    [
        ([1] * 5000, 1),
        ([0] * 3000 + [1] * 200, 1),
        ([100] * 30_000, 1),
        ([700_000, 5, 3, 900_000, *[9] * 2000, SMALL_FRAGMENT_BYTES, 700_000, 1], 4),
        ([SMALL_FRAGMENT_BYTES] * 100, 100),
    ],
    ids=["bytes", "nothing", "over the buffer", "mixed", "none that is small"],
)
def test_crumbs_become_one_piece_and_their_sender_rests(
    lengths: list[int], most_pieces: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To remember where each lies would take more memory than they do; and each takes the processor's time."""
    rests: list[float] = []
    monkeypatch.setattr("scp_node.inbound.lane.time.sleep", rests.append)
    fragments = [secrets.token_bytes(length) for length in lengths]
    wire, store = MemoryWire(b"".join(bytes(HEADER_BYTES) + one for one in fragments)), Collecting()
    pieces = _Pieces(wire, cast("Store", store))
    for length in lengths:
        pieces.have(HEADER_BYTES)
        wire.lo += HEADER_BYTES
        pieces.take(length)

    assert store.content + b"".join(pieces.taken()) == b"".join(fragments)
    assert len(pieces.taken()) <= most_pieces
    crumbs = sum(length < lane.CRUMB_BYTES for length in lengths)
    assert len(rests) == max(0, crumbs // CRUMBS_BETWEEN_RESTS - CRUMBS_AT_ONCE // CRUMBS_BETWEEN_RESTS)
