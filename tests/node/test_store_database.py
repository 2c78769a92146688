"""The database: migrated, immediate, durable, shared by processes, and whole after a kill."""

import os
import signal
import subprocess
import sys
import textwrap
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import insert, inspect, select
from sqlalchemy.exc import IntegrityError, StatementError

from scp_node.domain.study import StudyEvent, StudyState
from scp_node.errors import IllegalTransitionError, StoreError
from scp_node.store import tables
from scp_node.store.database import Database
from scp_node.store.jobs import JobStore
from scp_node.store.spool import Spool
from scp_node.store.studies import StudyStore
from scp_node.store.tables import NEWEST_TABLES
from scp_node.store.upgrade import alembic_config
from tests.node.store_samples import STUDY, at, received

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open(tmp_path, migrate=True)
    yield opened
    opened.close()


def run(code: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a Python process with the product and the samples on its path."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
    )


# --- migrations ---


def test_the_newest_revision_is_the_one_that_receivers_ask_for() -> None:
    assert ScriptDirectory.from_config(alembic_config()).get_current_head() == NEWEST_TABLES


def test_migrations_from_an_empty_database_lead_to_the_tables_of_the_program(database: Database) -> None:
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, tables.metadata) == []
        # The comparison does not see the condition of a partial index.
        (living,) = [index for index in inspect(connection).get_indexes("job") if index["name"] == "uq_job_living"]
    assert living["unique"]
    assert str(living["dialect_options"]["sqlite_where"]) == "state <> 'superseded'"


def test_migrations_lead_back_to_an_empty_database(database: Database) -> None:
    config = alembic_config()
    with database.writing() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    with database.reading() as connection:
        assert set(inspect(connection).get_table_names()) <= {"alembic_version"}


def test_migrating_twice_keeps_what_is_there(tmp_path: Path) -> None:
    first = Database.open(tmp_path, migrate=True)
    StudyStore(first).record(received(1), at(0))
    first.close()

    second = Database.open(tmp_path, migrate=True)
    assert StudyStore(second).get(STUDY).instance_count == 1
    second.close()


def test_a_process_that_does_not_migrate_wants_a_database(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="start the node once"):
        Database.open(tmp_path, migrate=False)
    assert list(tmp_path.iterdir()) == []


def test_tables_of_another_version_are_refused(tmp_path: Path, database: Database) -> None:
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")

    with pytest.raises(StoreError, match="version 0000, this program needs"):
        Database.open(tmp_path, migrate=False)


# --- transactions ---


def test_the_database_is_durable_and_checks_references(database: Database) -> None:
    with database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30_000


def test_a_writing_transaction_has_the_lock_before_it_reads(tmp_path: Path, database: Database) -> None:
    other = Database.open(tmp_path, migrate=False)
    with other.reading() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 50")
    with (
        database.writing(),
        pytest.raises(StoreError, match="another process held the database"),
        other.writing(),
    ):
        pytest.fail("two writers at once")
    other.close()


def test_a_reader_sees_one_moment_while_another_writes(tmp_path: Path, database: Database) -> None:
    other = StudyStore(Database.open(tmp_path, migrate=False))
    wanted = select(tables.study.c.study_instance_uid)
    with database.reading() as connection:
        assert connection.execute(wanted).all() == []
        other.record(received(1), at(0))
        assert connection.execute(wanted).all() == []
    with database.reading() as connection:
        assert len(connection.execute(wanted).all()) == 1
    other._database.close()


def test_a_block_that_raises_leaves_no_trace(database: Database) -> None:
    studies = StudyStore(database)
    with pytest.raises(AttributeError):
        studies.record_many([received(1), None], at(0))  # type: ignore[list-item]

    assert studies.find(STUDY) == []
    assert studies.events(STUDY) == []


def test_a_refused_event_writes_neither_state_nor_event(database: Database) -> None:
    studies = StudyStore(database)
    studies.record(received(1), at(0))
    before = (studies.get(STUDY), studies.events(STUDY))

    with pytest.raises(IllegalTransitionError, match="route-ignore is not legal in state receiving"):
        studies.apply(STUDY, StudyEvent.ROUTE_IGNORE, reason="", now=at(1))

    assert (studies.get(STUDY), studies.events(STUDY)) == before


