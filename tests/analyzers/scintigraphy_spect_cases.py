"""Which SPECT/CT patients the accuracy measurement draws, by seed alone."""

from __future__ import annotations

import numpy as np

from tests.analyzers.scintigraphy_cases import SITE_WEIGHTS

_FOCI = (0.40, 0.50, 0.10)
_FAINT = 0.15
_OTHERS = {"hot-tip": 0.10, "free-pertechnetate": 0.07, "dome-mismatch": 0.12}
_SHUNTS = {"lung-shunt-high": 0.12, "lung-shunt-raised": 0.12}
_LOBES = {
    "missing-left-lobe": 0.15,
    "missing-right-lobe": 0.12,
    "left-hepatectomy": 0.07,
    "right-hepatectomy": 0.05,
}


def drawn_spect_case(seed: int) -> tuple[str, ...]:
    """Variants of one SPECT/CT: sites with the published frequencies, strength 0.5 to 15 % (some 0.1 to 0.5 %)."""
    rng = np.random.default_rng([seed, 30_417])
    weights = np.asarray(list(SITE_WEIGHTS.values()), np.float64)
    count = int(rng.choice(3, p=_FOCI))
    sites = rng.choice(list(SITE_WEIGHTS), size=count, replace=False, p=weights / weights.sum())
    variants = ["no-planar", "spect-ct", *(f"extrahepatic-{site}" for site in sites)]
    faint = rng.random() < _FAINT
    if count:
        variants.append("faint" if faint else "any-strength")
    variants += [name for name, share in _OTHERS.items() if rng.random() < share]
    for group in (_SHUNTS, _LOBES):
        at = float(rng.random())
        for name, share in group.items():
            if at < share:
                variants.append(name)
                break
            at -= share
    return tuple(sorted(variants))


_FAINT_SITES = {"stomach": 0.35, "spleen": 0.35, "duodenum": 0.1, "pancreas": 0.1, "bowel": 0.1}


def drawn_faint_case(seed: int) -> tuple[str, ...]:
    """Variants of a patient with two extrahepatic sites, faint ones in four of ten: for making the detector."""
    rng = np.random.default_rng(seed)
    foreign = ("extrahepatic", "faint", "any-strength")
    variants = [name for name in drawn_spect_case(seed) if not name.startswith(foreign)]
    sites = rng.choice(list(_FAINT_SITES), 2, replace=False, p=list(_FAINT_SITES.values()))
    strength = "faint" if rng.random() < 0.4 else "any-strength"
    return tuple(sorted([*variants, *(f"extrahepatic-{site}" for site in sites), strength]))
