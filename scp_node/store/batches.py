"""Many instances in one transaction: what is plainly new goes in together, everything else one by one.

While a study is being sent nearly every object is the next new image of it. For those one look at what is known, one
statement for their rows and one event for all of them say the same as taking each by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, select

from scp_node.domain.study import ReceivedInstance, Reception
from scp_node.store import tables
from scp_node.store.among import is_among
from scp_node.store.arrivals import take
from scp_node.store.newcomers import images_arrived, insert_instances, study_for


def take_many(connection: Connection, received: Sequence[ReceivedInstance], now: datetime) -> list[Reception]:
    """Record instances in the order of reception; see :func:`scp_node.store.arrivals.take`."""
    unseen = _unseen(connection, received)
    receptions: list[Reception] = [Reception.NEW] * len(received)
    waiting: dict[str, list[ReceivedInstance]] = {}
    for number, instance in enumerate(received):
        study_uid = instance.summary.study_instance_uid
        if instance.summary.sop_instance_uid in unseen:
            waiting.setdefault(study_uid, []).append(instance)
        else:
            # What came before it in the same study must be there first.
            _take_unseen(connection, waiting.pop(study_uid, []), now)
            receptions[number] = take(connection, instance, now)
    for instances in waiting.values():
        _take_unseen(connection, instances, now)
    return receptions


def _unseen(connection: Connection, received: Sequence[ReceivedInstance]) -> set[str]:
    """UIDs that come once in this batch and that no row knows."""
    counts = Counter(instance.summary.sop_instance_uid for instance in received)
    wanted = {uid for uid, count in counts.items() if count == 1}
    for table in (tables.instance, tables.encoded_object, tables.quarantine):
        known = select(table.c.sop_instance_uid).where(is_among(table.c.sop_instance_uid, wanted))
        wanted.difference_update(connection.execute(known).scalars())
    return wanted


def _take_unseen(connection: Connection, instances: Sequence[ReceivedInstance], now: datetime) -> None:
    if not instances:
        return
    study = study_for(connection, instances[0])
    is_plain = not study.sources_purged and all(
        instance.usable_image and instance.identity == study.identity for instance in instances
    )
    if is_plain:
        insert_instances(connection, instances)
        images_arrived(connection, study, instances, now)
        return
    for instance in instances:
        take(connection, instance, now)