@pytest.mark.parametrize(
    "event",
    [StudyEvent.IMAGE_ARRIVED, StudyEvent.CONFLICT_FOUND, StudyEvent.ROUTE_ANALYZE, StudyEvent.REANALYSIS_ASKED],
)
def test_an_event_that_comes_with_other_rows_cannot_be_applied_alone(database: Database, event: StudyEvent) -> None:
    studies = StudyStore(database)
    studies.record(received(1), at(0))

    with pytest.raises(ValueError, match="comes with other rows"):
        studies.apply(STUDY, event, reason="", now=at(1))


def test_an_event_without_its_state_cannot_be_committed(database: Database) -> None:
    """The event row is written in the transaction of the state: when it fails, the state goes back."""
    studies = StudyStore(database)
    studies.record(received(1), at(0))
    with database.writing() as connection:
        connection.exec_driver_sql("CREATE TRIGGER refuse BEFORE INSERT ON event BEGIN SELECT RAISE(ABORT, 'no'); END")

    with pytest.raises(IntegrityError):
        studies.apply(STUDY, StudyEvent.FOUND_COMPLETE, reason="", now=at(1))
    assert studies.get(STUDY).state is StudyState.RECEIVING


def test_a_full_disk_under_the_database_is_told_by_name(database: Database) -> None:
    with database.reading() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    studies = StudyStore(database)

    with pytest.raises(StoreError, match="disk of the database"):
        studies.record_many([received(number) for number in range(1, 200)], at(0))


def test_a_job_of_no_study_is_refused(database: Database) -> None:
    orphan = {
        "study_instance_uid": "9.9.9",
        "analyzer": "cta",
        "revision": 1,
        "peers": [],
        "state": "queued",
        "state_since": at(0),
        "attempts": 0,
        "fence": 0,
        "not_before": at(0),
        "out_folder": "",
        "last_cause": "",
        "answered": False,
    }
    with pytest.raises(IntegrityError), database.writing() as connection:
        connection.execute(insert(tables.job).values(orphan))


# --- times ---


@pytest.fixture
def damaged(database: Database) -> Database:
    """A database whose first table has no readable content any more."""
    studies = StudyStore(database)
    studies.record(received(1), at(0))
    with database.writing() as connection:
        connection.exec_driver_sql("PRAGMA writable_schema = ON")
        connection.exec_driver_sql("UPDATE sqlite_schema SET rootpage = 100000 WHERE name = 'study'")
    # A new connection reads the schema anew.
    database.close()
    return database


def test_a_damaged_database_is_a_store_error_that_names_no_patient(damaged: Database) -> None:
    studies = StudyStore(damaged)
    for attempt in (lambda: studies.record(received(2), at(1)), lambda: studies.find("P1")):
        with pytest.raises(StoreError, match="restore a backup") as caught:
            attempt()
        told = "".join(traceback.format_exception(caught.value))
        assert "ONE^PATIENT" not in told
        assert "P1" not in told.replace('"P1"', "")


def test_a_naive_time_is_refused(database: Database) -> None:
    with pytest.raises(StatementError, match="has no zone"):
        StudyStore(database).save_decision(_received(database), {}, datetime(2026, 3, 2))  # noqa: DTZ001 - the point


def test_a_time_of_another_zone_comes_back_as_the_same_moment_in_utc(database: Database) -> None:
    studies = StudyStore(database)
    local = datetime(2026, 3, 2, 9, 30, 0, 123_456, tzinfo=timezone(timedelta(hours=1)))
    studies.save_decision(_received(database), {}, local)

    decided_at = studies.decision(STUDY).decided_at
    assert decided_at == local
    assert decided_at is not None
    assert decided_at.tzinfo is UTC


def _received(database: Database) -> str:
    StudyStore(database).record(received(1), at(0))
    return STUDY


# --- several processes ---


RECORD = """
    import sys
    from pathlib import Path
    from scp_node.store.database import Database
    from scp_node.store.studies import StudyStore
    from tests.node.store_samples import at, received
    import secrets
    from dataclasses import replace

    studies = StudyStore(Database.open(Path(sys.argv[1]), migrate=False))
    for number in range(1, 61):
        studies.record(replace(received(number), spool_key=secrets.token_hex(16)), at(number))
"""


