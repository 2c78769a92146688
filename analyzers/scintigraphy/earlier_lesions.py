"""Tumour-to-normal ratios on lesions that others outlined on an earlier study of the patient.

Two studies have no frame of reference in common, and the patient lay down anew: the earlier liver is brought onto the
present one by the shift that lets both overlap best, and nothing is measured where they do not fit. The earlier liver
is that of the segmentation, else the one that the earlier answer outlined in the same frame of reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from analyzers import vocabulary
from analyzers.contract import Assessed
from analyzers.grid_mask import GridMask
from analyzers.priors import Prior
from analyzers.scintigraphy.segment_roles import SegmentRole, role_of
from analyzers.scintigraphy.spect_names import CT_LIVER_SEGMENT, LIVER_SEGMENT
from analyzers.scintigraphy.tumor_ratio import TumorRatio, registered_ratios, volume_under
from analyzers.segmentations import GivenSegmentation, MaskRefusedError
from analyzers.volume import Volume


def ratios_on_earlier_outlines(
    spect: Volume, liver_zyx: NDArray[np.bool_], priors: Sequence[Prior]
) -> tuple[TumorRatio, ...]:
    """Ratios on the outlines of the newest earlier study that has some, and a liver that fits.

    Parameters
    ----------
    spect : Volume
    liver_zyx : (z, y, x) bool
        Present liver on the SPECT.
    priors : sequence of Prior
        Those of the study at hand are passed over: its own outlines are measured without a detour.
    """
    present = GridMask(label="liver", mask_zyx=liver_zyx, affine_lps=spect.affine_lps)
    others = [prior for prior in priors if prior.study_instance_uid != spect.header.study_instance_uid]
    for prior in sorted(others, key=lambda one: one.study_date, reverse=True):
        for segmentation in prior.images.segmentations if prior.images is not None else ():
            if ratios := _ratios(spect, present, prior, segmentation):
                return ratios
    return ()


def _ratios(spect: Volume, present: GridMask, prior: Prior, segmentation: GivenSegmentation) -> tuple[TumorRatio, ...]:
    lesions = list(_masks(segmentation, SegmentRole.LESION))
    if not lesions:
        return ()
    liver = next(_masks(segmentation, SegmentRole.LIVER), None) or _answered_liver(prior, segmentation)
    if liver is None:
        return ()
    origin = f"outlined on the study of {prior.study_date or 'unknown date'}"
    return registered_ratios(spect, present, lesions, liver, origin)


def _masks(segmentation: GivenSegmentation, role: SegmentRole) -> Iterator[GridMask]:
    for segment in segmentation.segments:
        if role_of(segment).role is role:
            try:
                yield segmentation.mask(segment)
            except MaskRefusedError:
                continue


def _answered_liver(prior: Prior, segmentation: GivenSegmentation) -> GridMask | None:
    """Liver of the earlier answer, of its CT before that of its uptake, in the frame of the outlines."""
    segments = prior.result.segments if isinstance(prior.result, Assessed) else ()
    for name in (CT_LIVER_SEGMENT, LIVER_SEGMENT):
        for segment in segments:
            under = volume_under(prior, segment) if segment.name == name else None
            own = segmentation.frame_of_reference_uid
            if under is not None and own is not None and under.frame_of_reference_uid == own:
                return GridMask(
                    label=vocabulary.LIVER.meaning, mask_zyx=segment.mask_planes, affine_lps=under.affine_lps
                )
    return None
