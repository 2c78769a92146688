"""How near the scintigraphy analyzer comes to the truth of phantoms it was not developed on.

``python -m tests.analyzers.scintigraphy_accuracy --model evaluation --studies 96 --first-seed 7001`` prints one line
for each study and a table at the end; ``--markdown`` prints the table alone as it stands in
``docs/benchmarks/scintigraphy-first.md``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.draw import polygon2mask

from analyzers.contract import Accept, Assessed, NotAssessable, Outline
from analyzers.loading import open_study
from analyzers.phantoms.__main__ import make_phantom
from analyzers.phantoms.request import PhantomRequest
from analyzers.scintigraphy import ANALYZER

Model = Literal["development", "evaluation"]

# A case mix, repeated: a quarter without fault, the others spread over what can be wrong.
CASES: tuple[tuple[str, ...], ...] = (
    ("complete",),
    ("extrahepatic-stomach",),
    ("complete",),
    ("extrahepatic-duodenum",),
    ("missing-left-lobe",),
    ("extrahepatic-spleen",),
    ("complete",),
    ("extrahepatic-bowel",),
    ("missing-right-lobe",),
    ("extrahepatic-pancreas",),
    ("complete",),
    ("lung-shunt-high",),
    ("extrahepatic-stomach", "strong"),
    ("free-pertechnetate",),
    ("extrahepatic-duodenum", "strong"),
    ("hot-tip",),
)
MATCH_MM = 25.0
"""A detected focus belongs to a true one if their outlines come this near in one view."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One study: what was true, what was said."""

    seed: int
    case: tuple[str, ...]
    assessed: bool
    true_shunt: float
    raw_shunt: float | None
    corrected_shunt: float | None
    interval_holds: bool
    true_left_share: float
    left_share: float | None
    lobe_said: str
    true_foci: int
    found_foci: int
    false_foci: int
    misnamed_foci: int
    words: str


def assess(case: tuple[str, ...], seed: int, model: Model, folder: Path) -> Outcome:
    """Make one phantom, analyse it, compare."""
    request = PhantomRequest(kind="scintigraphy", seed=seed, variants=tuple(sorted(case)), size="small", model=model)
    make_phantom(request, folder)
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    study = open_study(folder / "dicom")
    acceptance = ANALYZER.accepts(study.summary)
    assert isinstance(acceptance, Accept)
    result = ANALYZER.analyze(study.with_roles(acceptance.roles), ())
    return compared(seed, case, truth, result, folder / "masks")


def compared(
    seed: int, case: tuple[str, ...], truth: dict[str, Any], result: Assessed | NotAssessable, masks: Path
) -> Outcome:
    """Compare a result with the truth of its phantom."""
    true = {entry["key"]: float(entry["value"]) for entry in truth["measurements"]}
    shunt = true["lung_shunt_fraction"]
    values = {m.key: m for m in result.measurements} if isinstance(result, Assessed) else {}
    corrected = values.get("lung_shunt_fraction_corrected")
    said = result.findings[0].sentence if isinstance(result, Assessed) else "; ".join(result.reasons)
    found, false, misnamed = _matched(truth, result, masks)
    return Outcome(
        seed=seed,
        case=case,
        assessed=isinstance(result, Assessed),
        true_shunt=shunt,
        raw_shunt=values["lung_shunt_fraction"].value if "lung_shunt_fraction" in values else None,
        corrected_shunt=corrected.value if corrected else None,
        interval_holds=_holds(corrected.remark if corrected else "", shunt),
        true_left_share=float(truth["structures"]["left_lobe_share_of_liver_activity"]),
        left_share=values["left_lobe_share"].value if "left_lobe_share" in values else None,
        lobe_said=next((side for side in ("left", "right") if f"place of the {side} lobe" in said), ""),
        true_foci=sum(focus["origin"] == "extrahepatic" for focus in truth["foci"]),
        found_foci=found,
        false_foci=false,
        misnamed_foci=misnamed,
        words=said,
    )


def _holds(remark: str, shunt: float) -> bool:
    if "interval" not in remark:
        return False
    low, high = remark.split("interval ")[1].split(" %", maxsplit=1)[0].split(" to ")
    return float(low) - 0.05 <= 100 * shunt <= float(high) + 0.05


def _matched(truth: dict[str, Any], result: Assessed | NotAssessable, masks: Path) -> tuple[int, int, int]:
    """True extrahepatic foci found, false foci, and foci of another origin that were called extrahepatic."""
    if not isinstance(result, Assessed):
        return 0, 0, 0
    regions = {region.name: region for region in result.regions}
    called = [f.subject for f in result.findings if f.key == "extrahepatic_focus" and f.subject in regions]
    images = {
        focus["name"]: (focus["origin"], _mask(masks / f"focus_{focus['name'].replace(' ', '_')}.nii.gz"))
        for focus in truth["foci"]
    }
    found: set[str] = set()
    false = misnamed = 0
    for name in called:
        near = [
            (focus, origin)
            for focus, (origin, mask) in images.items()
            if mask is not None and _near(regions[name or ""].outlines, mask)
        ]
        if any(origin == "extrahepatic" for _, origin in near):
            found |= {focus for focus, origin in near if origin == "extrahepatic"}
        elif near:
            misnamed += 1
        else:
            false += 1
    return len(found), false, misnamed


