"""The contrast phase of one scan, by measured attenuation first and header words second."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

from analyzers.cta.thresholds import PhaseThresholds


class Phase(StrEnum):
    """When after the injection a scan was made."""

    NATIVE = "native"
    ARTERIAL = "arterial"
    PORTAL = "portal venous"
    DELAYED = "delayed"
    UNKNOWN = "undetermined"


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseEvidence:
    """The phase and what it was concluded from; ``rule`` is plain ASCII for the report."""

    phase: Phase
    rule: str
    header_phase: Phase

    @property
    def contradicted(self) -> bool:
        """Whether the header names another phase than the attenuation shows."""
        return Phase.UNKNOWN not in (self.phase, self.header_phase) and self.phase != self.header_phase


_WORDS: tuple[tuple[Phase, str], ...] = (
    (
        Phase.NATIVE,
        r"native?|nativ\w*|plain|unenh\w*|non[- ]?con(?:trast)?\w*|n(?:e|c)ct|without|w/?o|ohne|sans|sin|senza|bianco|"
        r"pre[- ]?(?:contrast\w*|con|km|iv|injection)|leer\w*",
    ),
    # German joins words: spaetarteriell, fruehart.
    (Phase.ARTERIAL, r"\w*arteri\w+|(?:sp[ae]+t|fr[eu]+h)?[- ]?art"),
    (Phase.PORTAL, r"\w*portal\w*|porto\w*|porta|pv|pvp|\w*venous|ven|venos\w*|venoes\w*|vein?eu\w*|veneu\w*"),
    (Phase.DELAYED, r"delay\w*|late|spat\w*|spaet\w*|tardi\w*|equilib\w*|excret\w*"),
)
_CTA = r"cta|angio\w*"
"""Names the examination as often as the phase: counts only where no other word does."""
_BOTH = re.compile(
    r"\bw/?o ?(?:&|and|\+|/|,)? ?w\b(?!/?o)|\bw(?:ith)? ?(?:&|and|\+|/|,)? ?w(?:/?o|ithout)\b|"
    r"\bwithout (?:&|and) with\b|"
    r"\b(?:ohne|mit) ?(?:&|und|\+|/) ?(?:mit|ohne)\b|\b(?:sans|avec) ?(?:&|et|\+|/) ?(?:avec|sans)\b|"
    r"\b(?:sin|con) ?(?:&|y|\+|/) ?(?:con|sin)\b"
)
"""With and without contrast: the order's name, which says nothing of one series."""


def phase_in_words(text: str) -> Phase:
    """The phase that a series description names; late arterial is arterial, portal venous is portal.

    English, German, French, Spanish and Italian, accents or not.
    """
    decomposed = unicodedata.normalize("NFKD", text.lower().replace("_", " "))
    plain = _BOTH.sub(" ", "".join(letter for letter in decomposed if not unicodedata.combining(letter)))
    found = [phase for phase, pattern in _WORDS if _holds(pattern, plain)]
    for phase in (Phase.ARTERIAL, Phase.PORTAL, Phase.NATIVE, Phase.DELAYED):
        if phase in found:
            return phase
    return Phase.ARTERIAL if _holds(_CTA, plain) else Phase.UNKNOWN


def _holds(pattern: str, plain: str) -> bool:
    return re.search(rf"(?<![a-z])(?:{pattern})(?![a-z])", plain) is not None


def phase_of(
    aorta_hu: float | None, liver_hu: float | None, header_text: str, thresholds: PhaseThresholds
) -> PhaseEvidence:
    """Name the phase of a scan.

    Parameters
    ----------
    aorta_hu, liver_hu : float or None
        Mean attenuation of the lumen and of the liver's parenchyma; ``None`` where they were not found.
    header_text : str
        Series description and protocol; decides only where nothing was measured.
    """
    header = phase_in_words(header_text)
    if aorta_hu is None:
        named = f"header says {header.value}" if header is not Phase.UNKNOWN else "header names no phase"
        return PhaseEvidence(phase=header, rule=f"aorta not found, {named}", header_phase=header)
    seen = f"aorta {aorta_hu:.0f} HU" + ("" if liver_hu is None else f", liver {liver_hu:.0f} HU")
    return PhaseEvidence(phase=_by_attenuation(aorta_hu, liver_hu, header, thresholds), rule=seen, header_phase=header)


def _by_attenuation(aorta_hu: float, liver_hu: float | None, header: Phase, thresholds: PhaseThresholds) -> Phase:
    if aorta_hu < thresholds.native_aorta_below_hu:
        enhanced = (
            liver_hu is not None
            and liver_hu >= thresholds.portal_liver_above_hu
            and aorta_hu >= thresholds.delayed_aorta_above_hu
        )
        return Phase.DELAYED if enhanced else Phase.NATIVE
    if liver_hu is None:
        return Phase.ARTERIAL if aorta_hu >= thresholds.arterial_aorta_above_hu else header
    share = liver_hu / aorta_hu
    if aorta_hu >= thresholds.arterial_aorta_above_hu and share < thresholds.arterial_liver_share_below:
        return Phase.ARTERIAL
    if liver_hu >= thresholds.portal_liver_above_hu or share >= thresholds.arterial_liver_share_below:
        return Phase.DELAYED if header is Phase.DELAYED else Phase.PORTAL
    return Phase.ARTERIAL
