"""What a node promises at its port holds for its receivers together, not for each of them."""

import contextlib
import random
import shutil
import ssl
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from scp_node.demo.ports import free_port
from scp_node.inbound.lockout import WITH_REFUSED
from scp_node.receivers import KEPT_CONFIG, receivers_fault
from scp_node.store.database import Database
from scp_node.store.seal import whole_seal
from scp_node.store.studies import StudyStore
from scp_node.tls import LOOK_S
from tests.bench.kills import Load, examined
from tests.bench.prepared_objects import instance_uid
from tests.hostile.raw_peer import (
    NO_ANSWER,
    SUCCESS,
    RawPeer,
    associate_request,
    new_uid,
    small_object,
    store_command,
    store_message,
)
from tests.node.certificates import Authority, Identity
from tests.node.network import Site, eventually, make_site, peers_toml
from tests.node.receiver_pair import NUMBERS, receiver_pair

ACCEPTED, REJECTED = 2, 3
KILLS = 8
TRANSIENT_LOAD = b"\0\2\3\2"
"""Content of an A-ASSOCIATE-RJ: transient, by the presentation provider, local limit exceeded (PS3.8 table 9-21)."""
ANOTHER_CT = '[peer.ct-2]\nae_title = "CT_2"\naddresses = ["127.0.0.2"]\nmay_send = true\n'
CT_AT = {"127.0.0.1": "CT_1", "127.0.0.2": "CT_2"}


def pair_site(folder: Path, receiving: str = "") -> Site:
    return make_site(folder, peers=peers_toml() + ANOTHER_CT, receiving=f"processes = 2\n{receiving}")


def called(site: Site, crowd: ExitStack, address: str) -> tuple[RawPeer, int, bytes]:
    """A peer that has asked for an association, and what it was answered."""
    peer = crowd.enter_context(contextlib.closing(RawPeer.call(site.port, address=address)))
    peer.send(associate_request(calling=CT_AT.get(address, "STRANGER")))
    return peer, *peer.answer()


def test_places_for_associations_are_those_of_all_receivers_together(tmp_path: Path) -> None:
    site = pair_site(tmp_path, "maximum_associations = 3\nmaximum_associations_per_address = 2")
    with receiver_pair(site) as pair, ExitStack() as crowd:
        for number in NUMBERS:
            with pair.only(number):
                assert called(site, crowd, "127.0.0.1")[1] == ACCEPTED
        for number in NUMBERS:
            with pair.only(number):
                assert called(site, crowd, "127.0.0.1")[1:] == (REJECTED, TRANSIENT_LOAD)
        with pair.only(1):
            last, kind, _ = called(site, crowd, "127.0.0.2")
            assert kind == ACCEPTED
        with pair.only(2):
            assert called(site, crowd, "127.0.0.2")[1:] == (REJECTED, TRANSIENT_LOAD)
        assert eventually(lambda: pair.told("hai_node_open_associations") == 3)

        last.close()
        assert eventually(lambda: pair.told("hai_node_open_associations") == 2)
        with pair.only(2):
            assert called(site, crowd, "127.0.0.2")[1] == ACCEPTED


def test_the_places_of_a_killed_receiver_are_free_at_once(tmp_path: Path) -> None:
    site = pair_site(tmp_path, "maximum_associations = 2\nmaximum_associations_per_address = 2")
    with receiver_pair(site) as pair, ExitStack() as crowd:
        with pair.only(1):
            assert [called(site, crowd, "127.0.0.1")[1] for _ in range(2)] == [ACCEPTED] * 2
        with pair.only(2):
            assert called(site, crowd, "127.0.0.1")[1] == REJECTED
        pair.kill(1)
        assert [called(site, crowd, "127.0.0.1")[1] for _ in range(2)] == [ACCEPTED] * 2
        pair.mend()
        with pair.only(1):
            assert called(site, crowd, "127.0.0.1")[1] == REJECTED, "the one in its place knows who is here"


def test_callers_who_come_at_once_are_shared_out_among_the_receivers(tmp_path: Path) -> None:
    site = pair_site(tmp_path)
    with receiver_pair(site) as pair, ExitStack() as crowd:
        with pair.only(1), pair.only(2):
            # Both stand still, so that all are there when the first of them wakes.
            peers = [crowd.enter_context(contextlib.closing(RawPeer.call(site.port))) for _ in range(12)]
            for peer in peers:
                peer.send(associate_request(calling=CT_AT["127.0.0.2"]))
        assert [peer.answer()[0] for peer in peers] == [ACCEPTED] * 12
        held = [
            sum(one.status == psutil.CONN_ESTABLISHED for one in pair.process(number).net_connections("tcp"))
            for number in NUMBERS
        ]
    assert sum(held) == 12
    assert min(held) >= 3, "one of them takes the callers of both"


