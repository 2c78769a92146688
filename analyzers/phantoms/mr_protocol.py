"""The protocol of a gadoxetate study of the liver: which series, in which order, how read out."""

from dataclasses import dataclass, replace

from analyzers.phantoms.mr_headers import INJECTION_AFTER_S, Sequence
from analyzers.phantoms.mr_scanner import Readout
from analyzers.phantoms.mr_tissues import B_VALUES, DIFFUSION, DUAL_ECHO, DYNAMIC, HASTE, PHASES
from analyzers.phantoms.request import PhantomRequest

_DUAL = Sequence(
    scanning=("GR",),
    variant=("SP", "OSP"),
    options=("PFP",),
    acquisition="2D",
    name="*fl2d2",
    timing=DUAL_ECHO,
    echo_train=2,
)
_VIBE = Sequence(
    scanning=("GR",), variant=("SP", "OSP"), options=("PFP", "FS"), acquisition="3D", name="*fl3d1", timing=DYNAMIC
)
_HASTE = Sequence(
    scanning=("SE",),
    variant=("SK", "SP", "OSP"),
    options=("PFP",),
    acquisition="2D",
    name="*h2d1_134",
    timing=HASTE,
    echo_train=134,
)
_EPI = Sequence(
    scanning=("EP", "SE"),
    variant=("SK", "SP"),
    options=("PFP", "FS"),
    acquisition="2D",
    name="*ep_b",
    timing=DIFFUSION,
    echo_train=60,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One series.

    Attributes
    ----------
    role : str
        Names it in UIDs and in the truth.
    channels : tuple of str
        Names of the signals that it reads.
    product : str
        ``dual`` (in and opposed phase), ``sum`` (water + fat), ``weighted`` (one image per b value), ``adc``.
    coronal : bool
        Else axial.
    """

    role: str
    number: int
    description: str
    german: str
    sequence: Sequence
    readout: Readout
    channels: tuple[str, ...]
    product: str
    after_s: float
    agent_given: bool
    coronal: bool = False


# Seconds after the injection at which each dynamic phase is centred.
_PHASE_DELAY_S = {"pre": -120.0, "arterial": 24.0, "portal": 70.0, "transitional": 180.0, "hepatobiliary": 1200.0}
_PHASE_WORDS = {
    "pre": ("t1_vibe_fs_tra_pre", "t1_vibe_fs_tra_nativ"),
    "arterial": ("t1_vibe_fs_tra_late_art", "t1_vibe_fs_tra_spaetart"),
    "portal": ("t1_vibe_fs_tra_pv 70s", "t1_vibe_fs_tra_portalven"),
    "transitional": ("t1_vibe_fs_tra_transitional 3min", "t1_vibe_fs_tra_transit 3min"),
    "hepatobiliary": ("t1_vibe_fs_tra_HBP 20min", "t1_vibe_fs_tra_hepatobiliaer 20min"),
}


def protocol(request: PhantomRequest) -> tuple[Recipe, ...]:
    """Return the series of one study in the order of acquisition."""
    rng = request.rng("breath")
    thin = 4.0 if request.size == "small" else 3.0
    thick = 6.0
    overlap = 1.5 if request.has("overlapping") else 1.0
    gap = thick * 1.2 / overlap

    def breath() -> float:
        return float(rng.normal(0, 1.2))

    def ghosts(strength: float) -> float:
        return strength if request.has("motion") else 0.0

    recipes = [
        Recipe(
            role="coronal", number=1, description="t2_haste_cor loc", german="t2_haste_cor Lokalisator",
            sequence=_HASTE,
            readout=Readout(thickness_mm=8.0, spacing_mm=10.0, noise=0.010, blur_mm=1.2, void_mm=8, fat_shift_mm=2.5),
            channels=("t2_water", "t2_fat"), product="sum", after_s=30, agent_given=False, coronal=True),
        Recipe(
            role="haste", number=2, description="t2_haste_tra", german="t2_haste_tra", sequence=_HASTE,
            readout=Readout(thickness_mm=thick, spacing_mm=gap, noise=0.010, blur_mm=1.2, void_mm=8, fat_shift_mm=2.5,
                            breath_mm=breath(), ghosts=ghosts(0.15)),
            channels=("t2_water", "t2_fat"), product="sum", after_s=120, agent_given=False),
        Recipe(
            role="dual", number=3, description="t1_fl2d_opp-in_tra", german="t1_fl2d_opp-in_tra", sequence=_DUAL,
            readout=Readout(thickness_mm=thick, spacing_mm=gap, noise=0.006, void_mm=24, fat_shift_mm=1.0,
                            breath_mm=breath(), ghosts=ghosts(0.2)),
            channels=("t1_water", "t1_fat"), product="dual", after_s=240, agent_given=False),
        Recipe(
            role="dwi", number=4, description="ep2d_diff_b50_400_800_tra", german="ep2d_diff_b50_400_800_tra",
            sequence=_EPI,
            readout=Readout(thickness_mm=thick, spacing_mm=gap, noise=0.006, blur_mm=2.0, void_mm=26, planar=True,
                            breath_mm=breath(), ghosts=ghosts(0.1)),
            channels=tuple(f"b{b}" for b in B_VALUES), product="weighted", after_s=360, agent_given=False),
    ]  # fmt: skip
    recipes.append(
        replace(
            recipes[-1],
            role="adc",
            number=5,
            description="ep2d_diff_b50_400_800_tra_ADC",
            german="ep2d_diff_b50_400_800_tra_ADC",
            product="adc",
        )
    )
    if request.has("no-diffusion"):
        recipes = recipes[:3]
    phases = PHASES[:-1] if request.has("extracellular") else PHASES
    for place, phase in enumerate(phases):
        english, german = _PHASE_WORDS[phase]
        reference = phase == phases[-1]
        recipes.append(Recipe(
            role=phase, number=6 + place, description=english, german=german, sequence=_VIBE,
            readout=Readout(thickness_mm=thin * overlap, spacing_mm=thin, noise=0.0022, void_mm=22,
                            breath_mm=0.0 if reference else breath(),
                            ghosts=ghosts(0.45 if phase == "arterial" else 0.2)),
            channels=(phase,), product="sum", after_s=INJECTION_AFTER_S + _PHASE_DELAY_S[phase],
            agent_given=phase != "pre"))  # fmt: skip
    return tuple(recipes)
