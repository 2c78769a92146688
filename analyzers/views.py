"""Planar scintigraphy: which way each projection looks.

Four sources tell the direction, in this order of trust: the coded view of the detector; words in the names that people
gave, where they name exactly one direction (or one for each detector); the detector's angle; the detector's number.

The angle is the standard's weak spot. PS3.3 C.8.4.11 refers 0 degrees to the patient's back and turns towards the
left side, so 180 degrees looks from in front; some cameras count from the top of the gantry instead, the other way
round. For two opposite views of one object the contradiction does not matter: under either convention the first
detector of a dual-head camera is the one above the supine patient, and so is taken for the anterior one. A view on
its own is read by the standard. Every view says what its direction rests on, so that an analyzer can check it against
anatomy.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from analyzers import vocabulary
from analyzers.contract import Code
from analyzers.planes import Plane

ANTERIOR = "anterior"
POSTERIOR = "posterior"
LEFT_LATERAL = "left-lateral"
RIGHT_LATERAL = "right-lateral"
OBLIQUE = "oblique"
"""Between two of the others; which two does not matter to anybody yet."""

Direction = tuple[str, str]
"""A direction (empty when unknown) and what told so (empty likewise)."""

_ANGLE_TOLERANCE_DEG = 20.0
_BY_ANGLE_DEG = {0.0: POSTERIOR, 90.0: LEFT_LATERAL, 180.0: ANTERIOR, 270.0: RIGHT_LATERAL}

_BY_CODE = {
    vocabulary.ANTERIOR_PROJECTION.value: ANTERIOR,
    vocabulary.POSTERIOR_PROJECTION.value: POSTERIOR,
    vocabulary.LEFT_LATERAL_PROJECTION.value: LEFT_LATERAL,
    vocabulary.RIGHT_LATERAL_PROJECTION.value: RIGHT_LATERAL,
    # The same four in SNOMED-RT, as cameras before about 2015 write them, and their general-radiology twins.
    "G-5215": ANTERIOR,
    "G-5216": POSTERIOR,
    "G-5223": LEFT_LATERAL,
    "G-5222": RIGHT_LATERAL,
    "R-10206": ANTERIOR,
    "R-10214": POSTERIOR,
    "R-10236": LEFT_LATERAL,
    "R-10232": RIGHT_LATERAL,
    "399348003": ANTERIOR,
    "272479007": POSTERIOR,
    "399173006": LEFT_LATERAL,
    "399198007": RIGHT_LATERAL,
    "399074003": OBLIQUE,
    "399108003": OBLIQUE,
    "399136008": OBLIQUE,
    "399075002": OBLIQUE,
}

# English, German, French, Spanish, Dutch, Italian. A word is matched whole, without accents' case mattering.
_LEFT = r"(?:left|links|linke[rsn]?|gauche|izq(?:uierd[ao])?|sin(?:istr[ao])?|lt?)"
_RIGHT = r"(?:right|rechts?|rechte[rsn]?|droite?|der(?:ech[ao])?|destr[ao]|dx|rt?)"
_SIDE = r"(?:lat(?:eral(?:e|ement)?|éral[e]?)?|seitlich|zij(?:de)?|seite|profil)"
_WORDS = {
    ANTERIOR: r"ant(?:erior[e]?|érieure?|erieure?)?|vorne?|vo[nm] vorne?|ventral[e]?|voor(?:kant|aanzicht|zijde)?"
    r"|van voren|davanti|frontal[e]?|frente|face(?! *(?:post|ant))|a\.?p\.?",
    POSTERIOR: r"post(?:erior[e]?|érieure?|erieure?)?|(?:von )?hinten|dorsal[e]?|rücken|ruecken"
    r"|achter(?:kant|aanzicht|zijde)?|van achteren|de dos|dietro|espaldas?|p\.?a\.?",
    LEFT_LATERAL: rf"l[ \-_]?lat|{_LEFT}[ \-_]*{_SIDE}|{_SIDE}[ \-_]*{_LEFT}",
    OBLIQUE: r"[rl][ap]o|obl(?:i(?:que?|c[uoa]a?|k)\w*)?|schr[äa]g\w*|schuin\w*",
    RIGHT_LATERAL: rf"r[ \-_]?lat|{_RIGHT}[ \-_]*{_SIDE}|{_SIDE}[ \-_]*{_RIGHT}",
}
# "Post" is also Latin for after: after an operation, an infusion, a contrast agent, and in PRE/POST.
_AFTER = re.compile(
    r"\bpr[eéä][ /\-_+&]*post\b"
    r"|\bpost[ \-_]*(?:op|inf|inj|pump|therap|trait|behand|kontrast|contr|chemo|punk|embol)\w*",
    re.IGNORECASE,
)
# "Left anterior oblique" names one direction, and that is not anterior.
_OBLIQUE_PHRASE = re.compile(
    rf"(?:(?:{_LEFT}|{_RIGHT})[ \-]+)?(?:{_WORDS[ANTERIOR]}|{_WORDS[POSTERIOR]})[ \-]+(?={_WORDS[OBLIQUE]})"
    rf"|(?<=obliqua|oblicua|oblique)[ \-]+(?:{_WORDS[ANTERIOR]}|{_WORDS[POSTERIOR]})"
    rf"(?:[ \-]+(?:{_LEFT}|{_RIGHT}))?(?![^\W_])",
    re.IGNORECASE,
)
_PATTERNS = {
    direction: re.compile(rf"(?<![^\W_])(?:{words})(?![^\W_])", re.IGNORECASE) for direction, words in _WORDS.items()
}
_NAMING = ("ImageID", "SeriesDescription", "ProtocolName")


def directions_of(planes: Sequence[Plane]) -> list[Direction]:
    """Tell the direction of each projection of one object.

    Parameters
    ----------
    planes : sequence of Plane
        The frames of one object, in frame order.

    Returns
    -------
    list of (direction, source)
        ``anterior``, ``posterior``, ``left-lateral``, ``right-lateral``, ``oblique`` or empty; and ``view code``,
        ``text``, ``start angle``, ``detector number`` or empty.
    """
    heads = _heads(planes)
    order = sorted(set(heads), key=lambda head: (len(head), head))
    found = _by_code(planes, heads) or _by_words(planes[0], order) or _by_angle(planes, heads)
    if not found and len(order) == 2:
        found = {order[0]: (ANTERIOR, "detector number"), order[1]: (POSTERIOR, "detector number")}
    return [found.get(head, ("", "")) for head in heads]


def words_in(text: str) -> list[str]:
    """Directions that a text names, in the order in which it names them, each once."""
    cleaned = _OBLIQUE_PHRASE.sub(" ", _AFTER.sub(" ", text.replace("_", " ")))
    found = [
        (match.start(), direction) for direction, pattern in _PATTERNS.items() if (match := pattern.search(cleaned))
    ]
    return [direction for _, direction in sorted(found)]


def _heads(planes: Sequence[Plane]) -> list[str]:
    """Detector of each frame; its place among the frames of its energy window where detectors are not told apart."""
    detectors = [plane.text("DetectorVector") for plane in planes]
    if len(set(detectors)) > 1:
        return detectors
    seen: Counter[str] = Counter()
    heads = []
    for plane in planes:
        window = plane.text("EnergyWindowVector")
        seen[window] += 1
        heads.append(str(seen[window]))
    return heads


def _by_code(planes: Sequence[Plane], heads: Sequence[str]) -> dict[str, Direction]:
    found = {}
    for plane, head in zip(planes, heads, strict=True):
        direction = _coded(plane.frame.codes.get("ViewCodeSequence", ())) or _coded(
            plane.source.instance.codes.get("ViewCodeSequence", ())
        )
        if direction:
            found[head] = (direction, "view code")
    return found


def _coded(codes: Sequence[Code]) -> str:
    for code in codes:
        if direction := _BY_CODE.get(code.value):
            return direction
        # A private or foreign code still carries its meaning.
        named = words_in(code.meaning)
        if len(named) == 1 or OBLIQUE in named:
            return OBLIQUE if OBLIQUE in named else named[0]
    return ""


def _by_words(plane: Plane, order: Sequence[str]) -> dict[str, Direction]:
    for keyword in _NAMING:
        named = words_in(plane.text(keyword))
        if len(order) == 1 and OBLIQUE in named:
            named = [OBLIQUE]
        if named and len(named) == len(order):
            return {head: (direction, "text") for head, direction in zip(order, named, strict=True)}
    return {}


def _by_angle(planes: Sequence[Plane], heads: Sequence[str]) -> dict[str, Direction]:
    found: dict[str, str] = {}
    for plane, head in zip(planes, heads, strict=True):
        angle_deg = plane.number("StartAngle")
        if angle_deg is not None:
            found[head] = _direction_at(angle_deg)
    if len(found) == 2 and set(found.values()) == {ANTERIOR, POSTERIOR}:
        first, second = sorted(found, key=lambda head: (len(head), head))
        found = {first: ANTERIOR, second: POSTERIOR}
    return {head: (direction, "start angle") for head, direction in found.items()}


def _direction_at(angle_deg: float) -> str:
    for centre_deg, direction in _BY_ANGLE_DEG.items():
        apart_deg = abs((angle_deg - centre_deg + 180.0) % 360.0 - 180.0)
        if apart_deg <= _ANGLE_TOLERANCE_DEG:
            return direction
    return OBLIQUE
