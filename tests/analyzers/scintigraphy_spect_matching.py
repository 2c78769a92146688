"""True foci of a SPECT/CT phantom against what the analyzer called extrahepatic, at every operating point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.scintigraphy.spect import SpectReading
from analyzers.scintigraphy.spect_foci import Field, SpectFocus, find_foci
from analyzers.scintigraphy.thresholds import DEFAULTS
from analyzers.scintigraphy.whereabouts import Origin
from tests.analyzers.scintigraphy_free_response import proportion

MATCH_MM = 20.0
THRESHOLDS = (0.05, 0.10, 0.15, 0.20, 0.30, 0.40, 0.50, 0.60, 0.70, 0.85, 0.95)
_TARGET_SHARE = 0.003


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What one study adds to one operating point of the focus detector."""

    threshold: float
    found: int
    false: int
    misnamed: int


def matched_foci(truth: dict[str, Any], reading: SpectReading | None, masks: Path) -> dict[str, Any]:
    """True foci found by what was called extrahepatic (certain or possible), and what was called so without one."""
    true = true_foci(truth, masks)
    chosen = _counted(true, reading.foci if reading is not None else ())
    seen = chosen.seen
    targets, fainter = ([one for one in true if one.group == group] for group in ("target", "fainter"))
    curve = []
    loose = _loose_foci(reading)
    for threshold in THRESHOLDS:
        at = _counted(true, [focus for focus in loose if focus.probability >= threshold])
        curve.append(
            Point(
                threshold=threshold,
                found=sum(one.name in at.seen for one in targets),
                false=at.false,
                misnamed=at.misnamed,
            )
        )
    return {
        "targets": len(targets),
        "found": sum(one.name in seen for one in targets),
        "missed": tuple(one.words for one in targets if one.name not in seen),
        "false": chosen.false,
        "misnamed": chosen.misnamed,
        "fainter": len(fainter),
        "fainter_found": sum(one.name in seen for one in fainter),
        "curve": tuple(curve),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueFocus:
    """A focus and the distance to it, (z, y, x) on the SPECT.

    ``group`` is ``target``, ``fainter`` (also what the field cuts) or ``other``: device and pertechnetate.
    """

    name: str
    words: str
    group: str
    far_mm_zyx: NDArray[np.float64]


def true_foci(truth: dict[str, Any], masks: Path) -> list[TrueFocus]:
    """Foci of a phantom that lie in the field of its SPECT."""
    return [one for entry in truth["foci"] if (one := _true_focus(entry, masks)) is not None]


def _true_focus(entry: dict[str, Any], masks: Path) -> TrueFocus | None:
    mask = _mask(masks / f"volume_focus_{entry['name'].replace(' ', '_')}.nii.gz")
    if mask is None:
        return None
    # A focus that the lower edge of the field cuts is no target: nobody can measure its share.
    inside = not mask[0][0].any() and not mask[0][-1].any()
    target = entry["liver_share_fraction"] >= _TARGET_SHARE and inside
    return TrueFocus(
        name=entry["name"],
        words=f"{entry['name']} {100 * entry['liver_share_fraction']:.1f} %",
        group=("target" if target else "fainter") if entry["origin"] == "extrahepatic" else "other",
        far_mm_zyx=ndimage.distance_transform_edt(~mask[0], sampling=mask[1]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    seen: frozenset[str]
    false: int
    misnamed: int


def _counted(true: Sequence[TrueFocus], called: Sequence[SpectFocus]) -> _Counted:
    near = [[one for one in true if (one.far_mm_zyx[focus.mask_zyx] <= MATCH_MM).any()] for focus in called]
    return _Counted(
        seen=frozenset(one.name for hits in near for one in hits),
        false=sum(not hits for hits in near),
        misnamed=sum(bool(hits) and all(one.group == "other" for one in hits) for hits in near),
    )


def _loose_foci(reading: SpectReading | None) -> list[SpectFocus]:
    """What would be called extrahepatic at the lowest operating point; a higher one keeps the more probable of them."""
    if reading is None:
        return []
    liver = reading.liver_zyx if reading.organs is None else reading.organs.liver_zyx
    field = Field.of(reading.volume, liver, reading.organs)
    found = find_foci(field, replace(DEFAULTS, spect_focus_probability=min(THRESHOLDS)))
    return [focus for focus in found if focus.where.origin in {Origin.EXTRAHEPATIC, Origin.AMBIGUOUS}]


def _mask(path: Path) -> tuple[NDArray[np.bool_], tuple[float, float, float]] | None:
    if not path.is_file():
        return None
    image = nibabel.nifti1.Nifti1Image.from_filename(path)
    mask = np.asarray(image.dataobj).transpose(2, 1, 0) > 0
    z, y, x = (abs(float(np.asarray(image.affine)[axis, axis])) for axis in (2, 1, 0))
    return (mask, (z, y, x)) if mask.any() else None


def point_lines(curves: Sequence[Sequence[Point]], targets: int) -> list[str]:
    """Rows of the table of operating points, the chosen one marked."""
    lines = []
    for number, threshold in enumerate(THRESHOLDS):
        points = [curve[number] for curve in curves]
        found, false, misnamed = (
            sum(getattr(point, name) for point in points) for name in ("found", "false", "misnamed")
        )
        mark = " (chosen)" if threshold == DEFAULTS.spect_focus_probability else ""
        lines.append(
            f"| {threshold:.2f}{mark} | {proportion(found, targets)} | {false / len(curves):.2f} | "
            f"{misnamed / len(curves):.2f} |"
        )
    return lines
