"""Encrypted associations: whose certificate is believed, and that nobody can hold up the others."""

import json
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE

from scp_node import tls
from scp_node.demo.orthanc import Orthanc
from scp_node.demo.ports import free_port
from scp_node.errors import SettingsError
from scp_node.outbound.echo import echo
from scp_node.outbound.pause import Pause
from scp_node.settings import TlsSettings, load_settings
from tests.hostile.raw_peer import (
    ANSWER_S,
    SUCCESS,
    RawPeer,
    associate_request,
    closing_all,
    new_uid,
    small_object,
    store_command,
    store_message,
)
from tests.node.certificates import Authority, Identity
from tests.node.network import (
    Receiver,
    Site,
    ct_slice,
    dataset_bytes,
    dcmtk,
    eventually,
    make_site,
    orthanc,
    part10,
    run,
)

PEERS = """
[peer.ct-1]
ae_title = "CT_1"
addresses = ["127.0.0.1"]
may_send = true
certificate_names = ["ct1.hospital"]

[peer.mr-1]
ae_title = "MR_1"
addresses = ["127.0.0.1"]
may_send = true

[peer.pacs]
ae_title = "PACS"
addresses = ["127.0.0.1"]
host = "127.0.0.1"
port = {pacs_port}
tls = true
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    return Authority(folder)


@pytest.fixture(scope="module")
def ct(authority: Authority) -> Identity:
    return authority.sign("ct1.hospital")


@pytest.fixture(scope="module")
def revoked(authority: Authority) -> Identity:
    return authority.sign("stolen.hospital")


@pytest.fixture(scope="module")
def tls_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def pacs_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def site(folder: Path, authority: Authority, revoked: Identity, tls_port: int, pacs_port: int) -> Site:
    node = authority.sign("node.hospital")
    table = (
        f'[tls]\nport = {tls_port}\ncertificate = "{node.certificate}"\nprivate_key = "{node.key}"\n'
        f'authorities = "{authority.certificate}"\nrevocation_list = "{authority.revoke(revoked)}"\n'
    )
    home = folder / "site"
    home.mkdir()
    return make_site(home, peers=PEERS.format(pacs_port=pacs_port), receiving=f"request_timeout_s = 3.0\n{table}")


def sent(
    port: int,
    authority: Authority,
    identity: Identity,
    file: Path,
    *,
    title: str = "CT_1",
    options: tuple[str, ...] = (),
) -> subprocess.CompletedProcess[str]:
    """What DCMTK's sender makes of it."""
    encryption: list[str | Path] = ["+tls", identity.key, identity.certificate, "+cf", authority.certificate, *options]
    return run([dcmtk("storescu"), *encryption, "-aet", title, "-aec", "HAI_NODE", "127.0.0.1", str(port), file])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return part10(ct_slice(study=generate_uid()), tmp_path / "a.dcm")


def test_an_object_of_a_known_certificate_is_stored(
    receiver: Receiver, site: Site, tls_port: int, authority: Authority, ct: Identity, file: Path
) -> None:
    before = len(site.spooled)

    done = sent(tls_port, authority, ct, file)

    assert done.returncode == 0, done.stderr
    assert len(site.spooled) == before + 1
    assert receiver.process.poll() is None


def test_many_objects_go_through_one_encrypted_association(
    receiver: Receiver, site: Site, tls_port: int, authority: Authority, ct: Identity, tmp_path: Path
) -> None:
    del receiver
    before = len(site.spooled)
    (tmp_path / "study").mkdir()
    for number in range(12):
        part10(ct_slice(number, rows=512), tmp_path / "study" / f"{number}.dcm")

    done = sent(tls_port, authority, ct, tmp_path / "study", options=("+sd",))

    assert done.returncode == 0, done.stderr
    assert len(site.spooled) == before + 12


def test_a_title_that_is_bound_to_a_certificate_is_refused_with_another_and_without(
    receiver: Receiver, tls_port: int, authority: Authority, file: Path
) -> None:
    other = authority.sign("mr1.hospital")

    assert sent(tls_port, authority, other, file, title="MR_1").returncode == 0
    assert "Calling AE Title Not Recognized" in sent(tls_port, authority, other, file, title="CT_1").stderr
    plain = run([dcmtk("storescu"), "-aet", "CT_1", "-aec", "HAI_NODE", "127.0.0.1", str(receiver.port), file])
    assert "Calling AE Title Not Recognized" in plain.stderr


