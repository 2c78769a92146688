"""A secondary capture of a workstation's screen, as many nuclear medicine studies carry one."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import SecondaryCaptureImageStorage

from analyzers.phantoms.nuclear_headers import NuclearSeries, study_text
from analyzers.phantoms.request import PhantomRequest
from analyzers.phantoms.study import PhantomInstance, study_header


def screen_instance(
    request: PhantomRequest, series: NuclearSeries, counts: Mapping[str, NDArray[np.uint16]]
) -> PhantomInstance:
    """All views side by side in inverse grey; Modality stays NM, as workstations write it."""
    images = [image[0].astype(np.float32) for image in counts.values()]
    grey = [255.0 * (1.0 - np.clip(image / max(float(image.max()), 1.0), 0, 1)) for image in images]
    screen = np.concatenate(grey, axis=1).astype(np.uint8)
    if screen.shape[1] % 2:
        screen = np.pad(screen, ((0, 0), (0, 1)), constant_values=255)
    ds = study_header(request, study_text(request))
    ds.SOPClassUID = SecondaryCaptureImageStorage
    ds.SOPInstanceUID = request.uid("instance", "screen")
    ds.SeriesInstanceUID = request.uid("series", "screen")
    ds.ImageType = ["DERIVED", "SECONDARY", "SCREEN SAVE"]
    ds.Modality = "NM"
    ds.ConversionType = "WSD"
    ds.SeriesNumber = 90
    ds.InstanceNumber = 1
    ds.SeriesDescription = "RESULTS SCREEN"
    for name in ("Series", "Content"):
        setattr(ds, f"{name}Date", series.begun_at.strftime("%Y%m%d"))
        setattr(ds, f"{name}Time", series.begun_at.strftime("%H%M%S"))
    ds.Manufacturer = "Phantom Medical"
    ds.BodyPartExamined = "ABDOMEN"
    ds.PatientOrientation = None
    ds.BurnedInAnnotation = "YES"
    ds.Rows, ds.Columns = screen.shape
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    ds.PixelData = screen.tobytes()
    ds["PixelData"].VR = "OW"
    return PhantomInstance(folder="series90", stem="image001", dataset=ds)
