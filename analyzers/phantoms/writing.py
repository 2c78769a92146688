"""Writes a phantom study: DICOM files, truth and masks, byte for byte the same each time."""

import gzip
import hashlib
import json
import struct
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from analyzers.phantoms.request import PhantomError, PhantomRequest
from analyzers.phantoms.study import Json, PhantomStudy, TruthMask

# Fixed here, so that files do not change with the version of the writing library.
_IMPLEMENTATION_CLASS_UID = UID("2.25.147716394201867345061284096402173829461")
_IMPLEMENTATION_VERSION_NAME = "HAI_PHANTOM_1"


def write_study(request: PhantomRequest, study: PhantomStudy, out: Path) -> int:
    """Write ``dicom/``, ``masks/`` and ``truth.json`` below a folder.

    Parameters
    ----------
    request : PhantomRequest
        What the study was made from; recorded in the truth.
    study : PhantomStudy
        Its instances are consumed.
    out : Path
        New or empty folder.

    Returns
    -------
    int
        Number of DICOM files.

    Raises
    ------
    PhantomError
        If the folder holds something already.
    """
    check_folder(out)
    count = 0
    for instance in study.instances:
        _write_instance(out / "dicom" / _file_name(request, instance.folder, instance.stem), instance.dataset)
        count += 1
    (out / "masks").mkdir(parents=True, exist_ok=True)
    for name, mask in study.masks.items():
        (out / "masks" / f"{name}.nii.gz").write_bytes(nifti_bytes(mask))
    truth = json.dumps(_truth(request, study), indent=1, ensure_ascii=False)
    (out / "truth.json").write_text(truth + "\n", encoding="utf-8")
    return count


def check_folder(out: Path) -> None:
    """Refuse a folder that holds something already.

    Raises
    ------
    PhantomError
        If it does, or is a file.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PhantomError(f"{out} is not an empty folder: name a new one.")


def _file_name(request: PhantomRequest, folder: str, stem: str) -> Path:
    """Where an instance goes, below ``dicom``."""
    if not request.has("shuffled-names"):
        return Path(folder) / f"{stem}.dcm"

    def hidden(text: str) -> str:
        return hashlib.sha256(f"{request.seed}|{text}".encode()).hexdigest()[:12]

    return Path(hidden(folder)) / f"{hidden(folder + '/' + stem)}.dcm"


def _write_instance(path: Path, dataset: Dataset) -> None:
    """Write one DICOM file with fixed meta information."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        raise PhantomError(f"Two instances of the phantom share the file name {path.name}.")
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = _IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = _IMPLEMENTATION_VERSION_NAME
    dataset.file_meta = meta
    dataset.save_as(path, enforce_file_format=True)


def _truth(request: PhantomRequest, study: PhantomStudy) -> dict[str, Json]:
    """The content of ``truth.json``."""
    return {
        "schema": "hai-truth/1",
        "kind": request.kind,
        "seed": request.seed,
        "variants": list(request.variants),
        "size": request.size,
        "model": request.model,
        "study_instance_uid": request.uid("study"),
        "measurements": [measurement.as_json() for measurement in study.measurements],
        "structures": dict(study.structures),
        **{name: list(items) for name, items in study.lists.items()},
    }


def nifti_bytes(mask: TruthMask) -> bytes:
    """Encode a mask as gzip-compressed NIfTI-1.

    Written by hand because a tilted gantry's grid is sheared: the usual image libraries refuse such an
    affine, the format does not. NIfTI's patient frame is RAS, so the first two rows of the LPS affine
    change sign.
    """
    voxels = np.ascontiguousarray(mask.mask_zyx, dtype=np.uint8)
    nz, ny, nx = voxels.shape
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(mask.affine_lps_mm, dtype=np.float64)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, nx, ny, nz, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 2, 8)  # unsigned byte, 8 bits
    struct.pack_into("<8f", header, 76, 1.0, *spacing, 1.0, 1.0, 1.0, 1.0)
    struct.pack_into("<3f", header, 108, 352.0, 1.0, 0.0)
    header[123] = 2  # mm
    struct.pack_into("<2h", header, 252, 0, 1)  # only the s-form, scanner-anatomical
    struct.pack_into("<12f", header, 280, *affine[:3].ravel())
    header[344:348] = b"n+1\0"
    return gzip.compress(bytes(header) + voxels.tobytes(), compresslevel=6, mtime=0)