def test_certificates_of_strangers_of_the_past_and_of_the_revoked_are_refused(
    receiver: Receiver,
    site: Site,
    tls_port: int,
    authority: Authority,
    revoked: Identity,
    file: Path,
    tmp_path: Path,
) -> None:
    del receiver
    before = site.spooled
    stranger = Authority(tmp_path, "Somebody Else").sign("ct1.hospital")
    expired = authority.sign("old.hospital", valid_d=-1.0)

    for identity in (stranger, expired, revoked):
        assert sent(tls_port, authority, identity, file, options=("-ic",)).returncode != 0
    assert site.spooled == before


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_versions_of_tls_that_are_broken_are_not_spoken(
    version: ssl.TLSVersion, receiver: Receiver, tls_port: int, authority: Authority, ct: Identity
) -> None:
    del receiver
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = version, version
    context.load_verify_locations(authority.certificate)
    context.load_cert_chain(ct.certificate, ct.key)
    with socket.create_connection(("127.0.0.1", tls_port), timeout=10) as wire, pytest.raises(OSError):  # noqa: PT011, SIM117
        with context.wrap_socket(wire, server_hostname="127.0.0.1") as encrypted:
            encrypted.recv(1)


def test_silent_clients_hold_nobody_up(
    receiver: Receiver, tls_port: int, authority: Authority, ct: Identity, file: Path
) -> None:
    silent = [socket.create_connection(("127.0.0.1", tls_port)) for _ in range(30)]
    try:
        assert sent(tls_port, authority, ct, file).returncode == 0
    finally:
        for one in silent:
            one.close()
    assert receiver.process.poll() is None


def test_who_resets_the_connection_before_it_is_taken_does_no_harm(
    receiver: Receiver, tls_port: int, authority: Authority, ct: Identity, file: Path
) -> None:
    """As a port scanner does; the receiver is stopped, so that each of them is gone when it looks."""
    receiver.process.send_signal(signal.SIGSTOP)
    try:
        for opening in (b"", b"\x16\x03\x01"):
            with socket.create_connection(("127.0.0.1", tls_port)) as caller:
                caller.sendall(opening)
                caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    finally:
        receiver.process.send_signal(signal.SIGCONT)
    assert sent(tls_port, authority, ct, file).returncode == 0
    assert receiver.process.poll() is None
    assert "a thread ended by a fault" not in receiver.log


def test_a_handshake_that_drips_is_cut_off_in_time(
    receiver: Receiver, tls_port: int, authority: Authority, ct: Identity, file: Path
) -> None:
    """A slow loris within the ClientHello; three seconds are allowed for handshake and request together."""
    with closing_all([RawPeer.call(tls_port) for _ in range(20)]) as peers:
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)
        left = list(peers)
        assert sent(tls_port, authority, ct, file).returncode == 0
        for byte in hello[:60]:
            left = [peer for peer in left if peer.send_what_is_taken(bytes([byte]))]
            if left:
                time.sleep(0.1)
        assert all(peer.is_ended(within_s=10.0) for peer in left)
    assert receiver.process.poll() is None


def test_objects_that_come_through_tls_without_waiting_are_all_answered(
    receiver: Receiver, tls_port: int, authority: Authority, ct: Identity
) -> None:
    """What one record of TLS brings may be the end of one message and the beginning of another."""
    del receiver
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.check_hostname = False
    context.load_cert_chain(ct.certificate, ct.key)
    plain = socket.create_connection(("127.0.0.1", tls_port), timeout=ANSWER_S)
    with closing_all([RawPeer(context.wrap_socket(plain))]) as (peer,):
        peer.send(associate_request(calling="CT_1"))
        assert peer.answer()[0] == 2
        for pixel_bytes in (8, 700_000, 2 << 20):
            instances = [new_uid() for _ in range(5)]
            peer.send(
                b"".join(
                    store_message(store_command(one), small_object(one, pixel_bytes=pixel_bytes)) for one in instances
                )
            )
            assert [peer.status() for _ in instances] == [SUCCESS] * 5


@pytest.mark.parametrize("pdu_bytes", [4096, 131_072])
def test_the_library_s_own_sender_goes_through_tls(
    pdu_bytes: int, receiver: Receiver, site: Site, tls_port: int, authority: Authority, ct: Identity, tmp_path: Path
) -> None:
    del receiver
    before = set(site.spooled)
    large = part10(ct_slice(rows=1100), tmp_path / "large.dcm")
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.check_hostname = False
    context.load_cert_chain(ct.certificate, ct.key)
    entity = AE("CT_1")
    entity.maximum_pdu_size = pdu_bytes
    entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    link = entity.associate("127.0.0.1", tls_port, ae_title="HAI_NODE", tls_args=(context, "127.0.0.1"))
    assert link.is_established
    with Pause.held(link):
        assert link.send_c_store(large).Status == SUCCESS
    link.release()
    (stored,) = set(site.spooled) - before
    assert dataset_bytes(stored) == dataset_bytes(large)


class OrthancWithTls(Orthanc):
    """Sends with TLS, under the title of the CT scanner."""

    ae_title = "CT_1"

    def __init__(self, folder: Path, node_port: int, authority: Authority, identity: Identity) -> None:
        folder.mkdir()
        self.http_port = free_port()
        super().__init__(orthanc(), folder, port=free_port(), http_port=self.http_port, node=("HAI_NODE", node_port))
        self._files = (authority, identity)

    def _configuration(self) -> dict[str, object]:
        authority, identity = self._files
        node = {"AET": "HAI_NODE", "Host": "127.0.0.1", "Port": self._node[1], "UseDicomTls": True}
        return super()._configuration() | {
            "DicomModalities": {"node": node},
            "DicomTlsCertificate": str(identity.certificate),
            "DicomTlsPrivateKey": str(identity.key),
            "DicomTlsTrustedCertificates": str(authority.certificate),
        }

    def post(self, path: str, body: bytes) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", data=body, timeout=60) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found


