"""Addresses that are a burden again and again are listened to less."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from math import ceil

MOST_ADDRESSES = 4096
"""Remembered; beyond, the longest unheard is forgotten."""

_LEAST_IN_A_ROW = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """What an address may do before it is too much."""

    in_a_row: int
    then_per_s: float

    def shared_by(self, receivers: int) -> Patience:
        """The part of one of so many receivers, each of which remembers only who came to it."""
        return Patience(
            in_a_row=max(_LEAST_IN_A_ROW, ceil(self.in_a_row / receivers)), then_per_s=self.then_per_s / receivers
        )


WITH_REFUSED = Patience(in_a_row=20, then_per_s=0.5)
"""With callers that are refused."""
WITH_UNUSED = Patience(in_a_row=50, then_per_s=50.0)
"""With associations that bring nothing and are broken off: at two milliseconds of the processor each, they can take a
tenth of it. One that is released, or stored an object, does not count."""


class Lockout:
    """A token bucket for each address; used by one thread at a time."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def note(self, address: str, now_s: float) -> None:
        """It happened once more; ``now_s`` is of a clock that only runs forward."""
        self._left[address] = (self._tokens(address, now_s) - 1.0, now_s)
        self._left.move_to_end(address)
        if len(self._left) > MOST_ADDRESSES:
            self._left.popitem(last=False)

    def is_locked_out(self, address: str, now_s: float) -> bool:
        """Whether it is too much for now."""
        return self._tokens(address, now_s) < 1.0

    def _tokens(self, address: str, now_s: float) -> float:
        most = float(self._patience.in_a_row)
        left, at_s = self._left.get(address, (most, now_s))
        return min(most, left + (now_s - at_s) * self._patience.then_per_s)
