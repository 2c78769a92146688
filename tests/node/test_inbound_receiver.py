"""A real receiver process, called by real peers."""

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pydicom
import pytest
from pydicom import uid
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE

from scp_node.dimse.services import VERIFICATION
from scp_node.inbound.contexts import STORAGE_CLASSES, TRANSFER_SYNTAXES
from scp_node.store.database import Database
from scp_node.store.studies import StudyStore
from tests.node.network import (
    REPOSITORY,
    Receiver,
    Site,
    association,
    ct_slice,
    dataset_bytes,
    dcmtk,
    eventually,
    kinds,
    make_site,
    part10,
    peers_toml,
    receiving,
    run,
    send,
    store,
)


def stored_file(site: Site, database: Database, sent: Path) -> Path:
    """The spool's file of an object that was sent; its row comes a moment after the answer."""
    dataset = pydicom.dcmread(sent, stop_before_pixels=True)

    def keys() -> list[str | None]:
        rows = StudyStore(database).instances(dataset.StudyInstanceUID, usable_only=False)
        return [row.spool_key for row in rows if row.summary.sop_instance_uid == dataset.SOPInstanceUID]

    assert eventually(lambda: bool(keys()))
    (key,) = keys()
    return next(file for file in site.spooled if file.stem == key)


def rejection(
    port: int, contexts: Collection[tuple[str, str]], *, calling: str = "CT_1", called: str = "HAI_NODE"
) -> tuple[int | None, int | None, int | None]:
    """Result, source and reason of a rejected request."""
    for _ in range(50):
        with association(port, contexts, calling=calling, called=called) as link:
            if link.is_rejected:
                answer = link.acceptor.primitive
                assert answer is not None
                return answer.result, answer.result_source, answer.diagnostic
            # The library's requestor takes an answer that is there before it looks for a connection that failed.
            assert link.is_aborted
    pytest.fail("not rejected")


# --- peers --------------------------------------------------------------------------------------------------


def test_dcmtk_echo_is_answered(receiver: Receiver) -> None:
    done = run([dcmtk("echoscu"), "-aet", "CT_1", "-aec", "HAI_FORCE", "127.0.0.1", str(receiver.port)])

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("tool", ["storescu", "dcmsend"])
def test_a_study_from_dcmtk_is_stored_to_the_byte(
    tool: str, receiver: Receiver, site: Site, database: Database, tmp_path: Path
) -> None:
    study = generate_uid()
    files = [part10(ct_slice(number, study=study), tmp_path / f"{number}.dcm") for number in range(1, 6)]

    done = run([dcmtk(tool), "-aet", "CT_1", "-aec", "HAI_NODE", "127.0.0.1", str(receiver.port), *files])

    assert done.returncode == 0, done.stderr + done.stdout
    for file in files:
        assert dataset_bytes(stored_file(site, database, file)) == dataset_bytes(file)


def test_what_arrived_is_the_bytes_that_were_sent_in_every_transfer_syntax(
    receiver: Receiver, site: Site, database: Database, tmp_path: Path
) -> None:
    files = [part10(ct_slice(), tmp_path / f"{syntax}.dcm", syntax) for syntax in TRANSFER_SYNTAXES]

    assert set(store(receiver.port, files)) == {0x0000}
    for file in files:
        assert dataset_bytes(stored_file(site, database, file)) == dataset_bytes(file), file.name


def test_real_compressed_slices_arrive_to_the_byte(
    receiver: Receiver, site: Site, database: Database, real_data_dir: Path
) -> None:
    files = sorted((real_data_dir / "petct").rglob("*.dcm"))[::60]
    assert files, "the folder of real slices is empty"

    assert set(store(receiver.port, files)) == {0x0000}
    for file in files:
        assert dataset_bytes(stored_file(site, database, file)) == dataset_bytes(file)


