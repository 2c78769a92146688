"""What `status`, `explain`, `release` and `requeue` answer about a node's rows."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scp_node.domain.delivery import DeliveryState
from scp_node.domain.job import JobState
from scp_node.domain.study import StudyEvent, StudyState
from scp_node.pipeline.clock import now_utc
from scp_node.store.database import Database
from scp_node.store.deliveries import DeliveryStore
from scp_node.store.jobs import JobStore
from scp_node.store.studies import StudyStore
from tests.node.command_line import run, write_config
from tests.node.store_samples import OTHER_STUDY, STUDY, analyzed, at, encoded, identity, received, routed


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def config(tmp_path: Path, data: Path) -> Path:
    return write_config(tmp_path / "config", data)


@pytest.fixture
def store(data: Path) -> Iterator[Database]:
    opened = Database.open(data, migrate=True)
    yield opened
    opened.close()


def hold(store: Database, reason: str = "MAA is its only sign") -> None:
    """One image arrives, the study is complete and held."""
    studies = StudyStore(store)
    studies.record(received(1), at(0))
    studies.apply(STUDY, StudyEvent.FOUND_COMPLETE, reason="quiet", now=at(120))
    studies.apply(STUDY, StudyEvent.ROUTE_HOLD, reason=reason, now=at(121))


@pytest.fixture
def running(data: Path) -> Iterator[None]:
    """Somebody holds the lock of the data folder, as a node does, and says that a receiver listens."""
    tell(data)
    with (data / "node.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def tell(data: Path, *, alive: int = 1, wanted: int = 1, age_s: float = 0.0) -> None:
    """Leave word of the receivers as a node does."""
    told = {"at": now_utc().timestamp() - age_s, "alive": alive, "wanted": wanted}
    (data / "receivers.json").write_text(json.dumps(told), encoding="utf-8")


@pytest.mark.parametrize("asked", ["OLD-ID", "OLD-ACC", "P1", "A1", STUDY])
def test_a_study_is_explained_by_the_number_that_people_still_know(config: Path, store: Database, asked: str) -> None:
    studies = StudyStore(store)
    studies.record(received(1, who=identity("OLD-ID", accession="OLD-ACC")), at(0))
    studies.record(received(1, who=identity(), headers="corrected", after_s=60), at(60))

    answer = run("explain", asked, config=config)

    assert answer.exit_code == 0
    told = "known by patient ID OLD-ID, accession number OLD-ACC until 2026-03-02 08:01:00 UTC (headers corrected)"
    assert told in answer.said.splitlines()


@pytest.mark.usefixtures("store", "running")
def test_an_idle_node_needs_nobody(config: Path) -> None:
    answer = run("status", config=config)

    assert answer.exit_code == 0
    assert answer.said.splitlines()[0] == "node     running"
    assert answer.said.splitlines()[-1] == "nothing needs a person"


@pytest.mark.usefixtures("store", "running")
@pytest.mark.parametrize(
    ("word", "alarm"),
    [
        (None, "no receiver has started yet"),
        ({"alive": 0}, "no receiver listens"),
        ({"alive": 1, "wanted": 2}, "1 of 2 receivers listen"),
        ({"age_s": 1000.0}, "has not looked after its receivers for 1000 s"),
    ],
)
def test_a_node_that_runs_and_receives_nothing_needs_somebody(
    config: Path, data: Path, word: dict[str, Any] | None, alarm: str
) -> None:
    (data / "receivers.json").unlink()
    if word is not None:
        tell(data, **word)
    answer = run("status", config=config)

    assert answer.exit_code == 1
    assert alarm in answer.said
    assert "nothing needs a person" not in answer.said
    told = json.loads(run("status", "--json", config=config).said)
    assert (told["running"], [each["kind"] for each in told["alarms"]]) == (True, ["not-receiving"])


@pytest.mark.usefixtures("store")
def test_a_node_that_does_not_run_needs_somebody(config: Path, data: Path) -> None:
    (data / "node.lock").touch()

    answer = run("status", config=config)

    assert answer.exit_code == 1
    assert "NOT running" in answer.said
    assert "nothing needs a person" not in answer.said
    assert json.loads(run("status", "--json", config=config).said)["running"] is False


def test_status_names_each_held_study_and_its_reason(config: Path, store: Database) -> None:
    hold(store)

    said = run("status", config=config).said

    assert f"? study {STUDY} is held: MAA is its only sign; decide with release" in said
    assert "nothing needs a person" not in said


def test_status_for_programs_is_json_with_the_documented_keys(config: Path, store: Database) -> None:
    routed(store)
    encoded(store, analyzed(store))

    told = json.loads(run("status", "--json", config=config).said)

    assert told["schema"] == "hai-status/1"
    assert told["studies"]["routed"] == 1
    assert told["peers"]["pacs"]["queued"] == 2
    assert set(told) == {
        "schema", "at", "running", "studies", "jobs", "oldest_unanswered_s", "peers", "spool", "quarantine_count",
        "held", "failed_jobs", "alarms", "refusals", "tls", "tls_fault",
    }  # fmt: skip


def test_explain_finds_a_study_by_any_of_its_three_names(config: Path, store: Database) -> None:
    routed(store)

    said = {run("explain", name, config=config).said for name in (STUDY, "A1", "P1")}

    assert len(said) == 1
    assert STUDY in said.pop()


def test_explain_tells_an_uid_whole_and_many_equal_events_once(config: Path, store: Database) -> None:
    StudyStore(store).record_many([received(number) for number in range(1, 41)], at(0))

    lines = run("explain", STUDY, config=config).said.splitlines()

    assert f"series {STUDY}.1: CT, 40 images from CT_SCANNER to HAI_NODE" in lines
    assert sum("image-arrived" in line for line in lines) == 1
    assert any("40 times until" in line for line in lines)


def test_explain_shows_no_name_and_no_birth_date(config: Path, store: Database) -> None:
    routed(store)

    said = run("explain", STUDY, config=config).said

    assert "ONE^PATIENT" not in said
    assert "19600101" not in said


def test_release_to_an_analyzer_owes_an_answer_to_the_default_peers(config: Path, store: Database) -> None:
    hold(store)

    answer = run("release", STUDY, "--analyzer", "scintigraphy", config=config)

    assert answer.exit_code == 0, answer
    (job,) = JobStore(store).of_study(STUDY)
    assert (job.analyzer, job.peers) == ("scintigraphy", ("pacs",))


def test_release_of_two_patients_says_whose_the_answer_is(config: Path, store: Database) -> None:
    StudyStore(store).record_many([received(1), received(2, who=identity("P2"))], at(0))

    answer = run("release", STUDY, "--analyzer", "scintigraphy", config=config)

    assert answer.exit_code == 0, answer
    assert "the answer carries patient ID 'P1'" in answer.said


def test_release_after_an_answer_analyses_again_for_the_same_peers(config: Path, store: Database) -> None:
    (config / "peers.toml").write_text(
        (config / "peers.toml").read_text(encoding="utf-8").replace("[peer.pacs]", "[peer.archive]")
        + '[peer.pacs]\nae_title = "PACS2"\naddresses = ["127.0.0.1"]\nhost = "127.0.0.1"\nport = 4243\n',
        encoding="utf-8",
    )
    routed(store, analyzers=("scintigraphy",), peers=("archive",))
    job = JobStore(store).lease(at(130), 60, 8)
    assert job is not None
    JobStore(store).attempt_failed(job.job_id, job.fence, at(140), "crashed", None)
    StudyStore(store).record(received(1, pixels="other", after_s=200), at(200))

    answer = run("release", STUDY, "--analyzer", "scintigraphy", config=config)

    assert answer.exit_code == 0, answer
    jobs = [(each.revision, each.state, each.peers) for each in JobStore(store).of_study(STUDY)]
    assert jobs == [(1, JobState.FAILED, ("archive",)), (2, JobState.QUEUED, ("archive",))]


def test_release_of_a_study_whose_answer_nobody_would_get_is_refused(config: Path, store: Database) -> None:
    hold(store)
    routes = config / "routes.toml"
    routes.write_text(routes.read_text(encoding="utf-8").replace('deliver_to = ["pacs"]', "", 1), encoding="utf-8")

    answer = run("release", STUDY, "--analyzer", "scintigraphy", config=config)

    assert answer.exit_code == 1
    assert "nobody would get the answer" in answer.complained
    assert StudyStore(store).get(STUDY).state is StudyState.HELD


def test_explain_names_what_a_failed_analysis_printed(config: Path, store: Database, data: Path) -> None:
    routed(store)
    job = JobStore(store).lease(at(130), 60, 8)
    assert job is not None
    JobStore(store).attempt_failed(job.job_id, job.fence, at(140), "crashed", None)
    log = data / "jobs" / str(job.job_id) / f"attempt-{job.fence}.log"
    log.parent.mkdir(parents=True)
    log.write_text("why", encoding="utf-8")

    assert str(log) in run("explain", STUDY, config=config).said


def test_release_to_ignore_ends_the_waiting(config: Path, store: Database) -> None:
    hold(store)

    assert run("release", STUDY, "--ignore", config=config).exit_code == 0
    assert StudyStore(store).get(STUDY).state is StudyState.IGNORED


def test_a_study_that_is_analysed_already_is_not_released(config: Path, store: Database) -> None:
    routed(store)

    answer = run("release", STUDY, "--ignore", config=config)

    assert answer.exit_code == 1
    assert "only held and ignored studies are released" in answer.complained
    assert StudyStore(store).get(STUDY).state is StudyState.ROUTED


def test_a_name_that_fits_several_studies_decides_about_none(config: Path, store: Database) -> None:
    studies = StudyStore(store)
    for study in (STUDY, OTHER_STUDY):
        studies.record(received(1 if study == STUDY else 2, study=study, who=identity("P1")), at(0))

    answer = run("release", "P1", "--ignore", config=config)

    assert answer.exit_code == 3
    assert STUDY in answer.complained
    assert OTHER_STUDY in answer.complained


def test_requeue_of_a_study_makes_its_next_revision(config: Path, store: Database) -> None:
    routed(store)
    encoded(store, analyzed(store))

    answer = run("requeue", STUDY, config=config)

    assert "revision 2" in answer.said
    assert [job.revision for job in JobStore(store).of_study(STUDY)] == [1, 2]


def test_requeue_of_a_peer_counts_what_is_sent_again(config: Path, store: Database) -> None:
    routed(store)
    encoded(store, analyzed(store))
    deliveries = DeliveryStore(store)
    assert all(delivery.state is DeliveryState.SENDING for delivery in deliveries.due("pacs", now_utc(), 10))

    assert run("requeue", "--peer", "pacs", config=config).said.strip().startswith("nothing for pacs failed")


def test_dismiss_gives_up_a_peer_that_the_configuration_does_not_name_any_more(config: Path, store: Database) -> None:
    routed(store, peers=("old-pacs",))
    encoded(store, analyzed(store))
    assert "dismiss --peer old-pacs" in run("status", config=config).said

    assert run("dismiss", "--peer", "old-pacs", config=config).said.startswith("2 deliveries")
    assert run("dismiss", "--peer", "old-pacs", config=config).said.startswith("0 deliveries")
    assert {each.state for each in DeliveryStore(store).of_study(STUDY)} == {DeliveryState.DISMISSED}
    assert "1 ignored" not in run("status", config=config).said
    assert "is ignored from now on" in run("dismiss", STUDY, config=config).said


def test_requeue_of_a_held_study_names_the_command_for_it(config: Path, store: Database) -> None:
    hold(store)

    answer = run("requeue", STUDY, config=config)

    assert answer.exit_code == 1
    assert "is held" in answer.complained
    assert "release" in answer.complained
    assert "event" not in answer.complained
