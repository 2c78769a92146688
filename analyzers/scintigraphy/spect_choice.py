"""Which SPECT of a study is read, and which CTs may go with it."""

from __future__ import annotations

from collections.abc import Sequence

from analyzers.priors import Prior
from analyzers.scintigraphy.expectations import Role
from analyzers.scintigraphy.spect import SpectReading, SpectRefusal, read_spect
from analyzers.scintigraphy.thresholds import Thresholds
from analyzers.scintigraphy.tracer import tracer_faults
from analyzers.volume import StudyImages, Volume

_FEWEST_PLANES = 15
_MOST_CTS = 2


def read_best_spect(
    images: StudyImages, thresholds: Thresholds, priors: Sequence[Prior] = ()
) -> SpectReading | SpectRefusal | None:
    """Read the first SPECT that can be read, a corrected one before others; ``None`` where there is none."""
    refusals: list[SpectRefusal] = []
    for role in (Role.SPECT, Role.SPECT_NAC):
        for loaded in images.with_role(role):
            if loaded.refusals and not loaded.volumes:
                refusals.append(SpectRefusal(reasons=loaded.refusals))
            for volume in loaded.volumes:
                wrong = header_faults(volume, thresholds)
                outcome = (
                    SpectRefusal(reasons=wrong)
                    if wrong
                    else read_spect(volume, role is Role.SPECT, thresholds, cts=_cts_for(volume, images), priors=priors)
                )
                if isinstance(outcome, SpectReading):
                    return outcome
                refusals.append(outcome)
    if not refusals:
        return None
    return SpectRefusal(
        reasons=tuple(dict.fromkeys(reason for one in refusals for reason in one.reasons)),
        gates=next((one.gates for one in refusals if one.gates), ()),
    )


def header_faults(volume: Volume, thresholds: Thresholds) -> tuple[str, ...]:
    """Reasons in the headers against measuring a SPECT: another nuclide, a second one, another energy window."""
    wrong = tracer_faults([volume.header])
    windows = _windows_kev(volume)
    if not wrong and windows and not any(low < thresholds.photopeak_kev < high for low, high in windows):
        named = " and ".join(f"{low:.0f} to {high:.0f} keV" for low, high in windows)
        wrong = (f"The energy window of the SPECT, {named}, does not hold the photopeak of Tc-99m.",)
    return wrong


def _windows_kev(volume: Volume) -> list[tuple[float, float]]:
    """Energy windows that the header names for the first plane; empty where it names none."""
    frame = next((one for one in volume.header.frames if one.frame == volume.planes[0].frame), None)
    if frame is None:
        return []
    limits = (frame.attributes.get(f"EnergyWindow{end}Limit", ()) for end in ("Lower", "Upper"))
    try:
        return [(float(low), float(high)) for low, high in zip(*limits, strict=True)]
    except ValueError:
        return []


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
