"""An analyzer for tests of the node: measures honestly and at once, or misbehaves as a file tells it.

It is installed for the node's children as a distribution of its own on ``PYTHONPATH``, exactly like a hospital's
private analyzer would be.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from analyzers import (
    Accept,
    Acceptance,
    Analyzer,
    Assessed,
    Code,
    Complete,
    Expectation,
    Measurement,
    NotAssessable,
    Picture,
    Prior,
    Segment,
    StudyImages,
    StudySummary,
)

BEHAVIOUR = Path(os.environ.get("HAI_PROBE_BEHAVIOUR", "/nonexistent"))
"""A file that holds ``fine``, ``crash``, ``loop``, ``hog``, ``slow`` or ``family``; absent means fine."""
LIVER = Code(value="10200004", scheme="SCT", meaning="Liver")
ANATOMY = Code(value="91723000", scheme="SCT", meaning="Anatomical Structure")
VOLUME = Code(value="118565006", scheme="SCT", meaning="Volume")
MILLILITRE = Code(value="cm3", scheme="UCUM", meaning="cubic centimeter")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeThresholds:
    """What this analyzer decides with."""

    fewest_planes: int = 1


def expects(study: StudySummary) -> Expectation:
    return Complete(reason=f"{len(study.series)} series are enough")


def accepts(study: StudySummary) -> Acceptance:
    return Accept(reason="images", roles={series.series_instance_uid: "any" for series in study.series})


def analyze(images: StudyImages, priors: Sequence[Prior], thresholds: ProbeThresholds) -> Assessed | NotAssessable:
    misbehave(BEHAVIOUR.read_text().strip() if BEHAVIOUR.is_file() else "fine")
    volume = images.with_role("any")[0].volumes[0]
    if len(volume.planes) < thresholds.fewest_planes:
        return NotAssessable(reasons=(f"fewer than {thresholds.fewest_planes} planes",))
    mask = np.zeros(volume.voxels_zyx.shape, dtype=bool)
    mask[:, 4:12, 4:12] = True
    liver = Segment(
        name="liver",
        label="Liver",
        category=ANATOMY,
        type=LIVER,
        mask_planes=mask,
        planes=volume.planes,
        series_instance_uid=volume.series_instance_uid,
    )
    size = Measurement(
        key="liver_volume",
        concept=VOLUME,
        value=float(mask.sum() * volume.voxel_ml),
        unit=MILLILITRE,
        subject="liver",
        sources=volume.planes,
    )
    told = f"{len(volume.planes)} planes, {len(priors)} priors"
    return Assessed(conclusion=told, findings=(), measurements=(size,), segments=(liver,))


def misbehave(how: str) -> None:
    match how:
        case "crash":
            os.abort()
        case "loop":
            while True:
                pass
        case "hog":
            hog = bytearray(1_500_000_000)
            time.sleep(60 + len(hog) * 0)
        case "family":
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).wait()
        case "slow":
            time.sleep(4)
        case "fine":
            return
        case other:
            raise ValueError(f"no such behaviour: {other}")


def illustrate(images: StudyImages, result: Assessed | NotAssessable) -> Sequence[Picture]:
    del images, result
    return [Picture(name="probe", rgb=np.full((64, 64, 3), 128, dtype=np.uint8))]


def analyzer_with(thresholds: ProbeThresholds) -> Analyzer:
    return Analyzer(
        name="probe",
        version="1.0.0",
        expects=expects,
        accepts=accepts,
        analyze=partial(analyze, thresholds=thresholds),
        illustrate=illustrate,
        thresholds=thresholds,
        with_thresholds=analyzer_with,
    )


ANALYZER = analyzer_with(ProbeThresholds())
