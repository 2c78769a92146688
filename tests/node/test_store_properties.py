"""Whatever happens, in whatever order: what must always be true of the rows."""

import tempfile
from collections import Counter
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule
from sqlalchemy import select

from scp_node.domain.delivery import DELIVERY_LIFECYCLE, ENDED, DeliveryEvent, DeliveryState, ObjectKind
from scp_node.domain.job import JOB_LIFECYCLE, AnalysisJob, JobState
from scp_node.domain.study import STUDY_LIFECYCLE, Identity, Reception, StudyEvent, StudyState
from scp_node.errors import IllegalTransitionError, LostRaceError, StoreError, UnknownStudyError
from scp_node.store import tables
from scp_node.store.database import Database
from scp_node.store.deliveries import DeliveryStore
from scp_node.store.job_rows import UNENCODED
from scp_node.store.jobs import JobStore
from scp_node.store.retention import Retention, RetentionPeriods
from scp_node.store.studies import StudyStore
from tests.node.store_samples import EXPLICIT, JPEG_2000, STUDY, at, identity, new_object, received

LIFECYCLES: dict[str, Any] = {"study": STUDY_LIFECYCLE, "job": JOB_LIFECYCLE, "delivery": DELIVERY_LIFECYCLE}
FIRST_STATES = {"study": StudyState.RECEIVING, "job": JobState.QUEUED, "delivery": DeliveryState.QUEUED}
REFUSED = (IllegalTransitionError, LostRaceError, UnknownStudyError, StoreError)