def _mask(path: Path) -> tuple[NDArray[np.bool_], float] | None:
    if not path.is_file():
        return None
    image = nibabel.nifti1.Nifti1Image.from_filename(path)
    spacing_mm = abs(float(np.asarray(image.affine)[0, 0]))
    return np.asarray(image.dataobj).transpose(2, 1, 0) > 0, spacing_mm


def _near(outlines: Iterable[Outline], truth: tuple[NDArray[np.bool_], float]) -> bool:
    planes, spacing_mm = truth
    for outline in outlines:
        plane = planes[min((outline.frame.frame or 1) - 1, len(planes) - 1)]
        if not plane.any():
            continue
        points = np.asarray(outline.points_col_row)[:, ::-1] - 0.5
        drawn = polygon2mask(plane.shape, points)
        if (ndimage.distance_transform_edt(~plane)[drawn] * spacing_mm <= MATCH_MM).any():
            return True
    return False


def table(outcomes: Sequence[Outcome]) -> list[tuple[str, str]]:
    """Name and value of each quantity of the benchmark."""
    rows = [
        ("studies", str(len(outcomes))),
        ("not assessed", str(sum(not outcome.assessed for outcome in outcomes))),
    ]
    measured = [o for o in outcomes if o.corrected_shunt is not None]
    for name, chosen in (
        ("true LSF up to 15 %", [o for o in measured if o.true_shunt <= 0.15]),
        ("true LSF above 15 %", [o for o in measured if o.true_shunt > 0.15]),
    ):
        if not chosen:
            continue
        rows.append((f"{name}: studies", str(len(chosen))))
        for kind in ("raw", "corrected"):
            errors = 100 * np.asarray([(getattr(o, f"{kind}_shunt") or 0.0) - o.true_shunt for o in chosen], np.float64)
            rows.append((f"{name}: LSF {kind}, bias and 95 % limits (percentage points)", _spread(errors)))
    rows.append(("stated 95 % interval holds the truth", _share([o.interval_holds for o in measured])))
    whole = [o for o in outcomes if o.left_share is not None]
    shares = 100 * np.asarray([(o.left_share or 0.0) - o.true_left_share for o in whole], np.float64)
    rows.append(("left share, bias and 95 % limits (percentage points)", _spread(shares)))
    return rows + _lobe_rows(outcomes) + _focus_rows(outcomes)


def _lobe_rows(outcomes: Sequence[Outcome]) -> list[tuple[str, str]]:
    def missing(outcome: Outcome) -> str:
        return next((side for side in ("left", "right") if f"missing-{side}-lobe" in outcome.case), "")

    absent = [o for o in outcomes if missing(o)]
    present = [o for o in outcomes if not missing(o)]
    return [
        ("lobe without uptake named", _share([o.lobe_said == missing(o) for o in absent])),
        ("both lobes perfused, none named as missing", _share([not o.lobe_said for o in present])),
    ]


def _focus_rows(outcomes: Sequence[Outcome]) -> list[tuple[str, str]]:
    rows = []
    organs = sorted({name for o in outcomes for name in o.case if name.startswith("extrahepatic-")})
    every = [o for o in outcomes if o.true_foci]
    rows.append(("extrahepatic foci found", _share([o.found_foci > 0 for o in every])))
    rows += [
        (f"... {organ.removeprefix('extrahepatic-')}", _share([o.found_foci > 0 for o in every if organ in o.case]))
        for organ in organs
    ]
    count = len(outcomes)
    rows.append(("false foci per study", f"{sum(o.false_foci for o in outcomes) / count:.2f}"))
    rows.append(
        (
            "pertechnetate or device called extrahepatic, per study",
            f"{sum(o.misnamed_foci for o in outcomes) / count:.2f}",
        )
    )
    return rows


def _spread(errors: NDArray[np.float64]) -> str:
    if errors.size < 2:
        return "-"
    mean, deviation = float(errors.mean()), 1.96 * float(errors.std(ddof=1))
    return f"{mean:+.2f} ({mean - deviation:+.2f} to {mean + deviation:+.2f})"


def _share(flags: Sequence[bool]) -> str:
    return f"{sum(flags)} of {len(flags)} ({100 * sum(flags) / len(flags):.0f} %)" if flags else "-"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m tests.analyzers.scintigraphy_accuracy", description=__doc__)
    parser.add_argument("--model", choices=["development", "evaluation"], default="evaluation")
    parser.add_argument("--studies", type=int, default=len(CASES) * 4)
    parser.add_argument("--first-seed", type=int, default=5001)
    parser.add_argument("--markdown", action="store_true", help="print the table alone")
    options = parser.parse_args(arguments)
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.studies):
            seed, case = options.first_seed + number, CASES[number % len(CASES)]
            outcome = assess(case, seed, options.model, Path(folder) / str(number))
            outcomes.append(outcome)
            if not options.markdown:
                corrected = outcome.corrected_shunt
                print(
                    f"{seed} {'+'.join(case):32s} LSF {outcome.true_shunt:.3f} -> "
                    f"{'-' if corrected is None else f'{corrected:.3f}'} {'' if outcome.interval_holds else 'OUTSIDE'} "
                    f"left {outcome.true_left_share:.2f} -> {outcome.left_share or -1:.2f} "
                    f"foci {outcome.found_foci}/{outcome.true_foci} false {outcome.false_foci} "
                    f"misnamed {outcome.misnamed_foci} | {outcome.words}",
                    flush=True,
                )
    for name, value in table(outcomes):
        print(f"| {name} | {value} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