def test_every_storage_class_is_accepted_and_explicit_little_endian_preferred(receiver: Receiver) -> None:
    accepted: list[tuple[str, str]] = []
    for start in range(0, len(STORAGE_CLASSES), 120):
        # The first is one context with both syntaxes, the less welcome one first.
        some = STORAGE_CLASSES[start : start + 120]
        with association(receiver.port, [(VERIFICATION, uid.ImplicitVRLittleEndian)]) as link:
            assert link.is_established
        with association(receiver.port, [(one, uid.ImplicitVRLittleEndian) for one in some]) as link:
            accepted += [(str(one.abstract_syntax), str(one.transfer_syntax[0])) for one in link.accepted_contexts]

    assert {one for one, _ in accepted} == set(STORAGE_CLASSES)

    entity = AE("CT_1")
    entity.add_requested_context(CTImageStorage, [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian])
    link = entity.associate("127.0.0.1", receiver.port, ae_title="HAI_NODE")
    assert [str(one.transfer_syntax[0]) for one in link.accepted_contexts] == [ExplicitVRLittleEndian]
    link.release()


@pytest.mark.parametrize("sop_class", ["1.2.840.10008.5.1.4.1.1.66.7", "1.2.840.10008.5.1.4.1.1.5"])
def test_classes_that_the_library_leaves_out_are_stored(sop_class: str, receiver: Receiver, tmp_path: Path) -> None:
    file = part10(ct_slice(SOPClassUID=sop_class), tmp_path / "a.dcm")

    assert store(receiver.port, [file]) == [0x0000]


# --- who may call ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("calling", "called", "numbers"),
    [
        ("CT_1", "NOT_OURS", (1, 1, 7)),
        ("STRANGER", "HAI_NODE", (1, 1, 3)),
        ("CT_ELSEWHERE", "HAI_NODE", (1, 1, 3)),
    ],
)
def test_strangers_are_rejected_with_source_and_reason(
    calling: str, called: str, numbers: tuple[int, int, int], receiver: Receiver
) -> None:
    contexts = [(CTImageStorage, ExplicitVRLittleEndian)]
    assert rejection(receiver.port, contexts, calling=calling, called=called) == numbers


def test_a_peer_that_may_not_send_is_offered_no_storage(receiver: Receiver) -> None:
    contexts = [(VERIFICATION, ExplicitVRLittleEndian), (CTImageStorage, ExplicitVRLittleEndian)]
    with association(receiver.port, contexts, calling="PACS") as link:
        assert [one.abstract_syntax for one in link.accepted_contexts] == [VERIFICATION]


def test_one_association_too_many_is_rejected_as_transient_and_the_next_is_welcome(tmp_path: Path) -> None:
    small = make_site(tmp_path, peers=peers_toml(), receiving="maximum_associations = 2")
    contexts = [(VERIFICATION, ExplicitVRLittleEndian)]
    with receiving(small) as receiver:
        with association(receiver.port, contexts) as first, association(receiver.port, contexts) as second:
            assert first.is_established
            assert second.is_established
            assert rejection(receiver.port, contexts) == (2, 3, 2)

        def welcome() -> bool:
            with association(receiver.port, contexts) as next_one:
                return next_one.is_established

        assert eventually(welcome)


# --- refusals ---------------------------------------------------------------------------------------------------


def test_another_object_than_announced_is_answered_a900(receiver: Receiver, site: Site, tmp_path: Path) -> None:
    file = part10(ct_slice(), tmp_path / "a.dcm")
    before = site.spooled
    with association(receiver.port, kinds([file])) as link:
        wrong_instance = send(link, file, sop_instance_uid="1.2.3.4")
        wrong_class = send(link, file, sop_class_uid=uid.MRImageStorage)

    assert wrong_instance.status == wrong_class.status == 0xA900
    assert "SOPInstanceUID" in wrong_instance.comment
    assert site.spooled == before