def test_those_who_wait_are_bounded_for_all_receivers_together(tmp_path: Path) -> None:
    site = pair_site(tmp_path, "maximum_waiting = 16\nrequest_timeout_s = 60.0")
    with receiver_pair(site) as pair, ExitStack() as crowd:
        for number in NUMBERS:
            with pair.only(number):
                for _ in range(30):
                    crowd.enter_context(contextlib.closing(RawPeer.call(site.port, address="127.0.0.2")))
                # Comes in behind all of them, so they were taken by this one.
                assert called(site, crowd, "127.0.0.1")[1] == ACCEPTED
        assert eventually(lambda: pair.told("hai_node_dropped_connections_total", reason="too many connections") >= 44)
        assert pair.told("hai_node_waiting_connections") <= 16


def test_a_stranger_s_patience_is_shared_by_the_receivers(tmp_path: Path) -> None:
    site = pair_site(tmp_path)
    with receiver_pair(site) as pair, ExitStack() as crowd:
        heard = 0
        for number in NUMBERS:
            with pair.only(number):
                for _ in range(WITH_REFUSED.in_a_row):
                    with contextlib.suppress(ConnectionError):
                        heard += called(site, crowd, "127.0.0.3")[1] == REJECTED
        # Some are forgiven by the second.
        assert heard <= WITH_REFUSED.in_a_row + 5
        assert heard < 2 * WITH_REFUSED.in_a_row


def test_a_quota_is_kept_by_all_receivers_together(tmp_path: Path) -> None:
    site = pair_site(tmp_path, "spool_quota_gib = 0.01")
    quota_bytes, object_bytes = int(0.01 * 2**30), 100_000
    with receiver_pair(site) as pair:
        refused = []
        for number in (1, 2, 1, 2):
            with pair.only(number), contextlib.closing(RawPeer.associated(site.port)) as peer:
                uids = [new_uid() for _ in range(60)]
                statuses = {peer.store(uid, small_object(uid, pixel_bytes=object_bytes)) for uid in uids}
                refused.append(statuses)
        assert refused[2:] == [{0xA700}] * 2
    used_bytes = sum(file.stat().st_size for file in site.spooled)
    assert 0.9 * quota_bytes < used_bytes <= quota_bytes * (1 + 2 * 0.005) + 2 * object_bytes


def test_both_receivers_follow_renewed_tls_files(tmp_path: Path) -> None:
    """A renewed certificate is shown, and a revoked one refused, by each of them."""
    authority, tls_port = Authority(tmp_path), free_port()
    ours, renewed, ct = (authority.sign(name) for name in ("node.hospital", "renewed.hospital", "ct1.hospital"))
    pem, key = tmp_path / "ours.pem", tmp_path / "ours.key"
    install(ours, pem, key)
    table = f'[tls]\nport = {tls_port}\ncertificate = "{pem}"\nprivate_key = "{key}"\n'
    table += f'authorities = "{authority.certificate}"\nrevocation_list = "{authority.revoke(ours)}"\n'
    home = tmp_path / "site"
    home.mkdir()
    with receiver_pair(pair_site(home, table)) as pair:
        for number in NUMBERS:
            with pair.only(number):
                assert shown(tls_port, authority, ct) == (name_in(ours), ACCEPTED)
        install(renewed, pem, key)
        authority.revoke(ct)
        time.sleep(LOOK_S + 0.5)
        for number in NUMBERS:
            with pair.only(number):
                assert shown(tls_port, authority, ct) == (name_in(renewed), NO_ANSWER)


def install(identity: Identity, pem: Path, key: Path) -> None:
    shutil.copy(identity.certificate, pem)
    shutil.copy(identity.key, key)


def name_in(identity: Identity) -> str:
    return identity.certificate.stem


def shown(port: int, authority: Authority, identity: Identity) -> tuple[str, int]:
    """The name in the certificate that we are shown, and what a request is answered."""
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.check_hostname = False
    context.load_cert_chain(identity.certificate, identity.key)
    with contextlib.closing(RawPeer.call(port, address="127.0.0.1")) as plain:
        peer = RawPeer(context.wrap_socket(plain.connection))
        certificate = peer.connection.getpeercert()  # type: ignore[attr-defined]
        (name,) = [value for kind, value in certificate["subjectAltName"] if kind == "DNS"]
        peer.send_what_is_taken(associate_request(calling="CT_1"))
        kind = peer.answer()[0]
        peer.close()
    return name, kind


