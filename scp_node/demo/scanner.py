"""The scanner of the demonstration: sends the objects of a folder over one association, as a console would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info

from scp_node.outbound.faults import Permanent, Stored, Transient
from scp_node.outbound.link import Terms
from scp_node.outbound.sender import Outgoing, send

_CONNECT_S, _RESPONSE_S = 10.0, 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What became of a folder."""

    stored: int
    refused: tuple[str, ...]
    """Causes, one for each object that was not taken."""


def push(
    folder: Path,
    *,
    host: str,
    port: int,
    calling_ae: str,
    called_ae: str,
    progress: Callable[[int, int], None] | None = None,
) -> Pushed:
    """Send every DICOM file below a folder, in the order of its name; other files are passed over.

    Parameters
    ----------
    folder : Path
        One study.
    host, port, calling_ae, called_ae
        Whom to call, and as whom.
    progress : (sent, of) -> None, optional
        Called after each object.
    """
    terms = Terms(
        peer="node",
        host=host,
        port=port,
        called_ae=called_ae,
        calling_ae=calling_ae,
        connect_timeout_s=_CONNECT_S,
        response_timeout_s=_RESPONSE_S,
    )
    files = [found for path in sorted(folder.rglob("*")) if (found := _outgoing(path)) is not None]
    stored, refused = 0, list[str]()
    for count, (_, outcome) in enumerate(send(terms, files, lambda: True), start=1):
        match outcome:
            case Stored():
                stored += 1
            case Transient(cause=cause) | Permanent(cause=cause):
                refused.append(cause)
        if progress is not None:
            progress(count, len(files))
    return Pushed(stored=stored, refused=tuple(refused))


def _outgoing(path: Path) -> Outgoing | None:
    if not path.is_file():
        return None
    try:
        sop_class_uid = str(read_file_meta_info(path).MediaStorageSOPClassUID)
    except (InvalidDicomError, AttributeError, EOFError):
        return None
    return Outgoing(number=0, path=path, sop_class_uid=sop_class_uid, digest="", attempts=1)
