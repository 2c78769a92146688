"""What the header of one MR image says about its physics: kind of readout, weighting, contrast, diffusion, time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from analyzers.contract import InstanceSummary, finite_number

_LONGEST_B = 5000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceFacts:
    """Physics of one stack of images; ``None`` where the header is silent.

    Attributes
    ----------
    image_type : tuple of str
        In upper case, values of Image Type, Frame Type and Complex Image Component.
    scanning : frozenset of str
        Terms of Scanning Sequence (GR, SE, IR, EP), completed from the sequence's name.
    agent : str
        Contrast agent, lower case; empty when none is named.
    taken_at_s, injected_at_s : float or None
        Seconds since midnight by the scanner's clock.
    words : str
        Series description, protocol and sequence name, lower case.
    """

    image_type: tuple[str, ...]
    scanning: frozenset[str]
    echo_ms: float | None
    repetition_ms: float | None
    flip_deg: float | None
    inversion_ms: float | None
    b_value: float | None
    echo_train: float | None
    fat_suppressed: bool
    agent: str
    taken_at_s: float | None
    injected_at_s: float | None
    words: str


def facts_of(
    instance: InstanceSummary, varying: Mapping[str, tuple[str, ...]] | None = None, frame_number: int | None = None
) -> SequenceFacts:
    """Read the facts of one stack.

    Parameters
    ----------
    instance : InstanceSummary
        A header of the stack.
    varying : mapping or None
        Values by keyword that tell this stack from others of its series; they outrank the header.
    frame_number : int or None
        Number of a frame of the stack in a multi-frame object, which may hold other stacks too; ``None`` for its first.
    """
    own_frames = [one for one in instance.frames if one.frame == frame_number] or instance.frames
    frame = own_frames[0].attributes if own_frames else {}
    frame_first = len(instance.frames) > 1

    def values(keyword: str) -> tuple[str, ...]:
        own = (varying or {}).get(keyword, ())
        per_frame = frame.get(keyword, ())
        shared = instance.attributes.get(keyword, ())
        found = own or ((per_frame or shared) if frame_first else (shared or per_frame))
        return tuple(value.strip() for value in found if value.strip())

    def number(keyword: str) -> float | None:
        return finite_number(next(iter(values(keyword)), ""))

    names = " ".join(values("SequenceName") + values("PulseSequenceName")).lower()
    description = " ".join(values("SeriesDescription") + values("ProtocolName")).lower()
    words = re.sub(r"[^a-z0-9=äöüßéèêàçñáíóú+*]+", " ", f"{description} {names}")
    codes = " ".join(code.meaning for code in instance.codes.get("ContrastBolusAgentSequence", ()))
    agent = " ".join((*values("ContrastBolusAgent"), codes)).strip().lower()
    return SequenceFacts(
        image_type=tuple(
            word.upper() for key in ("ImageType", "FrameType", "ComplexImageComponent") for word in values(key)
        ),
        scanning=_scanning(values("ScanningSequence"), words),
        echo_ms=_positive(number("EchoTime") or number("EffectiveEchoTime")),
        repetition_ms=_positive(number("RepetitionTime")),
        flip_deg=_positive(number("FlipAngle")),
        inversion_ms=_positive(number("InversionTime")),
        b_value=_b_value(number("DiffusionBValue"), names),
        echo_train=_positive(number("EchoTrainLength")),
        fat_suppressed=_fat_suppressed(values("ScanOptions"), words),
        agent="" if re.fullmatch(r"(?:no|none|nein|ohne.*|without.*|0)?", agent) else agent,
        # The object's own time is that of its earliest frame: a dynamic series in one object has one time per phase.
        taken_at_s=_seconds(tuple(value[8:] for value in values("FrameAcquisitionDateTime")))
        or _seconds(values("AcquisitionTime"))
        or _seconds(tuple(value[8:] for value in values("AcquisitionDateTime")))
        or _seconds(values("SeriesTime")),
        injected_at_s=_seconds(values("ContrastBolusStartTime")),
        words=f" {words} ",
    )


def has_word(facts: SequenceFacts, pattern: str) -> bool:
    """Whether a whole word of the descriptions matches."""
    return re.search(rf"(?<![a-z0-9äöüßéèê])(?:{pattern})(?![a-zäöüßéèê])", facts.words) is not None


def _scanning(terms: tuple[str, ...], words: str) -> frozenset[str]:
    found = {term.upper() for value in terms for term in value.split("\\")} & {"GR", "SE", "IR", "EP"}
    if not found:
        if re.search(r"epi|diff|dwi|\bep[ 2]", words):
            found.add("EP")
        elif re.search(r"vibe|lava|thrive|flash|fl[23]d|gre\b|ffe|spgr|fspgr|quick|tigre|dixon", words):
            found.add("GR")
        elif re.search(r"haste|ssfse|tse|fse|propeller|blade|rare|space|mrcp", words):
            found.add("SE")
    return frozenset(found)


def _fat_suppressed(options: tuple[str, ...], words: str) -> bool:
    if any(option.upper() in {"FS", "FAT_SAT", "FATSAT", "SFS"} for option in options):
        return True
    pattern = r"\b(?:fs|fatsat|fat sat|spair|spir|stir|water|wasser|eau|agua|acqua|vibe|lava|thrive|ethrive|mdixon w)\b"
    return re.search(pattern, words) is not None


def _b_value(value: float | None, sequence_name: str) -> float | None:
    """The b value, else as one maker writes it into the sequence's name (``*ep_b800t``)."""
    if value is None and (told := re.search(r"\bep_b(\d+)", sequence_name.replace("*", " "))):
        value = float(told.group(1))
    return value if value is not None and 0.0 <= value <= _LONGEST_B else None


def _positive(value: float | None) -> float | None:
    return value if value is not None and value > 0.0 else None


def _seconds(values: tuple[str, ...]) -> float | None:
    text = values[0].replace(":", "") if values else ""
    if not re.match(r"\d{4,6}(?:\.\d+)?", text):
        return None
    hours, minutes = int(text[0:2]), int(text[2:4])
    match = re.match(r"\d{2}(?:\.\d+)?", text[4:])
    return 3600.0 * hours + 60.0 * minutes + (float(match.group()) if match else 0.0)
