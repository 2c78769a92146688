"""When a study is complete: by content where an analyzer can tell, else by silence, in any case at the cap.

Quiet times run from the last usable image. An analyzer that finds everything it expects shortens them, and so does an
archive that sent the study and holds no more of it; nothing ever lengthens them. An open association holds its study
only for a while after its last instance.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from analyzers.contract import Complete, Expectation, Missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Waiting times in seconds; see ``[completion]`` in ``node.toml``."""

    quiet_ct_s: float
    quiet_mr_s: float
    quiet_nm_s: float
    quiet_other_s: float
    quiet_when_complete_s: float
    cap_s: float

    def quiet_s(self, modalities: Collection[str]) -> float:
        """The quiet time of a study: the longest of its modalities'."""
        by_modality = {"CT": self.quiet_ct_s, "MR": self.quiet_mr_s, "NM": self.quiet_nm_s}
        return max(
            (by_modality.get(modality, self.quiet_other_s) for modality in modalities), default=self.quiet_other_s
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The study is complete, or its time is up."""

    reason: str
    missing: tuple[str, ...]
    """What the analyzers still expected; the report says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotYet:
    """Ask again at ``until``."""

    until: datetime
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reception:
    """What is known of the arrival of a study."""

    first_received_at: datetime
    """First image of the present revision."""
    last_received_at: datetime
    modalities: frozenset[str]
    association_open: bool
    """An association that brought an image of this study is open, and its hold has not run out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedSeries:
    """One series as an archive holds it."""

    series_instance_uid: str
    modality: str
    instance_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveCount:
    """What an archive's count says of a study that we wait for."""

    holds_no_more: bool
    """Every series has come with as many objects as the archive holds, and the archive has no other of its kind."""
    sentence: str


def compared(peer: str, received: Mapping[str, int], archived: Sequence[ArchivedSeries]) -> ArchiveCount:
    """Compare what came (series UID → number of objects) with what the peer holds.

    Series of another modality than those that came are left out: an archive also keeps reports, and our own answers.
    """
    held = {series.series_instance_uid: series for series in archived}
    kinds = {series.modality for series in archived if series.series_instance_uid in received}
    wanted = {uid: series for uid, series in held.items() if uid in received or series.modality in kinds}
    count, total = sum(received.values()), sum(series.instance_count for series in wanted.values())
    same = bool(received) and {uid: series.instance_count for uid, series in wanted.items()} == dict(received)
    if not wanted:
        return ArchiveCount(holds_no_more=False, sentence=f"{peer} does not hold the study")
    if same:
        return ArchiveCount(holds_no_more=True, sentence=f"{peer} holds no more than the {count} images that came")
    told = f"{peer} holds {total} images in {len(wanted)} series; {count} in {len(received)} series came"
    return ArchiveCount(holds_no_more=False, sentence=told)


def completeness(
    now: datetime,
    reception: Reception,
    expectation: Expectation | None,
    patience: Patience,
    archive: ArchiveCount | None = None,
) -> Ready | NotYet:
    """Decide whether to go on waiting.

    Parameters
    ----------
    now : datetime
        Aware UTC.
    reception : Reception
        When and how the images came.
    expectation : Complete, Missing or None
        The analyzers' answer on the headers; ``None`` when nobody was asked (no route, or too early to ask).
    patience : Patience
        The waiting times.
    archive : ArchiveCount or None
        The count of the archive that sent the study; ``None`` when none was asked.
    """
    missing = expectation.what if isinstance(expectation, Missing) else ()
    cap_at = reception.first_received_at + timedelta(seconds=patience.cap_s)
    if now >= cap_at:
        return Ready(reason=f"{patience.cap_s:g} s after its first image: analysed as what it is", missing=missing)
    if reception.association_open:
        return NotYet(until=min(cap_at, now + timedelta(seconds=1)), why="an association that brought images is open")
    quiet_s = patience.quiet_s(reception.modalities)
    reason = "no image for the quiet time"
    shorter = _reason_to_hurry(expectation, archive)
    if shorter and patience.quiet_when_complete_s < quiet_s:
        quiet_s, reason = patience.quiet_when_complete_s, shorter
    quiet_at = reception.last_received_at + timedelta(seconds=quiet_s)
    if now >= quiet_at:
        return Ready(reason=f"{reason}; quiet for {quiet_s:g} s", missing=missing)
    waiting_for = f"waiting for {', '.join(missing)}" if missing else f"quiet time of {quiet_s:g} s"
    return NotYet(until=min(quiet_at, cap_at), why=waiting_for)


def _reason_to_hurry(expectation: Expectation | None, archive: ArchiveCount | None) -> str:
    if isinstance(expectation, Complete):
        return expectation.reason
    return archive.sentence if archive is not None and archive.holds_no_more else ""
