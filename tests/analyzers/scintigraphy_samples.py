"""Synthetic projections with known counts for tests of the scintigraphy analyzer: simple shapes, no physics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers import vocabulary
from analyzers.contract import Code, FrameRef, FrameSummary, InstanceSummary, SeriesSummary, StudySummary
from analyzers.volume import LoadedSeries, PlanarView

PIXEL_MM = 4.8
SHAPE = (128, 128)
TC_99M = {"RadiopharmaceuticalInformationSequence.RadionuclideCodeSequence": (vocabulary.TECHNETIUM_99M,)}
NM_CLASS = "1.2.840.10008.5.1.4.1.1.20"


def instance(
    *,
    uid: str = "1.2.3",
    series: str = "1.2",
    kind: str = "STATIC",
    modality: str = "NM",
    attributes: Mapping[str, tuple[str, ...]] | None = None,
    codes: Mapping[str, tuple[Code, ...]] | None = None,
    detectors: Sequence[str] = ("1", "2"),
    windows: Sequence[str] = ("1", "1"),
    sop_class: str = NM_CLASS,
) -> InstanceSummary:
    """A header with as many frames as detectors are named."""
    return InstanceSummary(
        study_instance_uid="1",
        series_instance_uid=series,
        sop_instance_uid=uid,
        sop_class_uid=sop_class,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        modality=modality,
        rows=SHAPE[0],
        columns=SHAPE[1],
        attributes={"ImageType": ("ORIGINAL", "PRIMARY", kind, "EMISSION"), **(attributes or {})},
        codes=TC_99M if codes is None else codes,
        frames=tuple(
            FrameSummary(frame=number, attributes={"DetectorVector": (detector,), "EnergyWindowVector": (window,)})
            for number, (detector, window) in enumerate(zip(detectors, windows, strict=True), start=1)
        ),
    )


def study(*instances: InstanceSummary) -> StudySummary:
    """A study of these headers, by series."""
    by_series: dict[str, list[InstanceSummary]] = {}
    for header in instances:
        by_series.setdefault(header.series_instance_uid, []).append(header)
    return StudySummary(
        study_instance_uid="1",
        series=tuple(
            SeriesSummary(series_instance_uid=uid, modality=members[0].modality, instances=tuple(members))
            for uid, members in by_series.items()
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Counts of a flat patient seen from in front; from behind the same, mirrored.

    Every organ is a blurred ellipse that holds a given number of counts; the left lobe and the right one are apart.
    """

    right_lobe_counts: float = 700_000.0
    left_lobe_counts: float = 150_000.0
    lung_counts: float = 60_000.0
    background_per_pixel: float = 1.0
    foci: tuple[tuple[float, float, float, float], ...] = ()
    """Row, column, radius in pixels, counts."""
    pixel_mm: float = PIXEL_MM
    left_lobe_column: float = 66.0

    def expected_yx(self) -> NDArray[np.float64]:
        """Expected counts of the anterior view."""
        image = np.zeros(SHAPE)
        image += ellipse(82, 46, 15, 13, self.right_lobe_counts)
        image += ellipse(76, self.left_lobe_column, 8, 13, self.left_lobe_counts)
        image += ellipse(45, 46, 22, 10, self.lung_counts * 0.55)
        image += ellipse(45, 82, 22, 9, self.lung_counts * 0.45)
        for row, column, radius, counts in self.foci:
            image += ellipse(row, column, radius, radius, counts)
        return np.asarray(ndimage.gaussian_filter(image, 1.6) + self.background_per_pixel, np.float64)


def ellipse(row: float, column: float, half_rows: float, half_columns: float, counts: float) -> NDArray[np.float64]:
    """A uniform ellipse with a total."""
    y, x = np.indices(SHAPE)
    inside = ((y - row) / half_rows) ** 2 + ((x - column) / half_columns) ** 2 <= 1.0
    return np.asarray(inside * (counts / max(int(inside.sum()), 1)), np.float64)


def views_of(scene: Scene, seed: int = 1, **changes: object) -> tuple[PlanarView, PlanarView]:
    """Anterior and posterior view with Poisson noise, in one object; ``changes`` apply to both."""
    rng = np.random.default_rng(seed)
    expected = scene.expected_yx()
    front = rng.poisson(expected).astype(np.float32)
    back = rng.poisson(expected[:, ::-1]).astype(np.float32)
    return (
        view(front, "anterior", frame=1, pixel_mm=scene.pixel_mm, **changes),
        view(back, "posterior", frame=2, pixel_mm=scene.pixel_mm, **changes),
    )


def view(
    counts: NDArray[np.float32],
    direction: str,
    *,
    frame: int = 1,
    pixel_mm: float | None = PIXEL_MM,
    **changes: object,
) -> PlanarView:
    """One view; fields that tests vary may be given."""
    given: dict[str, object] = {
        "direction_from": "view code" if direction else "",
        "energy_window": 1,
        "window_kev": (126.0, 154.0),
        "duration_s": 300.0,
        **changes,
    }
    return PlanarView(
        counts=counts,
        frame=FrameRef(sop_instance_uid="1.2.3", frame=frame),
        series_instance_uid="1.2",
        header=instance(),
        direction=direction,
        spacing_row_col_mm=None if pixel_mm is None else (pixel_mm, pixel_mm),
        **given,  # type: ignore[arg-type]  # what a test varies is its own business
    )


def loaded(*views: PlanarView, header: InstanceSummary | None = None) -> LoadedSeries:
    """A series of views."""
    return LoadedSeries(series=study(header or instance()).series[0], views=views)
