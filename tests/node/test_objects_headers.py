"""What the objects inherit: the newest identity to the byte, and nothing illegal, whatever the images say."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import config, dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import NuclearMedicineImageStorage, SecondaryCaptureImageStorage

from analyzers.contract import Assessed
from scp_node.domain.identifiers import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from scp_node.domain.study import Identity
from scp_node.objects.encoding import file_bytes, make_objects, setting_of
from scp_node.objects.plain_text import plain
from tests.node.object_sources import ball, header, identity, order, planar_nm, save, segment, slices
from tests.node.object_validation import complaints

SHAPE = (4, 24, 32)
TYPE_2 = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
NAMES = {
    "latin-1": ("ISO_IR 100", "Müller^Jörg", b"M\xfcller^J\xf6rg"),
    "japanese": (
        "\\ISO 2022 IR 87",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
    ),
    "chinese": ("GB18030", "Wang^XiaoDong=王^小东", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab"),
    "utf-8": ("ISO_IR 192", "Ångström^Zoë=王^小东", "Ångström^Zoë=王^小东".encode()),
}


def objects_of(images: list[Dataset], who: Identity, folder: Path, **changes: object) -> list[Dataset]:
    study = save(images, folder / "study")
    segments = (segment("liver", ball(SHAPE, (2, 12, 14), 5), images),) if len(images) == SHAPE[0] else ()
    result = Assessed(conclusion="Seen.", findings=(), measurements=(), segments=segments)
    made = make_objects(setting_of(order(study, identity=who, **changes)), result, [])
    return [each.dataset for each in made]


def spoilt(images: list[Dataset], keyword: str, vr: str, value: str) -> list[Dataset]:
    for image in images:
        image[keyword] = DataElement(keyword, vr, value, validation_mode=config.IGNORE)
    return images


@pytest.mark.parametrize("script", NAMES)
def test_a_name_keeps_its_bytes_in_every_object(tmp_path: Path, script: str) -> None:
    character_set, name, encoded = NAMES[script]
    who = identity(patient_name=name, character_set=character_set)
    images = slices(4, who=who)

    for dataset in objects_of(images, who, tmp_path):
        written = file_bytes(dataset)
        assert encoded in written
        path = tmp_path / "object.dcm"
        path.write_bytes(written)
        read = dcmread(path)
        assert str(read.PatientName) == name
        assert complaints(dataset, tmp_path) == []
    assert encoded in (tmp_path / "study" / "00000").read_bytes()


def test_a_text_that_does_not_fit_the_character_set_of_the_name_is_not_lost(tmp_path: Path) -> None:
    who = identity(patient_name="Müller^Jörg", character_set="ISO_IR 100", study_description="肝臓")

    for dataset in objects_of(slices(4), who, tmp_path):
        path = tmp_path / "object.dcm"
        path.write_bytes(file_bytes(dataset))
        read = dcmread(path)
        assert (str(read.PatientName), read.StudyDescription) == ("Müller^Jörg", "肝臓")
        assert read.SpecificCharacterSet == "ISO_IR 192"


def test_an_unknown_character_set_becomes_utf_8(tmp_path: Path) -> None:
    who = identity(patient_name="Müller^Jörg", character_set="KLINGON")

    for dataset in objects_of(slices(4), who, tmp_path):
        assert dataset.SpecificCharacterSet == "ISO_IR 192"
        assert complaints(dataset, tmp_path) == []


def test_the_newest_identity_overrules_the_images(tmp_path: Path) -> None:
    images = slices(4)
    corrected = identity(patient_name="Miller^Joe", patient_id="P-2", accession_number="ACC2", patient_sex="M")

    for dataset in objects_of(images, corrected, tmp_path):
        assert (dataset.PatientID, str(dataset.PatientName)) == ("P-2", "Miller^Joe")
        assert (dataset.AccessionNumber, dataset.PatientSex) == ("ACC2", "M")


def test_identifiers_of_another_patient_are_not_inherited(tmp_path: Path) -> None:
    images = slices(4)
    for image in images:
        other = Dataset()
        other.PatientID = "OTHER"
        other.TypeOfPatientID = "TEXT"
        image.OtherPatientIDsSequence = [other]

    kept = objects_of(images, identity(), tmp_path)
    dropped = objects_of(images, identity(patient_id="P-2"), tmp_path)

    assert all(each.OtherPatientIDsSequence[0].PatientID == "OTHER" for each in kept)
    assert not any("OtherPatientIDsSequence" in each for each in dropped)


@pytest.mark.parametrize("keyword", TYPE_2)
def test_an_absent_type_2_attribute_is_empty_in_every_object(tmp_path: Path, keyword: str) -> None:
    images = slices(4)
    for image in images:
        del image[keyword]
    fields = {
        "PatientID": "patient_id",
        "PatientName": "patient_name",
        "PatientBirthDate": "patient_birth_date",
        "PatientSex": "patient_sex",
        "AccessionNumber": "accession_number",
        "StudyID": "study_id",
        "StudyDate": "study_date",
        "StudyTime": "study_time",
        "ReferringPhysicianName": "referring_physician",
    }

    for dataset in objects_of(images, identity(**{fields[keyword]: ""}), tmp_path):
        assert keyword in dataset
        assert not dataset[keyword].value
    assert complaints(dataset, tmp_path) == []


@pytest.mark.parametrize(
    ("field", "keyword", "value"),
    [
        ("patient_birth_date", "PatientBirthDate", "1960"),
        ("patient_sex", "PatientSex", "U"),
        ("patient_sex", "PatientSex", "female"),
        ("study_time", "StudyTime", "25"),
        ("study_date", "StudyDate", "2026-01-02"),
    ],
)
def test_an_illegal_value_becomes_empty(tmp_path: Path, field: str, keyword: str, value: str) -> None:
    images = spoilt(slices(4), keyword, "CS" if field == "patient_sex" else "DA" if "date" in field else "TM", value)

    for dataset in objects_of(images, identity(**{field: value}), tmp_path):
        assert not dataset[keyword].value
        assert complaints(dataset, tmp_path) == []


@pytest.mark.parametrize(
    ("keyword", "vr", "value"),
    [("PatientAge", "AS", "65"), ("PatientWeight", "DS", "heavy"), ("TimezoneOffsetFromUTC", "SH", "summer time, now")],
)
def test_an_illegal_optional_value_is_left_out(tmp_path: Path, keyword: str, vr: str, value: str) -> None:
    images = slices(4)
    for image in images:
        image[keyword] = DataElement(keyword, "LO" if vr == "DS" else vr, value, validation_mode=config.IGNORE)

    for dataset in objects_of(images, identity(), tmp_path):
        assert keyword not in dataset
        assert dataset.ContentTime == "130000"


def test_times_follow_the_offset_that_the_images_name(tmp_path: Path) -> None:
    images = slices(4)
    for image in images:
        image.TimezoneOffsetFromUTC = "-0500"

    for dataset in objects_of(images, identity(), tmp_path):
        assert dataset.TimezoneOffsetFromUTC == "-0500"
        assert (dataset.ContentDate, dataset.ContentTime) == ("20260102", "070000")
        assert (dataset.SeriesTime, dataset.InstanceCreationTime) == ("070000", "070000")


def test_no_time_comes_from_the_clock(tmp_path: Path) -> None:
    for dataset in objects_of(slices(4), identity(), tmp_path):
        for element in dataset.iterall():
            if element.VR in ("DA", "DT") and element.value and element.keyword != "PatientBirthDate":
                assert str(element.value).startswith("20260102")


def test_the_objects_of_one_series_agree_on_its_time(tmp_path: Path) -> None:
    times: dict[str, set[tuple[str, str]]] = {}
    for dataset in objects_of(slices(4), identity(), tmp_path):
        times.setdefault(dataset.SeriesInstanceUID, set()).add((dataset.SeriesDate, dataset.SeriesTime))

    assert all(len(each) == 1 for each in times.values())


def test_deidentification_is_handed_on(tmp_path: Path) -> None:
    images = slices(4)
    for image in images:
        image.PatientIdentityRemoved = "YES"
        image.DeidentificationMethod = "Basic profile"
        image.LongitudinalTemporalInformationModified = "MODIFIED"

    for dataset in objects_of(images, identity(patient_name="ANON^"), tmp_path):
        assert (dataset.PatientIdentityRemoved, dataset.DeidentificationMethod) == ("YES", "Basic profile")
        assert dataset.LongitudinalTemporalInformationModified == "MODIFIED"
        assert complaints(dataset, tmp_path) == []


def test_objects_bear_the_name_by_which_this_software_calls(tmp_path: Path) -> None:
    for made in objects_of(slices(4), identity(), tmp_path):
        meta = made.file_meta
        assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
        assert meta.ImplementationVersionName == IMPLEMENTATION_VERSION_NAME


def test_no_object_has_an_empty_laterality(tmp_path: Path) -> None:
    for dataset in objects_of(slices(4), identity(), tmp_path):
        assert "Laterality" not in dataset


def test_nuclear_pictures_in_the_class_of_secondary_captures_are_answered(tmp_path: Path) -> None:
    image = planar_nm()
    image.SOPClassUID = SecondaryCaptureImageStorage

    for dataset in objects_of([image], identity(), tmp_path):
        assert complaints(dataset, tmp_path) == []


def test_a_private_sop_class_among_the_images_does_no_harm(tmp_path: Path) -> None:
    images = [*slices(2), header("NM", "1.2.840.113619.4.30", 99, 1)]

    for dataset in objects_of(images, identity(), tmp_path):
        assert complaints(dataset, tmp_path) == []


def test_other_files_in_the_study_folder_are_left_aside(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "notes.txt").write_text("no images here", encoding="utf-8")
    (folder / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 200)
    foreign = header("NM", NuclearMedicineImageStorage, 3, 1)
    foreign.StudyInstanceUID = "1.2.3.4"
    save([foreign], folder / "foreign")

    setting = setting_of(order(save(slices(2), folder)))

    assert list(setting.study.images) == [image.SOPInstanceUID for image in slices(2)]
    assert setting.study.unreadable_count == 2


def test_file_names_change_nothing(tmp_path: Path) -> None:
    first = save(slices(4), tmp_path / "first")
    second = save(reversed(slices(4)), tmp_path / "second")
    result = Assessed(conclusion="Seen.", findings=(), measurements=())

    made = [
        [file_bytes(each.dataset) for each in make_objects(setting_of(replace(order(folder))), result, [])]
        for folder in (first, second)
    ]

    assert made[0] == made[1]


def test_a_study_of_malformed_files_is_still_answered(real_data_dir: Path) -> None:
    corpus = real_data_dir / "malformed"
    if not corpus.is_dir():
        pytest.skip(f"no malformed files: {corpus} is not a folder")
    asked = order(corpus, failure="the analyzer ended with an error")

    setting = setting_of(asked)

    assert setting.study.unreadable_count > 0
    assert len(make_objects(setting, None, [])) == 2


@given(st.text(max_size=80))
def test_a_generated_sentence_is_plain_ascii_on_one_line(text: str) -> None:
    sentence = plain(text)

    assert sentence.isascii()
    assert sentence.isprintable()
    assert plain(sentence) == sentence
    assert len(plain(text, 20)) <= 20


@pytest.mark.parametrize(
    ("written", "spelled"),
    [("≥ 5 mm", ">= 5 mm"), ("Größe", "Grosse"), ("a\tb\nc", "a b c"), ("25 ± 3 µm", "25 +/- 3 um"), ("肝", "?")],
)
def test_signs_are_spelled(written: str, spelled: str) -> None:
    assert plain(written) == spelled
