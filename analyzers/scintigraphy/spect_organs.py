"""Organs from the CT of a SPECT/CT, brought onto the SPECT by patient coordinates.

The CT is believed where frame of reference and position of the patient are the same, where its liver passes the gates
of an unenhanced low-dose scan, and where the uptake lies on that liver. Breathing moves the liver between both; the
shift along the body that brings the CT's liver best onto the uptake is measured, applied, and told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.contract import Gate
from analyzers.ct_anatomy.cage import room_for_liver
from analyzers.ct_anatomy.liver import Anatomy, LiverSeed, find_liver, find_liver_seed
from analyzers.ct_anatomy.patient_grid import PatientGrid, field_on_source, mask_on_source
from analyzers.ct_anatomy.survey import survey_trunk
from analyzers.scintigraphy.spect_fissure import left_of_rule_mm
from analyzers.scintigraphy.thresholds import Thresholds
from analyzers.volume import Volume

_ORGAN_GRID_MM = 4.0
"""A low-dose CT has slices of 3 to 5 mm and the SPECT voxels of 4 to 5 mm: finer organs would be slower only."""
_SHIFTS_MM = np.arange(-36.0, 36.1, 4.0)
_BLUR_MM = 7.0
_MOST_LIVER_ML = 4000.0
_TONGUE_MM = 12.0
"""Half the thickness of the muscles of the loin and between the ribs, at most. Anatomy."""
_EDGE_SHARE = 0.10
_AIR_MM, _FEW_PLANES = 24.0, 3
_POCKET_SHARE = 0.25
"""Gas in a stomach has less than a quarter of a lung's volume. Anatomy."""

FRAME = "CT in the frame of the SPECT"
POSITION = "patient position of CT and SPECT"
LIVER = "liver on the CT"
COVER = "liver covered by the CT"
FIT = "uptake lies on the liver of the CT"


