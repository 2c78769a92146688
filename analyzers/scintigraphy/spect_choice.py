"""Which SPECT of a study is read, and which CTs may go with it."""

from __future__ import annotations

from collections.abc import Sequence

from analyzers.priors import Prior
from analyzers.scintigraphy.expectations import Role
from analyzers.scintigraphy.spect import SpectReading, SpectRefusal, read_spect
from analyzers.scintigraphy.thresholds import Thresholds
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
                outcome = read_spect(
                    volume, role is Role.SPECT, thresholds, cts=_cts_for(volume, images), priors=priors
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
