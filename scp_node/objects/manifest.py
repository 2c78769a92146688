"""What an encoding made: ``objects/manifest.json``, written last, so that its presence means success."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from scp_node.domain.delivery import ObjectKind
from scp_node.durability import sync_folder
from scp_node.objects.json_fields import JsonFields, json_text, read_json_fields

OBJECTS_FOLDER = "objects"
MANIFEST_FILE = "manifest.json"
MANIFEST_SCHEMA = "hai-encoding-manifest/1"


class ManifestError(ValueError):
    """The manifest is absent or wrong: the encoding did not end well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestEntry:
    """One object that was made.

    ``file`` is its name inside the ``objects`` folder, ``digest`` the SHA-256 of that file in hexadecimal.
    """

    kind: ObjectKind
    file: str
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    digest: str


def write_manifest(entries: tuple[ManifestEntry, ...], job_folder: Path) -> Path:
    """Write the manifest durably; call it when every object is durable."""
    path = job_folder / OBJECTS_FOLDER / MANIFEST_FILE
    content = json_text(
        {
            "schema": MANIFEST_SCHEMA,
            "objects": [
                {
                    "kind": entry.kind.value,
                    "file": entry.file,
                    "sop_class_uid": entry.sop_class_uid,
                    "sop_instance_uid": entry.sop_instance_uid,
                    "series_instance_uid": entry.series_instance_uid,
                    "study_instance_uid": entry.study_instance_uid,
                    "digest": entry.digest,
                }
                for entry in entries
            ],
        }
    )
    write_durably(path, content.encode())
    return path


def read_manifest(job_folder: Path) -> tuple[ManifestEntry, ...]:
    """Read what was made, in the order in which it is to be sent.

    Raises
    ------
    ManifestError
        If there is no manifest, it is wrong, or it names a file outside the ``objects`` folder.
    """
    try:
        read = read_json_fields(job_folder / OBJECTS_FOLDER / MANIFEST_FILE)
        if read.text("schema") != MANIFEST_SCHEMA:
            raise read.fault("schema", MANIFEST_SCHEMA)
        entries = tuple(_entry(each) for each in read.inners("objects"))
        read.done()
    except ValueError as fault:
        raise ManifestError(str(fault)) from fault
    return entries


def digest_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_durably(path: Path, content: bytes) -> None:
    """Write a file so that after a power loss it is there completely or not at all."""
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def _entry(read: JsonFields) -> ManifestEntry:
    kind = read.text("kind")
    if kind not in {known.value for known in ObjectKind}:
        raise read.fault("kind", "a kind of object")
    file = read.text("file")
    if Path(file).name != file:
        raise read.fault("file", "a plain file name")
    entry = ManifestEntry(
        kind=ObjectKind(kind),
        file=file,
        sop_class_uid=read.text("sop_class_uid"),
        sop_instance_uid=read.text("sop_instance_uid"),
        series_instance_uid=read.text("series_instance_uid"),
        study_instance_uid=read.text("study_instance_uid"),
        digest=read.text("digest"),
    )
    read.done()
    return entry