@dataclass(frozen=True, slots=True, kw_only=True)
class CtOrgans:
    """Organs of a CT on the grid of the SPECT.

    Attributes
    ----------
    ct : Volume
    liver_zyx, lungs_zyx, body_zyx : (z, y, x) bool
        On the SPECT; the liver after the shift.
    left_of_rule_mm_zyx : (z, y, x) float32
        How far left of the plane by rule between the lobes a voxel lies.
    hu_zyx : (z, y, x) float32
        Attenuation on the SPECT's grid.
    liver_on_ct_zyx, lungs_on_ct_zyx : (z, y, x) bool
        As the CT shows them, for its own segmentation.
    liver_ml : float
        Of the CT's liver.
    anatomy : Anatomy
    shift_up_mm : float
        How far the uptake lies above the CT's liver (towards the head); the liver was moved by it.
    gates : tuple of Gate
    """

    ct: Volume
    liver_zyx: NDArray[np.bool_]
    lungs_zyx: NDArray[np.bool_]
    body_zyx: NDArray[np.bool_]
    left_of_rule_mm_zyx: NDArray[np.float32]
    hu_zyx: NDArray[np.float32]
    liver_on_ct_zyx: NDArray[np.bool_]
    lungs_on_ct_zyx: NDArray[np.bool_]
    liver_ml: float
    anatomy: Anatomy
    shift_up_mm: float
    gates: tuple[Gate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CtRefusal:
    """Why a CT was not used; the gate that failed is among the gates."""

    reason: str
    gates: tuple[Gate, ...] = ()


def organs_from_ct(
    ct: Volume, spect: Volume, uptake_zyx: NDArray[np.bool_], thresholds: Thresholds
) -> CtOrgans | CtRefusal:
    """Find liver, lungs and trunk on a CT and bring them onto the SPECT.

    Parameters
    ----------
    ct, spect : Volume
    uptake_zyx : (z, y, x) bool
        Region of the liver's uptake on the SPECT, found from activity alone.
    thresholds : Thresholds
    """
    gates = list(_header_gates(ct, spect))
    if not all(gate.passed for gate in gates):
        return _refused(gates)
    anatomy = survey_trunk(_without_air_round(ct, thresholds), thresholds.ct_tissue, _ORGAN_GRID_MM)
    if isinstance(anatomy, str):
        return CtRefusal(reason=f"the CT was not used: {anatomy}", gates=tuple(gates))
    found = _found_liver(anatomy, spect, uptake_zyx, None, thresholds)
    if not found.passed:
        # After a right hepatectomy what is left lies before the spine and left of it: the uptake tells where.
        place = on_patient_grid(uptake_zyx, spect, anatomy.grid)
        again = _found_liver(anatomy, spect, uptake_zyx, place, thresholds)
        found = again if again.passed else found
    gates += found.gates
    if not found.passed:
        return _refused(gates)
    on_grid, liver = found.on_grid_zyx, found.on_spect_zyx
    lungs_on_grid = _without_stomach_gas(anatomy.lungs.both_zyx, on_grid)
    lungs = field_on_source(lungs_on_grid.astype(np.float32), anatomy.grid, spect) >= 0.5
    shown = (anatomy.grid.hu_zyx + np.float32(1024.0)).astype(np.float32)
    liver_on_ct = mask_on_source(on_grid, anatomy.grid, ct)
    return CtOrgans(
        ct=ct,
        liver_zyx=liver,
        lungs_zyx=lungs & ~liver,
        body_zyx=field_on_source(anatomy.body.mask_zyx.astype(np.float32), anatomy.grid, spect) >= 0.5,
        left_of_rule_mm_zyx=left_of_rule_mm(anatomy, spect, liver),
        hu_zyx=np.asarray(field_on_source(shown, anatomy.grid, spect) - np.float32(1024.0), np.float32),
        liver_on_ct_zyx=liver_on_ct,
        lungs_on_ct_zyx=mask_on_source(lungs_on_grid, anatomy.grid, ct) & ~liver_on_ct,
        liver_ml=float(on_grid.sum()) * anatomy.grid.voxel_ml,
        anatomy=anatomy,
        shift_up_mm=found.shift_up_mm,
        gates=tuple(gates),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _FoundLiver:
    """A liver on the CT's grid and, moved onto the uptake, on the SPECT (empty where a gate of the CT failed)."""

    on_grid_zyx: NDArray[np.bool_]
    on_spect_zyx: NDArray[np.bool_]
    shift_up_mm: float
    gates: tuple[Gate, ...]

    @property
    def passed(self) -> bool:
        return all(gate.passed for gate in self.gates)


def _found_liver(
    anatomy: Anatomy,
    spect: Volume,
    uptake_zyx: NDArray[np.bool_],
    within_zyx: NDArray[np.bool_] | None,
    thresholds: Thresholds,
) -> _FoundLiver:
    """Find the liver from a seed in the right upper abdomen, or within a region of the CT's grid."""
    seed = find_liver_seed(anatomy, thresholds.ct_liver, within_zyx)
    nowhere = np.zeros(anatomy.grid.hu_zyx.shape, np.bool_)
    if seed is None:
        gate = Gate(name=LIVER, passed=False, seen="no deep soft tissue in the right upper abdomen", wanted="a liver")
        return _FoundLiver(on_grid_zyx=nowhere, on_spect_zyx=uptake_zyx & False, shift_up_mm=0.0, gates=(gate,))
    probable = find_liver(anatomy, seed, None, thresholds.ct_liver.unenhanced_below_hu) > 0.5
    on_grid = _without_tongues(probable & room_for_liver(anatomy, thresholds.ct_tissue), anatomy)
    gates = tuple(_liver_gates(on_grid, anatomy, seed, thresholds))
    if not all(gate.passed for gate in gates):
        return _FoundLiver(on_grid_zyx=on_grid, on_spect_zyx=uptake_zyx & False, shift_up_mm=0.0, gates=gates)
    liver, shift_up_mm = _onto_uptake(on_grid, anatomy, spect, uptake_zyx)
    fit = _fit_gate(liver, spect, uptake_zyx, thresholds)
    return _FoundLiver(on_grid_zyx=on_grid, on_spect_zyx=liver, shift_up_mm=shift_up_mm, gates=(*gates, fit))


def on_patient_grid(mask_zyx: NDArray[np.bool_], spect: Volume, grid: PatientGrid) -> NDArray[np.bool_]:
    """A region of the SPECT at the voxels of a patient grid; nothing lies outside the field."""
    indices = np.argwhere(np.ones(grid.hu_zyx.shape, np.bool_)).astype(np.float64)
    nearest = np.rint(spect.to_indices_zyx(grid.to_lps_mm(indices))).astype(np.intp)
    inside = ((nearest >= 0) & (nearest < np.asarray(mask_zyx.shape))).all(axis=1)
    found = np.zeros(len(indices), np.bool_)
    found[inside] = mask_zyx[tuple(nearest[inside].T)]
    return found.reshape(grid.hu_zyx.shape)


def _without_air_round(ct: Volume, thresholds: Thresholds) -> Volume:
    """The CT without the rows and columns in which nothing but air is seen: a third of the field, and of the time."""
    dense = (ct.voxels_zyx > thresholds.ct_tissue.body_above_hu).sum(axis=0) > _FEW_PLANES
    if not dense.any():
        return ct
    rooms = [round(_AIR_MM / step) for step in ct.spacing_zyx_mm[1:]]
    filled = [np.flatnonzero(dense.any(axis=1 - axis)) for axis in (0, 1)]
    (top, bottom), (left, right) = (
        (max(0, int(at[0]) - room), min(size, int(at[-1]) + 1 + room))
        for at, room, size in zip(filled, rooms, dense.shape, strict=True)
    )
    affine = ct.affine_lps.copy()
    affine[:3, 3] += left * affine[:3, 0] + top * affine[:3, 1]
    padding = None if ct.padding_zyx is None else ct.padding_zyx[:, top:bottom, left:right]
    return replace(ct, voxels_zyx=ct.voxels_zyx[:, top:bottom, left:right], affine_lps=affine, padding_zyx=padding)


def _header_gates(ct: Volume, spect: Volume) -> tuple[Gate, ...]:
    same = ct.frame_of_reference_uid is not None and ct.frame_of_reference_uid == spect.frame_of_reference_uid
    positions = {ct.header.text("PatientPosition"), spect.header.text("PatientPosition"), *_posture(ct, spect)} - {""}
    return (
        Gate(
            name=FRAME,
            passed=same,
            seen="the same frame of reference" if same else "another frame of reference, or none",
            wanted="the same frame of reference",
        ),
        Gate(
            name=POSITION,
            passed=len(positions) < 2,
            seen=" and ".join(sorted(positions)) or "not stated",
            wanted="one position",
        ),
    )


def _posture(ct: Volume, spect: Volume) -> tuple[str, ...]:
    """The position that the codes of a nuclear medicine object contradict; empty without a contradiction."""
    codes = spect.header.codes.get("PatientOrientationCodeSequence.PatientOrientationModifierCodeSequence", ())
    said = " ".join(code.meaning.lower() for code in codes)
    lying = ct.header.text("PatientPosition")[2:3]
    contradiction = (lying == "P" and "supine" in said) or (lying == "S" and "prone" in said)
    return (f"{said} by its codes",) if contradiction else ()


def _liver_gates(on_grid: NDArray[np.bool_], anatomy: Anatomy, seed: LiverSeed, thresholds: Thresholds) -> list[Gate]:
    volume_ml = float(on_grid.sum()) * anatomy.grid.voxel_ml
    low_hu, high_hu = thresholds.ct_liver.mean_hu
    areas = on_grid.sum(axis=(1, 2))
    filled = np.flatnonzero(anatomy.grid.inside_zyx.any(axis=(1, 2)))
    ends = max(int(areas[filled[0]]), int(areas[filled[-1]])) if filled.size else 0
    share = ends / max(1, int(areas.max()))
    least_ml = thresholds.least_ct_liver_ml
    return [
        Gate(
            name=LIVER,
            passed=least_ml <= volume_ml <= _MOST_LIVER_ML and low_hu <= seed.centre_hu <= high_hu,
            seen=f"{volume_ml:.0f} mL at {seed.centre_hu:.0f} HU",
            wanted=f"{least_ml:.0f} to {_MOST_LIVER_ML:.0f} mL at {low_hu:.0f} to {high_hu:.0f} HU",
        ),
        Gate(
            name=COVER,
            passed=share <= _EDGE_SHARE,
            seen=f"{100 * share:.0f} % of the liver's largest section at the end of the scan",
            wanted=f"at most {100 * _EDGE_SHARE:.0f} %",
        ),
    ]


def _onto_uptake(
    on_grid: NDArray[np.bool_], anatomy: Anatomy, spect: Volume, uptake_zyx: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], float]:
    """The liver on the SPECT, moved along the body to where it overlaps best with the uptake, and by how much.

    Overlap is the correlation of both outlines after the camera's blur; a lobe without uptake lowers it at every
    shift alike.
    """
    soft = ndimage.gaussian_filter(on_grid.astype(np.float32), _BLUR_MM / anatomy.grid.spacing_mm)
    target = ndimage.gaussian_filter(
        uptake_zyx.astype(np.float32), tuple(_BLUR_MM / step for step in spect.spacing_zyx_mm)
    )
    shown = field_on_source(soft, anatomy.grid, spect)
    scores = [_correlation(_raised(shown, spect, shift_mm), target) for shift_mm in _SHIFTS_MM]
    best = int(np.argmax(scores))
    shift_mm = float(_SHIFTS_MM[best])
    if 0 < best < len(scores) - 1:
        # Vertex of the parabola through the best three.
        before, top, after = scores[best - 1 : best + 2]
        shift_mm += 2.0 * (before - after) / min(before - 2 * top + after, -1e-12)
    liver = field_on_source(on_grid.astype(np.float32), anatomy.grid, spect)
    return _raised(liver, spect, shift_mm) >= 0.5, shift_mm


def _raised(field_zyx: NDArray[np.float32], spect: Volume, shift_mm: float) -> NDArray[np.float32]:
    """A field moved towards the head, whichever way the planes run."""
    planes = shift_mm / float(spect.affine_lps[2, 2])
    whole = int(np.floor(planes))
    part = np.float32(planes - whole)
    return (1 - part) * _rolled(field_zyx, whole) + part * _rolled(field_zyx, whole + 1)


def _rolled(field_zyx: NDArray[np.float32], planes: int) -> NDArray[np.float32]:
    """Planes moved to higher indices; what comes in is empty."""
    moved = np.zeros_like(field_zyx)
    if planes > 0:
        moved[planes:] = field_zyx[:-planes]
    elif planes < 0:
        moved[:planes] = field_zyx[-planes:]
    else:
        moved[:] = field_zyx
    return moved


def _correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    product = float((one * other).sum(dtype=np.float64))
    norm = float((one * one).sum(dtype=np.float64)) * float((other * other).sum(dtype=np.float64))
    return product / float(np.sqrt(max(norm, 1e-12)))


def _fit_gate(liver: NDArray[np.bool_], spect: Volume, uptake_zyx: NDArray[np.bool_], thresholds: Thresholds) -> Gate:
    far_mm = ndimage.distance_transform_edt(~liver, sampling=spect.spacing_zyx_mm)
    near = float((uptake_zyx & (far_mm <= thresholds.spect_clear_of_liver_mm)).sum()) / max(1, int(uptake_zyx.sum()))
    return Gate(
        name=FIT,
        passed=near >= thresholds.least_uptake_on_ct_liver_fraction,
        seen=f"{100 * near:.0f} % of the uptake within {thresholds.spect_clear_of_liver_mm:.0f} mm of it",
        wanted=f"at least {100 * thresholds.least_uptake_on_ct_liver_fraction:.0f} %",
    )


def _without_stomach_gas(lungs_zyx: NDArray[np.bool_], liver_zyx: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Lungs without pockets of gas below the dome of the liver; thick slices give these the attenuation of lung.

    A focus of the stomach's wall lies beside such a pocket, and would be weighed as if it lay beside a lung.
    """
    labels, count = ndimage.label(lungs_zyx)
    if count < 2 or not liver_zyx.any():
        return lungs_zyx
    sizes = np.bincount(labels.ravel())[1:]
    dome = int(np.flatnonzero(liver_zyx.any(axis=(1, 2)))[-1])
    heights = np.asarray(ndimage.center_of_mass(lungs_zyx, labels, range(1, count + 1)), np.float64)[:, 0]
    pockets = (sizes < _POCKET_SHARE * sizes.max()) & (heights < dome)
    return lungs_zyx & ~np.isin(labels, 1 + np.flatnonzero(pockets))


def _without_tongues(mask: NDArray[np.bool_], anatomy: Anatomy) -> NDArray[np.bool_]:
    """The organ without sheets of muscle of the same attenuation that hang on it; its own thin edges come back."""
    steps = anatomy.grid.voxels(_TONGUE_MM)
    ball = ndimage.distance_transform_edt(~_point(steps)) <= steps
    padded = np.pad(mask, ((steps, steps), (0, 0), (0, 0)), mode="edge")
    core = _largest(np.asarray(ndimage.binary_opening(padded, ball)[steps:-steps], np.bool_))
    return np.asarray(ndimage.binary_dilation(core, iterations=steps, mask=mask) if core.any() else mask, np.bool_)


def _point(steps: int) -> NDArray[np.bool_]:
    block = np.zeros((2 * steps + 1,) * 3, np.bool_)
    block[steps, steps, steps] = True
    return block


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    return np.asarray(labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:])), np.bool_)


def _refused(gates: list[Gate]) -> CtRefusal:
    failed = "; ".join(f"{gate.name}: {gate.seen}, wanted {gate.wanted}" for gate in gates if not gate.passed)
    return CtRefusal(reason=f"the CT was not used ({failed})", gates=tuple(gates))
