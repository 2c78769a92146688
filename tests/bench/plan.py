"""What is compared with what, and how much is asked: the rows of the table."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from tests.bench.measuring import Case, Measured
from tests.bench.receivers import (
    Node,
    NodeOfOne,
    Orthanc,
    Receiver,
    ReferenceReceiver,
    Storescp,
    StorescpSynchronous,
)

ASSOCIATIONS = (1, 4, 8)
STOCK_OBJECTS = 200
"""As shipped the peers need some 40 ms for each object, so the whole set would take half of the bench's time."""

Time = Callable[[Measured], float]
"""Which of the two times of a run counts."""


def recorded(measured: Measured) -> float:
    """Until the last row was committed."""
    return measured.recorded_s


def acknowledged(measured: Measured) -> float:
    """Until the last object was acknowledged."""
    return measured.acknowledged_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    name: str
    value: Callable[[Round, Time], float]
    """Of one round, by which of our two times."""
    must: float | None = None
    aim: float | None = None
    is_limit: bool = False
    """The value must not be larger; else not smaller."""
    judged_by: Time = recorded
    is_timed: bool = True
    """It depends on which time counts."""

    def holds(self, value: float | None) -> bool | None:
        """Whether what must be is; ``None`` for what is only reported. What no run measured does not hold."""
        if self.must is None:
            return None
        if value is None:
            return False
        return value <= self.must if self.is_limit else value >= self.must


Round = dict[Case, Measured]
"""One round of all cases, interleaved; a case whose run failed is not in it."""


def cases() -> list[list[Case]]:
    """All cases, in groups that are compared with each other and so are run close together."""
    peers: tuple[type[Receiver], ...] = (Node, NodeOfOne, Orthanc, Storescp, StorescpSynchronous, ReferenceReceiver)
    groups = [[_ct(kind, count) for kind in peers] for count in ASSOCIATIONS]
    groups[1].append(_busy())
    groups.append([_stock(kind) for kind in (Node, Storescp, Orthanc)])
    groups.append([_small(kind) for kind in (Node, NodeOfOne, Orthanc)])
    groups.append([_large(kind) for kind in (Node, Storescp, Orthanc)])
    return groups


def rows() -> Iterable[Row]:
    """The lines of the table."""
    for kind in (Node, NodeOfOne):
        judged = kind is Node
        for count in ASSOCIATIONS:
            yield _faster(kind, Orthanc, count, must=1.5 if count == 1 else 2.0, aim=3.5, judged=judged)
        for count in ASSOCIATIONS:
            yield _faster(kind, StorescpSynchronous, count, must=1.1, aim=2.5, judged=judged)
        for count in (4, 8):
            yield _faster(kind, ReferenceReceiver, count, must=0.6, aim=0.9, judged=judged)
        for count in ASSOCIATIONS:
            yield _faster(kind, Storescp, count, must=None, aim=1.0 if count == 1 else 1.5, judged=judged)
    for peer in (Storescp, Orthanc):
        name = f"as shipped, stock dcmsend, 4 associations: node ÷ {peer.name}"
        yield Row(name=name, value=_speed(_stock(Node), _stock(peer)), must=8.0)
    yield Row(name=f"small objects, 4 associations: node ÷ {Orthanc.name}", value=_speed(_small(Node), _small(Orthanc)),
              must=1.5, aim=3.0)  # fmt: skip
    yield Row(name=f"small objects, 4 associations: node, 1 process ÷ {Orthanc.name}",
              value=_speed(_small(NodeOfOne), _small(Orthanc)))  # fmt: skip
    yield Row(name=f"200 MB object, time: node ÷ {Storescp.name} (not durable)", must=1.3, aim=1.0, is_limit=True,
              judged_by=acknowledged,
              value=lambda r, time: time(r[_large(Node)]) / r[_large(Storescp)].acknowledged_s)  # fmt: skip
    yield Row(name="200 MB object, peak resident memory of the receiver, MB", must=120.0, is_limit=True,
              is_timed=False, value=lambda r, _: r[_large(Node)].peaks_mb["receiver"])  # fmt: skip
    yield Row(name="200 MB object, peak resident memory of receiver and recorder together, MB", is_timed=False,
              value=lambda r, _: sum(r[_large(Node)].peaks_mb[role] for role in ("receiver", "recorder")))  # fmt: skip
    yield Row(name="4 associations while two analyses run ÷ alone", must=0.5, aim=0.8,
              value=lambda r, time: time(r[_ct(Node, 4)]) / time(r[_busy()]))  # fmt: skip


def values(rounds: Sequence[Round], row: Row, time: Time) -> list[float]:
    """Of the rounds in which everything that the row compares was measured."""
    found = []
    for one in rounds:
        # A case that is absent is one whose run failed.
        with suppress(KeyError):
            found.append(row.value(one, time))
    return found


def median(rounds: Sequence[Round], row: Row, time: Time) -> float | None:
    """Of the values of all rounds that have one; ``None`` if none has."""
    found = values(rounds, row, time)
    return statistics.median(found) if found else None


def _ct(kind: type[Receiver], associations: int) -> Case:
    return Case(receiver=kind, images="ct", associations=associations)


def _busy() -> Case:
    return Case(receiver=Node, images="ct", associations=4, busy=True)


def _stock(kind: type[Receiver]) -> Case:
    return Case(receiver=kind, images="ct", associations=4, stock=True)


def _small(kind: type[Receiver]) -> Case:
    return Case(receiver=kind, images="small", associations=4)


def _large(kind: type[Receiver]) -> Case:
    return Case(receiver=kind, images="large", associations=1)


def _speed(ours: Case, theirs: Case) -> Callable[[Round, Time], float]:
    """How many times as many objects per second."""
    return lambda measured, time: measured[theirs].recorded_s / time(measured[ours])


def _faster(
    ours: type[Receiver], peer: type[Receiver], count: int, *, must: float | None, aim: float, judged: bool
) -> Row:
    durability = "" if peer.durable else " (not durable)"
    name = f"objects/s, {count} association{'s' * (count > 1)}: {ours.name} ÷ {peer.name}{durability}"
    value = _speed(_ct(ours, count), _ct(peer, count))
    return Row(name=name, value=value, must=must if judged else None, aim=aim if judged else None)
