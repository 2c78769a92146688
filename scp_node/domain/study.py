"""A study: what was received, and the life-cycle from the first image to the routing decision."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from analyzers.contract import InstanceSummary
from scp_node.domain.lifecycle import Lifecycle


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who and which request, as the objects of the study say it. Never logged."""

    patient_id: str
    issuer_of_patient_id: str
    patient_name: str
    patient_birth_date: str
    patient_sex: str
    accession_number: str
    study_id: str
    study_date: str
    study_time: str
    study_description: str
    referring_physician: str
    character_set: str
    """Value of Specific Character Set, backslash separated; empty for the default repertoire."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedInstance:
    """One SOP instance that lies durably in the spool."""

    summary: InstanceSummary
    identity: Identity
    called_ae: str
    calling_ae: str
    calling_address: str
    received_at: datetime
    spool_key: str
    """Opaque name of the Part 10 file in the spool."""
    byte_count: int
    dataset_digest: str
    """Of the data set as received, without file meta information."""
    pixel_digest: str
    """Of the value of Pixel Data and of the geometry that gives it meaning."""
    geometry_digest: str
    """Of the geometry alone (rows, columns, position, orientation, spacing, frames): comparable across transfer
    syntaxes."""
    usable_image: bool
    """False for SR, KO, PR, SEG, secondary capture, dose reports and our own objects: recorded, never reopening."""


class Reception(StrEnum):
    """What the store made of an instance (invariant: nothing twice, nothing lost)."""

    NEW = "new"
    SAME = "same"
    """The same data set again: nothing changes."""
    CORRECTION = "correction"
    """Same pixels and geometry (or another transfer syntax of them), other headers: newest identity wins."""
    CONFLICT = "conflict"
    """Same UID, other pixels or geometry: kept in quarantine, study held."""
    OWN = "own"
    """An object that this node made, sent back to us."""


class StudyState(StrEnum):
    """Where a study stands."""

    RECEIVING = "receiving"
    COMPLETE = "complete"
    ROUTED = "routed"
    IGNORED = "ignored"
    HELD = "held"


class StudyEvent(StrEnum):
    """What can happen to a study."""

    IMAGE_ARRIVED = "image-arrived"
    """An eligible new image: reopens the study, whatever its state."""
    FOUND_COMPLETE = "found-complete"
    ROUTE_ANALYZE = "route-analyze"
    ROUTE_IGNORE = "route-ignore"
    ROUTE_HOLD = "route-hold"
    RELEASED_TO_ANALYZE = "released-to-analyze"
    RELEASED_TO_IGNORE = "released-to-ignore"
    CONFLICT_FOUND = "conflict-found"
    """Two patients in one study, or one UID with two sets of pixels."""
    REANALYSIS_ASKED = "reanalysis-asked"
    """A person asked for a new revision of an answered study (requeue)."""
    DISMISSED = "dismissed"
    """A person gave up what could not be analysed or delivered of an answered study."""


_S, _E = StudyState, StudyEvent

STUDY_LIFECYCLE = Lifecycle[StudyState, StudyEvent](
    name="study",
    table={
        (_S.RECEIVING, _E.IMAGE_ARRIVED): _S.RECEIVING,
        (_S.COMPLETE, _E.IMAGE_ARRIVED): _S.RECEIVING,
        (_S.ROUTED, _E.IMAGE_ARRIVED): _S.RECEIVING,
        (_S.IGNORED, _E.IMAGE_ARRIVED): _S.RECEIVING,
        (_S.HELD, _E.IMAGE_ARRIVED): _S.RECEIVING,
        (_S.RECEIVING, _E.FOUND_COMPLETE): _S.COMPLETE,
        (_S.COMPLETE, _E.ROUTE_ANALYZE): _S.ROUTED,
        (_S.COMPLETE, _E.ROUTE_IGNORE): _S.IGNORED,
        (_S.COMPLETE, _E.ROUTE_HOLD): _S.HELD,
        (_S.HELD, _E.RELEASED_TO_ANALYZE): _S.ROUTED,
        (_S.HELD, _E.RELEASED_TO_IGNORE): _S.IGNORED,
        (_S.IGNORED, _E.RELEASED_TO_ANALYZE): _S.ROUTED,
        (_S.IGNORED, _E.RELEASED_TO_IGNORE): _S.IGNORED,
        (_S.RECEIVING, _E.CONFLICT_FOUND): _S.HELD,
        (_S.COMPLETE, _E.CONFLICT_FOUND): _S.HELD,
        (_S.ROUTED, _E.CONFLICT_FOUND): _S.HELD,
        (_S.IGNORED, _E.CONFLICT_FOUND): _S.HELD,
        (_S.HELD, _E.CONFLICT_FOUND): _S.HELD,
        (_S.ROUTED, _E.REANALYSIS_ASKED): _S.ROUTED,
        (_S.ROUTED, _E.DISMISSED): _S.IGNORED,
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """One row of the study table."""

    study_instance_uid: str
    state: StudyState
    revision: int
    """1 for the first answer; raised when inputs change after something was encoded."""
    identity: Identity
    first_received_at: datetime
    """First image of the present revision."""
    last_received_at: datetime
    """Last usable image."""
    instance_count: int
    state_reason: str
    """Why it is complete, ignored or held; one sentence without patient data."""
    conflict: str
    """Non-empty while something is unresolved that must hold the study (two patients, differing pixels)."""
    sources_purged: bool
