"""Which objects are images that an analyzer could use.

Everything else is acknowledged and recorded as well, but it never reopens a study: structured reports, key objects,
presentation states, segmentations, secondary captures, dose reports, and whatever this node made itself.
"""

from __future__ import annotations

from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from scp_node.dimse.text import text_of
from scp_node.objects.provenance import MANUFACTURER

IMAGE_CLASSES = frozenset(
    {
        uid.CTImageStorage,
        uid.EnhancedCTImageStorage,
        uid.LegacyConvertedEnhancedCTImageStorage,
        uid.MRImageStorage,
        uid.EnhancedMRImageStorage,
        uid.LegacyConvertedEnhancedMRImageStorage,
        uid.NuclearMedicineImageStorage,
        # Retired in 1993 and still written by a few cameras.
        uid.UID("1.2.840.10008.5.1.4.1.1.5"),
        # Attenuation maps and pairs of emission and anatomy.
        uid.PositronEmissionTomographyImageStorage,
        uid.EnhancedPETImageStorage,
        uid.LegacyConvertedEnhancedPETImageStorage,
    }
)
"""CT, MR, nuclear medicine and PET, classic and enhanced."""

CAPTURE_CLASSES = frozenset(
    {
        uid.SecondaryCaptureImageStorage,
        uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
        uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    }
)
"""Some gamma cameras export their counts in these; they are images when the modality says NM."""

_EQUIPMENT = Tag("ContributingEquipmentSequence")
_MANUFACTURER = Tag("Manufacturer")


def may_be_image(sop_class_uid: str) -> bool:
    """Tell by its class alone whether an object can be an image for an analyzer, and so has a geometry to read."""
    return sop_class_uid in IMAGE_CLASSES or sop_class_uid in CAPTURE_CLASSES


def is_usable_image(sop_class_uid: str, modality: str, *, has_pixels: bool, made_by_this_software: bool) -> bool:
    """Decide whether an analyzer could use the object.

    Parameters
    ----------
    sop_class_uid, modality : str
        As the object says.
    has_pixels : bool
        The data set holds a Pixel Data element, be it empty: that is an image which turns out not to be assessable.
    made_by_this_software : bool
        See :func:`is_made_by_this_software`.
    """
    if made_by_this_software or not has_pixels:
        return False
    return sop_class_uid in IMAGE_CLASSES or (sop_class_uid in CAPTURE_CLASSES and modality == "NM")


def is_made_by_this_software(dataset: Dataset) -> bool:
    """Tell whether the Contributing Equipment names us.

    The store knows what this node made by UID. This finds what another installation made, or this one before its
    database was lost, whatever the version: the device UID changes with each version, the manufacturer does not.
    """
    if _EQUIPMENT not in dataset:
        return False
    items = dataset[_EQUIPMENT].value
    return any(text_of(item, _MANUFACTURER) == MANUFACTURER for item in items or ())
