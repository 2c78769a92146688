"""``node.toml``: this node. Every key ends in its unit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

AeTitle = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=16, pattern=r"^[\x21-\x7e](?:[\x20-\x5b\x5d-\x7e]*[\x21-\x5b\x5d-\x7e])?$"
    ),
]
"""1 to 16 characters of the default repertoire without backslash, no space at either end (PS3.5, VR AE)."""
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=31_536_000)]


class Table(BaseModel):
    """A table of a TOML file: strict types, no unknown key, frozen."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class ReceivingSettings(Table):
    """``[receiving]``: the DICOM port."""

    ae_titles: Annotated[tuple[AeTitle, ...], Field(min_length=1, strict=False)]
    """AE titles that we answer to; the first is also our calling title when we send."""
    bind_address: str = "0.0.0.0"  # noqa: S104 - a DICOM node serves its hospital network; peers.toml is the allow-list
    port: Port = 11112
    without_tls: bool = True
    """Associations on this port are not encrypted. False closes it; then there must be a `[tls]` table."""
    processes: Annotated[int, Field(ge=1, le=32)] = 2
    """Receiver processes that share the port."""
    process_timeout_s: Annotated[float, Field(ge=5, le=3600)] = 60.0
    """One that gives no sign of life for so long is ended and started again. Longer than any disk should take to start
    a program; taking objects, however slow the disk, is no silence."""
    maximum_associations: Annotated[int, Field(ge=1, le=1000)] = 25
    """Of all receivers together; more are rejected as transient (source 3)."""
    maximum_associations_per_address: Annotated[int, Field(ge=1, le=1000)] = 12
    """Of these from one address."""
    maximum_waiting: Annotated[int, Field(ge=8, le=5000)] = 128
    """Connections that have not asked for an association yet, of all receivers together, each of which has an equal
    share of at least eight; the oldest of the address that has most of them makes room for a new one."""
    request_timeout_s: Seconds = 10.0
    """A connection has so long for its TLS handshake and its association request."""
    maximum_pdu_bytes: Annotated[int, Field(ge=4096, le=1_048_576)] = 131_072
    network_timeout_s: Seconds = 60.0
    """An association without traffic for so long is aborted."""
    message_grace_s: Seconds = 60.0
    """A message (an object and its command) may take so long at any pace ..."""
    slowest_kib_per_s: Annotated[float, Field(gt=0, le=1_000_000)] = 8.0
    """... and longer only if it comes at this pace on average; else the association ends."""
    spool_quota_gib: Annotated[float, Field(gt=0)] = 200.0
    keep_free_gib: Annotated[float, Field(ge=0)] = 5.0
    """Below so much free disk, C-STORE is answered 0xA700; the rest is left for results and the database."""


class TlsSettings(Table):
    """``[tls]``: encrypted associations, both ways, by the BCP 195 profile. Without this table there are none."""

    port: Port = 2762
    """Where TLS is spoken; it needs a port of its own (PS3.8 section 9.1.1)."""
    certificate: Annotated[Path, Field(strict=False)]
    """PEM: our certificate, then those between it and its authority."""
    private_key: Annotated[Path, Field(strict=False)]
    """PEM, without a pass phrase; readable for the node's user alone."""
    authorities: Annotated[Path, Field(strict=False)]
    """PEM: who may sign the peers' certificates."""
    revocation_list: Annotated[Path, Field(strict=False)] | None = None
    """PEM: the authorities' list of revoked certificates; an outdated list refuses everybody."""
    expiry_warning_d: Annotated[float, Field(ge=0)] = 30.0
    """So long before the end of a validity `status` gives the alarm."""


class MetricsSettings(Table):
    """``[metrics]``: counts for Prometheus, on this machine only."""

    port: Annotated[int, Field(ge=0, le=65535)] = 0
    """On the loopback address; 0 switches it off."""


