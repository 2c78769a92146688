"""Which sequence each stack is, from physics first and words second, with the reason.

Weighting follows from the readout, echo time and diffusion; contrast phases from the time since the injection.
Descriptions decide only what physics leaves open, and the reason says so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from analyzers.mri.sequences import SequenceFacts, has_word
from analyzers.mri.thresholds import SeriesThresholds


class Role(StrEnum):
    """What a stack is for this analyzer."""

    T1_PRE = "t1-pre"
    T1_ARTERIAL = "t1-arterial"
    T1_PORTAL = "t1-portal"
    T1_TRANSITIONAL = "t1-transitional"
    T1_HBP = "t1-hbp"
    T1_IN = "t1-in"
    T1_OPPOSED = "t1-opposed"
    T1_FAT = "t1-fat"
    T1 = "t1"
    T2 = "t2"
    HASTE = "t2-haste"
    DWI = "dwi"
    ADC = "adc"
    MRCP = "mrcp"
    LOCALIZER = "localizer"
    UNREAD = ""


DYNAMIC = (Role.T1_PRE, Role.T1_ARTERIAL, Role.T1_PORTAL, Role.T1_TRANSITIONAL, Role.T1_HBP)
ENHANCED = DYNAMIC[1:]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleOf:
    """A role and the evidence for it in words; guessed where the order of the images is all that tells the phase."""

    role: Role
    reason: str
    guessed: bool = False


_PHASE_WORDS: tuple[tuple[Role, str], ...] = (
    (Role.T1_HBP, r"hbp|hepatobil\w*|hepato\w*|spätphase|20 ?min|15 ?min|10 ?min|late hb"),
    (Role.T1_ARTERIAL, r"art|arterial\w*|arteriell\w*|arterielle|arter\w*|hap|spaetart|spätart|20 ?sec|25 ?s(?:ec)?"),
    (
        Role.T1_PORTAL,
        r"pv|pvp|portal\w*|porto\w*|portalven\w*|venous|venös|venoes|veineu\w*|venos\w*|veneu\w*|70 ?s(?:ec)?",
    ),
    (
        Role.T1_TRANSITIONAL,
        r"transit\w*|delayed|equilibrium|gleichgewicht|equil\w*|tard\w*|late|laat|spaet\w*|[235] ?min|180 ?s(?:ec)?",
    ),
    (
        Role.T1_PRE,
        r"pre|nativ\w*|unenhanced|plain|ohne km|sans (?:injection|gado)|sin (?:contraste|civ)|"
        r"senza (?:mdc|contrasto)|basale?|blanco|without|non ?contrast|mask",
    ),
)
_HEPATOBILIARY = re.compile(r"gadoxet|primovist|eovist|gd eob|gd-eob|multihance|gadobenate|gadobensäure")
_EXTRACELLULAR = re.compile(
    r"gadobutrol|gadovist|gadavist|gadoter|dotarem|clariscan|prohance|magnevist|gadopentet|omniscan|gadodiamid|"
    r"gadopiclenol|elucirem|vueway|extracell|extrazell"
)
_DERIVED = (
    "SUBTRACTION",
    "SUB",
    "SUBTRACT",
    "MIP",
    "PROJECTION IMAGE",
    "MPR",
    "REFORMATTED",
    "SCREENSHOT",
    "CSA REPORT",
)
_LEAST_LIKE = 3
"""Images of one kind that make a dynamic series: before contrast and two phases."""
_PHASE_IMAGES = ("PHASE", "P", "PHASE MAP", "IMAGINARY", "REAL", "VELOCITY")


def first_roles(stacks: Sequence[SequenceFacts], settings: SeriesThresholds) -> tuple[RoleOf, ...]:
    """Role of every stack of a study, in the order given."""
    alone = [_role_alone(facts, settings) for facts in stacks]
    return _with_phases(stacks, alone, settings)


def _role_alone(facts: SequenceFacts, settings: SeriesThresholds) -> RoleOf:
    """What one stack is by itself; T1 stays open to the contrast phase."""
    excluded = _excluded(facts)
    if excluded is not None:
        return excluded
    diffusion = _diffusion(facts)
    if diffusion is not None:
        return diffusion
    if facts.echo_ms is None and not facts.scanning:
        return RoleOf(role=Role.UNREAD, reason="neither echo time nor readout known: weighting cannot be told")
    if facts.scanning & {"GR"} or (not facts.scanning and (facts.repetition_ms or 1e9) < 50.0):
        return _gradient_echo(facts, settings)
    return _spin_echo(facts, settings)


def _excluded(facts: SequenceFacts) -> RoleOf | None:
    types = facts.image_type
    if "LOCALIZER" in types or has_word(facts, r"loc|scout|survey|localizer|localiser|lokalis\w*|localisateur"):
        return RoleOf(role=Role.LOCALIZER, reason="a localizer by image type or description")
    derived = [word for word in types if any(word.startswith(known) for known in _DERIVED)]
    if derived:
        return RoleOf(role=Role.UNREAD, reason=f"derived images ({derived[0].lower()})")
    if has_word(facts, r"sub|subtr\w*|subtrak\w*|sottr\w*|sustrac\w*|mip"):
        return RoleOf(role=Role.UNREAD, reason="derived images by their description (subtraction or projection)")
    if any(word in _PHASE_IMAGES for word in types[2:]) and not {"M", "MAGNITUDE"} & set(types):
        return RoleOf(role=Role.UNREAD, reason="phase images, not magnitude")
    if has_word(facts, r"elast\w*|mre|wave|stiffness|r2\*|t2\* ?map|t1 ?map|spectro\w*|svs"):
        return RoleOf(role=Role.UNREAD, reason="a parameter map or spectroscopy")
    return None


def _diffusion(facts: SequenceFacts) -> RoleOf | None:
    if "ADC" in facts.image_type or has_word(facts, r"adc|dadc|eadc|apparent diffusion"):
        return RoleOf(role=Role.ADC, reason="apparent diffusion coefficient by image type or description")
    if facts.b_value is not None and ("EP" in facts.scanning or facts.b_value > 0):
        return RoleOf(role=Role.DWI, reason=f"diffusion b = {facts.b_value:g} s/mm2")
    if "EP" in facts.scanning and ("DIFFUSION" in facts.image_type or has_word(facts, r"dwi|diff\w*|ep2d|trace\w*")):
        return RoleOf(role=Role.DWI, reason="echo-planar diffusion; b value not told")
    return None


def _gradient_echo(facts: SequenceFacts, settings: SeriesThresholds) -> RoleOf:
    types = set(facts.image_type)
    said = f"gradient echo, TR {facts.repetition_ms or 0:g} ms, TE {facts.echo_ms or 0:g} ms"
    if types & {"FAT", "F"} or has_word(facts, r"fat only|fat image|fettbild|dixon(?: \w+)* f"):
        return RoleOf(role=Role.T1_FAT, reason=f"{said}, fat image")
    phase = _fat_water_phase(facts)
    if phase is not None:
        return RoleOf(role=phase, reason=f"{said}, {'opposed' if phase is Role.T1_OPPOSED else 'in'} phase")
    if facts.echo_ms is not None and facts.echo_ms > settings.short_echo_ms:
        return RoleOf(role=Role.UNREAD, reason=f"{said}: T2*-weighted")
    if facts.repetition_ms is not None and facts.repetition_ms > settings.short_repetition_ms:
        return RoleOf(role=Role.UNREAD, reason=f"{said}: not T1-weighted")
    balanced = (facts.flip_deg or 0.0) > 45.0 and (facts.repetition_ms or 1e9) < 10.0
    if balanced or has_word(facts, r"trufi\w*|fiesta|bssfp|b ?ffe|ssfp"):
        return RoleOf(role=Role.UNREAD, reason=f"{said}, flip {facts.flip_deg or 0:g} deg: balanced, not T1-weighted")
    suppressed = ", fat suppressed" if facts.fat_suppressed or types & {"WATER", "W"} else ""
    return RoleOf(role=Role.T1, reason=f"{said}{suppressed}")


def _fat_water_phase(facts: SequenceFacts) -> Role | None:
    """In or opposed phase by image type, else by a description that names one of them only."""
    types = set(facts.image_type)
    if types & {"OPP_PHASE", "OUT_PHASE", "OP", "OPPOSED_PHASE"}:
        return Role.T1_OPPOSED
    if types & {"IN_PHASE", "IP"}:
        return Role.T1_IN
    if types & {"WATER", "W"}:
        return None
    opposed = has_word(facts, r"opp(?:osed)?|out of phase|out phase|gegenphase|oop|dixon(?: \w+)* out")
    within = has_word(facts, r"in phase|inphase|inphas\w*|dixon(?: \w+)* in|opp in|in opp")
    if opposed == within:
        return None
    return Role.T1_OPPOSED if opposed else Role.T1_IN


def _spin_echo(facts: SequenceFacts, settings: SeriesThresholds) -> RoleOf:
    echo_ms = facts.echo_ms
    said = f"spin echo, TE {echo_ms or 0:g} ms"
    low, high = settings.t2_echo_ms
    if has_word(facts, r"mrcp|cholangio\w*") or (echo_ms is not None and echo_ms > high):
        return RoleOf(role=Role.MRCP, reason=f"{said}: cholangiography")
    if echo_ms is None or echo_ms < low:
        return RoleOf(role=Role.UNREAD, reason=f"{said}: neither T2-weighted nor a gradient echo")
    if (facts.echo_train or 0) > 60 or has_word(facts, r"haste|ssfse|ss fse|single ?shot|ss tse|sshtse"):
        return RoleOf(role=Role.HASTE, reason=f"{said}, single shot")
    return RoleOf(role=Role.T2, reason=f"{said}: T2-weighted")


# --- contrast phases ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Injection:
    """When the agent was given, by the scanner's clock, and whether that is a guess from the order of the images."""

    at_s: float
    guessed: bool


