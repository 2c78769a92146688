"""A node's outbound half on a folder of its own: encoded objects in the store, and the courier that brings them."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import Random

from pydicom import uid

from scp_node.domain.delivery import Delivery, DeliveryState, ObjectKind
from scp_node.outbound.courier import PeerCourier
from scp_node.outbound.cutoff import Cutoff
from scp_node.store.database import Database
from scp_node.store.deliveries import DeliveryStore
from scp_node.store.encodings import NewObject
from scp_node.store.jobs import JobStore
from tests.node.network import Site, ct_slice, make_site, part10, peers_toml
from tests.node.store_samples import STUDY, analyzed, at, routed

CLASSES = {
    ObjectKind.SEGMENTATION: uid.SegmentationStorage,
    ObjectKind.SECONDARY_CAPTURE: uid.SecondaryCaptureImageStorage,
    ObjectKind.REPORT: uid.Comprehensive3DSRStorage,
    ObjectKind.TEXT_REPORT: uid.BasicTextSRStorage,
}
ENCODED_AT_S = 200.0
IMPATIENT = "connect_timeout_s = 2.0\nresponse_timeout_s = 3.0\ncommitment_wait_s = 60.0\njitter_fraction = 0.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbox:
    """One answered study whose objects wait for a peer called ``pacs``."""

    site: Site
    deliveries: DeliveryStore
    courier: PeerCourier
    files: dict[ObjectKind, Path]
    uids: dict[ObjectKind, str]

    def all(self) -> list[Delivery]:
        return self.deliveries.of_study(STUDY)

    def states(self) -> dict[ObjectKind, DeliveryState]:
        return {delivery.encoded.kind: delivery.state for delivery in self.all()}

    def of(self, kind: ObjectKind) -> Delivery:
        return next(delivery for delivery in self.all() if delivery.encoded.kind is kind)


@contextlib.contextmanager
def outbox(
    folder: Path,
    *,
    pacs_port: int,
    pacs: str = "",
    delivery: str = IMPATIENT,
    clock: Callable[[], datetime] = lambda: at(ENCODED_AT_S),
    stopping: Callable[[], bool] = lambda: False,
    cutoff: Cutoff | None = None,
) -> Iterator[Outbox]:
    """Encode one object of each kind and queue them."""
    site = make_site(folder, peers=peers_toml(pacs_port=pacs_port, pacs=pacs), delivery=delivery)
    database = Database.open(site.data, migrate=False)
    routed(database)
    job = analyzed(database)
    objects = site.data / "jobs" / str(job.job_id) / "objects"
    objects.mkdir(parents=True)
    made: list[NewObject] = []
    files: dict[ObjectKind, Path] = {}
    for number, (kind, sop_class) in enumerate(CLASSES.items()):
        dataset = ct_slice(number + 1, study=STUDY, SOPClassUID=sop_class)
        files[kind] = part10(dataset, objects / f"{number}.dcm")
        made.append(
            NewObject(
                kind=kind,
                sop_class_uid=sop_class,
                sop_instance_uid=dataset.SOPInstanceUID,
                series_instance_uid=dataset.SeriesInstanceUID,
                study_instance_uid=STUDY,
                file=str(files[kind].relative_to(site.data)),
                digest=hashlib.sha256(files[kind].read_bytes()).hexdigest(),
            )
        )
    # Reports are queued first, so that only the rule puts them last.
    queue = [(index, "pacs") for index in reversed(range(len(made)))]
    JobStore(database).encoded(job.job_id, at(ENCODED_AT_S), made, queue)
    deliveries = DeliveryStore(database)
    courier = PeerCourier(
        settings=site.settings,
        deliveries=deliveries,
        data_folder=site.data,
        random=Random(1),  # noqa: S311 - jitter is switched off
        clock=clock,
        stopping=stopping,
        cutoff=cutoff or Cutoff(),
    )
    try:
        yield Outbox(
            site=site,
            deliveries=deliveries,
            courier=courier,
            files=files,
            uids={one.kind: one.sop_instance_uid for one in made},
        )
    finally:
        database.close()
