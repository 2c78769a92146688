"""How bright each tissue is in each pulse sequence at 1.5 T, before, during and after gadoxetate.

Signals follow the spoiled gradient echo and spin echo equations. T1, T2 and proton density at 1.5 T are common
literature values; liver ADC 1.28e-3 mm²/s (median of 28 studies) and malignant lesions about 1.1e-3 mm²/s.
Gadoxetate shortens T1 by its relaxivity, about 7 per mM and s in tissue, and is taken up by hepatocytes alone,
so metastases stay dark in the hepatobiliary phase.
"""

from dataclasses import dataclass

import numpy as np

from analyzers.phantoms.request import PhantomRequest

RELAXIVITY_PER_MM_S = 7.0
PHASES = ("pre", "arterial", "portal", "transitional", "hepatobiliary")
B_VALUES = (50, 400, 800)
"""Diffusion weighting in s/mm²."""
CHANNELS = ("t1_water", "t1_fat", *PHASES, "t2_water", "t2_fat", *(f"b{b}" for b in B_VALUES))


@dataclass(frozen=True, slots=True, kw_only=True)
class MrTissue:
    """Physical properties of one tissue.

    Attributes
    ----------
    density : float
        Proton density against water.
    fat_fraction : float
        Part of the protons that is fat.
    t1_ms, t2_ms : float
        Of the water part.
    adc : float
        In 1e-3 mm²/s.
    agent_mm : tuple of four float
        Concentration of the agent in mmol/l in the arterial, portal, transitional and hepatobiliary phase.
    """

    density: float
    fat_fraction: float
    t1_ms: float
    t2_ms: float
    adc: float
    agent_mm: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)


def _t(
    density: float,
    fat: float,
    t1: float,
    t2: float,
    adc: float,
    agent: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0),
) -> MrTissue:
    return MrTissue(density=density, fat_fraction=fat, t1_ms=t1, t2_ms=t2, adc=adc, agent_mm=agent)


