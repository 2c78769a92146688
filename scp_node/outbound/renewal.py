"""Leases of what is being sent, renewed for as long as that takes.

A peer may need longer for one object than a lease lasts, and nothing is asked of us meanwhile. A lease that ran out
under a sender would have the object queued, and sent, a second time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from scp_node.errors import StoreError
from scp_node.journal import journal
from scp_node.store.deliveries import DeliveryStore

RENEWALS_IN_A_LEASE = 3
"""So that two may fail, because the database is busy, before it runs out."""


@contextmanager
def renewed(
    deliveries: DeliveryStore, numbers: Sequence[int], clock: Callable[[], datetime], lease_s: float
) -> Iterator[None]:
    """Keep the leases of some deliveries while the block runs; those that are settled meanwhile are left alone."""
    over = threading.Event()

    def renew() -> None:
        while not over.wait(lease_s / RENEWALS_IN_A_LEASE):
            try:
                deliveries.renew(numbers, clock(), lease_s)
            except StoreError as fault:
                journal("outbound").warning("leases could not be renewed", cause=str(fault), count=len(numbers))

    thread = threading.Thread(target=renew, name="renewal", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