def test_orthanc_sends_with_tls_and_only_with_the_certificate_that_its_title_is_bound_to(
    receiver: Receiver, site: Site, tls_port: int, authority: Authority, ct: Identity, tmp_path: Path
) -> None:
    del receiver
    before = set(site.spooled)
    files = [part10(ct_slice(rows=rows), tmp_path / f"{rows}.dcm") for rows in (16, 300, 1100)]
    stored: list[set[Path]] = []
    for number, identity in enumerate((authority.sign("mr7.hospital"), ct)):
        sender = OrthancWithTls(tmp_path / f"orthanc-{number}", tls_port, authority, identity)
        try:
            sender.start()
            names = [sender.post("/instances", file.read_bytes())["ID"] for file in files]
            order = {"Resources": names, "Synchronous": True, "Permissive": True}
            # What it says of failures is not to be relied on: permissive, it counts none.
            sender.post("/modalities/node/store", json.dumps(order).encode())
            stored.append(set(site.spooled) - before)
        finally:
            sender.stop()

    assert stored[0] == set()
    assert sorted(map(dataset_bytes, stored[1])) == sorted(map(dataset_bytes, files))


def test_a_renewed_certificate_is_used_without_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    first, second = authority.sign("first.hospital"), authority.sign("second.hospital")
    files = TlsSettings(
        certificate=tmp_path / "node.pem", private_key=tmp_path / "node.key", authorities=authority.certificate
    )
    seconds = [0.0]
    monkeypatch.setattr("scp_node.tls.time.monotonic", lambda: seconds[0])

    def install(identity: Identity) -> None:
        shutil.copy(identity.certificate, files.certificate)
        shutil.copy(identity.key, files.private_key)

    install(first)
    context = tls.ReloadedContext(files)
    before = context()
    install(second)
    assert context() is before, "not looked at yet"
    seconds[0] += tls.LOOK_S
    renewed = context()
    assert renewed is not before
    files.private_key.write_text("half written")
    seconds[0] += tls.LOOK_S
    assert context() is renewed, "what cannot be used does not take the place of what can"


def test_validities_are_told_the_earliest_first(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    node = authority.sign("node.hospital", valid_d=20.0)
    files = TlsSettings(
        certificate=node.certificate,
        private_key=node.key,
        authorities=authority.certificate,
        revocation_list=authority.revoke(),
    )

    told = tls.validities(files)

    assert [one.what for one in told] == ["certificate", "revocation list", "authority"]
    assert timedelta(days=19) < told[0].until - datetime.now(UTC) < timedelta(days=21)


def test_files_that_cannot_be_used_are_faults_of_the_configuration(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    one, other = authority.sign("one.hospital"), authority.sign("other.hospital")
    table = f'[tls]\nauthorities = "{authority.certificate}"\ncertificate = "{one.certificate}"\n'
    (tmp_path / "site").mkdir()
    site = make_site(
        tmp_path / "site",
        peers=PEERS.format(pacs_port=4242),
        receiving=f'without_tls = false\n{table}private_key = "{other.key}"\n',
    )

    with pytest.raises(SettingsError) as faults:
        load_settings(site.config)

    assert [fault.key for fault in faults.value.faults] == ["tls"]
    assert "key values mismatch" in str(faults.value)


def test_a_peer_that_wants_tls_needs_the_table(tmp_path: Path) -> None:
    site = make_site(tmp_path, peers=PEERS.format(pacs_port=4242), receiving="without_tls = false\n")

    with pytest.raises(SettingsError) as faults:
        load_settings(site.config)

    keys = {fault.key for fault in faults.value.faults}
    assert keys == {"receiving.without_tls", "peer.ct-1.certificate_names", "peer.pacs.tls"}


def test_a_peer_is_called_with_tls_and_its_certificate_must_be_right(
    site: Site, pacs_port: int, authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "Somebody Else")
    for signer, is_believed in ((authority, True), (stranger, False)):
        pacs = signer.sign("pacs.hospital")
        encryption = ["+tls", pacs.key, pacs.certificate, "+cf", authority.certificate]
        command = [dcmtk("storescp"), *encryption, "-aet", "PACS", "-od", tmp_path, str(pacs_port)]
        with subprocess.Popen([str(part) for part in command], stderr=subprocess.DEVNULL) as archive:
            try:
                assert eventually(lambda: _accepts(pacs_port))
                told = echo(site.settings, "pacs")
            finally:
                archive.terminate()
        assert told.answered is is_believed, told


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
