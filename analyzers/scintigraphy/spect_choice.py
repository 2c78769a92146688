"""Which SPECT of a study is read, and which CTs may go with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from analyzers.priors import Prior
from analyzers.quality import plane_normal_lps
from analyzers.scintigraphy.expectations import Role, is_attenuation_corrected, is_transmission
from analyzers.scintigraphy.spect import SpectReading, SpectRefusal, read_spect
from analyzers.scintigraphy.thresholds import Thresholds
from analyzers.scintigraphy.tracer import tracer_faults
from analyzers.scintigraphy.windows import is_named_scatter, range_faults, ranges_kev, unnamed_windows_fault
from analyzers.volume import StudyImages, Volume

_FEWEST_PLANES = 15
_MOST_CTS = 2
_TRANSVERSE_COSINE = 0.94
"""Planes tilted by more than 20 degrees are reformatted ones (derived: obliquely reconstructed ones have less)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """One reconstructed volume, and what was said when its series was read."""

    volume: Volume
    is_corrected: bool
    remarks: tuple[str, ...]


def read_best_spect(
    images: StudyImages, thresholds: Thresholds, priors: Sequence[Prior] = ()
) -> SpectReading | SpectRefusal | None:
    """Read the first SPECT that can be read, a corrected one before others; ``None`` where there is none."""
    candidates, refusals = _candidates(images)
    for candidate in candidates:
        volume = candidate.volume
        wrong = header_faults(volume, thresholds)
        outcome = (
            SpectRefusal(reasons=wrong)
            if wrong
            else read_spect(
                volume,
                candidate.is_corrected,
                thresholds,
                cts=_cts_for(volume, images),
                priors=priors,
                segmentations=images.segmentations,
            )
        )
        if isinstance(outcome, SpectReading):
            return replace(outcome, remarks=(*candidate.remarks, *_left_aside(candidates)))
        said = tuple(f"SPECT: {remark}." for remark in candidate.remarks)
        refusals.append(replace(outcome, reasons=(*outcome.reasons, *said)))
    if not refusals:
        return None
    return SpectRefusal(
        reasons=tuple(dict.fromkeys(reason for one in refusals for reason in one.reasons)),
        gates=next((one.gates for one in refusals if one.gates), ()),
    )


def _candidates(images: StudyImages) -> tuple[list[_Candidate], list[SpectRefusal]]:
    """Reconstructed volumes, those corrected for attenuation first; and why series gave none."""
    candidates, refusals = list[_Candidate](), list[SpectRefusal]()
    for role in (Role.SPECT, Role.SPECT_NAC):
        for loaded in images.with_role(role):
            if loaded.refusals and not loaded.volumes:
                refusals.append(SpectRefusal(reasons=loaded.refusals))
            candidates += [
                _Candidate(
                    volume=volume,
                    # One series may hold both reconstructions: each says for itself which it is.
                    is_corrected=is_attenuation_corrected(volume.header),
                    remarks=(*loaded.refusals, *volume.remarks),
                )
                for volume in loaded.volumes
                if not is_transmission(volume.header)
            ]
    return sorted(candidates, key=lambda one: not one.is_corrected), refusals


def _left_aside(candidates: Sequence[_Candidate]) -> tuple[str, ...]:
    others = len(candidates) - 1
    if not others:
        return ()
    return (f"{others} further reconstruction{'s were' if others > 1 else ' was'} not read",)


def header_faults(volume: Volume, thresholds: Thresholds) -> tuple[str, ...]:
    """Reasons in the headers against measuring a SPECT: nuclides, energy windows, planes that are not transverse."""
    first = volume.planes[0].frame
    wrong = tracer_faults([volume.header])
    wrong = wrong or range_faults(
        [ranges_kev(volume.header, first)], thresholds.photopeak_kev, "The energy window of the SPECT"
    )
    wrong = wrong or unnamed_windows_fault([volume.header])
    if not wrong and not ranges_kev(volume.header, first) and is_named_scatter(volume.header, first):
        wrong = ("The energy window of the SPECT is named as one for scatter.",)
    if not wrong and abs(float(plane_normal_lps(volume)[2])) < _TRANSVERSE_COSINE:
        wrong = ("The planes of the SPECT do not lie across the body: only transverse ones are read.",)
    return wrong


def _cts_for(spect: Volume, images: StudyImages) -> list[Volume]:
    """Stacks of CT planes, those in the frame of the SPECT first, the longest first."""
    stacks = [
        volume
        for loaded in images.with_role(Role.CT)
        for volume in loaded.volumes
        if len(volume.planes) >= _FEWEST_PLANES
    ]
    stacks.sort(
        key=lambda ct: (
            ct.frame_of_reference_uid != spect.frame_of_reference_uid,
            -len(ct.planes) * ct.spacing_zyx_mm[0],
        )
    )
    return stacks[:_MOST_CTS]