_SOLID = 1e-6  # what gives no signal
_ARTERY = (3.4, 1.25, 0.80, 0.25)
_TISSUES: dict[str, MrTissue] = {
    "air": _t(_SOLID, 0, 1000, 50, 1),
    "gas": _t(_SOLID, 0, 1000, 50, 1),
    "lung": _t(0.10, 0, 900, 18, 2),
    "skin": _t(0.55, 0.2, 700, 35, 1, (0.05, 0.1, 0.1, 0.05)),
    "fat": _t(0.95, 0.94, 900, 60, 1),
    "visceral_fat": _t(0.92, 0.92, 900, 60, 1),
    "muscle": _t(0.80, 0.03, 900, 36, 1.4, (0.08, 0.16, 0.16, 0.08)),
    "heart_muscle": _t(0.80, 0.02, 950, 42, 1.6, (0.8, 0.6, 0.5, 0.2)),
    "heart_blood": _t(0.85, 0, 1450, 12, 3, _ARTERY),
    "cortical_bone": _t(0.03, 0, 1000, 8, 1),
    "trabecular_bone": _t(0.50, 0.45, 900, 45, 0.5, (0.05, 0.1, 0.1, 0.05)),
    "marrow": _t(0.50, 0.55, 900, 45, 0.5),
    "cartilage": _t(0.50, 0, 1000, 30, 1.2),
    "disc": _t(0.65, 0, 1100, 70, 1.6),
    "spinal_canal": _t(0.95, 0, 2600, 260, 2.6),
    "liver": _t(0.80, 0.04, 590, 46, 1.28, (0.12, 0.52, 0.60, 0.85)),
    "spleen": _t(0.85, 0, 1060, 80, 0.85, (1.5, 1.0, 0.65, 0.20)),
    "kidney_cortex": _t(0.85, 0, 980, 88, 2.0, (1.9, 1.5, 1.2, 0.8)),
    "kidney_medulla": _t(0.90, 0, 1400, 90, 2.0, (0.4, 1.0, 1.2, 0.9)),
    "pancreas": _t(0.80, 0.08, 600, 48, 1.4, (1.1, 0.65, 0.45, 0.15)),
    "stomach_wall": _t(0.80, 0.02, 900, 50, 1.3, (0.7, 0.7, 0.5, 0.2)),
    "stomach_content": _t(0.90, 0, 2400, 320, 2.5),
    "gut_wall": _t(0.80, 0.03, 900, 50, 1.3, (0.6, 0.7, 0.5, 0.2)),
    "gut_fluid": _t(0.85, 0, 2000, 220, 2.4),
    "stool": _t(0.55, 0.08, 700, 60, 1.2),
    "bile": _t(0.95, 0, 1900, 420, 2.8, (0.0, 0.0, 0.15, 1.2)),
    "aorta": _t(0.85, 0, 1450, 12, 3, _ARTERY),
    "artery": _t(0.85, 0, 1450, 14, 3, _ARTERY),
    "portal_vein": _t(0.85, 0, 1450, 40, 3, (0.7, 1.5, 0.95, 0.28)),
    "hepatic_vein": _t(0.85, 0, 1450, 40, 3, (0.10, 1.35, 0.95, 0.28)),
    "cava": _t(0.85, 0, 1450, 25, 3, (0.7, 1.2, 0.9, 0.28)),
    "lesion_rim": _t(0.85, 0, 900, 78, 1.00, (0.75, 0.55, 0.42, 0.16)),
    "lesion": _t(0.87, 0, 960, 84, 1.10, (0.12, 0.26, 0.30, 0.14)),
    "lesion_core": _t(0.90, 0, 1300, 120, 1.65, (0.02, 0.06, 0.10, 0.10)),
    "titanium": _t(_SOLID, 0, 1000, 5, 1),
    "propellant": _t(_SOLID, 0, 1000, 5, 1),
    "drug": _t(_SOLID, 0, 1000, 5, 1),
    "silicone": _t(0.05, 0, 900, 40, 1),
    "catheter": _t(0.05, 0, 900, 30, 1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Repetition and echo time in ms, flip angle in degrees."""

    repetition_ms: float
    echo_ms: float
    flip_deg: float


DUAL_ECHO = Timing(repetition_ms=120.0, echo_ms=4.76, flip_deg=70.0)
OPPOSED_ECHO_MS = 2.38
DYNAMIC = Timing(repetition_ms=4.1, echo_ms=1.9, flip_deg=11.0)
HASTE = Timing(repetition_ms=1100.0, echo_ms=92.0, flip_deg=160.0)
DIFFUSION = Timing(repetition_ms=5200.0, echo_ms=62.0, flip_deg=90.0)
_FAT_T1_MS, _FAT_T2_MS = 300.0, 110.0
_UNSUPPRESSED_FAT = 0.05


def gradient_echo(density: float, t1_ms: float, timing: Timing, agent_mm: float = 0.0) -> float:
    """Steady state signal of a spoiled gradient echo (Ernst), T2* decay left out."""
    rate_per_ms = 1 / t1_ms + RELAXIVITY_PER_MM_S * agent_mm / 1000
    relaxed = np.exp(-timing.repetition_ms * rate_per_ms)
    flip = np.radians(timing.flip_deg)
    # T2* of concentrated agent: a little loss, so that the first pass does not grow without end.
    loss = np.exp(-timing.echo_ms * 0.012 * agent_mm)
    return float(density * np.sin(flip) * (1 - relaxed) / (1 - np.cos(flip) * relaxed) * loss)


def signal_table(request: PhantomRequest) -> dict[str, tuple[float, ...]]:
    """Signal of every tissue in every channel of `CHANNELS`; liver fat and uptake vary from patient to patient."""
    rng = request.rng("signal")
    liver_fat = float(np.clip(rng.exponential(0.045), 0.01, 0.28))
    uptake = float(rng.uniform(0.7, 1.15))
    return {name: _signals(tissue, name, liver_fat, uptake) for name, tissue in _TISSUES.items()}


def _signals(tissue: MrTissue, name: str, liver_fat: float, uptake: float) -> tuple[float, ...]:
    fraction, agent = tissue.fat_fraction, tissue.agent_mm
    if name == "liver":
        fraction, agent = liver_fat, (agent[0], agent[1] * uptake, agent[2] * uptake, agent[3] * uptake)
    water, fat = tissue.density * (1 - fraction), tissue.density * fraction
    values = [gradient_echo(water, tissue.t1_ms, DUAL_ECHO), gradient_echo(fat, _FAT_T1_MS, DUAL_ECHO)]
    residual = _UNSUPPRESSED_FAT * gradient_echo(fat, _FAT_T1_MS, DYNAMIC)
    values += [gradient_echo(water, tissue.t1_ms, DYNAMIC, amount) + residual for amount in (0.0, *agent)]
    values += [water * np.exp(-HASTE.echo_ms / tissue.t2_ms), fat * np.exp(-HASTE.echo_ms / _FAT_T2_MS)]
    echo = water * np.exp(-DIFFUSION.echo_ms / tissue.t2_ms) + 0.02 * fat
    values += [echo * np.exp(-b * tissue.adc / 1000) for b in B_VALUES]
    return tuple(float(value) for value in values)
