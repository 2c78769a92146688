"""What the montages need of libraries, without what these would import besides."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from cmcrameri import cm

from analyzers.scintigraphy.pages import colour_map


@pytest.mark.parametrize("name", ["batlow", "lajolla"])
def test_a_colour_map_is_the_one_that_its_package_makes(name: str) -> None:
    shades = np.linspace(0.0, 1.0, 300)

    np.testing.assert_array_equal(colour_map(name)(shades), getattr(cm, name)(shades))


@pytest.mark.parametrize("module", ["matplotlib.pyplot", "scipy.signal", "scipy.stats", "SimpleITK"])
def test_a_planar_study_does_not_wait_for_what_it_does_not_need(module: str) -> None:
    program = f"import analyzers.__main__, analyzers.scintigraphy, sys; sys.exit({module!r} in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