def test_what_cannot_be_understood_is_answered_c000_and_the_association_goes_on(
    receiver: Receiver, site: Site, tmp_path: Path
) -> None:
    good = part10(ct_slice(), tmp_path / "good.dcm")
    bad = part10(ct_slice(StudyInstanceUID=""), tmp_path / "bad.dcm")
    before = site.spooled
    with association(receiver.port, kinds([good])) as link:
        answer = send(link, bad)
        assert 0xC000 <= answer.status <= 0xCFFF
        assert "StudyInstanceUID" in answer.comment
        assert site.spooled == before
        assert send(link, good).status == 0x0000


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_a_uid_that_is_a_path_names_no_file(receiver: Receiver, site: Site, tmp_path: Path) -> None:
    name = "../../../../tmp/hai-node-was-here"
    file = part10(ct_slice(), tmp_path / "a.dcm")
    with association(receiver.port, kinds([file])) as link:
        answer = send(link, file, sop_instance_uid=name)

    assert answer.status != 0x0000
    assert not (site.data / "spool" / name).resolve().exists()


def test_a_full_spool_is_answered_a700_and_nothing_is_left_behind(tmp_path: Path) -> None:
    full = make_site(tmp_path, peers=peers_toml(), receiving="spool_quota_gib = 0.00001")
    files = [part10(ct_slice(number, rows=32), tmp_path / f"{number}.dcm") for number in range(1, 9)]
    with receiving(full) as receiver:
        statuses = store(receiver.port, files)

    stored = statuses.count(0x0000)
    assert 0 < stored < len(files)
    assert set(statuses) == {0x0000, 0xA700}
    assert len(full.spooled) == stored


# --- associations and processes ---------------------------------------------------------------------------------


def test_an_open_association_holds_its_study_until_it_is_released(
    receiver: Receiver, database: Database, tmp_path: Path
) -> None:
    dataset = ct_slice()
    file, studies = part10(dataset, tmp_path / "a.dcm"), StudyStore(database)

    def held() -> bool:
        return dataset.StudyInstanceUID in studies.studies_held_open(datetime.now(UTC), 60.0)

    with association(receiver.port, kinds([file])) as link:
        send(link, file)
        assert eventually(held)
    assert eventually(lambda: not held())


def test_an_aborted_association_holds_nothing(receiver: Receiver, database: Database, tmp_path: Path) -> None:
    dataset = ct_slice()
    file, studies = part10(dataset, tmp_path / "a.dcm"), StudyStore(database)
    with association(receiver.port, kinds([file])) as link:
        send(link, file)
        link.abort()

    assert eventually(lambda: dataset.StudyInstanceUID not in studies.studies_held_open(datetime.now(UTC), 60.0))


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_the_journal_names_no_patient(receiver: Receiver, tmp_path: Path) -> None:
    names = {"PatientName": "Verysecret^Name", "PatientID": "VERYSECRET-7", "AccessionNumber": "VERYSECRET-8"}
    good = ct_slice()
    for keyword, value in names.items():
        setattr(good, keyword, value)
    bad = ct_slice(SeriesInstanceUID="VERYSECRET-9")
    bad.PatientName = names["PatientName"]
    store(receiver.port, [part10(good, tmp_path / "a.dcm"), part10(bad, tmp_path / "b.dcm")])

    lines = receiver.log.splitlines()
    assert any("refused" in line for line in lines)
    assert all(isinstance(json.loads(line), dict) for line in lines)
    assert "verysecret" not in receiver.log.lower()


def test_killed_before_the_row_was_written_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    home = make_site(tmp_path, peers=peers_toml())
    datasets = [ct_slice(number) for number in (1, 2, 3)]
    files = [part10(dataset, tmp_path / f"{number}.dcm") for number, dataset in enumerate(datasets)]
    with (
        receiving(home) as receiver,
        association(receiver.port, kinds(files)) as link,
        contextlib.closing(sqlite3.connect(home.data / "node.sqlite3", isolation_level=None)) as writer,
    ):
        # While somebody else writes, no record can be committed; objects are acknowledged all the same.
        writer.execute("BEGIN IMMEDIATE")
        assert [send(link, file).status for file in files] == [0x0000] * len(files)
        for process in [receiver.process.pid, *children_of(receiver.process.pid)]:
            os.kill(process, signal.SIGKILL)
        receiver.process.wait(timeout=20)
        writer.execute("ROLLBACK")

    with receiving(home, number=2):
        database = Database.open(home.data, migrate=False)
        studies = StudyStore(database)
        assert eventually(lambda: all(studies.find(dataset.StudyInstanceUID) for dataset in datasets))
        assert studies.spool_keys() == {file.stem for file in home.spooled}
        database.close()


