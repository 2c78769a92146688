"""One table from what was found to the category of the examination and the sentence that says it.

The first row that fits decides. What forbids a judgement comes first, then what forbids treatment, then what is
missing, then what cannot be told. The finding "extrahepatic perfusion" and the category are made from the same facts,
so that a headline cannot contradict the finding below it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from analyzers import vocabulary
from analyzers.contract import Code, Presence

_PLANAR = "planar views"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the category depends on, and nothing else.

    Attributes
    ----------
    spilt_in_pocket : bool
        A large part of the tracer did not enter the catheter.
    pocket_share_fraction : float
        Counts round the pump as a share of those of liver and pocket.
    hot_tip_share_fraction : float or None
        Counts at the catheter's tip relative to the liver's, where they rival it; else ``None``.
    extrahepatic : tuple of str
        Places of foci that stand apart from the liver and have no other explanation.
    possible : tuple of str
        Places of foci that may be extrahepatic perfusion or something else, with what else.
    faint : tuple of str
        Places of spots on a SPECT/CT that do not stand out clearly: as likely liver, blood or noise.
    perhaps_same : bool
        Planar views and SPECT both have foci: one focus may be named twice.
    missing_lobe : str
        ``left``, ``right``, or empty.
    liver_shown_there_by : str
        What shows liver in the place of the missing lobe (``the CT``); empty where nothing does.
    absent_lobe : str
        ``left``, ``right``: a lobe without uptake in whose place no liver is shown either; else empty.
    not_judged : str
        Why completeness cannot be judged; empty where it can.
    side_doubt : str
        Why sides and views cannot be trusted; empty where they can.
    seen_on : str
        ``planar views``, ``SPECT``, ``planar views and SPECT``.
    near_liver : str
        Why a SPECT is not judged close to the liver (``without a CT``); empty where it is, or none was read.
    pertechnetate : bool
        The pattern of free pertechnetate was recognised and set apart.
    """

    spilt_in_pocket: bool = False
    pocket_share_fraction: float = 0.0
    hot_tip_share_fraction: float | None = None
    extrahepatic: tuple[str, ...] = ()
    possible: tuple[str, ...] = ()
    faint: tuple[str, ...] = ()
    perhaps_same: bool = False
    missing_lobe: str = ""
    liver_shown_there_by: str = ""
    absent_lobe: str = ""
    not_judged: str = ""
    side_doubt: str = ""
    seen_on: str = _PLANAR
    near_liver: str = ""
    pertechnetate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """The category of the whole examination, whether it is certain, and the sentence that says it."""

    category: Code
    sentence: str
    presence: Presence


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table: when it fits, and what is said then."""

    name: str
    fits: Callable[[Facts], bool]
    category: Code
    presence: Presence
    sentence: Callable[[Facts], str]


def _tip_share(fraction: float) -> str:
    return "more counts than the liver" if fraction > 1.0 else f"{100 * fraction:.0f} % of the liver's counts"


def _lobe(facts: Facts) -> str:
    if facts.liver_shown_there_by:
        return (
            f"little or no uptake in the place of the {facts.missing_lobe} lobe: not perfused "
            f"({facts.liver_shown_there_by} shows liver there)"
        )
    return f"little or no uptake in the place of the {facts.missing_lobe} lobe: not perfused or resected"


def _incomplete(facts: Facts) -> str:
    """A lobe that nothing shows may have been resected, and the perfusion of what is left be complete."""
    if facts.liver_shown_there_by:
        return f"incomplete perfusion: {_lobe(facts)}"
    return f"incomplete perfusion, unless the {facts.missing_lobe} lobe was resected: little or no uptake in its place"


def _whole(facts: Facts) -> str:
    if facts.absent_lobe:
        shown_by = facts.liver_shown_there_by or "the colloid scan"
        return (
            f"uptake in all of the liver that {shown_by} shows; it shows none in the place of the "
            f"{facts.absent_lobe} lobe (resected?)"
        )
    return "uptake in both lobes of the liver"


_NOT_TOLD = "extrahepatic activity is not judged, for what outshines the liver would be taken for it"


def _outside(facts: Facts) -> str:
    if facts.extrahepatic:
        also = f"; possible as well: {'; '.join(facts.possible)}" if facts.possible else ""
        return f"extrahepatic activity suspected: {'; '.join(facts.extrahepatic)}{also}{_rest(facts, '; ')}"
    if facts.possible:
        return f"possible extrahepatic activity: {'; '.join(facts.possible)}{_rest(facts, '; ')}"
    if facts.faint and not facts.side_doubt:
        return f"no certain extrahepatic activity{_rest(facts, ', but ')}"
    if facts.side_doubt:
        return f"{_NOT_TOLD}{_rest(facts, '; ')}"
    return f"no extrahepatic activity detected on {facts.seen_on}{_missed(facts)}"


def _rest(facts: Facts, before: str) -> str:
    """What is as likely nothing, named as something to look at and not as a suspicion; and what may be named twice."""
    same = "; planar views and SPECT may show the same focus" if facts.perhaps_same else ""
    if not facts.faint:
        return same
    spots = "a doubtful spot" if len(facts.faint) == 1 else f"{len(facts.faint)} doubtful spots"
    return f"{same}{before}{spots} to be looked at, perhaps only liver, blood or noise: {'; '.join(facts.faint)}"


def _missed(facts: Facts) -> str:
    """What a reader of the headline alone must know of the images behind "none detected"."""
    if facts.seen_on == _PLANAR:
        return ", which does not exclude it: they find about 30 % of it"
    if not facts.near_liver:
        return ""
    if _PLANAR in facts.seen_on:
        return f"; {facts.near_liver} activity close to the liver is judged by planar views alone"
    return f"; {facts.near_liver} activity close to the liver cannot be told from it"


def _joined(*parts: str) -> str:
    """Clauses as one sentence each, first letters raised."""
    return " ".join(f"{part[:1].upper()}{part[1:]}{'' if part.endswith('?') else '.'}" for part in parts if part)


def _with_the_rest(first: str, facts: Facts) -> str:
    """A leading clause, then whatever else was found; a row in front must not hide what stands behind it."""
    return _joined(
        first,
        _outside(facts) if _presence_by_foci(facts) is not Presence.ABSENT else "",
        _lobe(facts) if facts.missing_lobe else "",
    )


TOLD_IN_POCKET_FRACTION = 0.02
"""A spill from here on is told even where the study stays diagnostic: the pump was not filled as it should be."""

TABLE: tuple[Row, ...] = (
    Row(
        name="tracer in the pump pocket",
        fits=lambda facts: facts.spilt_in_pocket,
        category=vocabulary.PERFUSION_NON_DIAGNOSTIC,
        presence=Presence.INDETERMINATE,
        sentence=lambda facts: _with_the_rest(
            f"non-diagnostic: {100 * facts.pocket_share_fraction:.0f} % of the counts of liver and pump pocket lie in "
            "the pocket and did not enter the catheter (leak, or injected beside the port?)",
            facts,
        ),
    ),
    Row(
        name="low uptake with a hot tip",
        fits=lambda facts: facts.hot_tip_share_fraction is not None,
        category=vocabulary.PERFUSION_LOW_HOT_TIP,
        presence=Presence.PRESENT,
        sentence=lambda facts: _with_the_rest(
            f"activity at the catheter tip holds {_tip_share(facts.hot_tip_share_fraction or 0.0)}"
            ": low hepatic uptake with a hot tip, thrombosis?",
            facts,
        ),
    ),
    Row(
        name="views or sides in doubt",
        fits=lambda facts: bool(facts.side_doubt),
        category=vocabulary.PERFUSION_INDETERMINATE,
        presence=Presence.INDETERMINATE,
        sentence=lambda facts: _joined(f"indeterminate: {facts.side_doubt}", _outside(facts)),
    ),
    Row(
        name="extrahepatic activity suspected",
        fits=lambda facts: bool(facts.extrahepatic),
        category=vocabulary.PERFUSION_EXTRAHEPATIC,
        presence=Presence.PRESENT,
        sentence=lambda facts: _joined(
            _outside(facts), _lobe(facts) if facts.missing_lobe else facts.not_judged or _whole(facts)
        ),
    ),
    Row(
        name="a lobe seems to be missing where completeness is not judged",
        fits=lambda facts: bool(facts.missing_lobe and facts.not_judged),
        category=vocabulary.PERFUSION_INDETERMINATE,
        presence=Presence.INDETERMINATE,
        sentence=lambda facts: _joined(f"indeterminate: {facts.not_judged}", _lobe(facts), _outside(facts)),
    ),
    Row(
        name="a lobe is missing",
        fits=lambda facts: bool(facts.missing_lobe),
        category=vocabulary.PERFUSION_INCOMPLETE,
        presence=Presence.PRESENT,
        sentence=lambda facts: _joined(_incomplete(facts), _outside(facts)),
    ),
    Row(
        name="possible extrahepatic activity",
        fits=lambda facts: bool(facts.possible or facts.faint),
        category=vocabulary.PERFUSION_INDETERMINATE,
        presence=Presence.INDETERMINATE,
        sentence=lambda facts: _joined(f"indeterminate: {_outside(facts)}", facts.not_judged or _whole(facts)),
    ),
    Row(
        name="completeness not judged",
        fits=lambda facts: bool(facts.not_judged),
        category=vocabulary.PERFUSION_INDETERMINATE,
        presence=Presence.INDETERMINATE,
        sentence=lambda facts: _joined(f"indeterminate: {facts.not_judged}", _outside(facts)),
    ),
    Row(
        name="complete",
        fits=lambda _: True,
        category=vocabulary.PERFUSION_COMPLETE,
        presence=Presence.PRESENT,
        sentence=lambda facts: _joined(_whole(facts), _outside(facts)),
    ),
)
"""Every verdict that the analyzer can give, in order of precedence; the last row always fits."""


def perfusion_pattern(facts: Facts) -> Pattern:
    """Choose the first row that fits."""
    row = next(row for row in TABLE if row.fits(facts))
    sentence = row.sentence(facts)
    if not facts.spilt_in_pocket and facts.pocket_share_fraction >= TOLD_IN_POCKET_FRACTION:
        share = f"{100 * facts.pocket_share_fraction:.0f} % of the counts of liver and pump pocket lie in the pocket"
        sentence = f"{sentence} {_joined(f'tracer in the pump pocket: {share}')}"
    return Pattern(category=row.category, sentence=sentence, presence=row.presence)


def extrahepatic_presence(facts: Facts) -> Presence:
    """Whether extrahepatic perfusion was found; a spill that outshines all else leaves it open."""
    found = _presence_by_foci(facts)
    return Presence.INDETERMINATE if found is Presence.ABSENT and facts.spilt_in_pocket else found


def extrahepatic_sentence(facts: Facts) -> str:
    """The finding in one sentence."""
    if _presence_by_foci(facts) is not Presence.ABSENT:
        return _joined(_outside(facts))
    but = " but that of free pertechnetate" if facts.pertechnetate else ""
    said = f"no activity outside the liver{but} detected on {facts.seen_on}{_missed(facts)}"
    return _joined(f"not to be judged beside the spill round the pump; {said}" if facts.spilt_in_pocket else said)


def _presence_by_foci(facts: Facts) -> Presence:
    if facts.extrahepatic:
        return Presence.PRESENT
    # Where the liver lies on the wrong side, it may not be the liver.
    return Presence.INDETERMINATE if facts.possible or facts.faint or facts.side_doubt else Presence.ABSENT
