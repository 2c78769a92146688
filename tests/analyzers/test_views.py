"""Which way a planar view looks: codes, words in six languages, angles, detectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from analyzers.loading import open_study
from analyzers.views import words_in
from tests.analyzers import dicom_samples as sample


def directions(folder: Path, dataset: Dataset) -> list[tuple[str, str]]:
    study = open_study(sample.write([dataset], folder / "study"))
    views = study.load(study.summary.series[0].series_instance_uid).views
    return [(view.direction, view.direction_from) for view in views]


def two_heads(description: str = "") -> Dataset:
    dataset = sample.planar(np.zeros((2, 4, 4), int), detectors=[1, 2])
    dataset.SeriesDescription = description
    return dataset


def one_head(description: str = "") -> Dataset:
    dataset = sample.planar(np.zeros((1, 4, 4), int), detectors=[1])
    dataset.SeriesDescription = description
    return dataset


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("ANT", ["anterior"]),
        ("WB ANT POST", ["anterior", "posterior"]),
        ("Anterior-Posterior", ["anterior", "posterior"]),
        ("POST/ANT", ["posterior", "anterior"]),
        ("static_ant", ["anterior"]),
        ("Leber von vorn", ["anterior"]),
        ("LAO", ["oblique"]),
        ("ANT/POST/RPO", ["anterior", "posterior", "oblique"]),
        ("oblique antérieure gauche", ["oblique"]),
        ("oblicua posterior derecha", ["oblique"]),
        ("ANT OBL", ["oblique"]),
        ("Statisch ventral/dorsal", ["anterior", "posterior"]),
        ("Aufnahme von hinten", ["posterior"]),
        ("Leber links seitlich", ["left-lateral"]),
        ("vue antérieure", ["anterior"]),
        ("face postérieure", ["posterior"]),
        ("profil droit", ["right-lateral"]),
        ("lat izquierda", ["left-lateral"]),
        ("vista posteriore", ["posterior"]),
        ("laterale destra", ["right-lateral"]),
        ("voorkant", ["anterior"]),
        ("achterzijde", ["posterior"]),
        ("RLAT", ["right-lateral"]),
        ("L LAT", ["left-lateral"]),
        ("Right Lateral", ["right-lateral"]),
        # "post" for "after" is no direction
        ("HAI PUMP PRE/POST", []),
        ("post-op day 3", []),
        ("Post infusion", []),
        ("postoperative", []),
        ("post op ANT", ["anterior"]),
        ("Panto", []),
        ("Distant view", []),
        ("MAA liver lung", []),
    ],
)
def test_words_of_direction(text: str, named: list[str]) -> None:
    assert words_in(text) == named


def test_view_codes_are_trusted_first(tmp_path: Path) -> None:
    dataset = two_heads("ANT/POST")
    dataset.DetectorInformationSequence[0].ViewCodeSequence = sample.code("G-5216", "SNM3")
    dataset.DetectorInformationSequence[1].ViewCodeSequence = sample.code("399321004")

    assert directions(tmp_path, dataset) == [("posterior", "view code"), ("anterior", "view code")]


def test_an_unknown_code_is_read_by_its_meaning(tmp_path: Path) -> None:
    dataset = one_head()
    dataset.DetectorInformationSequence[0].ViewCodeSequence = sample.code("77", "99CAMERA", "Posterior view")

    assert directions(tmp_path, dataset) == [("posterior", "view code")]


def test_words_name_detectors_in_their_order(tmp_path: Path) -> None:
    assert directions(tmp_path, two_heads("Thorax Abdomen dorsal/ventral")) == [
        ("posterior", "text"),
        ("anterior", "text"),
    ]


def test_one_word_does_not_name_two_detectors(tmp_path: Path) -> None:
    dataset = two_heads("ANT")
    for item, angle in zip(dataset.DetectorInformationSequence, ("180", "0"), strict=True):
        item.StartAngle = angle

    assert directions(tmp_path, dataset) == [("anterior", "start angle"), ("posterior", "start angle")]


@pytest.mark.parametrize("angles", [("180", "0"), ("0", "180"), ("178.5", "-1.5")])
def test_the_first_of_two_opposite_detectors_is_above_the_patient(tmp_path: Path, angles: tuple[str, str]) -> None:
    dataset = two_heads()
    for item, angle in zip(dataset.DetectorInformationSequence, angles, strict=True):
        item.StartAngle = angle

    assert directions(tmp_path, dataset) == [("anterior", "start angle"), ("posterior", "start angle")]


@pytest.mark.parametrize(
    ("angle", "direction"),
    [("180", "anterior"), ("0", "posterior"), ("360", "posterior"), ("90", "left-lateral"), ("270", "right-lateral")],
)
def test_the_angle_of_a_lone_view_is_read_by_the_standard(tmp_path: Path, angle: str, direction: str) -> None:
    dataset = one_head()
    dataset.DetectorInformationSequence[0].StartAngle = angle

    assert directions(tmp_path, dataset) == [(direction, "start angle")]


def test_an_oblique_angle_is_neither_from_in_front_nor_from_the_side(tmp_path: Path) -> None:
    dataset = one_head()
    dataset.DetectorInformationSequence[0].StartAngle = "135"

    assert directions(tmp_path, dataset) == [("oblique", "start angle")]


@pytest.mark.parametrize("meaning", ["Left anterior oblique", "right posterior oblique", "RAO", "Oblique"])
def test_an_oblique_view_is_not_known_by_half_of_its_name(tmp_path: Path, meaning: str) -> None:
    coded, told = one_head(), one_head(meaning)
    coded.DetectorInformationSequence[0].ViewCodeSequence = sample.code("X", "99LOCAL", meaning)

    assert directions(tmp_path / "coded", coded) == [("oblique", "view code")]
    assert directions(tmp_path / "told", told) == [("oblique", "text")]


def test_two_silent_detectors_are_front_and_back(tmp_path: Path) -> None:
    assert directions(tmp_path, two_heads()) == [
        ("anterior", "detector number"),
        ("posterior", "detector number"),
    ]


def test_one_silent_view_has_no_direction(tmp_path: Path) -> None:
    assert directions(tmp_path, one_head("Leber")) == [("", "")]


def test_both_energy_windows_of_a_detector_look_the_same_way(tmp_path: Path) -> None:
    dataset = sample.planar(np.zeros((4, 4, 4), int), detectors=[1, 2, 1, 2])
    dataset.EnergyWindowVector = [1, 1, 2, 2]
    dataset.SeriesDescription = "ANT POST"

    assert [direction for direction, _ in directions(tmp_path, dataset)] == [
        "anterior",
        "posterior",
        "anterior",
        "posterior",
    ]