def test_a_recorder_that_dies_is_replaced_and_misses_nothing(tmp_path: Path) -> None:
    home = make_site(tmp_path, peers=peers_toml())
    datasets = [ct_slice(number) for number in range(1, 7)]
    files = [part10(dataset, tmp_path / f"{number}.dcm") for number, dataset in enumerate(datasets)]
    with receiving(home) as receiver:
        database = Database.open(home.data, migrate=False)
        studies = StudyStore(database)
        for file in files:
            assert store(receiver.port, [file]) == [0x0000]
            for recorder in children_of(receiver.process.pid):
                os.kill(recorder, signal.SIGKILL)
        assert eventually(lambda: all(studies.find(dataset.StudyInstanceUID) for dataset in datasets))
        assert studies.spool_keys() == {file.stem for file in home.spooled}
        database.close()


def children_of(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children()]


def test_receivers_share_one_port(tmp_path: Path) -> None:
    home = make_site(tmp_path, peers=peers_toml())
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        port = listening.getsockname()[1]
        files = [part10(ct_slice(number), tmp_path / f"{number}.dcm") for number in range(1, 13)]
        with (
            receiving(home, number=1, listening=listening) as one,
            receiving(home, number=2, listening=listening) as two,
        ):
            assert one.port == two.port == port
            assert [store(port, [file]) for file in files] == [[0x0000]] * len(files)
            assert one.stop() == 0
            # The port still answers, because the other receiver has it, too.
            assert store(port, [files[0]]) == [0x0000]


def test_a_receiver_that_is_asked_to_end_lets_an_association_finish(tmp_path: Path) -> None:
    home = make_site(tmp_path, peers=peers_toml())
    file = part10(ct_slice(), tmp_path / "a.dcm")
    with receiving(home) as receiver:
        with association(receiver.port, kinds([file])) as link:
            receiver.process.send_signal(signal.SIGTERM)
            assert eventually(lambda: not _accepts(receiver.port))
            assert send(link, file).status == 0x0000
        assert receiver.process.wait(timeout=20) == 0


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_receiver_ends_with_its_parent(tmp_path: Path) -> None:
    home = make_site(tmp_path, peers=peers_toml())
    command = [sys.executable, "-m", "scp_node.inbound", "--config", str(home.config), "--receiver", "1"]
    parent_source = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen({command!r}, stdout=subprocess.PIPE, text=True)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent_source],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=REPOSITORY,
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()

    assert eventually(lambda: not Path(f"/proc/{child}").exists() or _is_zombie(child))


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_wrong_configuration_is_told_in_words(tmp_path: Path) -> None:
    home = make_site(tmp_path, peers=peers_toml(), receiving='processes = "many"')
    done = run([sys.executable, "-m", "scp_node.inbound", "--config", home.config])

    assert done.returncode == 2
    assert "receiving.processes" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("which", ["receiver", "recorder"])
def test_no_image_decoder_is_loaded_where_a_strangers_bytes_arrive(
    which: str, receiver: Receiver, database: Database, site: Site, tmp_path: Path
) -> None:
    compressed = part10(ct_slice(), tmp_path / "a.dcm", uid.JPEG2000Lossless)
    assert store(receiver.port, [compressed]) == [0x0000]
    stored_file(site, database, compressed)
    process = psutil.Process(receiver.process.pid)
    if which == "recorder":
        (process,) = process.children()
    libraries = {Path(one.path).name.lower() for one in process.memory_maps()}

    assert any(name.startswith(("libpython", "python")) for name in libraries)
    unwanted = ("gdcm", "openjpeg", "openjp2", "charls", "_imaging", "rle", "jpeg")
    assert [name for name in libraries if any(part in name for part in unwanted)] == []