class CompletionSettings(Table):
    """``[completion]``: when a study is complete."""

    quiet_ct_s: Seconds = 120.0
    quiet_mr_s: Seconds = 600.0
    quiet_nm_s: Seconds = 600.0
    quiet_other_s: Seconds = 600.0
    quiet_when_complete_s: Seconds = 20.0
    """Quiet time when the analyzers find everything that they expect; must not exceed the others."""
    cap_s: Seconds = 7200.0
    """After the first image of a revision the study is analysed as what it is."""
    association_hold_s: Seconds = 60.0
    """An open association holds its study for so long after its last instance."""


class AnalysisSettings(Table):
    """``[analysis]``: the analyzers' child processes."""

    max_jobs: Annotated[int, Field(ge=1, le=64)] = 1
    time_limit_s: Seconds = 1800.0
    memory_limit_gib: Annotated[float, Field(gt=0)] = 8.0
    """Resident memory of the child's whole process group."""
    attempts: Annotated[int, Field(ge=1, le=10)] = 3
    max_priors: Annotated[int, Field(ge=0, le=50)] = 3
    """Earlier answers that an analyzer is shown, the newest [D]: change is told against the newest one, and with images
    of at most 1.5 GiB a study a job then holds copies of no more than 6 GiB beside the spool."""
    retry_s: Seconds = 60.0
    lease_s: Seconds = 60.0
    niceness: Annotated[int, Field(ge=0, le=19)] = 10
    """Receiving must stay fast while the CPU is busy."""
    encode_time_limit_s: Seconds = 600.0
    encode_memory_limit_gib: Annotated[float, Field(gt=0)] = 4.0


class DeliverySettings(Table):
    """``[delivery]``: sending, and proof that it is stored."""

    first_wait_s: Seconds = 5.0
    wait_factor: Annotated[float, Field(ge=1, le=10)] = 2.0
    longest_wait_s: Seconds = 14_400.0
    jitter_fraction: Annotated[float, Field(ge=0, le=0.5)] = 0.2
    connect_timeout_s: Seconds = 10.0
    response_timeout_s: Seconds = 120.0
    commitment_wait_s: Seconds = 300.0
    """How long to wait for a storage commitment report before asking again."""
    lease_s: Seconds = 300.0


class RetentionSettings(Table):
    """``[retention]``: how long pixels are kept; rows stay."""

    ignored_h: Annotated[float, Field(gt=0)] = 24.0
    held_d: Annotated[float, Field(gt=0)] = 14.0
    held_warning_d: Annotated[float, Field(gt=0)] = 11.0
    answered_d: Annotated[float, Field(gt=0)] = 7.0


class ObjectSettings(Table):
    """``[objects]``: what the results say about us."""

    institution_name: str = ""
    device_serial_number: str = "0"
    timezone: str = "UTC"
    """IANA name, e.g. ``Europe/Berlin``: dates and times of the results are written in it."""

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError("write an IANA time zone name such as Europe/Berlin") from error
        return name


class NodeSettings(Table):
    """The whole of ``node.toml``."""

    data_folder: Annotated[Path, Field(strict=False)]
    """Absolute, on a local file system, outside the program's folder."""
    log_level: Annotated[str, StringConstraints(pattern="^(debug|info|warning|error)$")] = "info"
    receiving: ReceivingSettings
    tls: TlsSettings | None = None
    metrics: MetricsSettings = MetricsSettings()
    completion: CompletionSettings = CompletionSettings()
    analysis: AnalysisSettings = AnalysisSettings()
    delivery: DeliverySettings = DeliverySettings()
    retention: RetentionSettings = RetentionSettings()
    objects: ObjectSettings = ObjectSettings()

    @field_validator("data_folder")
    @classmethod
    def _absolute(cls, folder: Path) -> Path:
        if not folder.is_absolute():
            raise ValueError("write the whole path, e.g. /var/lib/hai-node")
        return folder
