"""Which patients the free-response measurement of the scintigraphy analyzer draws, by seed alone."""

from __future__ import annotations

import numpy as np

# Published: variant arteries of 49 pumps supplied spleen 12, stomach 7, bowel 4, pancreas 3 times; misperfusion of the
# duodenum is named first among the organs at risk (24 of 327 pumps: duodenum, pancreas, stomach), so it is given 4.
SITE_WEIGHTS = {"spleen": 12, "stomach": 7, "bowel": 4, "pancreas": 3, "duodenum": 4}
_FOCI = (0.45, 0.45, 0.10)
_OTHERS = {"hot-tip": 0.20, "free-pertechnetate": 0.10, "lung-shunt-high": 0.06}
_LOBES = {"missing-left-lobe": 0.06, "missing-right-lobe": 0.03}


def drawn_case(seed: int) -> tuple[str, ...]:
    """Variants of one patient: none to two extrahepatic sites of any strength, and what may be seen besides."""
    rng = np.random.default_rng([seed, 20_261])
    weights = np.asarray(list(SITE_WEIGHTS.values()), np.float64)
    count = int(rng.choice(3, p=_FOCI))
    sites = rng.choice(list(SITE_WEIGHTS), size=count, replace=False, p=weights / weights.sum())
    variants = [f"extrahepatic-{site}" for site in sites]
    if variants:
        variants.append("any-strength")
    variants += [name for name, share in _OTHERS.items() if rng.random() < share]
    lobe = float(rng.random())
    for name, share in _LOBES.items():
        if lobe < share:
            variants.append(name)
            break
        lobe -= share
    return tuple(sorted(variants)) or ("complete",)
