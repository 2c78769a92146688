"""The fit of the SPECT/CT focus detector runs, and the committed weights tell its samples apart."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from analyzers.scintigraphy.spect_likelihood import COEFFICIENTS
from tests.analyzers.scintigraphy_spect_calibration import main, samples_of
from tests.analyzers.scintigraphy_spect_cases import drawn_faint_case

SEED = 72_001
"""The first patient of the fit that has two extrahepatic sites."""


def test_a_fit_on_one_patient_names_every_weight_and_the_committed_ones_know_its_foci(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--usual", "0", "--faint", "1", "--phantoms", str(tmp_path)]) == 0

    counted, *lines = capsys.readouterr().out.splitlines()
    peaks, foci = (int(number) for number in re.findall(r"\d+", counted))
    assert 0 < foci < peaks
    named = [re.fullmatch(r"(.*?) +([+-]\d+\.\d\d)", line) for line in lines]
    assert [match.group(1) for match in named if match] == list(COEFFICIENTS)

    samples = samples_of(SEED, drawn_faint_case(SEED), tmp_path)
    assert (len(samples), sum(sample.is_focus for sample in samples)) == (peaks, foci)
    weights = np.asarray(list(COEFFICIENTS.values()), np.float64)
    scores = {of: [float(one.signs @ weights) for one in samples if one.is_focus is of] for of in (True, False)}
    assert min(scores[True]) > 0.0
    assert np.mean(scores[False]) < min(scores[True])
