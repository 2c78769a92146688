"""Whatever an operator gets wrong is said in words, with what to do, and with an exit code that scripts can use."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scp_node.demo.ports import free_port
from scp_node.store.database import Database
from tests.node.command_line import Answer, run, write_config
from tests.node.network import REPOSITORY

DONE, FAILED, MISUSED, NOT_ANALYSED, NO_ANSWER = range(5)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def config(tmp_path: Path, data: Path) -> Path:
    return write_config(tmp_path / "config", data, port=free_port(), pacs_port=free_port())


@pytest.fixture
def store(data: Path) -> Iterator[Database]:
    opened = Database.open(data, migrate=True)
    yield opened
    opened.close()


def refused(answer: Answer, exit_code: int, *words: str) -> None:
    """It ended so, said these words on standard error, and showed no traceback."""
    assert answer.exit_code == exit_code, answer
    for word in words:
        assert word in answer.complained
    assert "Traceback" not in answer.complained


@pytest.mark.parametrize("command", ["serve", "check-config", "status", "conformance"])
def test_a_folder_without_configuration_is_three_faults_with_places(command: str, tmp_path: Path) -> None:
    answer = run(command, config=tmp_path)

    refused(answer, MISUSED, "3 faults", "node.toml", "peers.toml", "routes.toml", str(tmp_path / "routes.toml"))
    assert answer.said == ""


@pytest.mark.parametrize("command", ["serve", "status"])
def test_a_data_folder_of_a_newer_program_is_refused_and_nothing_in_it_changes(
    command: str, config: Path, data: Path, store: Database
) -> None:
    received = data / "spool" / "ab" / f"ab{'0' * 30}.dcm"
    received.parent.mkdir(parents=True)
    received.write_bytes(b"whatever a newer program makes of a file that it acknowledged")
    with store.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")

    refused(run(command, config=config), FAILED, "9999", "newer program", "backup")

    assert received.exists()
    with store.reading() as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == "9999"


def test_a_sound_configuration_is_confirmed(config: Path) -> None:
    answer = run("check-config", config=config)

    assert (answer.exit_code, answer.complained) == (DONE, "")
    assert "2 peers, 1 routes, nothing wrong" in answer.said


def test_an_analyzer_that_is_not_installed_is_a_fault_that_names_the_installed_ones(config: Path) -> None:
    routes = config / "routes.toml"
    routes.write_text(routes.read_text(encoding="utf-8").replace('["scintigraphy"]', '["doppler"]'), encoding="utf-8")

    refused(run("check-config", config=config), MISUSED, "'doppler'", "installed are", "scintigraphy")


@pytest.mark.parametrize("command", [("status",), ("explain", "1.2.3"), ("release", "1.2.3", "--ignore")])
def test_a_node_that_never_ran_is_said_to_have_no_data(command: tuple[str, ...], config: Path) -> None:
    refused(run(*command, config=config), FAILED, "holds no node's data yet", "serve")


def test_a_port_that_is_taken_is_named_with_the_key(config: Path, data: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        write_config(config, data, port=other.getsockname()[1])

        refused(run("serve", config=config), FAILED, "cannot be had", "receiving.port", "CAP_NET_BIND_SERVICE")


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    config = write_config(tmp_path / "config", tmp_path / "file" / "data", port=free_port())

    refused(run("serve", config=config), FAILED, str(tmp_path / "file"), "Not a directory")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_data_folder_of_another_user_says_who_must_act(config: Path, data: Path) -> None:
    data.chmod(0o500)

    refused(run("serve", config=config), FAILED, "the user who runs this must be able to write there")


@pytest.mark.parametrize("command", ["serve", "status"])
def test_a_damaged_database_is_refused_with_the_way_out(command: str, config: Path, data: Path) -> None:
    (data / "node.sqlite3").write_bytes(b"this is no database, whatever its name says" * 100)

    refused(run(command, config=config), FAILED, "node.sqlite3 cannot be used", "restore a backup")


def test_a_database_of_a_newer_program_is_refused_with_the_way_out(config: Path, store: Database) -> None:
    with store.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")

    refused(run("serve", config=config), FAILED, "written by a newer program", "restore the backup")


@pytest.mark.usefixtures("store")
def test_an_unknown_study_is_told_from_an_error(config: Path) -> None:
    refused(run("explain", "1.2.3", config=config), NOT_ANALYSED, "no study has this UID")


@pytest.mark.usefixtures("store")
def test_an_unknown_peer_is_answered_with_the_known_ones(config: Path) -> None:
    refused(run("echo", "nobody", config=config), MISUSED, "ct-1, pacs")
    refused(run("requeue", "--peer", "nobody", config=config), MISUSED, "ct-1, pacs")


def test_a_peer_that_only_sends_cannot_be_asked(config: Path) -> None:
    refused(run("echo", "ct-1", config=config), MISUSED, "no host and port")


def test_a_silent_peer_has_an_exit_code_of_its_own(config: Path) -> None:
    command = [sys.executable, str(REPOSITORY / "run_node.py"), "echo", "pacs", "--config", str(config)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == NO_ANSWER
    assert ended.stdout.startswith("pacs: no connection to PACS at 127.0.0.1:")
    assert "Traceback" not in ended.stderr


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("release", "1.2.3"), "--analyzer NAME or --ignore"),
        (("release", "1.2.3", "--ignore", "--analyzer", "cta"), "--analyzer NAME or --ignore"),
        (("requeue",), "STUDY or --peer"),
        (("requeue", "1.2.3", "--peer", "pacs"), "STUDY or --peer"),
    ],
)
def test_half_a_decision_is_refused(arguments: tuple[str, ...], words: str, config: Path) -> None:
    refused(run(*arguments, config=config), MISUSED, words)


def test_analyze_needs_a_folder_with_dicom_files(config: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()

    refused(run("analyze", tmp_path / "none", "--out", tmp_path / "out", config=config), FAILED, "none is not a folder")
    refused(run("analyze", empty, "--out", tmp_path / "out", config=config), FAILED, "holds no DICOM")
    assert not (tmp_path / "out").exists()


def test_analyze_refuses_an_unknown_analyzer_before_it_reads_anything(config: Path, tmp_path: Path) -> None:
    answer = run("analyze", tmp_path, "--out", tmp_path / "out", "--analyzer", "doppler", config=config)

    refused(answer, MISUSED, "'doppler'", "scintigraphy")


def test_the_demonstration_does_not_touch_a_folder_that_it_did_not_make(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")

    refused(run("demo", "--out", tmp_path), FAILED, "choose another --out")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
