"""What an analyzer is shown of a study: its images, and the segmentations that others made of them.

Segmentations are shown, and are no images: they never reopen a study, are not waited for, and say nothing to routes or
to the choice of series. One that comes after the analysis is seen by the next one. What this software made itself is
left out: its own answer must not become its own evidence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from analyzers.headers import SEGMENTATION_CLASSES
from scp_node.objects.provenance import MANUFACTURER
from scp_node.store.spool import Spool
from scp_node.store.studies import StudyStore
from scp_node.store.study_rows import StoredInstance

DIGEST_FILE = "inputs.sha256"
"""Beside the copies that an attempt was shown: their digest, so that what came meanwhile is not told as seen."""


def given_masks(studies: StudyStore, spool: Spool, study_instance_uid: str) -> list[StoredInstance]:
    """Segmentations of others that came with a study and whose files are there, in the order of their UIDs."""
    return [
        instance
        for instance in studies.instances_of_classes(study_instance_uid, SEGMENTATION_CLASSES)
        if instance.summary.text("Manufacturer") != MANUFACTURER
        and instance.spool_key is not None
        and spool.path(instance.spool_key).is_file()
    ]


def input_digest(instances: Iterable[StoredInstance]) -> str:
    """SHA-256 over the instances that an analysis saw: UIDs and data set digests, in the order of the UIDs."""
    digest = hashlib.sha256()
    for instance in sorted(instances, key=lambda each: each.summary.sop_instance_uid):
        digest.update(f"{instance.summary.sop_instance_uid} {instance.dataset_digest}\n".encode("ascii"))
    return digest.hexdigest()


def note_inputs(attempt: Path, instances: Iterable[StoredInstance]) -> None:
    """Write down the digest of what an attempt is shown."""
    (attempt / DIGEST_FILE).write_text(input_digest(instances), encoding="ascii")


def noted_inputs(attempt: Path, images: Sequence[StoredInstance]) -> str:
    """The digest of what an attempt was shown; of the images where an earlier version noted none."""
    try:
        return (attempt / DIGEST_FILE).read_text(encoding="ascii")
    except FileNotFoundError:
        return input_digest(images)
