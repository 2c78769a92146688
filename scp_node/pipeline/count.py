"""Count: ask the archive that sends a study how many objects it holds of it. May shorten the wait, never prolong it.

Only the sender's own count says something: what an archive forwards, it holds completely before. A scanner that sends
to us and to an archive at the same time has sent both of them the same, however much is still to come.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from scp_node.domain.completion import ArchiveCount, compared
from scp_node.domain.outcome import Outcome, Retry, Wait
from scp_node.domain.study import Study, StudyState
from scp_node.errors import DeliveryError
from scp_node.pipeline.ports import Archive
from scp_node.store.studies import StudyStore

AGAIN_S = 30.0
"""A study is asked about at most so often."""
SILENT_S = 120.0
"""A peer that could not be asked is left alone for so long, by all studies."""


def state_key(study: Study) -> str:
    """Changes whenever an image of the study arrives."""
    return f"{study.study_instance_uid} {study.instance_count} {study.last_received_at.isoformat()}"


class ArchiveCounts:
    """The newest answer for each study, as long as the study stays as it is. A courtesy: lost when the node stops."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[str, ArchiveCount]] = {}

    def of(self, study: Study) -> ArchiveCount | None:
        """The answer about the study as it is now; ``None`` when there is none yet."""
        key, count = self._counts.get(study.study_instance_uid, ("", None))
        return count if key == state_key(study) else None

    def keep(self, study: Study, count: ArchiveCount) -> bool:
        """Keep an answer; true when it says something new."""
        told = self._counts.get(study.study_instance_uid)
        self._counts[study.study_instance_uid] = (state_key(study), count)
        return told is None or told[1] != count

    def forget_all_but(self, studies: Sequence[Study]) -> None:
        """Drop the answers about studies that no longer wait."""
        waiting = {study.study_instance_uid for study in studies}
        for uid in [uid for uid in self._counts if uid not in waiting]:
            del self._counts[uid]


@dataclass(frozen=True, slots=True, kw_only=True)
class CountInstances:
    """The stage that asks. It has a thread of its own: an archive that is slow to answer delays no study."""

    studies: StudyStore
    archive: Archive
    counts: ArchiveCounts
    peers: Mapping[str, str]
    """Calling AE title → name of the peers that are asked."""
    quiet_s: float
    """Asked only once nothing has come for so long; before, the count would be old at once."""
    stopping: Callable[[], bool]
    silent_until: dict[str, datetime] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The verb."""
        return "count"

    def due(self, now: datetime) -> Sequence[Study]:
        """Studies that wait, and have been quiet for a while."""
        waiting = self.studies.in_state(StudyState.RECEIVING)
        self.counts.forget_all_but(waiting)
        return [study for study in waiting if now >= study.last_received_at + timedelta(seconds=self.quiet_s)]

    def key(self, item: Study) -> str:
        """A new image makes it worth asking again."""
        return state_key(item)

    def step(self, item: Study, now: datetime) -> Outcome:
        """Ask about one study."""
        again = Wait(until=now + timedelta(seconds=AGAIN_S), why="its archive was asked a moment ago")
        peer = self._sender(item.study_instance_uid)
        if peer is None or self.stopping() or now < self.silent_until.get(peer, now):
            return again
        try:
            archived = self.archive.series_of(peer, item.study_instance_uid)
        except DeliveryError as fault:
            self.silent_until[peer] = now + timedelta(seconds=SILENT_S)
            self._keep(item, ArchiveCount(holds_no_more=False, sentence=f"{peer} could not be asked: {fault}"), now)
            return Retry(after_s=SILENT_S, cause=f"{peer} could not be asked for its count: {fault}")
        self._keep(item, compared(peer, self.studies.series_counts(item.study_instance_uid), archived), now)
        return again

    def _sender(self, study_instance_uid: str) -> str | None:
        """The peer that sent every series, if it is one of those that are asked."""
        titles = {title for sender in self.studies.senders(study_instance_uid).values() for title in sender.calling_aes}
        return self.peers.get(next(iter(titles))) if len(titles) == 1 else None

    def _keep(self, study: Study, count: ArchiveCount, now: datetime) -> None:
        if self.counts.keep(study, count):
            self.studies.note_archive_count(study.study_instance_uid, count.sentence, now)
