"""Where every UID and every time of an object comes from: the order, and nothing else.

No clock and no chance: the same order gives the same UIDs and times, so that an object that is made or sent twice
is one object. Whatever changes the content of an object (inputs, analyzer, settings, revision, identity, version of
this software) changes its UIDs as well, so that one UID never names two contents.

UIDs have the form ``2.25.`` + a UUID as a decimal number (PS3.5 annex B.2); the UUID is of version 5 (SHA-1 of a
name, RFC 4122 section 4.3).
"""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from importlib.metadata import PackageNotFoundError, version

from scp_node.domain.delivery import ObjectKind
from scp_node.objects.json_fields import json_text
from scp_node.objects.order import EncodingOrder, order_content

MANUFACTURER = "HAI Node Project"
_NAMESPACE = uuid.UUID("6f0f5a3e-3c52-5b7e-9f0e-2c1d6a8b4e10")
_UNINSTALLED_VERSION = "0"


def node_version() -> str:
    """Version of this software as installed."""
    try:
        return version("hai-node")
    except PackageNotFoundError:
        return _UNINSTALLED_VERSION


def uid_from(*words: str) -> str:
    """UID of a list of words; the same words give the same UID."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, json.dumps(words)).int}"


def device_uid(analyzer_name: str, analyzer_version: str) -> str:
    """UID of the device that an analyzer of one version is: another version is another device (IHE AIR 6.5.3.1)."""
    return uid_from("device", node_version(), analyzer_name, analyzer_version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Device, UIDs and times of the objects of one order.

    Attributes
    ----------
    model_name : str
        Manufacturer's Model Name, equal to the algorithm's name wherever an object names it.
    software_version : str
        Version of the analyzer and of the node.
    started_at : datetime
        Start of the analysis, aware UTC.
    """

    seed: str
    patient_key: str
    device_uid: str
    model_name: str
    software_version: str
    device_serial_number: str
    institution_name: str
    started_at: datetime
    site_utc_offset_minutes: int

    def series_uid(self, kind: ObjectKind, number: int = 1) -> str:
        """UID of the series number ``number`` (from 1) of a kind."""
        return uid_from("series", self.seed, kind.value, str(number))

    def instance_uid(self, kind: ObjectKind, number: int = 1) -> str:
        """UID of the object number ``number`` (from 1) of a kind."""
        return uid_from("instance", self.seed, kind.value, str(number))

    def dimension_organization_uid(self, number: int) -> str:
        """Dimension Organization UID of the segmentation number ``number``."""
        return uid_from("dimension organization", self.seed, str(number))

    def tracking_uid(self, name: str, tracking_key: str = "") -> str:
        """Tracking UID of a structure.

        With a tracking key the UID is that of the same structure in every study of the patient; without one it is
        this revision's own, since nothing says that the next revision numbers its structures alike.
        """
        if tracking_key:
            return uid_from("tracked structure", self.patient_key, tracking_key)
        return uid_from("structure", self.seed, name)

    def moment(self, utc_offset_minutes: int | None) -> datetime:
        """Start of the analysis at an offset from UTC; ``None``: at the site's."""
        minutes = self.site_utc_offset_minutes if utc_offset_minutes is None else utc_offset_minutes
        return self.started_at.astimezone(timezone(timedelta(minutes=minutes)))


def provenance_of(order: EncodingOrder) -> Provenance:
    """Provenance of the objects that an order asks for."""
    content = f"{node_version()}\n{json_text(order_content(order))}"
    return Provenance(
        seed=hashlib.sha256(content.encode()).hexdigest(),
        patient_key=json.dumps([order.identity.patient_id, order.identity.issuer_of_patient_id]),
        device_uid=device_uid(order.analyzer_name, order.analyzer_version),
        model_name=f"HAI node {order.analyzer_name}",
        software_version=f"{order.analyzer_version} (node {node_version()})",
        device_serial_number=order.device_serial_number or "0",
        institution_name=order.institution_name,
        started_at=order.analysis_started_at,
        site_utc_offset_minutes=order.utc_offset_minutes,
    )