def _with_phases(
    stacks: Sequence[SequenceFacts], alone: Sequence[RoleOf], settings: SeriesThresholds
) -> tuple[RoleOf, ...]:
    found = list(alone)
    open_t1 = [number for number, one in enumerate(alone) if one.role is Role.T1]
    injection = _injection([stacks[number] for number in open_t1], settings)
    hepatobiliary = _hepatobiliary(stacks)
    for number in open_t1:
        facts = stacks[number]
        phase = _phase(facts, injection, hepatobiliary=hepatobiliary, settings=settings)
        if phase is not None:
            found[number] = replace(phase, reason=f"{alone[number].reason}; {phase.reason}")
    return tuple(found)


def _hepatobiliary(stacks: Sequence[SequenceFacts]) -> bool:
    """Whether the agent goes into hepatocytes; one that no header names is believed to, if images are made so late."""
    words = " ".join(facts.agent + facts.words for facts in stacks)
    return _HEPATOBILIARY.search(words) is not None or _EXTRACELLULAR.search(words) is None


def _injection(open_t1: Sequence[SequenceFacts], settings: SeriesThresholds) -> _Injection | None:
    """When the agent was given; ``None`` when neither a header nor the order of the images tells it believably."""
    enhanced = [facts for facts in open_t1 if facts.agent]
    taken = [facts.taken_at_s for facts in enhanced if facts.taken_at_s is not None]
    starts = [facts.injected_at_s for facts in enhanced if facts.injected_at_s is not None]
    # A start that equals the first image, or follows it, is the clock of the series and not of the injector.
    if taken and starts and min(starts) < min(taken) - 3.0:
        return _Injection(at_s=min(starts), guessed=False)
    first = _first_enhanced_s(open_t1)
    return None if first is None else _Injection(at_s=first - settings.arterial_delay_s, guessed=True)