def test_receivers_that_are_asked_to_end_let_the_associations_of_both_finish(tmp_path: Path) -> None:
    site = pair_site(tmp_path)
    peers: list[RawPeer] = []
    with receiver_pair(site) as pair, ExitStack() as crowd:
        for number in NUMBERS:
            with pair.only(number):
                peers.append(called(site, crowd, "127.0.0.1")[0])
        processes = [pair.process(number) for number in NUMBERS]
        stopping = threading.Thread(target=pair.receivers.stop)
        stopping.start()
        assert eventually(lambda: not _is_open(site.port))
        uids = [new_uid() for _ in peers]
        assert [peer.store(uid, small_object(uid)) for peer, uid in zip(peers, uids, strict=True)] == [SUCCESS] * 2
        for peer in peers:
            peer.close()
        stopping.join(timeout=30)
        assert not stopping.is_alive()
        assert not any(process.is_running() for process in processes)
    assert len(site.spooled) == len(uids)


def _is_open(port: int) -> bool:
    try:
        RawPeer.call(port, address="127.0.0.1").close()
    except OSError:
        return False
    return True


def test_one_receiver_that_cannot_be_started_again_stops_no_other(tmp_path: Path) -> None:
    site = pair_site(tmp_path)
    kept = site.data / KEPT_CONFIG / "peers.toml"
    with receiver_pair(site) as pair:
        peers = kept.read_text()
        kept.write_text("no TOML")
        pair.kill(1)
        for _ in range(2):
            pair.mend()
        assert stores(site)
        assert "1 of 2 receivers" in receivers_fault(site.data, datetime.now(UTC))
        pair.kill(2)
        kept.write_text(peers)
        pair.mend()
        for number in NUMBERS:
            with pair.only(number):
                assert stores(site)


def stores(site: Site) -> bool:
    with contextlib.closing(RawPeer.associated(site.port)) as peer:
        uid = new_uid()
        return peer.store(uid, small_object(uid)) == SUCCESS


def test_what_a_killed_receiver_had_half_received_goes_while_the_other_one_receives(tmp_path: Path) -> None:
    site = pair_site(tmp_path)
    uids = [new_uid() for _ in NUMBERS]
    messages = [store_message(store_command(uid), small_object(uid, pixel_bytes=6 << 20)) for uid in uids]
    half = 5 << 20  # more than the receive buffer holds, so that it lies on the disk
    with receiver_pair(site) as pair, ExitStack() as crowd:
        peers = []
        for number, message in zip(NUMBERS, messages, strict=True):
            with pair.only(number):
                peers.append(called(site, crowd, "127.0.0.1")[0])
                peers[-1].send(message[:half])
        assert eventually(lambda: len(site.spooled) == 2)
        pair.kill(1)
        pair.mend()
        assert eventually(lambda: len(site.spooled) == 1), "it lies there until the node starts again"
        peers[1].send(messages[1][half:])
        assert peers[1].status() == SUCCESS
        with contextlib.closing(RawPeer.associated(site.port)) as again:
            again.send(messages[0])
            assert again.status() == SUCCESS
    assert len(site.spooled) == 2
    assert all(whole_seal(file) is not None for file in site.spooled)


@pytest.mark.timeout(200)
def test_whichever_of_two_receivers_is_killed_under_load_nothing_acknowledged_is_missing_twice_or_half(
    tmp_path: Path,
) -> None:
    site = pair_site(tmp_path)
    chance = random.Random(20260102)  # noqa: S311 - moments, no secret
    load = Load(port=site.port, threads=3)
    with receiver_pair(site) as pair:
        with load.running():
            for _ in range(KILLS):
                time.sleep(chance.uniform(0.1, 0.6))
                number = chance.choice(NUMBERS)
                recorders = pair.process(number).children()
                pair.kill(number)
                if chance.random() < 0.5:
                    for recorder in recorders:
                        recorder.kill()
                before = len(load.acknowledged)
                assert eventually(lambda: len(load.acknowledged) > before), "the other one goes on"  # noqa: B023
                pair.mend()
            time.sleep(0.5)
        with contextlib.closing(Database.open(site.data, migrate=False)) as database:
            rows = StudyStore(database)
            uids = {instance_uid(number) for number in load.acknowledged}
            assert eventually(lambda: len(rows.spool_keys()) >= len(uids), within_s=90.0)
            # A repetition is removed only after it was compared.
            assert eventually(lambda: rows.spool_keys() == {file.stem for file in site.spooled}, within_s=30.0)
    outcome = examined(site, load, kills=KILLS, orphans=0)
    assert outcome.faults == {"missing": 0, "twice": 0, "half": 0, "orphans": 0}
    assert outcome.acknowledged > 200
    assert outcome.sent_again >= KILLS // 2, "the kills met nobody"
