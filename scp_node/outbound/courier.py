"""One queue for each peer: send what is due, prove that it is held, try again with growing patience.

The pipeline calls :meth:`PeerCourier.deliver` and :meth:`PeerCourier.confirm` for one peer from one thread; a peer that
is dead keeps nobody else waiting.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import assert_never

from scp_node.dimse.transactions import transaction_uid
from scp_node.domain.delivery import BackOff, Delivery, DeliveryEvent, DeliveryState
from scp_node.domain.outcome import Done, Outcome, Retry, Wait
from scp_node.errors import DeliveryError, IllegalTransitionError
from scp_node.journal import journal
from scp_node.outbound.commitment import MAX_INSTANCES, Confirmed, act_on_reports, ask
from scp_node.outbound.cutoff import Cutoff
from scp_node.outbound.faults import Permanent, Stored, StoreOutcome, Transient
from scp_node.outbound.identity import difference, filed_at, filed_in
from scp_node.outbound.link import Terms, terms_of
from scp_node.outbound.renewal import renewed
from scp_node.outbound.sender import Outgoing, is_as_made, send
from scp_node.outbound.verification import held
from scp_node.settings import Settings, Verification
from scp_node.store.deliveries import DeliveryStore

BATCH = 50
"""Objects leased at once: the results of a few studies."""
FIND_AGAIN_S = 10.0
"""An archive files what it accepted in its own time; so often it is asked whether it has."""

CORRECTED = "the study has another patient ID or accession number since it was answered"


class PeerCourier:
    """Delivers to any peer of the configuration.

    Parameters
    ----------
    settings : Settings
        Peers, time-outs, waiting times.
    deliveries : DeliveryStore
        The queues.
    data_folder : Path
        Files of encoded objects are named relative to it.
    random : Random
        For the jitter of waiting times.
    clock : () -> datetime
        Read again while a batch is sent, to renew its leases.
    stopping : () -> bool
        True once the node is to stop: nothing more is sent after the object that is on its way.
    cutoff : Cutoff
        Ends also the wait for that one.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        deliveries: DeliveryStore,
        data_folder: Path,
        random: Random,
        clock: Callable[[], datetime],
        stopping: Callable[[], bool],
        cutoff: Cutoff,
    ) -> None:
        delivery = settings.node.delivery
        self._settings = settings
        self._deliveries = deliveries
        self._data_folder = data_folder
        self._random = random
        self._clock = clock
        self._stopping = stopping
        self._cutoff = cutoff
        self._back_off = BackOff(
            first_s=delivery.first_wait_s,
            factor=delivery.wait_factor,
            cap_s=delivery.longest_wait_s,
            jitter_fraction=delivery.jitter_fraction,
        )
        # How often in a row a peer could not be asked for proof. Forgotten with the process: a courtesy, no truth.
        self._unasked: dict[str, int] = {}
        self._stored: Counter[str] = Counter()
        self._journal = journal("outbound")

    # --- sending ---

    def deliver(self, peer: str, now: datetime) -> Outcome:
        """Send everything that is due for the peer; reports follow when what they point at is stored."""
        terms = self._terms(peer)
        stored, faults = 0, list[Transient]()
        lease_s = self._settings.node.delivery.lease_s
        while not self._stopping():
            # A batch may take longer than a lease: the next one begins now, not when this step began.
            leased_at = max(now, self._clock())
            batch = self._deliveries.due(peer, leased_at, BATCH, lease_s=lease_s)
            if not batch:
                break
            outcomes = self._send(terms, batch, leased_at)
            stored += sum(isinstance(outcome, Stored) for outcome in outcomes)
            faults += [outcome for outcome in outcomes if isinstance(outcome, Transient)]
            if faults:
                break
        if faults:
            return Retry(after_s=self._back_off.first_s, cause=f"{peer}: {faults[0].cause}")
        return Done(what=f"{stored} objects stored at {peer}") if stored else Wait(until=now, why="nothing is due")

    def _send(self, terms: Terms, batch: Sequence[Delivery], now: datetime) -> list[StoreOutcome]:
        by_number = {delivery.delivery_id: delivery for delivery in batch}
        for number in self._deliveries.named_otherwise(batch):
            self._apply(by_number.pop(number), DeliveryEvent.WITHHELD, now, cause=CORRECTED)
            self._journal.error("withheld", delivery=number, reason=CORRECTED)
        batch = list(by_number.values())
        if not batch:
            return []
        with renewed(self._deliveries, list(by_number), self._clock, self._settings.node.delivery.lease_s):
            return self._sent(terms, batch, now)

    def _sent(self, terms: Terms, batch: Sequence[Delivery], now: datetime) -> list[StoreOutcome]:
        by_number = {delivery.delivery_id: delivery for delivery in batch}
        outcomes = []
        if self._settings.peers[terms.peer].check_identity:
            refused = self._withheld(terms, batch, now)
            if isinstance(refused, Transient):
                for delivery in batch:
                    self._settle(delivery, refused, now)
                return [refused]
            by_number = {number: one for number, one in by_number.items() if number not in refused}
        files = [self._outgoing(delivery) for delivery in by_number.values()]
        for number, outcome in send(
            terms, files, lambda: not self._stopping(), lambda number: self._is_still_ours(by_number[number])
        ):
            self._settle(by_number.pop(number), outcome, now)
            outcomes.append(outcome)
        if by_number:
            self._deliveries.handed_back(list(by_number.values()), self._clock())
        return outcomes

    def _is_still_ours(self, delivery: Delivery) -> bool:
        """Asked right before it is sent: this program may have been suspended for longer than its leases last."""
        lease_s = self._settings.node.delivery.lease_s
        return self._deliveries.keep(delivery.delivery_id, delivery.attempts, self._clock(), lease_s)

    def _terms(self, peer: str) -> Terms:
        return terms_of(self._settings, peer, self._cutoff)

    def _outgoing(self, delivery: Delivery) -> Outgoing:
        return Outgoing(
            number=delivery.delivery_id,
            path=self._data_folder / delivery.encoded.file,
            sop_class_uid=delivery.encoded.sop_class_uid,
            digest=delivery.encoded.digest,
            attempts=delivery.attempts,
        )

    def _withheld(self, terms: Terms, batch: Sequence[Delivery], now: datetime) -> set[int] | Transient:
        """Withhold what the peer files under another identity; the numbers of these deliveries."""
        withheld: set[int] = set()
        for study in dict.fromkeys(delivery.encoded.study_instance_uid for delivery in batch):
            if self._stopping():
                break  # nothing of the batch is sent then
            try:
                theirs = filed_at(terms, study)
            except DeliveryError as fault:
                return Transient(cause=f"the identity of the study cannot be compared: {fault}")
            for delivery in batch:
                if theirs is None or delivery.encoded.study_instance_uid != study:
                    continue
                if not is_as_made(self._outgoing(delivery)):
                    continue  # it says nothing of anybody, and sending refuses it
                reason = difference(filed_in(self._data_folder / delivery.encoded.file), theirs)
                if reason:
                    self._apply(delivery, DeliveryEvent.WITHHELD, now, cause=reason)
                    self._journal.error("withheld", delivery=delivery.delivery_id, reason=reason, study=study)
                    withheld.add(delivery.delivery_id)
        return withheld

    def _settle(self, delivery: Delivery, outcome: StoreOutcome, now: datetime) -> None:
        log = self._journal.bind(delivery=delivery.delivery_id, peer=delivery.peer)
        match outcome:
            case Stored(status=status, warning=warning):
                self._stored[delivery.peer] += 1
                self._unasked.pop(delivery.peer, None)
                self._apply(delivery, DeliveryEvent.STORED, now, cause=warning, status=status)
                if warning:
                    log.warning("stored with a remark", cause=warning, status=status)
            case Transient(cause=cause, status=status):
                not_before = self._not_before(delivery, now)
                self._apply(
                    delivery, DeliveryEvent.TRANSIENT_FAULT, now, cause=cause, status=status, not_before=not_before
                )
                log.warning("will be sent again", cause=cause, status=status, until=not_before.isoformat())
            case Permanent(cause=cause, status=status):
                self._apply(delivery, DeliveryEvent.PERMANENT_FAULT, now, cause=cause, status=status)
                log.error("not deliverable; a person has to act", cause=cause, status=status)
            case _:
                assert_never(outcome)

    # --- proof ---

    def stored_count(self, peer: str) -> int:
        """How many objects the peer has accepted since the start of the node."""
        return self._stored[peer]

    def act(self, peer: str, now: datetime) -> Outcome:
        """Act on what the peer reported, also one that is asked in another way by now."""
        return self._told(peer, self._acted(peer, now), now)

    def confirm(self, peer: str, now: datetime) -> Outcome:
        """Ask for proof of what the peer accepted."""
        if self._settings.peers[peer].verification is Verification.FIND:
            return self._find(peer, now)
        wait = timedelta(seconds=self._settings.node.delivery.commitment_wait_s)
        unproven = [
            delivery
            for delivery in self._deliveries.awaiting_commitment(peer)
            if delivery.commitment_asked_at is None or delivery.commitment_asked_at + wait <= now
        ]
        fault: DeliveryError | None = None
        for start in range(0, len(unproven), MAX_INSTANCES):
            if self._stopping():
                break
            some = unproven[start : start + MAX_INSTANCES]
            try:
                transaction = transaction_uid(peer, secrets.token_bytes(16))
                ask(self._terms(peer), self._deliveries, some, transaction, now)
            except DeliveryError as found:
                fault = found
                break
        # Most peers report at once, on the same association.
        done = self._acted(peer, now)
        if fault is not None:
            return self._not_asked(peer, fault, done)
        self._unasked.pop(peer, None)
        return self._told(peer, done, now)

    def _acted(self, peer: str, now: datetime) -> Confirmed:
        return act_on_reports(self._deliveries, peer, self._settings.peers, now, self._wait_s)

    def _find(self, peer: str, now: datetime) -> Outcome:
        unproven = self._deliveries.awaiting_commitment(peer)
        if not unproven:
            return Wait(until=now, why="nothing is to be proved")
        try:
            found = held(self._terms(peer), [delivery.encoded for delivery in unproven])
        except DeliveryError as fault:
            return self._not_asked(peer, fault, Confirmed())
        done = Confirmed()
        for delivery in unproven:
            if delivery.encoded.sop_instance_uid in found:
                self._apply(delivery, DeliveryEvent.COMMITTED, now)
                done += Confirmed(committed=1)
            else:
                done += self._not_found(delivery, now)
        self._unasked.pop(peer, None)
        told = self._told(peer, done, now)
        return (
            Wait(until=now + timedelta(seconds=FIND_AGAIN_S), why="not filed yet") if isinstance(told, Wait) else told
        )

    def _not_found(self, delivery: Delivery, now: datetime) -> Confirmed:
        """Give the peer time to file it, counted from the first time that it was asked; then send again."""
        wait = timedelta(seconds=self._settings.node.delivery.commitment_wait_s)
        if delivery.commitment_asked_at is None:
            transaction = transaction_uid(delivery.peer, secrets.token_bytes(16))
            self._deliveries.commitment_asked([delivery.delivery_id], transaction, now)
            return Confirmed()
        if now < delivery.commitment_asked_at + wait:
            return Confirmed()
        cause = "the peer accepted it and does not find it: sent again"
        self._apply(delivery, DeliveryEvent.NOT_HELD, now, cause=cause, not_before=self._not_before(delivery, now))
        return Confirmed(not_held=1)

    def _not_asked(self, peer: str, fault: DeliveryError, done: Confirmed) -> Retry:
        self._warn(peer, done)
        self._unasked[peer] = self._unasked.get(peer, 0) + 1
        return Retry(after_s=self._wait_s(self._unasked[peer]), cause=f"{peer}: {fault}")

    def _warn(self, peer: str, done: Confirmed) -> None:
        if done.not_held or done.refused:
            self._journal.warning("accepted and not held", peer=peer, count=done.not_held + done.refused)

    def _told(self, peer: str, done: Confirmed, now: datetime) -> Outcome:
        self._warn(peer, done)
        if done.anything:
            return Done(what=f"{peer}: {done.committed} held, {done.not_held} to be sent again, {done.refused} refused")
        return Wait(until=now, why="nothing new is proved")

    # --- rows ---

    def _wait_s(self, attempts: int) -> float:
        return self._back_off.wait_s(attempts, self._random)

    def _not_before(self, delivery: Delivery, now: datetime) -> datetime:
        return now + timedelta(seconds=self._wait_s(delivery.attempts))

    def _apply(
        self,
        delivery: Delivery,
        event: DeliveryEvent,
        now: datetime,
        *,
        cause: str = "",
        status: int | None = None,
        not_before: datetime | None = None,
    ) -> None:
        try:
            self._deliveries.apply(
                delivery.delivery_id,
                event,
                now=now,
                cause=cause,
                status=status,
                not_before=not_before,
                attempt=delivery.attempts if delivery.state is DeliveryState.SENDING else None,
            )
        except IllegalTransitionError as fault:
            # Another took it over, or a person acted. It is the same object to the byte: once more does no harm.
            self._journal.warning("a delivery changed meanwhile", delivery=delivery.delivery_id, state=fault.state)
