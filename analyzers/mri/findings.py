"""What the reading of one study found, before it is put into the words of the contract."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analyzers.contract import Gate
from analyzers.mri.searches import Search
from analyzers.mri.stacks import RoledStack


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was measured in one study, on the grid of the reference."""

    reference: RoledStack
    liver_zyx: NDArray[np.bool_]
    liver_ml: float
    search: Search
    gates: tuple[Gate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why the liver was not measured."""

    reasons: tuple[str, ...]
    gates: tuple[Gate, ...] = ()
