"""A matplotlib figure as pixels, the same bytes for the same figure, and the colour maps of the montages."""

from __future__ import annotations

import textwrap
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray


@cache
def colour_map(name: str) -> ListedColormap:
    """One of Crameri's perceptual maps, as ``cmcrameri`` makes it.

    Its table is read without importing the package, which would import all of pyplot and every other map.
    """
    found = find_spec("cmcrameri")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("cmcrameri", name="cmcrameri")
    return ListedColormap(np.loadtxt(Path(found.origin).parent / "cmaps" / f"{name}.txt"), name=name)


def without_axes(axes: Axes) -> None:
    """Hide frame and ticks; matplotlib would lay hidden ticks out all the same."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_axis_off()


def rendered(figure: Figure) -> NDArray[np.uint8]:
    """Pixels of a figure, shape (rows, columns, 3)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib's Agg canvas carries no types here
    rgba = np.asarray(canvas.buffer_rgba(), np.uint8)  # type: ignore[no-untyped-call]  # likewise
    return np.ascontiguousarray(rgba[..., :3])


def wrapped(text: str, columns: int) -> list[str]:
    """Lines of at most so many letters, no number parted from its percent sign; empty without text."""
    return textwrap.wrap(text.replace(" %", "\u00a0%"), columns)
