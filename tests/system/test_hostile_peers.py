"""Malicious peers against a real receiver: the honest sender's study arrives, and nothing grows without bound."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import generate_uid

from scp_node.demo.ports import free_port
from scp_node.store.database import Database
from scp_node.store.seal import whole_seal
from scp_node.store.studies import StudyStore
from tests.hostile.attacks import ATTACKS, MESSAGE_BYTES, STAGES, Attack, Field, aborts, by_abort, by_closing, loris
from tests.hostile.raw_peer import (
    ABORT,
    COMMAND,
    LAST,
    RELEASE,
    SUCCESS,
    RawPeer,
    closing_all,
    element,
    new_uid,
    padded,
    pdu,
    pdv,
    small_object,
    store_command,
    store_message,
)
from tests.hostile.watching import Watch
from tests.node.certificates import Authority
from tests.node.network import (
    Receiver,
    Site,
    ct_slice,
    dcmtk,
    eventually,
    make_site,
    part10,
    peers_toml,
    receiving,
    run,
    store,
)

MOST_RESIDENT_MB = 300.0
"""Receiver and recorder together."""
MOST_THREADS = 2 * 25 + 30
"""Two for each association that may be open, and what libraries start once."""
MOST_DESCRIPTORS = 25 * 3 + 128 + 100
"""Connection, bell and file of each association; those who wait; what every process has."""
HONEST_OBJECTS = 6

# Short, so that those who dawdle are seen to be sent away within a test.
IMPATIENT = "request_timeout_s = 3.0\nnetwork_timeout_s = 4.0\nmessage_grace_s = 4.0\n"
ATTACKER = """
[peer.ct-2]
ae_title = "CT_2"
addresses = ["127.0.0.2"]
may_send = true
"""


@dataclass(slots=True)
class Scene:
    """A receiver, and all that was acknowledged by it."""

    site: Site
    receiver: Receiver
    tls_port: int
    acknowledged: set[str] = field(default_factory=set)
    threads_at_rest: int = 0
    descriptors_at_rest: int = 0


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    keys, tls_port = tmp_path_factory.mktemp("keys"), free_port()
    authority = Authority(keys)
    node = authority.sign("node.hospital")
    tls = (
        f'[tls]\nport = {tls_port}\ncertificate = "{node.certificate}"\nprivate_key = "{node.key}"\n'
        f'authorities = "{authority.certificate}"\n'
    )
    site = make_site(tmp_path_factory.mktemp("site"), peers=peers_toml() + ATTACKER, receiving=IMPATIENT + tls)
    with receiving(site) as receiver:
        # What is loaded once is loaded now.
        file = part10(ct_slice(), tmp_path_factory.mktemp("first") / "a.dcm")
        assert store(receiver.port, [file]) == [SUCCESS]
        scene = Scene(site=site, receiver=receiver, tls_port=tls_port, acknowledged={instance_of(file)})
        rest = Watch(receiver.process.pid).look()
        scene.threads_at_rest, scene.descriptors_at_rest = rest.threads, rest.descriptors
        yield scene


def instance_of(file: Path) -> str:
    return str(pydicom.filereader.read_file_meta_info(file).MediaStorageSOPInstanceUID)


def honest_study(scene: Scene, folder: Path) -> None:
    """A study from DCMTK, complete and with success for every object."""
    study = generate_uid()
    files = [part10(ct_slice(number, study=study), folder / f"{number}.dcm") for number in range(HONEST_OBJECTS)]
    done = run([dcmtk("storescu"), "-aet", "CT_1", "-aec", "HAI_NODE", "127.0.0.1", str(scene.receiver.port), *files])
    assert done.returncode == 0, done.stderr + done.stdout
    scene.acknowledged |= {instance_of(file) for file in files}


def study_under(attack: Attack, scene: Scene, folder: Path, *, port: int | None = None) -> Field:
    """An honest study while an attack goes on; memory, threads and descriptors stay within bounds."""
    field_ = Field(port=port or scene.receiver.port)
    with Watch(scene.receiver.process.pid) as watch:
        with attack(field_):
            honest_study(scene, folder)
        most = watch.most
    scene.acknowledged |= field_.acknowledged
    assert scene.receiver.process.poll() is None
    assert most.resident_mb <= MOST_RESIDENT_MB
    assert most.threads <= MOST_THREADS
    assert most.descriptors <= MOST_DESCRIPTORS
    return field_


def assert_nothing_is_left(scene: Scene) -> None:
    """Every file in the spool is whole, has a row, and was acknowledged; and what an attack held is given back."""
    database = Database.open(scene.site.data, migrate=False)
    with contextlib.closing(database):
        studies = StudyStore(database)
        assert eventually(lambda: studies.spool_keys() == {file.stem for file in scene.site.spooled})
        assert len(scene.site.spooled) == len(scene.acknowledged)
    assert all(whole_seal(file) is not None for file in scene.site.spooled)
    # A second association or file may be open for a moment; what leaks leaks with each attack.
    watch = Watch(scene.receiver.process.pid)
    assert eventually(lambda: watch.look().threads <= scene.threads_at_rest + 2), "threads are left behind"
    assert eventually(lambda: watch.look().descriptors <= scene.descriptors_at_rest + 4), "descriptors are left behind"


SOON_OVER = [name for name in ATTACKS if not name.startswith("slow loris")]


@pytest.mark.parametrize("name", SOON_OVER)
def test_an_honest_study_arrives_under_attack_and_nothing_of_the_attack_stays(
    name: str, scene: Scene, tmp_path: Path
) -> None:
    field_ = study_under(ATTACKS[name], scene, tmp_path)

    assert field_.connections > 0
    assert_nothing_is_left(scene)
    assert "a thread ended by a fault" not in scene.receiver.log


@pytest.mark.parametrize("name", ["silent clients", "idle connections", "A-ASSOCIATE-RQ of 4 GiB"])
def test_who_never_finishes_a_handshake_holds_nobody_up(name: str, scene: Scene, tmp_path: Path) -> None:
    study_under(ATTACKS[name], scene, tmp_path, port=scene.tls_port)

    assert_nothing_is_left(scene)


def test_a_slow_loris_at_each_stage_is_cut_off_and_honest_studies_arrive_before(scene: Scene, tmp_path: Path) -> None:
    fields = [Field(port=scene.receiver.port) for _ in STAGES]

    @contextlib.contextmanager
    def all_stages(_: Field) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for stage, field_ in zip(STAGES, fields, strict=True):
                stack.enter_context(loris(stage)(field_))
            yield
            for stage, field_ in zip(STAGES, fields, strict=True):
                assert eventually(lambda one=field_: one.cut_off == one.connections, within_s=60.0), stage  # type: ignore[misc]

    study_under(all_stages, scene, tmp_path)

    assert_nothing_is_left(scene)


@pytest.mark.parametrize(
    ("how", "left_out"),
    [(by_closing, 1), (by_abort, len(ABORT) + 1)],
    ids=["TCP close", "A-ABORT"],
)
def test_an_abort_at_each_byte_of_an_object_leaves_nothing(
    how: Callable[[RawPeer], None], left_out: int, scene: Scene, tmp_path: Path
) -> None:
    # In the middle of a PDU an A-ABORT is taken for data, and near the end it would make the object whole.
    study_under(aborts(range(MESSAGE_BYTES - left_out + 1), how), scene, tmp_path)

    assert_nothing_is_left(scene)


def test_an_object_whose_sender_is_gone_before_the_answer_is_whole_or_absent(scene: Scene, tmp_path: Path) -> None:
    instance = new_uid()
    with closing_all([RawPeer.associated(scene.receiver.port)]) as (peer,):
        peer.send(store_message(store_command(instance), small_object(instance)))
    honest_study(scene, tmp_path)

    database = Database.open(scene.site.data, migrate=False)
    with contextlib.closing(database):
        studies = StudyStore(database)
        assert eventually(lambda: studies.spool_keys() == {file.stem for file in scene.site.spooled})
    assert all(whole_seal(file) is not None for file in scene.site.spooled)
    # It may be there: what was never acknowledged may be sent again.
    scene.acknowledged |= {instance} if len(scene.site.spooled) > len(scene.acknowledged) else set()


def test_one_who_is_cut_off_again_and_again_has_its_place_the_next_time(scene: Scene) -> None:
    for _ in range(30):
        with closing_all([RawPeer.associated(scene.receiver.port)]) as (peer,):
            peer.send(pdu(pdv(b"\xff" * 40, COMMAND)) + pdu(pdv(b"\xff" * 40, COMMAND | LAST)))
            assert peer.is_ended(within_s=20.0)
    instance = new_uid()
    with closing_all([RawPeer.associated(scene.receiver.port)]) as (peer,):
        assert peer.store(instance, small_object(instance)) == SUCCESS
    scene.acknowledged.add(instance)
    assert_nothing_is_left(scene)


def echo_requests(count: int) -> bytes:
    body = element(0x0002, padded("1.2.840.10008.1.1")) + element(0x0100, b"\x30\0") + element(0x0110, b"\1\0")
    command = body + element(0x0800, b"\1\1")
    return pdu(pdv(element(0, len(command).to_bytes(4, "little")) + command, COMMAND | LAST)) * count


def test_one_who_never_reads_our_answers_is_cut_off_and_holds_nobody_up(scene: Scene, tmp_path: Path) -> None:
    with closing_all([RawPeer.associated(scene.receiver.port) for _ in range(3)]) as peers:
        for peer in peers:
            peer.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            # More than both ends' buffers hold.
            threading.Thread(target=peer.send_what_is_taken, args=(echo_requests(200_000),), daemon=True).start()
        honest_study(scene, tmp_path)
        # While they are still there, and have read nothing. Answers first have to fill the buffers.
        watch = Watch(scene.receiver.process.pid)
        assert eventually(lambda: watch.look().threads <= scene.threads_at_rest + 2, within_s=100.0)
        assert_nothing_is_left(scene)


def test_one_who_asks_for_release_and_stays_is_sent_away(scene: Scene, tmp_path: Path) -> None:
    with closing_all([RawPeer.associated(scene.receiver.port) for _ in range(4)]) as peers:
        for peer in peers:
            peer.send(RELEASE)
            assert peer.answer()[0] == 6
        honest_study(scene, tmp_path)
        assert all(peer.is_ended(within_s=20.0) for peer in peers)
    assert_nothing_is_left(scene)
