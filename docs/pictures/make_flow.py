"""Draw the picture of the README from a demonstration: ``python docs/pictures/make_flow.py [demo-out]``.

The way of a study on top, below it what the analyzers answered for the synthetic patients of that demonstration.
"""

# ruff: noqa: INP001 - a script beside its picture, no package
from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

PICTURE = Path(__file__).with_name("flow.png")
INK, NODE, OUTSIDE, ARROW, SOFT = "#17212b", "#0b5394", "#5a6774", "#8c99a6", "#5a6774"
STEPS = (
    ("scanner", "CT, MR, NM", OUTSIDE),
    ("receive", "durable, then\nacknowledged", NODE),
    ("recognise", "routes decide, it waits\nuntil complete", NODE),
    ("analyse", "a child process\nfor each study", NODE),
    ("answer", "SR, SEG, key images", NODE),
    ("PACS", "confirms by storage\ncommitment", OUTSIDE),
)
ARROWS = ("C-STORE", "", "", "", "C-STORE")
PANELS = (
    ("cta/projections-1.png", "CT angiography: pump and catheter", (20, 185, 900, 655)),
    ("cta/planes-1.png", "CT angiography: liver outlined", (362, 40, 1048, 406)),
    ("scintigraphy/planar.png", "Perfusion scintigraphy: liver and lungs", (55, 12, 892, 345)),
)
"""Picture below the demonstration's folder, caption, and the part shown: left, upper, right, lower pixel."""


def main(demo_out: Path) -> None:
    """Draw and save; end with a message when the demonstration has left no such picture."""
    missing = [name for name, _, _ in PANELS if not (demo_out / name).is_file()]
    if missing:
        sys.exit(f"{demo_out} lacks {', '.join(missing)}: run `make demo` first")
    figure = plt.figure(figsize=(16, 5.6), dpi=100, facecolor="white")
    _flow(figure)
    shapes = [(right - left) / (lower - upper) for _, _, (left, upper, right, lower) in PANELS]
    place = {"left": 0.015, "right": 0.985, "bottom": 0.03, "top": 0.56, "wspace": 0.02}
    grid = figure.add_gridspec(1, len(PANELS), width_ratios=shapes, **place)
    for column, (name, caption, part) in enumerate(PANELS):
        _panel(figure.add_subplot(grid[0, column]), demo_out / name, caption, part)
    figure.savefig(PICTURE)


def _flow(figure: Figure) -> None:
    axes = figure.add_axes((0.015, 0.645, 0.97, 0.335))
    axes.set(xlim=(0, len(STEPS)), ylim=(0, 1))
    axes.axis("off")
    box = FancyBboxPatch(
        (1.06, 0.02), 3.88, 0.96, boxstyle="round,pad=0,rounding_size=0.06", fc="#eef4fa", ec="#c9d9e8"
    )
    axes.add_patch(box)
    axes.text(3, 0.87, "HAI node", ha="center", va="center", fontsize=15, color=NODE, weight="bold")
    for index, (title, text, colour) in enumerate(STEPS):
        corner = (index + 0.16, 0.38)
        axes.add_patch(
            FancyBboxPatch(corner, 0.68, 0.3, boxstyle="round,pad=0,rounding_size=0.05", fc=colour, ec="none")
        )
        axes.text(index + 0.5, 0.53, title, ha="center", va="center", fontsize=17, color="white", weight="bold")
        axes.text(index + 0.5, 0.32, text, ha="center", va="top", fontsize=11.5, color=INK, linespacing=1.3)
    for index, label in enumerate(ARROWS):
        style = {"arrowstyle": "-|>", "color": ARROW, "lw": 2.2, "mutation_scale": 18}
        axes.annotate("", (index + 1.15, 0.53), (index + 0.85, 0.53), arrowprops=style)
        axes.text(
            index + (0.94 if index == 0 else 1.06), 0.72, label, ha="center", va="center", fontsize=10.5, color=SOFT
        )
    back = {"arrowstyle": "-|>", "color": ARROW, "lw": 1.6, "mutation_scale": 14, "ls": "--"}
    axes.annotate("", (4.86, 0.44), (5.15, 0.44), arrowprops=back)


def _panel(axes: Axes, picture: Path, caption: str, part: tuple[int, int, int, int]) -> None:
    left, upper, right, lower = part
    axes.imshow(plt.imread(picture)[upper:lower, left:right], interpolation="antialiased", aspect="equal")
    axes.set_title(caption, fontsize=13, color=INK, pad=6)
    axes.axis("off")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-out"))
