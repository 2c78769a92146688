"""What the reading of one study found, before it is put into the words of the contract."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analyzers.contract import Gate
from analyzers.mri.searches import Search
from analyzers.mri.stacks import RoledStack

AT_LEAST = "at least this volume"
"""How the remark of a liver volume ends that is a lower limit; a later comparison looks for it."""
OUTLINED_BY = "Outlined in {}"
"""Method of a liver volume, with the sequence's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was measured in one study, on the grid of the reference."""

    reference: RoledStack
    liver_zyx: NDArray[np.bool_]
    liver_ml: float
    search: Search
    gates: tuple[Gate, ...]

    @property
    def whole(self) -> bool:
        """Whether the liver lies wholly in the scan: the only gates that a reading survives are about that."""
        return all(gate.passed for gate in self.gates)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why the liver was not measured."""

    reasons: tuple[str, ...]
    gates: tuple[Gate, ...] = ()
