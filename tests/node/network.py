"""A real receiver process, real files to send, and the configuration of both, for the tests of the network parts."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE

from scp_node.demo.orthanc import orthanc_program
from scp_node.demo.ports import free_port
from scp_node.inbound.listener import listening_socket
from scp_node.inbound.places import shared_places
from scp_node.outbound.pause import Pause
from scp_node.settings import Settings, load_settings
from scp_node.store.database import Database

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Configuration and data folder of one node under test."""

    config: Path
    data: Path
    port: int

    @property
    def settings(self) -> Settings:
        return load_settings(self.config)

    @property
    def spooled(self) -> list[Path]:
        """Files of the spool; those that were made ahead and are empty do not count."""
        return sorted(path for path in (self.data / "spool").rglob("*.dcm") if _byte_count(path))


def _byte_count(path: Path) -> int:
    """Zero also of a file that is gone by now."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def make_site(folder: Path, *, peers: str, receiving: str = "", delivery: str = "", keep_free_gib: float = 0.1) -> Site:
    """Write the three files and make the database."""
    config, data = folder / "config", folder / "data"
    config.mkdir()
    data.mkdir(exist_ok=True)
    port = free_port()
    (config / "node.toml").write_text(
        f'data_folder = "{data}"\nlog_level = "debug"\n'
        f'[receiving]\nae_titles = ["HAI_NODE", "HAI_FORCE"]\nbind_address = "127.0.0.1"\nport = {port}\n'
        f"keep_free_gib = {keep_free_gib}\n{receiving}\n[delivery]\nfirst_wait_s = 1.0\n{delivery}\n"
    )
    (config / "peers.toml").write_text(peers)
    (config / "routes.toml").write_text((REPOSITORY / "config" / "routes.toml").read_text())
    site = Site(config=config, data=data, port=port)
    Database.open(data, migrate=True).close()
    return site


PEERS = """
[peer.ct-1]
ae_title = "CT_1"
addresses = ["127.0.0.1"]
may_send = true

[peer.ct-elsewhere]
ae_title = "CT_ELSEWHERE"
addresses = ["192.0.2.7"]
may_send = true

[peer.pacs]
ae_title = "PACS"
addresses = ["127.0.0.1"]
host = "127.0.0.1"
port = {pacs_port}
{pacs}
"""


def peers_toml(*, pacs_port: int = 4242, pacs: str = "") -> str:
    return PEERS.format(pacs_port=pacs_port, pacs=pacs)


@dataclass(slots=True, kw_only=True)
class Receiver:
    """A receiver process that accepts."""

    process: subprocess.Popen[str]
    journal: Path
    port: int
    stopped: bool = field(default=False)

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.stopped = True
        return self.process.wait(timeout=30)

    @property
    def log(self) -> str:
        return self.journal.read_text()


@contextlib.contextmanager
def receiving(
    site: Site,
    *,
    number: int = 1,
    listening: socket.socket | None = None,
    places: int | None = None,
    environment: dict[str, str] | None = None,
    journal: Path | None = None,
) -> Iterator[Receiver]:
    """Start a receiver, wait until it accepts, and end it; ``places`` are those of all that share the socket."""
    journal = journal or site.data / f"receiver-{number}.log"
    command = [sys.executable, "-m", "scp_node.inbound", "--config", str(site.config), "--receiver", str(number)]
    fds: tuple[int, ...] = ()
    if listening is not None:
        command += ["--listen-fd", str(listening.fileno())]
        fds = (listening.fileno(),)
    if places is not None:
        command += ["--receivers", str(site.settings.node.receiving.processes), "--places-fd", str(places)]
        fds = (*fds, places)
    with journal.open("w") as errors:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=REPOSITORY,
            pass_fds=fds,
            env={**os.environ, **(environment or {})},
        )
    assert process.stdout is not None
    receiver = Receiver(process=process, journal=journal, port=site.port)
    try:
        ready = process.stdout.readline().split()
        assert ready[:1] == ["ready"], f"the receiver did not start: {journal.read_text()}"
        receiver.port = int(ready[2])
        yield receiver
    finally:
        receiver.stop()
        process.stdout.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Receivers:
    """All receivers of a site, behind one port."""

    all: Sequence[Receiver]
    port: int

    @property
    def log(self) -> str:
        return "".join(one.log for one in self.all)

    @property
    def go_on(self) -> bool:
        return all(one.process.poll() is None for one in self.all)


@contextlib.contextmanager
def receiving_together(site: Site) -> Iterator[Receivers]:
    """As many receivers as the site says, with one socket and the places of all, as its node starts them."""
    settings = site.settings.node.receiving
    with contextlib.ExitStack() as living:
        shared = living.enter_context(contextlib.closing(listening_socket("127.0.0.1", site.port)))
        places = shared_places(settings.processes, settings.maximum_associations)
        living.callback(os.close, places)
        started = [
            living.enter_context(receiving(site, number=number, listening=shared, places=places))
            for number in range(1, settings.processes + 1)
        ]
        yield Receivers(all=started, port=site.port)


def ct_slice(number: int = 1, *, study: str = "", series: str = "", rows: int = 16, **attributes: object) -> Dataset:
    """A small CT slice with a complete header; pixel values tell the slices apart."""
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID = study or generate_uid()
    dataset.SeriesInstanceUID = series or generate_uid()
    dataset.FrameOfReferenceUID = generate_uid()
    dataset.PatientID, dataset.PatientName, dataset.AccessionNumber = "TEST-1", "Test^Person", "A-1"
    dataset.Modality, dataset.StudyDate, dataset.StudyTime = "CT", "20260102", "101112"
    dataset.PatientBirthDate, dataset.PatientSex, dataset.StudyID = "", "O", "1"
    dataset.InstanceNumber, dataset.SeriesNumber = number, 3
    dataset.ImagePositionPatient = [-100.0, -100.0, 2.5 * number]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness = [0.8, 0.8], 2.5
    dataset.Rows = dataset.Columns = rows
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.PixelData = number.to_bytes(2, "little") * (rows * rows)
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def part10(dataset: Dataset, path: Path, transfer_syntax: str = ExplicitVRLittleEndian) -> Path:
    """Write a file; in a compressed syntax the pixels become one opaque fragment."""
    syntax = UID(transfer_syntax)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    if syntax.is_encapsulated and "PixelData" in dataset:
        dataset.PixelData = encapsulate([bytes(dataset.PixelData)])
        dataset["PixelData"].VR = "OB"
    if not syntax.is_little_endian and "PixelData" in dataset:
        dataset["PixelData"].VR = "OW"
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path


def dataset_bytes(path: Path) -> bytes:
    """Everything behind the file meta information."""
    content = path.read_bytes()
    stream = BytesIO(content)
    stream.seek(132)
    group_length = pydicom.filereader.read_dataset(
        stream, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, _vr, _length: tag != 0x00020000
    )
    start = 132 + 12 + int(group_length[0x00020000].value)
    return content[start:]


def run(command: Sequence[str | Path], *, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Run a peer's tool to its end."""
    environment = {**os.environ, "TCP_NODELAY": "1"}
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env=environment,
    )


