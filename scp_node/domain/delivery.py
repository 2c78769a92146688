"""A delivery: one encoded object on its way to one peer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from random import Random

from scp_node.domain.lifecycle import Lifecycle


class ObjectKind(StrEnum):
    """What an encoded object is; images and segmentations are sent before the reports that point at them."""

    SEGMENTATION = "segmentation"
    SECONDARY_CAPTURE = "secondary-capture"
    REPORT = "report"
    """Comprehensive 3D SR, TID 1500; every group has coordinates."""
    TEXT_REPORT = "text-report"
    """The same answer in sentences, for any viewer."""

    @property
    def send_rank(self) -> int:
        """0 is sent first; a rank is begun when the ranks before it are stored."""
        return 1 if self in (ObjectKind.REPORT, ObjectKind.TEXT_REPORT) else 0


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    COMMITTED = "committed"
    FAILED = "failed"
    WITHHELD = "withheld"
    DISMISSED = "dismissed"
    """The peer is not to get it any more: a later answer took its place there, or a person decided so."""


STOPPED = (DeliveryState.FAILED, DeliveryState.WITHHELD)
"""Nothing moves such a delivery but a person, or a later answer."""
ENDED = (DeliveryState.COMMITTED, DeliveryState.DISMISSED)
"""Nothing is owed any more."""


class Noted(StrEnum):
    """What became of a report of storage commitment that was to be written down."""

    NEW = "new"
    AGAIN = "again"
    """The very same was there."""
    FULL = "full"
    """Too many wait to be acted on; this one was not taken."""


class DeliveryEvent(StrEnum):
    """What can happen to a delivery."""

    LEASED = "leased"
    STORED = "stored"
    """The peer answered C-STORE with success or a warning."""
    COMMITTED = "committed"
    """Storage commitment, or found by C-FIND where the peer has no commitment."""
    NOT_HELD = "not-held"
    """The peer said success and does not hold it: send again."""
    TRANSIENT_FAULT = "transient-fault"
    LEASE_EXPIRED = "lease-expired"
    PERMANENT_FAULT = "permanent-fault"
    WITHHELD = "withheld"
    """Identity differs from the PACS, or the gate refused the object."""
    REQUEUED = "requeued"
    """By a person."""
    DISMISSED = "dismissed"


_S, _E = DeliveryState, DeliveryEvent

DELIVERY_LIFECYCLE = Lifecycle[DeliveryState, DeliveryEvent](
    name="delivery",
    table={
        (_S.QUEUED, _E.LEASED): _S.SENDING,
        (_S.QUEUED, _E.WITHHELD): _S.WITHHELD,
        (_S.SENDING, _E.STORED): _S.SENT,
        (_S.SENDING, _E.TRANSIENT_FAULT): _S.QUEUED,
        (_S.SENDING, _E.LEASE_EXPIRED): _S.QUEUED,
        (_S.SENDING, _E.PERMANENT_FAULT): _S.FAILED,
        (_S.SENDING, _E.WITHHELD): _S.WITHHELD,
        (_S.SENT, _E.COMMITTED): _S.COMMITTED,
        (_S.SENT, _E.NOT_HELD): _S.QUEUED,
        (_S.SENT, _E.TRANSIENT_FAULT): _S.QUEUED,
        (_S.SENT, _E.PERMANENT_FAULT): _S.FAILED,
        (_S.FAILED, _E.REQUEUED): _S.QUEUED,
        (_S.WITHHELD, _E.REQUEUED): _S.QUEUED,
        (_S.QUEUED, _E.DISMISSED): _S.DISMISSED,
        (_S.SENT, _E.DISMISSED): _S.DISMISSED,
        (_S.FAILED, _E.DISMISSED): _S.DISMISSED,
        (_S.WITHHELD, _E.DISMISSED): _S.DISMISSED,
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedObject:
    """One DICOM object that an encoding made; the file is durable before the row."""

    object_id: int
    job_id: int
    kind: ObjectKind
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    file: str
    """Path below the data folder."""
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One row of the delivery table with the object it carries."""

    delivery_id: int
    encoded: EncodedObject
    peer: str
    state: DeliveryState
    attempts: int
    not_before: datetime
    queued_at: datetime
    lease_expires_at: datetime | None
    last_status: int | None
    """Last DIMSE status of this delivery."""
    last_cause: str
    commitment_uid: str | None
    commitment_asked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackOff:
    """Waiting times between attempts: ``first_s`` × ``factor``^n up to ``cap_s``, each varied by ± ``jitter_fraction``.

    With the defaults 5 s, 2.0 and 14,400 s: 5, 10, 20, 40 s ... 4 h; 17 attempts in the first day.
    """

    first_s: float = 5.0
    factor: float = 2.0
    cap_s: float = 14_400.0
    jitter_fraction: float = 0.2

    def wait_s(self, attempts: int, random: Random) -> float:
        """Seconds to wait after the given number of failed attempts (1 or more)."""
        exponent = min(max(0, attempts - 1), 64)
        plain_s = min(self.cap_s, self.first_s * self.factor**exponent)
        return plain_s * (1.0 + self.jitter_fraction * (2.0 * random.random() - 1.0))
