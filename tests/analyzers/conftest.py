"""What tests of several analyzer modules share."""

from __future__ import annotations

import pytest

from tests.analyzers.scintigraphy_studies import Made, study_maker


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Scintigraphy phantoms as lists of DICOM objects; each is made once and read anew for each test."""
    return study_maker(tmp_path_factory.mktemp("phantoms"))
