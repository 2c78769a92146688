"""Phantom patients for measuring the focus detector: images and where the true foci are, kept between runs if asked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.contract import Accept
from analyzers.loading import open_study
from analyzers.phantoms.__main__ import make_phantom
from analyzers.phantoms.request import PhantomRequest
from analyzers.scintigraphy import ANALYZER
from analyzers.volume import StudyImages
from tests.analyzers.scintigraphy_cases import drawn_case

Model = Literal["development", "evaluation"]

CLEAR_MM = 10.0
"""A focus is clear of the liver where its projection lies at least this far from the liver's: one width of the blur."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueFocus:
    """One focus of a phantom on the anterior view (opposite views overlay the same organs).

    ``mask_yx`` holds the pixels with at least half of its highest projected uptake.
    """

    name: str
    origin: str
    liver_share_fraction: float
    mask_yx: NDArray[np.bool_]
    pixel_mm: float
    clear_fraction: float
    """Part of the mask that lies clear of the liver's projection, in the view that shows most of it clear."""

    @property
    def is_target(self) -> bool:
        """Extrahepatic, at least 1 % of the liver's activity, half of it clear of the liver."""
        return self.origin == "extrahepatic" and self.liver_share_fraction >= 0.01 and self.clear_fraction >= 0.5

    def distance_mm(self, mask_yx: NDArray[np.bool_]) -> float:
        """Distance between this focus and a mask on the same grid; infinite where one is empty."""
        if not self.mask_yx.any() or not mask_yx.any():
            return float("inf")
        return float(ndimage.distance_transform_edt(~self.mask_yx)[mask_yx].min()) * self.pixel_mm


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """Images and truth."""

    seed: int
    case: tuple[str, ...]
    images: StudyImages
    foci: tuple[TrueFocus, ...]
    lung_shunt_fraction: float
    left_share_fraction: float


def patient(seed: int, model: Model, folder: Path, extra: tuple[str, ...] = ()) -> Patient:
    """Make a patient by seed, or take the one that an earlier run left in the folder."""
    case = tuple(sorted({*drawn_case(seed), *extra}))
    place = folder / f"{model}-{seed}"
    if not (place / "truth.json").is_file():
        make_phantom(PhantomRequest(kind="scintigraphy", seed=seed, variants=case, model=model), place)
    study = open_study(place / "dicom")
    acceptance = ANALYZER.accepts(study.summary)
    assert isinstance(acceptance, Accept)
    truth = json.loads((place / "truth.json").read_text(encoding="utf-8"))
    liver, pixel_mm = _views(place / "masks" / "liver.nii.gz")
    far_mm = [ndimage.distance_transform_edt(~plane) * pixel_mm for plane in liver]
    foci = []
    for entry in truth["foci"]:
        path = place / "masks" / f"focus_{entry['name'].replace(' ', '_')}.nii.gz"
        if not path.is_file():
            continue
        masks, _ = _views(path)
        foci.append(
            TrueFocus(
                name=entry["name"],
                origin=entry["origin"],
                liver_share_fraction=float(entry["liver_share_fraction"]),
                mask_yx=masks[0],
                pixel_mm=pixel_mm,
                clear_fraction=max(
                    float((far[mask] >= CLEAR_MM).mean()) if mask.any() else 0.0
                    for far, mask in zip(far_mm, masks, strict=True)
                ),
            )
        )
    true = {entry["key"]: float(entry["value"]) for entry in truth["measurements"]}
    return Patient(
        seed=seed,
        case=case,
        images=study.with_roles(acceptance.roles),
        foci=tuple(foci),
        lung_shunt_fraction=true["lung_shunt_fraction"],
        left_share_fraction=float(truth["structures"]["left_lobe_share_of_liver_activity"]),
    )


def _views(path: Path) -> tuple[NDArray[np.bool_], float]:
    """All planes of a mask, one for each view, anterior first, and the pixel's edge in mm."""
    image = nibabel.nifti1.Nifti1Image.from_filename(path)
    return np.asarray(image.dataobj).transpose(2, 1, 0) > 0, abs(float(np.asarray(image.affine)[0, 0]))
