"""Two receivers on one port, as a node has them: who is to take a call can be chosen."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import psutil

from scp_node.metrics import ReceiverCounts
from scp_node.receivers import Receivers
from tests.node.network import Site, eventually

NUMBERS = (1, 2)


@dataclass(slots=True, kw_only=True)
class Pair:
    """Two receivers that a node watches; :meth:`mend` is its look."""

    site: Site
    receivers: Receivers
    counts: ReceiverCounts

    def process(self, number: int) -> psutil.Process:
        return psutil.Process(self.receivers._processes[number].pid)

    @contextlib.contextmanager
    def only(self, number: int) -> Iterator[None]:
        """The other one is stopped, and so takes no call."""
        other = self.process(3 - number)
        other.send_signal(signal.SIGSTOP)
        try:
            assert eventually(lambda: other.status() == psutil.STATUS_STOPPED)
            yield
        finally:
            other.send_signal(signal.SIGCONT)

    def kill(self, number: int) -> None:
        """SIGKILL; nobody starts it again before :meth:`mend`."""
        self.receivers._processes[number].kill()
        self.receivers._processes[number].wait(timeout=20)

    def mend(self) -> None:
        self.receivers.mend(datetime.now(UTC))

    def told(self, name: str, **labels: str) -> float:
        """Sum of the samples of one count over both."""
        found = [one for family in self.counts.collect() for one in family.samples if one.name == name]
        return sum((one.value for one in found if labels.items() <= one.labels.items()), 0.0)


@contextlib.contextmanager
def receiver_pair(site: Site, *, at_end: Callable[[Receivers], None] = Receivers.stop) -> Iterator[Pair]:
    """Start both, and end them; the site says ``processes = 2``."""
    assert site.settings.node.receiving.processes == len(NUMBERS)
    counts = ReceiverCounts()
    lock = os.open(site.data / "node.lock", os.O_CREAT | os.O_RDWR)
    receivers = Receivers(site.config, site.settings.node, lock, counts)
    try:
        receivers.start(datetime.now(UTC))
        yield Pair(site=site, receivers=receivers, counts=counts)
    finally:
        at_end(receivers)
        os.close(lock)
