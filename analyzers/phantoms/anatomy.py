"""Puts one patient together: layers in the order in which they cover each other, and the landmarks."""

from dataclasses import dataclass

import numpy as np

from analyzers.phantoms.body import Build, draw_build, frame_layers, model_frame, skeleton_layers
from analyzers.phantoms.device import (
    STUMP_MM,
    Device,
    bulge_field,
    device_layers,
    draw_device,
)
from analyzers.phantoms.layers import Layer, field_layer
from analyzers.phantoms.lesions import Lesion, draw_lesions, lesion_layers
from analyzers.phantoms.liver import draw_liver, gallbladder, model_liver, right_of_cantlie
from analyzers.phantoms.request import PhantomRequest
from analyzers.phantoms.shapes import Lattice
from analyzers.phantoms.vessels import Vessels, draw_vessels, vessel_layers
from analyzers.phantoms.viscera import viscera_layers

_LATTICE_STEP_MM = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """One patient.

    Attributes
    ----------
    layers : tuple of Layer
        Deepest first.
    device : Device or None
        None before the operation.
    z_dome_mm, z_low_mm : float
        Top of the liver; lower end of the pump or, without one, of the liver.
    half_width_mm : float
        Half of what the field of view must hold sideways.
    middle_y_mm : float
        Middle of the body from front to back.
    """

    build: Build
    layers: tuple[Layer, ...]
    vessels: Vessels
    device: Device | None
    lesions: tuple[Lesion, ...]
    z_dome_mm: float
    z_low_mm: float
    z_liver_low_mm: float
    half_width_mm: float
    middle_y_mm: float


def make_anatomy(request: PhantomRequest, *, operated: bool) -> Anatomy:
    """Draw and model one patient, before or after the operation."""
    build = draw_build(request)
    vessels = draw_vessels(request, build)
    device = draw_device(request, build, vessels) if operated else None
    half = build.half_width_mm + 25
    low = -215.0 * build.long_scale
    at = Lattice.spanning((-half, -half, low), (half, half, 160.0 * build.long_scale), _LATTICE_STEP_MM)
    frame = model_frame(at, build, None if device is None else bulge_field(at, device))
    wide = request.model == "evaluation"
    bent = at.warped(request.rng("warp"), 4.0 if wide else 2.5, 5 if wide else 3)
    plan = draw_liver(request)
    liver = model_liver(bent, plan, build, frame)
    lesions = draw_lesions(request, at, liver)
    layers: list[Layer] = [*frame_layers(at, frame, build), *skeleton_layers(at, build)]
    layers += viscera_layers(request, bent, build, frame, liver)
    body = frozenset({"body"})
    layers.append(field_layer(liver, at, Layer(tissue="liver", mask="liver", within=body)))
    right = np.maximum(liver, right_of_cantlie(at, plan))
    layers.append(
        field_layer(right, at, Layer(tissue="liver", mask="liver_right", within=frozenset({"body", "liver"})))
    )
    if device is None:
        bile = np.maximum(gallbladder(bent, plan), 1.0 - liver)
        layers.append(field_layer(bile - 1.2, at, Layer(tissue="gut_wall", within=body)))
        layers.append(field_layer(bile, at, Layer(tissue="bile", mask="gallbladder", within=body)))
    layers += vessel_layers(vessels, ligated_gda_mm=None if device is None else STUMP_MM)
    layers += lesion_layers(lesions)
    if device is not None:
        layers += device_layers(device)
    inside = np.flatnonzero((liver < 0).any(axis=(1, 2)))
    z_axis = at.axes_zyx_mm[0]
    z_liver_low = z_low = float(z_axis[inside[0]])
    if device is not None:
        z_low = min(z_low, device.centre[2] - 0.5 * device.model.diameter_mm)
    return Anatomy(
        build=build,
        layers=tuple(layers),
        vessels=vessels,
        device=device,
        lesions=lesions,
        z_dome_mm=float(z_axis[inside[-1]]),
        z_low_mm=z_low,
        z_liver_low_mm=z_liver_low,
        half_width_mm=_half_width(build, device),
        middle_y_mm=build.cavity_centre_y_mm + 10,
    )


def _half_width(build: Build, device: Device | None) -> float:
    """Half of the body's width, with the pump's bump."""
    width = build.half_width_mm
    if device is not None:
        bump = abs(device.centre[0]) + 0.5 * device.model.diameter_mm * abs(device.outward[1])
        width = max(width, bump + 26 * abs(device.outward[0]) + 10)
    return width