def _first_enhanced_s(open_t1: Sequence[SequenceFacts]) -> float | None:
    """Time of the arterial phase: by its words, by the first image that names an agent, or second of a series of like.

    Where every image names the agent, also the one before it was given, the first of at least three like ones is taken
    for that.
    """
    timed = [facts for facts in open_t1 if facts.taken_at_s is not None]
    worded = [facts.taken_at_s for facts in timed if _worded(facts) is Role.T1_ARTERIAL]
    if worded:
        return min(time for time in worded if time is not None)
    groups: dict[tuple[float, float, float], list[SequenceFacts]] = {}
    for facts in timed:
        physics = (round(facts.echo_ms or 0, 1), round(facts.repetition_ms or 0, 1), round(facts.flip_deg or 0))
        groups.setdefault(physics, []).append(facts)
    like = max(groups.values(), key=len, default=[])
    agents = {facts.taken_at_s: facts.agent for facts in sorted(like, key=lambda one: one.taken_at_s or 0.0)}
    times = [time for time in agents if time is not None]
    if len(times) < _LEAST_LIKE:
        return None
    with_agent = [time for time in times if agents[time]]
    return with_agent[0] if with_agent and with_agent[0] > times[0] else times[1]


def _worded(facts: SequenceFacts) -> Role | None:
    return next((role for role, pattern in _PHASE_WORDS if has_word(facts, pattern)), None)


def _phase(
    facts: SequenceFacts, injection: _Injection | None, *, hepatobiliary: bool, settings: SeriesThresholds
) -> RoleOf | None:
    worded = _worded(facts)
    if worded is not None and (injection is None or injection.guessed):
        return RoleOf(role=worded, reason="phase by its description; time of injection not known")
    if injection is not None and facts.taken_at_s is not None:
        delay_s = facts.taken_at_s - injection.at_s
        if abs(delay_s) < settings.longest_delay_s and (facts.agent or delay_s < 0 or injection.guessed):
            timed = _timed_role(delay_s, settings, hepatobiliary=hepatobiliary)
            note = f", though its description says {worded.value}" if worded not in (None, timed) else ""
            when = f"{delay_s:.0f} s after" if delay_s >= 0 else f"{-delay_s:.0f} s before"
            how = ", whose time is guessed from the order of like images" if injection.guessed else ""
            return RoleOf(role=timed, reason=f"{when} the injection{how}{note}", guessed=injection.guessed)
    if worded is not None:
        return RoleOf(role=worded, reason="phase by its description; time of injection not known")
    if not facts.agent and (facts.fat_suppressed or {"WATER", "W"} & set(facts.image_type)):
        return RoleOf(role=Role.T1_PRE, reason="no contrast agent named")
    return None


def _timed_role(delay_s: float, settings: SeriesThresholds, *, hepatobiliary: bool) -> Role:
    if delay_s < 0:
        return Role.T1_PRE
    if delay_s < settings.arterial_until_s:
        return Role.T1_ARTERIAL
    if delay_s < settings.portal_until_s:
        return Role.T1_PORTAL
    if delay_s < settings.transitional_until_s or not hepatobiliary:
        return Role.T1_TRANSITIONAL
    return Role.T1_HBP
