"""The tumour-to-normal ratio on a real SPECT with the masks that a reader outlined."""

from __future__ import annotations

import os
from pathlib import Path

import nrrd
import numpy as np
from numpy.typing import NDArray

from analyzers.contract import FrameRef
from analyzers.grid_mask import GridMask
from analyzers.scintigraphy.tumor_ratio import ratios_on_masks
from analyzers.volume import Volume
from tests.analyzers.real_data import read_nrrd
from tests.analyzers.scintigraphy_samples import instance


def real_folder() -> Path | None:
    """The folder with the SPECT, or ``None`` where it is not at hand."""
    named = os.environ.get("HAI_REAL_DATA")
    data = Path(named) if named else Path(__file__).resolve().parents[2].parent / "shared" / "data"
    folder = data / "maa_spect"
    return folder if (folder / "maa_spect.nrrd").is_file() else None


def measured_ratios() -> tuple[tuple[str, float], ...] | None:
    """Name and ratio of both tumours, or ``None`` where the data are not at hand."""
    folder = real_folder()
    if folder is None:
        return None
    scan = read_nrrd(folder / "maa_spect.nrrd")
    spect = Volume(
        voxels_zyx=scan.values_zyx,
        affine_lps=scan.affine_lps,
        planes=tuple(FrameRef(sop_instance_uid="1.2.3", frame=n + 1) for n in range(len(scan.values_zyx))),
        series_instance_uid="1.2",
        header=instance(kind="RECON TOMO"),
    )
    liver, *tumours = readers_masks(folder)
    found = ratios_on_masks(spect, tumours, liver, "a reader's masks")
    return tuple((one.label, one.ratio) for one in found)


def readers_masks(folder: Path) -> tuple[GridMask, GridMask, GridMask]:
    """Liver and both tumours as a reader outlined them, on their own grid."""
    layers, header = nrrd.read(str(folder / "segments.seg.nrrd"))
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(header["space directions"], np.float64)[-3:].T
    affine[:3, 3] = np.asarray(header["space origin"], np.float64)

    def mask(layer: int, value: int, label: str) -> GridMask:
        inside: NDArray[np.bool_] = np.asarray(layers[layer] == value, np.bool_).transpose(2, 1, 0)
        return GridMask(label=label, mask_zyx=inside, affine_lps=affine)

    return mask(1, 1, "liver"), mask(0, 6, "Tumor 1"), mask(0, 7, "Tumor 2")
