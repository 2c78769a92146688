"""How bright each tissue is on CT, and how contrast comes and goes.

Enhancement over time follows a pelvis-free abdominal bolus of 4 ml/s: aorta about +310 HU in the late arterial and
+120 HU in the portal phase, liver +15 to +25 and +60 HU, spleen +100 and +75 HU (Boyce, AJR; bolus delays in 171
patients), unenhanced liver 59 ± 11 HU. Titanium saturates a 12-bit scanner. Other values are common knowledge.
"""

import numpy as np

from analyzers.phantoms.request import PhantomRequest
from analyzers.phantoms.study import draw_patient

# Seconds after the start of the injection, and the enhancement then as a share of the tissue's scale in HU.
_TIMES_S = (0.0, 12.0, 20.0, 28.0, 36.0, 45.0, 70.0, 90.0, 180.0)
_CURVES: dict[str, tuple[float, tuple[float, ...]]] = {
    "artery": (310.0, (0, 0.05, 0.60, 0.95, 1.00, 0.75, 0.40, 0.36, 0.25)),
    "portal": (125.0, (0, 0, 0.05, 0.25, 0.55, 0.80, 1.00, 0.95, 0.60)),
    "hepatic_vein": (118.0, (0, 0, 0, 0.03, 0.10, 0.40, 1.00, 1.00, 0.65)),
    "cava": (95.0, (0, 0, 0.10, 0.45, 0.62, 0.65, 0.95, 1.00, 0.80)),
    "liver": (60.0, (0, 0, 0.05, 0.15, 0.30, 0.62, 1.00, 0.95, 0.70)),
    "spleen": (100.0, (0, 0.05, 0.45, 0.90, 1.00, 0.95, 0.75, 0.68, 0.50)),
    "cortex": (160.0, (0, 0.05, 0.45, 0.85, 1.00, 1.00, 0.90, 0.85, 0.75)),
    "medulla": (125.0, (0, 0, 0.05, 0.15, 0.28, 0.50, 0.95, 1.00, 1.00)),
    "pancreas": (65.0, (0, 0, 0.30, 0.80, 1.00, 0.95, 0.75, 0.65, 0.45)),
    "gut": (45.0, (0, 0, 0.20, 0.60, 0.85, 1.00, 1.00, 0.95, 0.70)),
    "muscle": (14.0, (0, 0, 0.10, 0.25, 0.45, 0.60, 1.00, 1.00, 0.90)),
    "rim": (48.0, (0, 0, 0.15, 0.50, 0.65, 0.75, 0.80, 0.85, 1.00)),
    "metastasis": (20.0, (0, 0, 0.05, 0.20, 0.30, 0.55, 0.90, 1.00, 1.20)),
}
# Unenhanced HU, and the curve that the tissue follows.
_TISSUES: dict[str, tuple[float, str]] = {
    "air": (-1000, ""),
    "skin": (30, ""),
    "fat": (-106, ""),
    "visceral_fat": (-98, ""),
    "lung": (-850, ""),
    "gas": (-985, ""),
    "muscle": (54, "muscle"),
    "heart_muscle": (46, "gut"),
    "heart_blood": (43, "artery"),
    "cortical_bone": (620, ""),
    "trabecular_bone": (175, "muscle"),
    "marrow": (120, ""),
    "cartilage": (95, ""),
    "disc": (80, ""),
    "spinal_canal": (28, ""),
    "liver": (59, "liver"),
    "spleen": (49, "spleen"),
    "kidney_cortex": (34, "cortex"),
    "kidney_medulla": (30, "medulla"),
    "pancreas": (42, "pancreas"),
    "stomach_wall": (40, "gut"),
    "stomach_content": (14, ""),
    "gut_wall": (38, "gut"),
    "gut_fluid": (20, ""),
    "stool": (2, ""),
    "bile": (8, ""),
    "aorta": (42, "artery"),
    "artery": (42, "artery"),
    "portal_vein": (42, "portal"),
    "hepatic_vein": (42, "hepatic_vein"),
    "cava": (42, "cava"),
    "lesion_rim": (46, "rim"),
    "lesion": (42, "metastasis"),
    "lesion_core": (30, ""),
    "titanium": (9000, ""),
    "propellant": (-450, ""),
    "drug": (15, ""),
    "silicone": (260, ""),
    "catheter": (780, ""),
}


def attenuation_table(request: PhantomRequest, delays_s: tuple[float, ...]) -> dict[str, tuple[float, ...]]:
    """HU of every tissue at some times after the injection; a delay of 0 s is unenhanced.

    A heavier patient dilutes the bolus; liver fat, bolus strength and transit vary from patient to patient.
    """
    rng = request.rng("attenuation")
    weight_kg = draw_patient(request).weight_kg
    strength = float(np.clip((75 / weight_kg) ** 0.5 * rng.normal(1.0, 0.06), 0.75, 1.25))
    transit = float(rng.uniform(0.92, 1.08))
    liver_fat_hu = float(np.clip(rng.exponential(7.0) - 6, -4, 26))
    table = {}
    for tissue, (native_hu, curve) in _TISSUES.items():
        base = native_hu - (liver_fat_hu if tissue == "liver" else 0.0) + _spread(rng, native_hu)
        values = []
        for delay in delays_s:
            if not curve or delay <= 0:
                values.append(base)
                continue
            scale, shares = _CURVES[curve]
            values.append(base + strength * scale * float(np.interp(delay * transit, _TIMES_S, shares)))
        table[tissue] = tuple(values)
    return table


def _spread(rng: np.random.Generator, native_hu: float) -> float:
    """A few HU for soft tissue, more for bone; none for air and metal."""
    wide = 0.0 if abs(native_hu) > 840 else 2.0 if abs(native_hu) < 150 else 20.0
    return float(rng.normal(0, 1)) * wide