def eventually(condition: Callable[[], bool], *, within_s: float = 20.0) -> bool:
    """Whether a condition comes true; for what another process does in its own time."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return bool(condition())


def dcmtk(tool: str) -> str:
    """Path of one of DCMTK's tools; the virtual environment has scripts of the same names that are pynetdicom's."""
    folders = [folder for folder in os.get_exec_path() if not Path(folder).is_relative_to(sys.prefix)]
    return _required(shutil.which(tool, path=os.pathsep.join(folders)), f"DCMTK's {tool}")


def orthanc() -> str:
    """Path of the Orthanc program."""
    return _required(orthanc_program(), "Orthanc")


def _required(found: str | None, name: str) -> str:
    if found is not None:
        return found
    if os.environ.get("CI") == "true":
        pytest.fail(f"{name} is missing; tests/peers.sh installs it")
    pytest.skip(f"{name} is not installed (tests/peers.sh installs it)")


@contextlib.contextmanager
def association(
    port: int,
    contexts: Iterable[tuple[str, str]],
    *,
    calling: str = "CT_1",
    called: str = "HAI_NODE",
    evt_handlers: list[Any] | None = None,
    roles: list[Any] | None = None,
) -> Iterator[Association]:
    """An association to a node on this machine, one presentation context for each (SOP class, transfer syntax)."""
    entity = AE(calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 20
    for sop_class, syntax in dict.fromkeys(contexts):
        entity.add_requested_context(sop_class, syntax)
    link = entity.associate("127.0.0.1", port, ae_title=called, ext_neg=roles or [], evt_handlers=evt_handlers or [])
    try:
        yield link
    finally:
        if link.is_established:
            link.release()
        # The library leaves it open when a rejection and the end of the connection come together.
        if link.dul.socket is not None and link.dul.socket.socket is not None:
            link.dul.socket.socket.close()


def kinds(files: Iterable[Path]) -> list[tuple[str, str]]:
    """SOP class and transfer syntax of each file."""
    metas = [pydicom.filereader.read_file_meta_info(file) for file in files]
    return [(str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)) for meta in metas]


NO_ANSWER = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back for a C-STORE."""

    status: int
    comment: str


def send(link: Association, file: Path, *, sop_instance_uid: str = "", sop_class_uid: str = "") -> Answer:
    """Send the very bytes of a file; the command may be made to announce another instance or class."""
    meta = pydicom.filereader.read_file_meta_info(file)
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID = sop_class_uid or meta.MediaStorageSOPClassUID
    request.AffectedSOPInstanceUID = sop_instance_uid or meta.MediaStorageSOPInstanceUID
    request.DataSet = BytesIO(dataset_bytes(file))
    wanted = (meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID)
    context = next(one for one in link.accepted_contexts if (one.abstract_syntax, one.transfer_syntax[0]) == wanted)
    assert context.context_id is not None
    # The library's own way to keep its reactor off the response fails now and then on a busy machine.
    pause = Pause.of(link)
    link.dimse.send_msg(request, context.context_id)
    _, response = link.dimse.get_msg(block=True)
    pause.end()
    return Answer(
        status=getattr(response, "Status", None) or 0 if response is not None else NO_ANSWER,
        comment=getattr(response, "ErrorComment", None) or "",
    )


def store(port: int, files: Sequence[Path], *, calling: str = "CT_1", called: str = "HAI_NODE") -> list[int]:
    """Send files over one association; the statuses."""
    with association(port, kinds(files), calling=calling, called=called) as link:
        assert link.is_established, "no association"
        return [send(link, file).status for file in files]
