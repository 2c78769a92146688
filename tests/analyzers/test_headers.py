"""Header summaries: tolerant, bounded, without identity."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.sequence import Sequence as DicomSequence

from analyzers import headers
from analyzers.contract import Code, InstanceSummary
from analyzers.elements import UNREADABLE
from analyzers.frames import MAX_FRAMES
from analyzers.headers import instance_summary, is_stand_in, study_summary
from analyzers.loading import open_study
from tests.analyzers import dicom_samples as sample

EXPLICIT = "1.2.840.10008.1.2.1"


def summary_of(dataset: Dataset) -> InstanceSummary:
    return instance_summary(dataset, EXPLICIT)


def test_values_codes_and_nested_paths_are_read() -> None:
    dataset = sample.ct_slice(0.0)
    dataset.RequestedProcedureCodeSequence = sample.code("RPID5457", "RADLEX", "NM Abdomen Perfusion Liver MAA")
    request = Dataset()
    request.ScheduledProcedureStepDescription = "HAI pump"
    request.RequestedProcedureCodeSequence = sample.code("X1", "99LOCAL")
    dataset.RequestAttributesSequence = DicomSequence([request])

    summary = summary_of(dataset)

    assert summary.attributes["ImageType"] == ("ORIGINAL", "PRIMARY", "AXIAL")
    assert summary.codes["RequestedProcedureCodeSequence"] == (
        Code(value="RPID5457", scheme="RADLEX", meaning="NM Abdomen Perfusion Liver MAA"),
    )
    assert summary.text("RequestAttributesSequence.ScheduledProcedureStepDescription") == "HAI pump"
    assert summary.codes["RequestAttributesSequence.RequestedProcedureCodeSequence"][0].value == "X1"
    assert summary.number("SliceThickness") == 2.5
    assert summary.frames[0].position_lps_mm == (-10.0, -20.0, 0.0)


def test_text_in_another_character_set_is_read(tmp_path: Path) -> None:
    dataset = sample.ct_slice(0.0)
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.SeriesDescription = "Rücken"
    path = tmp_path / "a.dcm"
    dataset.save_as(path, enforce_file_format=True)

    assert summary_of(pydicom.dcmread(path)).text("SeriesDescription") == "Rücken"


def test_a_summary_names_no_patient() -> None:
    dataset = sample.ct_slice(0.0)
    dataset.PatientBirthDate, dataset.AccessionNumber = "19600101", "ACC77"
    dataset.InstitutionName, dataset.ReferringPhysicianName = "ST ELSEWHERE", "DOE^JANE"

    text = repr(summary_of(dataset))

    assert not [secret for secret in ("PHANTOM", "P1'", "19600101", "ACC77", "ELSEWHERE", "DOE") if secret in text]


@pytest.mark.parametrize(
    ("keyword", "raw"),
    [
        ("ImagePositionPatient", b"1\\2"),
        ("ImagePositionPatient", b"1\\2\\x "),
        ("ImagePositionPatient", b"1\\2\\nan "),
        ("ImageOrientationPatient", b"0\\0\\0\\0\\0\\0 "),
        ("ImageOrientationPatient", b"1\\0\\0\\1\\0\\0 "),
        ("PixelSpacing", b"0\\1 "),
        ("SliceThickness", b"-3"),
    ],
)
def test_impossible_geometry_is_left_out(tmp_path: Path, keyword: str, raw: bytes) -> None:
    dataset = sample.ct_slice(0.0)
    path = tmp_path / "a.dcm"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        setattr(dataset, keyword, None)
        dataset[keyword]._value = raw.decode()
        dataset.save_as(path, enforce_file_format=True)

    frame = summary_of(pydicom.dcmread(path)).frames[0]

    value = {
        "ImagePositionPatient": frame.position_lps_mm,
        "ImageOrientationPatient": frame.orientation,
        "PixelSpacing": frame.spacing_row_col_mm,
        "SliceThickness": frame.slice_thickness_mm,
    }[keyword]
    assert value is None


def test_uids_of_the_file_meta_information_stand_in_for_empty_ones() -> None:
    dataset = sample.ct_slice(0.0)
    wanted = str(dataset.SOPInstanceUID)
    dataset.SOPInstanceUID = dataset.SOPClassUID = ""

    summary = summary_of(dataset)

    assert (summary.sop_instance_uid, summary.sop_class_uid) == (wanted, sample.CT_IMAGE)


def test_frames_of_nuclear_medicine_carry_window_detector_and_view() -> None:
    dataset = sample.spect(np.zeros((3, 4, 4), int), first_z_mm=100.0, step_mm=-4.0)
    dataset.DetectorInformationSequence[0].ViewCodeSequence = sample.code("399321004")
    dataset.EnergyWindowInformationSequence = DicomSequence([sample.energy_window(126.0, 154.0)])

    third = summary_of(dataset).frames[2]

    assert third.position_lps_mm == (-10.0, -20.0, 92.0)
    assert third.attributes["SliceVector"] == ("3",)
    assert third.attributes["EnergyWindowUpperLimit"] == ("154.0",)
    assert third.codes["ViewCodeSequence"][0].value == "399321004"


def test_private_b_values_of_older_scanners_are_read() -> None:
    siemens, ge, philips = (sample.mr_slice(0.0) for _ in range(3))
    siemens.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0C, "IS", "800")
    ge.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x39, "IS", [1000000400, 8, 0, 0])
    philips.private_block(0x2001, "Philips Imaging DD 001", create=True).add_new(0x03, "FL", 50.0)

    found = [summary_of(dataset).number("DiffusionBValue") for dataset in (siemens, ge, philips)]

    assert found == [800.0, 400.0, 50.0]


@pytest.mark.parametrize("claimed", [2_000_000_000, 0, -5])
def test_a_claimed_number_of_frames_is_not_believed_beyond_reason(claimed: int) -> None:
    dataset = sample.mr_slice(0.0)
    dataset.NumberOfFrames = claimed

    assert 1 <= len(summary_of(dataset).frames) <= MAX_FRAMES


def test_series_are_ordered_by_number_and_instances_by_uid() -> None:
    datasets = []
    for series, number in (("late", 9), ("early", 2)):
        for z in (0.0, 1.0, 2.0):
            dataset = sample.ct_slice(z, series=series)
            dataset.SeriesNumber = number
            datasets.append(dataset)

    study = study_summary(summary_of(dataset) for dataset in datasets)

    assert [one.series_instance_uid for one in study.series] == [sample.uid("series", s) for s in ("early", "late")]
    uids = [instance.sop_instance_uid for instance in study.series[0].instances]
    assert uids == sorted(uids)
    assert study_summary([]).series == ()


def test_hostile_files_are_summarised_or_ignored_but_never_raise(real_data_dir: Path) -> None:
    folder = real_data_dir / "malformed"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent")
    read = 0
    for path in sorted(folder.rglob("*.dcm")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                dataset = pydicom.dcmread(path, stop_before_pixels=True)
            except (*UNREADABLE, InvalidDicomError):
                continue
        assert set(summary_of(dataset).attributes) <= set(headers.ATTRIBUTES)
        read += 1

    assert read > 100


def test_a_folder_of_hostile_files_is_loaded_or_refused_in_words(real_data_dir: Path, tmp_path: Path) -> None:
    folder = real_data_dir / "malformed"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent")
    refusals = 0
    for number, path in enumerate(sorted(folder.rglob("cat0[459]*/*.dcm"))):
        one = tmp_path / str(number)
        one.mkdir()
        (one / "a.dcm").symlink_to(path)
        try:
            study = open_study(one)
        except ValueError:
            continue
        for series in study.summary.series:
            refusals += len(study.load(series.series_instance_uid).refusals)

    assert refusals > 0


def test_a_study_without_uids_gets_the_same_stand_ins_for_all_its_images() -> None:
    def silent(number: int, series: str) -> InstanceSummary:
        dataset = Dataset()
        dataset.SOPInstanceUID = f"1.2.3.{number}"
        dataset.StudyInstanceUID = dataset.SeriesInstanceUID = ""
        dataset.StudyDate, dataset.StudyDescription, dataset.SeriesDescription = "20260101", "CT", series
        return instance_summary(dataset, "1.2.840.10008.1.2.1")

    one, two, other = silent(1, "arterial"), silent(2, "arterial"), silent(3, "portal")
    assert is_stand_in(one.study_instance_uid)
    assert one.study_instance_uid == two.study_instance_uid == other.study_instance_uid
    assert one.series_instance_uid == two.series_instance_uid != other.series_instance_uid
    assert len(one.series_instance_uid) <= 64