def test_two_processes_that_record_the_same_study_at_once_lose_and_double_nothing(
    tmp_path: Path, database: Database
) -> None:
    writers = [run(RECORD, str(tmp_path)) for _ in range(2)]

    for writer in writers:
        writer.communicate(timeout=60)
    assert [writer.returncode for writer in writers] == [0, 0]
    studies = StudyStore(database)
    assert studies.get(STUDY).instance_count == len(studies.instances(STUDY)) == 60
    assert len([row for row in studies.events(STUDY) if row.event == "image-arrived"]) == 60


LEASE = """
    import sys
    from pathlib import Path
    from scp_node.store.database import Database
    from scp_node.store.jobs import JobStore
    from tests.node.store_samples import at

    jobs = JobStore(Database.open(Path(sys.argv[1]), migrate=False))
    while (job := jobs.lease(at(1000), 60, 1000)) is not None:
        print(job.job_id, flush=True)
"""


def test_two_processes_never_lease_the_same_job(tmp_path: Path, database: Database) -> None:
    studies = StudyStore(database)
    names = [f"analyzer-{number}" for number in range(40)]
    studies.record(received(1), at(0))
    study = studies.apply(STUDY, StudyEvent.FOUND_COMPLETE, reason="", now=at(1))
    JobStore(database).route(STUDY, names, ("pacs",), study.revision, "", at(2), StudyEvent.ROUTE_ANALYZE)

    writers = [run(LEASE, str(tmp_path)) for _ in range(2)]
    leased = [int(line) for writer in writers for line in writer.communicate(timeout=60)[0].split()]

    assert len(leased) == 40
    assert len(set(leased)) == 40


# --- kill -9 ---


KILLED_BEFORE_THE_ROW = """
    import os, signal, sys
    from pathlib import Path
    from scp_node.store.spool import Spool

    spool = Spool(Path(sys.argv[1]) / "spool", quota_gib=1, keep_free_gib=0)
    with spool.begin() as file:
        file.write([b"DICM"])
        file.durable()
        os.kill(os.getpid(), signal.SIGKILL)
"""

KILLED_IN_THE_TRANSACTION = """
    import os, signal, sys
    from dataclasses import replace
    from pathlib import Path
    from scp_node.store.arrivals import take
    from scp_node.store.database import Database
    from scp_node.store.spool import Spool
    from tests.node.store_samples import at, received

    spool = Spool(Path(sys.argv[1]) / "spool", quota_gib=1, keep_free_gib=0)
    database = Database.open(Path(sys.argv[1]), migrate=False)
    with spool.begin() as file:
        file.write([b"DICM"])
        key = file.durable()
    with database.writing() as connection:
        take(connection, replace(received(1), spool_key=key), at(0))
        os.kill(os.getpid(), signal.SIGKILL)
"""

KILLED_AFTER_THE_COMMIT = """
    import os, signal, sys
    from dataclasses import replace
    from pathlib import Path
    from scp_node.store.database import Database
    from scp_node.store.spool import Spool
    from scp_node.store.studies import StudyStore
    from tests.node.store_samples import at, received

    spool = Spool(Path(sys.argv[1]) / "spool", quota_gib=1, keep_free_gib=0)
    studies = StudyStore(Database.open(Path(sys.argv[1]), migrate=False))
    with spool.begin() as file:
        file.write([b"DICM"])
        key = file.durable()
    studies.record(replace(received(1), spool_key=key), at(0))
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    ("code", "survives"),
    [(KILLED_BEFORE_THE_ROW, False), (KILLED_IN_THE_TRANSACTION, False), (KILLED_AFTER_THE_COMMIT, True)],
    ids=["between file and row", "inside the transaction", "after the commit"],
)
def test_after_a_kill_file_and_row_are_both_there_or_both_gone(
    tmp_path: Path, database: Database, code: str, *, survives: bool
) -> None:
    victim = run(code, str(tmp_path))
    victim.communicate(timeout=60)
    assert victim.returncode == -signal.SIGKILL

    studies = StudyStore(database)
    spool = Spool(tmp_path / "spool", quota_gib=1, keep_free_gib=0)
    orphans = sorted(set(spool.keys()) - studies.spool_keys())
    for key in orphans:
        spool.remove(key)

    files = list((tmp_path / "spool").rglob("*.dcm"))
    if survives:
        (stored,) = studies.instances(STUDY)
        assert stored.spool_key is not None
        assert [spool.path(stored.spool_key)] == files
        assert files[0].read_bytes() == b"DICM"
        assert orphans == []
    else:
        assert studies.find(STUDY) == []
        assert (len(orphans), files) == (1, [])
