"""A matplotlib figure as pixels, the same bytes for the same figure."""

from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray


def rendered(figure: Figure) -> NDArray[np.uint8]:
    """Pixels of a figure, shape (rows, columns, 3)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib's Agg canvas carries no types here
    rgba = np.asarray(canvas.buffer_rgba(), np.uint8)  # type: ignore[no-untyped-call]  # likewise
    return np.ascontiguousarray(rgba[..., :3])
