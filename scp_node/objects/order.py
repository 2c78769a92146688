"""What the pipeline asks an encoding for: ``job.json`` in the job folder."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from scp_node.domain.delivery import ObjectKind
from scp_node.domain.study import Identity
from scp_node.objects.json_fields import Json, JsonFieldError, JsonFields, json_text, read_json_fields
from scp_node.objects.manifest import write_durably

ORDER_FILE = "job.json"
ORDER_SCHEMA = "hai-encoding-order/1"

_UTC_OFFSET_LIMIT_MINUTES = 14 * 60


EXIT_NO_ROOM = 4
"""Of the child that carries out an order: the disk is full or read-only, and what it made can be made again."""


class EncodingOrderError(ValueError):
    """The order cannot be understood; the message names file and key and shows no patient data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predecessor:
    """A report of an earlier revision, which the new one replaces."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodingOrder:
    """Everything that decides what the objects of one job look like, to the byte.

    Attributes
    ----------
    revision : int
        1 for the first answer to the study.
    analysis_started_at : datetime
        Aware UTC; start of the first attempt. Every time in the objects is taken from it.
    utc_offset_minutes : int
        East of UTC; used where the images name no offset of their own.
    study_folder : Path
        The images that were analysed.
    out_folder : Path or None
        What the analyzer wrote; ``None`` for a technical failure, and then ``failure`` says why in one sentence
        for the report (no traceback, no patient data).
    identity : Identity
        The newest of the study; overrides the headers of the images.
    predecessors : reports of the earlier revision
        Empty for revision 1.
    missing : sentences
        What the study lacked when it was analysed.
    object_kinds : frozenset of ObjectKind
        What the destinations take. A study is always answered: a text report is made whenever no other report is.
    groups_without_coordinates : bool
        Whether the destinations can read measurement groups that rest on no coordinates; most viewers cannot.
    notice : str
        Restriction that every object repeats, e.g. ``Not for clinical use.``
    """

    study_instance_uid: str
    revision: int
    analyzer_name: str
    analyzer_version: str
    analysis_started_at: datetime
    utc_offset_minutes: int
    study_folder: Path
    out_folder: Path | None
    failure: str | None
    identity: Identity
    input_digest: str
    settings_digest: str
    predecessors: tuple[Predecessor, ...] = ()
    missing: tuple[str, ...] = ()
    object_kinds: frozenset[ObjectKind] = frozenset(ObjectKind)
    groups_without_coordinates: bool = False
    device_serial_number: str = ""
    institution_name: str = ""
    notice: str = "Not for clinical use."

    def __post_init__(self) -> None:
        """Refuse an order that contradicts itself.

        Raises
        ------
        ValueError
            If the time is naive, or not exactly one of ``out_folder`` and ``failure`` is given.
        """
        if self.analysis_started_at.tzinfo is None:
            raise ValueError("analysis_started_at must be aware (UTC).")
        if (self.out_folder is None) == (self.failure is None):
            raise ValueError("exactly one of out_folder and failure must be given.")
        if self.revision < 1:
            raise ValueError("revision counts from 1.")
        if abs(self.utc_offset_minutes) > _UTC_OFFSET_LIMIT_MINUTES:
            raise ValueError("utc_offset_minutes lies between -840 and 840.")


def order_content(order: EncodingOrder) -> dict[str, Json]:
    """Content of an order as JSON, without the folders (which change nothing in the objects)."""
    return {
        "schema": ORDER_SCHEMA,
        "study_instance_uid": order.study_instance_uid,
        "revision": order.revision,
        "analyzer_name": order.analyzer_name,
        "analyzer_version": order.analyzer_version,
        "analysis_started_at": order.analysis_started_at.astimezone(UTC).isoformat(),
        "utc_offset_minutes": order.utc_offset_minutes,
        "failure": order.failure,
        "identity": {name: str(getattr(order.identity, name)) for name in _names_of(Identity)},
        "input_digest": order.input_digest,
        "settings_digest": order.settings_digest,
        "predecessors": [
            {name: str(getattr(predecessor, name)) for name in _names_of(Predecessor)}
            for predecessor in order.predecessors
        ],
        "missing": list(order.missing),
        "object_kinds": [kind.value for kind in sorted(order.object_kinds)],
        "groups_without_coordinates": order.groups_without_coordinates,
        "device_serial_number": order.device_serial_number,
        "institution_name": order.institution_name,
        "notice": order.notice,
    }


def write_order(order: EncodingOrder, job_folder: Path) -> Path:
    """Write ``job.json`` durably into an existing folder and return its path."""
    content = order_content(order)
    content["study_folder"] = str(order.study_folder)
    content["out_folder"] = None if order.out_folder is None else str(order.out_folder)
    path = job_folder / ORDER_FILE
    write_durably(path, json_text(content).encode())
    return path


def read_order(job_folder: Path) -> EncodingOrder:
    """Read ``job.json`` of a job folder; relative folders in it are taken below the job folder.

    Raises
    ------
    EncodingOrderError
        If the file is absent or wrong: which key, and what would be right.
    """
    try:
        read = read_json_fields(job_folder / ORDER_FILE)
        order = _order(read, job_folder)
        read.done()
    except ValueError as fault:
        raise EncodingOrderError(str(fault)) from fault
    return order


def _order(read: JsonFields, job_folder: Path) -> EncodingOrder:
    if read.text("schema") != ORDER_SCHEMA:
        raise read.fault("schema", ORDER_SCHEMA)
    out_folder = read.text_or_none("out_folder")
    return EncodingOrder(
        study_instance_uid=read.text("study_instance_uid"),
        revision=read.number("revision"),
        analyzer_name=read.text("analyzer_name"),
        analyzer_version=read.text("analyzer_version"),
        analysis_started_at=_moment(read),
        utc_offset_minutes=read.number("utc_offset_minutes"),
        study_folder=job_folder / read.text("study_folder"),
        out_folder=None if out_folder is None else job_folder / out_folder,
        failure=read.text_or_none("failure"),
        identity=_identity(read.inner("identity")),
        input_digest=read.text("input_digest"),
        settings_digest=read.text("settings_digest"),
        predecessors=tuple(_predecessor(each) for each in read.inners("predecessors")),
        missing=read.texts("missing"),
        object_kinds=_kinds(read),
        groups_without_coordinates=read.truth("groups_without_coordinates"),
        device_serial_number=read.text("device_serial_number"),
        institution_name=read.text("institution_name"),
        notice=read.text("notice"),
    )


def _moment(read: JsonFields) -> datetime:
    wanted = "a time with its offset from UTC, e.g. 2026-01-31T12:00:00+00:00,"
    try:
        moment = datetime.fromisoformat(read.text("analysis_started_at"))
    except JsonFieldError:
        raise
    except ValueError as fault:
        raise read.fault("analysis_started_at", wanted) from fault
    if moment.tzinfo is None:
        raise read.fault("analysis_started_at", wanted)
    return moment.astimezone(UTC)


def _kinds(read: JsonFields) -> frozenset[ObjectKind]:
    words = read.texts("object_kinds")
    known = {kind.value for kind in ObjectKind}
    if not known.issuperset(words):
        raise read.fault("object_kinds", f"a list out of {', '.join(sorted(known))}")
    return frozenset(ObjectKind(word) for word in words)


def _identity(read: JsonFields) -> Identity:
    identity = Identity(**{name: read.text(name) for name in _names_of(Identity)})
    read.done()
    return identity


def _predecessor(read: JsonFields) -> Predecessor:
    predecessor = Predecessor(**{name: read.text(name) for name in _names_of(Predecessor)})
    read.done()
    return predecessor


def _names_of(kind: type[Identity] | type[Predecessor]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))
