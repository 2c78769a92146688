"""What surgery took away: half of the liver, or the spleen."""

from dataclasses import replace

import numpy as np

from analyzers.phantoms.nuclear_body import NuclearBody
from analyzers.phantoms.request import PhantomRequest


def after_surgery(body: NuclearBody, request: PhantomRequest) -> NuclearBody:
    """The body without the lobe or the spleen that the variants name.

    Bowel and fat fill the place of a lobe; the other one has not grown.
    """
    solids = dict(body.solids)
    right = body.right_lobe_share_zyx
    if request.has("left-hepatectomy"):
        solids["liver"] = solids["liver"].times(right)
    if request.has("right-hepatectomy"):
        solids["liver"] = solids["liver"].times(np.asarray(1.0 - right, np.float32))
    if request.has("splenectomy"):
        solids["spleen"] = solids["spleen"].times(np.zeros_like(solids["spleen"].occupancy_zyx))
    return replace(body, solids=solids)
