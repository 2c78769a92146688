"""Whether a process that runs is still at work, told from signs of life that it counts itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LONGEST_GAP_FRACTION = 1 / 3
"""One gap between two looks counts for no more of the patience than this.

Who looks late (the machine was suspended, or had no processor left for us) cannot tell who was silent meanwhile from
who could not run either: all have the rest of the patience, two looks at least, to be heard again.
"""


@dataclass(slots=True, kw_only=True)
class _Heard:
    beats: int
    silent_s: float = 0.0


class Heartbeats:
    """Who has been silent for how long.

    Parameters
    ----------
    patience_s : float
        Whoever is silent for longer hangs.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._looked_at_s: float | None = None
        self._heard: dict[int, _Heard] = {}

    def hung(self, beats: Mapping[int, int], now_s: float) -> list[int]:
        """Take a look, and tell who hangs; call it several times within the patience.

        Parameters
        ----------
        beats : process id → count
            Signs of life that each gave since it began. Who is not named any more is forgotten.
        now_s : float
            Of a clock that only runs forward.
        """
        gap_s = 0.0 if self._looked_at_s is None else now_s - self._looked_at_s
        self._looked_at_s = now_s
        counted_s = min(gap_s, LONGEST_GAP_FRACTION * self._patience_s)
        self._heard = {pid: self._listened(pid, count, counted_s) for pid, count in beats.items()}
        return [pid for pid, heard in self._heard.items() if heard.silent_s > self._patience_s]

    def _listened(self, pid: int, beats: int, counted_s: float) -> _Heard:
        before = self._heard.get(pid)
        if before is None or before.beats != beats:
            return _Heard(beats=beats)
        return _Heard(beats=beats, silent_s=before.silent_s + counted_s)