class Node(RuleBasedStateMachine):
    """One study among scanners, clerks, analyzers, peers, crashes and time."""

    attempts = Bundle("attempts")

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.database = Database.open(Path(self.folder.name), migrate=True)
        self.studies, self.jobs = StudyStore(self.database), JobStore(self.database)
        self.deliveries, self.retention = DeliveryStore(self.database), Retention(self.database)
        self.seconds = 0.0
        self.kept: set[str] = set()
        self.reported: dict[int, Identity] = {}

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.database.close()
            self.folder.cleanup()

    # --- what happens ---

    @rule(seconds=st.sampled_from([1.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.seconds += seconds

    @rule(
        number=st.integers(1, 4),
        patient=st.sampled_from(["P1"] * 9 + ["P2"]),
        pixels=st.sampled_from(["p"] * 9 + ["other"]),
        transfer_syntax=st.sampled_from([EXPLICIT] * 3 + [JPEG_2000]),
    )
    def an_image_arrives(self, number: int, patient: str, pixels: str, transfer_syntax: str) -> None:
        instance = received(
            number, who=identity(patient), pixels=pixels, transfer_syntax=transfer_syntax, after_s=self.seconds
        )
        before = self._input_keys()
        revision = self._revision()
        reception = self.studies.record(instance, self._now())
        if reception in (Reception.SAME, Reception.OWN):
            assert instance.spool_key not in self.studies.spool_keys()
        else:
            self.kept.add(instance.spool_key)
        if self._revision() > revision and revision:
            assert self._input_keys() != before
            assert self._revision() == revision + 1

    @rule(number=st.integers(10, 11))
    def a_dose_report_arrives(self, number: int) -> None:
        before = self._state_and_revision()
        patients = [study.identity for study in self.studies.find(STUDY)]
        # Of the study's patient, and the same report when it comes again: another one would be a conflict, rightly.
        who = self.reported.setdefault(number, patients[0] if patients else identity())
        instance = received(number, usable=False, after_s=self.seconds, who=who)
        if self.studies.record(instance, self._now()) is not Reception.SAME:
            self.kept.add(instance.spool_key)
        assert before in (None, self._state_and_revision())

    @rule(event=st.sampled_from([StudyEvent.ROUTE_IGNORE, StudyEvent.ROUTE_HOLD, StudyEvent.RELEASED_TO_IGNORE]))
    def the_study_is_decided(self, event: StudyEvent) -> None:
        with suppress(*REFUSED):
            self.studies.apply(STUDY, event, reason="", now=self._now())

    @rule()
    def the_study_is_found_complete(self) -> None:
        with suppress(*REFUSED):
            self.studies.apply(STUDY, StudyEvent.FOUND_COMPLETE, reason="", now=self._now())

    @rule(
        event=st.sampled_from([StudyEvent.ROUTE_ANALYZE, StudyEvent.RELEASED_TO_ANALYZE]),
        analyzers=st.sampled_from([("cta",), ("cta", "mri")]),
    )
    def the_study_is_routed(self, event: StudyEvent, analyzers: tuple[str, ...]) -> None:
        with suppress(*REFUSED):
            self.jobs.route(STUDY, analyzers, ("pacs",), self._revision(), "", self._now(), event)

    @rule(analyzers=st.sampled_from([("cta",), ("cta", "mri")]))
    def everything_goes_well_to_the_routing(self, analyzers: tuple[str, ...]) -> None:
        """The common way, so that what lies behind it is reached often."""
        self.the_study_is_found_complete()
        self.the_study_is_routed(StudyEvent.ROUTE_ANALYZE, analyzers)

    @rule()
    def everything_goes_well_to_the_encoding(self) -> None:
        self.everything_goes_well_to_the_routing(("cta",))
        while (job := self.jobs.lease(self._now(), 60, 2)) is not None:
            self.an_attempt_ends_well(job)
        self.results_are_encoded()

    @rule()
    def everything_goes_well_to_the_commitment(self) -> None:
        self.everything_goes_well_to_the_encoding()
        for _ in range(2):
            self.deliveries_are_tried(DeliveryEvent.STORED, 10)
        self.a_peer_proves_what_it_holds(DeliveryEvent.COMMITTED)

    @rule()
    def a_person_accepts_the_conflict(self) -> None:
        with suppress(*REFUSED):
            self.studies.resolve_conflict(STUDY, self._now())

    @rule()
    def a_person_asks_for_a_new_analysis(self) -> None:
        with suppress(*REFUSED):
            self.jobs.requeue(STUDY, self._now())

    @rule(target=attempts)
    def a_job_is_leased(self) -> Any:
        job = self.jobs.lease(self._now(), 60, 2)
        return multiple() if job is None else job

    @rule(attempt=consumes(attempts))
    def an_attempt_ends_well(self, attempt: AnalysisJob) -> None:
        with suppress(LostRaceError):
            out_folder = f"{attempt.job_id}/{attempt.fence}"
            done = self.jobs.analysis_done(attempt.job_id, attempt.fence, self._now(), out_folder)
            assert done.fence == attempt.fence

    @rule(attempt=consumes(attempts), retry=st.booleans())
    def an_attempt_ends_badly(self, attempt: AnalysisJob, *, retry: bool) -> None:
        with suppress(LostRaceError):
            retry_at = self._now() if retry else None
            self.jobs.attempt_failed(attempt.job_id, attempt.fence, self._now(), "crashed", retry_at)

    @rule(all_of_them=st.booleans())
    def leases_run_out(self, *, all_of_them: bool) -> None:
        as_of = at(1e9) if all_of_them else None
        self.jobs.expire_leases(self._now(), as_of=as_of)
        self.deliveries.expire_leases(self._now(), as_of=as_of)

    @rule()
    def results_are_encoded(self) -> None:
        for job in self.jobs.awaiting_encoding():
            objects = [new_object(job, kind) for kind in (ObjectKind.SEGMENTATION, ObjectKind.REPORT)]
            self.jobs.encoded(job.job_id, self._now(), objects, [(0, "pacs"), (1, "pacs")])

    @rule(event=st.sampled_from([DeliveryEvent.STORED, DeliveryEvent.STORED, *DeliveryEvent]), limit=st.integers(1, 3))
    def deliveries_are_tried(self, event: DeliveryEvent, limit: int) -> None:
        for each in self.deliveries.due("pacs", self._now(), limit):
            if each.encoded.kind.send_rank == 1:
                pointed_at = [
                    other.state
                    for other in self.deliveries.of_job(each.encoded.job_id)
                    if other.encoded.kind.send_rank == 0
                ]
                # What the peer refused for good, or a person gave up, is waited for no longer.
                assert set(pointed_at) <= {DeliveryState.SENT, DeliveryState.FAILED, *ENDED}
            with suppress(IllegalTransitionError):
                self.deliveries.apply(each.delivery_id, event, now=self._now())

    @rule(event=st.sampled_from([DeliveryEvent.COMMITTED, DeliveryEvent.COMMITTED, DeliveryEvent.NOT_HELD]))
    def a_peer_proves_what_it_holds(self, event: DeliveryEvent) -> None:
        for each in self.deliveries.awaiting_commitment("pacs"):
            self.deliveries.apply(each.delivery_id, event, now=self._now())

    @rule()
    def a_person_sends_again(self) -> None:
        self.deliveries.requeue(self._now(), peer="pacs")

    @rule()
    def a_person_gives_up(self) -> None:
        with suppress(*REFUSED):
            self.deliveries.dismiss_study(STUDY, self._now())

    @rule(gone=st.booleans())
    def a_person_gives_up_a_peer(self, *, gone: bool) -> None:
        self.deliveries.dismiss("pacs", self._now(), gone=gone)

    @rule()
    def files_are_let_go(self) -> None:
        purged = self.retention.purge(self._now(), RetentionPeriods())
        assert set(purged.spool_keys) <= self.kept
        self.kept -= set(purged.spool_keys)
        if purged.study_instance_uids:
            assert all(job.answered or job.state is JobState.SUPERSEDED for job in self.jobs.of_study(STUDY))
            assert {each.state for each in self.deliveries.of_study(STUDY)} <= set(ENDED)

    @rule()
    def files_are_let_go_after_weeks(self) -> None:
        self.seconds += 20 * 86_400.0
        self.files_are_let_go()

    # --- what is always true ---

    @invariant()
    def every_file_has_exactly_one_row(self) -> None:
        with self.database.reading() as connection:
            keys = Counter(
                key
                for table in (tables.instance, tables.correction, tables.quarantine)
                for key in connection.execute(select(table.c.spool_key).where(table.c.spool_key.is_not(None))).scalars()
            )
        assert keys == Counter(self.kept)

    @invariant()
    def every_history_follows_its_life_cycle(self) -> None:
        histories: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
        for row in self.studies.events(STUDY):
            histories.setdefault((row.subject, row.subject_key), []).append(
                (row.event, row.state_before, row.state_after)
            )
        for (subject, _), history in histories.items():
            assert history[0][1] == FIRST_STATES[subject]
            assert all(one[2] == next_one[1] for one, next_one in pairwise(history))
            changes = [entry for entry in history if entry[1] != entry[2]]
            table = {(state.value, event.value): after for (state, event), after in LIFECYCLES[subject].table.items()}
            assert all(table[before, event] == after for event, before, after in changes)

    @invariant()
    def rows_are_where_their_history_ends(self) -> None:
        ends = {(row.subject, row.subject_key): row.state_after for row in self.studies.events(STUDY)}
        for study in self.studies.find(STUDY):
            assert ends.get(("study", STUDY), StudyState.RECEIVING) == study.state
        for job in self.jobs.of_study(STUDY):
            assert ends.get(("job", str(job.job_id)), JobState.QUEUED) == job.state
        for each in self.deliveries.of_study(STUDY):
            assert ends.get(("delivery", str(each.delivery_id)), DeliveryState.QUEUED) == each.state

    @invariant()
    def a_routed_study_has_one_living_job_for_each_analyzer_and_no_other_study_has_unfinished_ones(self) -> None:
        for study in self.studies.find(STUDY):
            jobs = self.jobs.of_study(STUDY)
            living = [job for job in jobs if job.state is not JobState.SUPERSEDED]
            assert max(Counter((job.analyzer, job.revision) for job in living).values(), default=1) == 1
            if study.state is StudyState.ROUTED:
                assert [job for job in living if job.revision == study.revision]
                assert not study.conflict
            else:
                assert not [job for job in jobs if job.state in UNENCODED]

    @invariant()
    def a_revision_begins_only_after_the_one_before_it_was_answered_or_given_up(self) -> None:
        jobs = self.jobs.of_study(STUDY)
        for number in range(1, self._revision()):
            finished = [job for job in jobs if job.revision == number and job.state not in UNENCODED]
            assert [job for job in finished if job.state is not JobState.SUPERSEDED]

    @invariant()
    def only_answered_jobs_have_objects_and_each_object_is_delivered_once(self) -> None:
        for job in self.jobs.of_study(STUDY):
            objects = self.jobs.objects_of(job.job_id)
            assert bool(objects) == job.answered
            assert job.state is not JobState.SUPERSEDED or not objects
            assert sorted(each.encoded.object_id for each in self.deliveries.of_job(job.job_id)) == sorted(
                made.object_id for made in objects
            )

    @invariant()
    def counts_and_sources_agree_with_the_instances(self) -> None:
        for study in self.studies.find(STUDY):
            instances = self.studies.instances(STUDY)
            assert study.instance_count == len(instances)
            assert study.sources_purged or all(each.spool_key for each in instances)

    def _now(self) -> Any:
        self.seconds += 0.001
        return at(self.seconds)

    def _revision(self) -> int:
        return max((study.revision for study in self.studies.find(STUDY)), default=0)

    def _state_and_revision(self) -> Any:
        return next(((study.state, study.revision) for study in self.studies.find(STUDY)), None)

    def _input_keys(self) -> set[str]:
        return {each.summary.sop_instance_uid for each in self.studies.instances(STUDY)}


Node.TestCase.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestNode = Node.TestCase
