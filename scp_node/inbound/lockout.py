"""Addresses that are refused again and again are not listened to for a while."""

from __future__ import annotations

from collections import OrderedDict

REFUSALS_ALLOWED = 20
"""In a row; then as many as come back with time."""
REFILL_PER_S = 0.5
MOST_ADDRESSES = 4096
"""Remembered; beyond, the longest unheard is forgotten."""


class Lockout:
    """A token bucket for each address that was refused; used by one thread."""

    def __init__(self) -> None:
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def note(self, address: str, now_s: float) -> None:
        """A connection from there was refused; ``now_s`` is of a clock that only runs forward."""
        self._left[address] = (self._tokens(address, now_s) - 1.0, now_s)
        self._left.move_to_end(address)
        if len(self._left) > MOST_ADDRESSES:
            self._left.popitem(last=False)

    def is_locked_out(self, address: str, now_s: float) -> bool:
        """Whether its connections are closed unread."""
        return self._tokens(address, now_s) < 1.0

    def _tokens(self, address: str, now_s: float) -> float:
        left, at_s = self._left.get(address, (float(REFUSALS_ALLOWED), now_s))
        return min(REFUSALS_ALLOWED, left + (now_s - at_s) * REFILL_PER_S)
