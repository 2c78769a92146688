"""What holds for every test: no display, no deadlines, and where real studies may be found."""

import os
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import pytest
import structlog
from hypothesis import settings

REPOSITORY = Path(__file__).parents[1]

mpl.use("Agg")

# A property is true or false; how long one example takes depends on who else uses the machine.
settings.register_profile("untimed", deadline=None, print_blob=True)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def real_data_dir() -> Path:
    """Folder of real, public studies: `HAI_REAL_DATA`, or `shared/data` beside the checkout; else skip."""
    named = os.environ.get("HAI_REAL_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real studies: {folder} is not a folder (set HAI_REAL_DATA)")
    return folder


@pytest.fixture(autouse=True)
def _journal_of_its_own() -> Iterator[None]:
    """Take back what a command in this process set up: its journal writes to a stream that the test's end closes."""
    yield
    structlog.reset_defaults()
