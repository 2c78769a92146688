"""Real studies of others load where, and with the values, that independent readers find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK

from analyzers.loading import open_study
from analyzers.volume import Volume
from tests.analyzers import real_data


def only_volume(folder: Path, modality: str, description: str = "") -> Volume:
    study = open_study(folder)
    (series,) = [one for one in study.summary.series if one.modality == modality and description in one.description]
    loaded = study.load(series.series_instance_uid)
    assert loaded.refusals == ()
    (volume,) = loaded.volumes
    return volume


def needed(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path} is absent")
    return path


def itk_volume(folder: Path) -> Any:
    """Read with GDCM: an independent decoder, for folders that hold one plain series."""
    itk: Any = SimpleITK
    reader = itk.ImageSeriesReader()
    names = sorted(str(path) for path in folder.iterdir())
    headers = []
    for name in names:
        one = itk.ImageFileReader()
        one.SetFileName(name)
        one.ReadImageInformation()
        headers.append((one.GetOrigin()[2], name))
    reader.SetFileNames([name for _, name in sorted(headers)])
    return reader.Execute()


def test_jpeg_2000_slices_decode_and_lie_as_another_reader_says(real_data_dir: Path) -> None:
    folder = needed(real_data_dir / "ct_j2k")

    volume = only_volume(folder, "CT")

    image = itk_volume(folder / "dicom")
    assert np.array_equal(volume.voxels_zyx, SimpleITK.GetArrayFromImage(image).astype(np.float32))
    assert np.allclose(volume.affine_lps[:3, 3], image.GetOrigin(), atol=1e-3)
    assert volume.spacing_zyx_mm == pytest.approx(image.GetSpacing()[::-1], abs=1e-3)
    labels: Any = nibabel.nifti1.Nifti1Image.from_filename(folder / "labels.nii.gz")
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine_lps
    corners = np.array([[0, 0, 0, 1], [511, 0, 0, 1], [0, 511, 0, 1], [0, 0, 19, 1]]).T
    found = np.sort((ras @ corners)[2]), np.sort((labels.affine @ corners)[2])
    assert np.allclose(*found, atol=0.01)


def test_pet_ct_loads_with_padding_scout_and_one_frame_of_reference(real_data_dir: Path) -> None:
    folder = needed(real_data_dir / "petct")
    study = open_study(folder)
    (scout,) = [series for series in study.summary.series if series.description == "SCOUT"]

    ct, pet = only_volume(folder, "CT", "CT IMAGES"), only_volume(folder, "PT", "PET AC")

    assert study.load(scout.series_instance_uid).refusals == ("1 localizer image left out",)
    assert ct.spacing_zyx_mm == pytest.approx((3.27, 0.976562, 0.976562), abs=1e-4)
    assert ct.padding_zyx is not None
    # The corners outside the circle of reconstruction: 1 - pi / 4.
    assert ct.padding_zyx.mean() == pytest.approx(1.0 - np.pi / 4.0, abs=0.01)
    assert ct.voxels_zyx.min() >= -1024.0
    assert ct.frame_of_reference_uid == pet.frame_of_reference_uid
    head_mm = [(one.affine_lps @ [0.0, 0.0, len(one.planes) - 1, 1.0])[2] for one in (ct, pet)]
    assert head_mm[0] == pytest.approx(head_mm[1], abs=3.3)


@pytest.mark.parametrize(
    ("file", "modality"),
    [("organs/ct.nii.gz", "CT"), ("organs/mr.nii.gz", "MR"), ("cta_aorta/ct_cropped.nii.gz", "CT")],
)
def test_wrapped_volumes_come_back_voxel_for_voxel(
    real_data_dir: Path, tmp_path: Path, file: str, modality: str
) -> None:
    scan = real_data.read_nifti(needed(real_data_dir / file))
    real_data.write_slices(scan, tmp_path, modality, "ABDOMEN")

    volume = only_volume(tmp_path, modality)

    assert np.allclose(volume.affine_lps, scan.affine_lps, atol=1e-3)
    step = float(scan.values_zyx.max()) / 60000.0
    expected = np.maximum(scan.values_zyx, -1024.0 if modality == "CT" else 0.0)
    assert np.allclose(volume.voxels_zyx, expected, atol=max(0.51, step))


def test_a_real_maa_spect_keeps_its_counts_and_its_ratios(real_data_dir: Path, tmp_path: Path) -> None:
    path = needed(real_data_dir / "maa_spect" / "maa_spect.nrrd")
    scan = real_data.read_nrrd(path)
    real_data.write_spect(scan, tmp_path / "spect.dcm", "NM LIVER MAA")

    volume = only_volume(tmp_path, "NM")

    image: Any = SimpleITK.ReadImage(str(path))
    assert volume.voxels_zyx.sum() == pytest.approx(float(SimpleITK.GetArrayFromImage(image).sum()), rel=1e-3)
    peak = np.unravel_index(int(volume.voxels_zyx.argmax()), volume.voxels_zyx.shape)
    itk_peak = np.unravel_index(int(SimpleITK.GetArrayFromImage(image).argmax()), image.GetSize()[::-1])
    found = volume.to_lps_mm(np.array([peak], np.float64))[0]
    wanted = image.TransformIndexToPhysicalPoint([int(index) for index in itk_peak[::-1]])
    assert np.allclose(found, wanted, atol=1e-2)
