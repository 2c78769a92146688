"""What the commands print: tables for people, JSON for programs, messages that say what to do.

Answers go to standard output, progress and complaints to standard error.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from analyzers.wire import ChangedThreshold
from scp_node.domain.delivery import DeliveryState
from scp_node.domain.job import JobState
from scp_node.domain.routing import Analyze, Routed
from scp_node.domain.study import Study
from scp_node.errors import Fault
from scp_node.offline import OfflineAnswer
from scp_node.store.overview import Explanation, JobLine, Status
from scp_node.store.refusals import Refusal
from scp_node.store.transitions import EventRow
from scp_node.tls import Validity

_MOST_REFUSALS = 5
STATUS_SCHEMA = "hai-status/1"

_out = Console(highlight=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Print an answer."""
    _out.print(escape(text))


def progress(text: str) -> None:
    """Print one step of something long."""
    _err.print(f"[dim]· {escape(text)}[/dim]")


def complain(text: str) -> None:
    """Print what went wrong and what to do."""
    _err.print(f"[bold red]error:[/bold red] {escape(text)}")


def faults(found: Iterable[Fault]) -> None:
    """Print configuration faults, one block each: place, what is wrong, what would be right."""
    told = tuple(found)
    _err.print(f"[bold red]{len(told)} fault{'' if len(told) == 1 else 's'} in the configuration[/bold red]")
    for fault in told:
        place = f"{fault.file}: {fault.key}" if fault.key else fault.file
        _err.print(f"  [bold]{escape(place)}[/bold] {escape(fault.what)}\n      {escape(fault.remedy)}")


def routing(routed: Routed, *, forced: str | None) -> None:
    """Print where a study goes and by what."""
    if forced is not None:
        say(f"routing skipped: --analyzer {forced}")
        return
    decision = routed.decision
    by = f"route {routed.route}" if routed.route else "no route"
    if isinstance(decision, Analyze):
        because = routed.examined[-1].because if routed.examined else ()
        say(f"{by}: {', '.join(decision.analyzers)} ({'; '.join(dict.fromkeys(because))})")
        return
    say(f"{by}: not analysed, {decision.reason}")


def offline_answer(answer: OfflineAnswer) -> None:
    """Print what an offline analysis left behind, and its conclusion."""
    result = json.loads((answer.out_folder / "result.json").read_text(encoding="utf-8"))
    say(f"{answer.analyzer}: {result['outcome']} in {answer.seconds:.0f} s: {_in_a_sentence(result['result'])}")
    for path in sorted(answer.out_folder.rglob("*")):
        if path.is_file():
            say(f"  {path}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """What `status` says of the port: who was refused, and until when its certificates are valid."""

    refusals: Sequence[Refusal] = ()
    """Of the last days, the newest first."""
    validities: Sequence[Validity] = ()
    """The earliest first; empty without TLS."""
    expiry_warning: timedelta = timedelta(0)
    fault: str = ""
    """Why the certificates cannot be read."""


def status(told: Status, held: Sequence[Study], door: Door, *, running: bool, as_json: bool) -> None:
    """Print the state of the node."""
    if as_json:
        _out.print_json(json.dumps({**status_json(told, held, running=running), **_door_json(door)}))
        return
    studies = ", ".join(f"{count} {state}" for state, count in told.studies.items() if count) or "none"
    jobs = ", ".join(f"{count} {state}" for state, count in told.jobs.items() if count) or "none"
    say(f"node     {'running' if running else 'NOT running: nothing is received or sent until `serve` runs'}")
    say(f"studies  {studies}")
    say(f"jobs     {jobs}")
    gib = told.spool.byte_count / 1024**3
    say(f"spool    {told.spool.file_count} files, {gib:.2f} GiB; {told.spool.disk_free_bytes / 1024**3:.1f} GiB free")
    if told.oldest_unanswered_at is not None:
        say(f"oldest unanswered study: waits for {_age(told.oldest_unanswered_at, told.at)}")
    for queue in told.peers:
        counts = ", ".join(f"{queue.counts[state]} {state}" for state in DeliveryState if queue.counts[state])
        waits = queue.oldest_undelivered_at
        oldest = "" if waits is None else f"; the oldest waits for {_age(waits, told.at)}"
        cause = f": {queue.last_cause}" if queue.last_cause else ""
        say(f"peer     {queue.peer}: {counts}{oldest}{cause}")
    _door(door)
    has_warned = _warn_of_certificates(door, told.at)
    for study in held:
        if not study.conflict:  # a conflict is an alarm, below
            say(f"? study {study.study_instance_uid} is held: {study.state_reason}; decide with release")
    for alarm in told.alarms:
        _out.print(f"[bold red]![/bold red] {escape(alarm.sentence)} {alarm.study_instance_uid}")
    if running and not told.alarms and not held and not has_warned:
        say("nothing needs a person")


def _door(door: Door) -> None:
    for refusal in door.refusals[:_MOST_REFUSALS]:
        who = refusal.peer or "a stranger"
        say(f"refused  {refusal.day} {refusal.count} x {who}: {refusal.status}, {refusal.reason}")
    if len(door.refusals) > _MOST_REFUSALS:
        say(f"refused  and {len(door.refusals) - _MOST_REFUSALS} more kinds: status --json lists all")
    for validity in door.validities[:1]:
        say(f"tls      {validity.what} {validity.file} is valid until {validity.until.date().isoformat()}")


def _warn_of_certificates(door: Door, now: datetime) -> bool:
    sentences = [door.fault] if door.fault else []
    for validity in door.validities:
        if validity.until - now < door.expiry_warning:
            word = "ended" if validity.until <= now else "ends"
            sentences.append(f"the {validity.what} {validity.file} {word} on {validity.until.date()}: renew it")
    for sentence in sentences:
        _out.print(f"[bold red]![/bold red] {escape(sentence)}")
    return bool(sentences)


def _door_json(door: Door) -> dict[str, Any]:
    return {
        "refusals": [{**asdict(one), "last_at": one.last_at.isoformat()} for one in door.refusals],
        "tls": [{"what": one.what, "file": str(one.file), "until": one.until.isoformat()} for one in door.validities],
        "tls_fault": door.fault,
    }


def status_json(told: Status, held: Sequence[Study], *, running: bool) -> dict[str, Any]:
    """The state of the node with stable keys (``hai-status/1``)."""
    return {
        "schema": STATUS_SCHEMA,
        "at": told.at.isoformat(),
        "running": running,
        "studies": {state.value: count for state, count in told.studies.items()},
        "jobs": {state.value: count for state, count in told.jobs.items()},
        "oldest_unanswered_s": None
        if told.oldest_unanswered_at is None
        else (told.at - told.oldest_unanswered_at).total_seconds(),
        "peers": {queue.peer: {state.value: count for state, count in queue.counts.items()} for queue in told.peers},
        "spool": asdict(told.spool),
        "quarantine_count": told.quarantine_count,
        "held": [{"study": study.study_instance_uid, "reason": study.state_reason} for study in held],
        "failed_jobs": [{**asdict(job), "failed_at": job.failed_at.isoformat()} for job in told.failed_jobs],
        "alarms": [asdict(alarm) for alarm in told.alarms],
    }


def explanation(told: Explanation, data_folder: Path) -> None:
    """Print why a study is where it is."""
    study = told.study
    _out.rule(f"study {study.study_instance_uid}")
    say(f"{study.state}, revision {study.revision}, {_counted(study.instance_count, 'object')}: {study.state_reason}")
    for former in told.former:
        names = [("patient ID", former.patient_id), ("accession number", former.accession_number)]
        named = ", ".join(f"{what} {name}" for what, name in names if name)
        say(f"known by {named} until {former.replaced_at:%Y-%m-%d %H:%M:%S} UTC (headers corrected)")
    if study.conflict:
        say(f"held by a conflict: {study.conflict}")
    _series(told)
    _decision(told)
    for line in told.jobs:
        _job(line, data_folder)
    say("events (UTC)")
    for line_of_events in _event_lines(told.events):
        say(f"  {line_of_events}")


def _event_lines(events: Iterable[EventRow]) -> Iterator[str]:
    """One line for each event; the same event again and again is one line with the number of times."""
    for told, same in groupby(events, key=_event_text):
        rows = list(same)
        # Images that came together are one event that tells how many they were.
        count = sum(int(row.detail.get("count", 1)) for row in rows)
        times = f" ({count} times until {rows[-1].at:%H:%M:%S})" if count > 1 else ""
        yield f"{rows[0].at:%Y-%m-%d %H:%M:%S} {told}{times}"


def _event_text(event: EventRow) -> str:
    changed = event.state_after and event.state_after != event.state_before
    change = f" {event.state_before} -> {event.state_after}" if changed else ""
    return f"{event.subject} {event.event}{change}{f': {event.reason}' if event.reason else ''}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _series(told: Explanation) -> None:
    for line in told.series:
        other = f" and {_counted(line.other_count, 'other object')}" if line.other_count else ""
        sent = f"from {', '.join(line.calling_aes)} to {', '.join(line.called_aes)}"
        images = _counted(line.usable_count, "image")
        say(f"series {line.series_instance_uid}: {line.modality}, {images}{other} {sent}")
    if told.correction_count:
        say(f"{_counted(told.correction_count, 'object')} came again with corrected headers")
    for found in told.quarantined:
        say(f"in quarantine: {found.sop_instance_uid} ({found.reason})")


def _decision(told: Explanation) -> None:
    if told.decision.completion_reason:
        say(f"complete: {told.decision.completion_reason}")
    for what in told.decision.missing:
        say(f"  missing: {what}")
    routed: Mapping[str, Any] = told.decision.routed or {}
    for examined in routed.get("examined", ()):
        mark = "matched" if examined["matched"] else "no match"
        because = "; ".join(dict.fromkeys(examined["because"]))
        say(f"route {examined['route']}: {mark}{f' ({because})' if because else ''}")


def _job(line: JobLine, data_folder: Path) -> None:
    job = line.job
    cause = f"; last cause: {job.last_cause}" if job.last_cause else ""
    attempts = _counted(job.attempts, "attempt")
    say(f"job {job.job_id}: {job.analyzer}, revision {job.revision}, {job.state}, {attempts}{cause}")
    if job.state is JobState.FAILED:
        for log in sorted((data_folder / "jobs" / str(job.job_id)).glob("*.log")):
            say(f"  printed by it: {log}")
    result = data_folder / line.out_folder / "result.json" if line.out_folder else None
    if result is not None and result.is_file():
        _roles_and_gates(json.loads(result.read_text(encoding="utf-8")))
    for delivery in line.deliveries:
        told = f": {delivery.last_cause}" if delivery.last_cause else ""
        attempts = _counted(delivery.attempts, "attempt")
        say(f"  {delivery.encoded.kind} to {delivery.peer}: {delivery.state}, {attempts}{told}")


def _roles_and_gates(result: Mapping[str, Any]) -> None:
    answer = result["result"]
    say(f"  {result['outcome']}: {_in_a_sentence(answer)}")
    for changed in (result.get("thresholds") or {}).get("changed", ()):
        say(f"  threshold set by this site: {ChangedThreshold(**changed).in_words}")
    for role in answer.get("roles", ()):
        say(f"  series {role['series_instance_uid']}: {role['role'] or 'not used'} ({role['reason']})")
    for gate in answer.get("gates", ()):
        passed = "passed" if gate["passed"] else "FAILED"
        say(f"  gate {gate['name']}: {passed}, seen {gate['seen']}, wanted {gate['wanted']}")


def _in_a_sentence(answer: Mapping[str, Any]) -> str:
    """What a result says first: a conclusion, or the reasons why there is none."""
    return str(answer.get("conclusion") or answer.get("reason") or "; ".join(answer.get("reasons", ())))


def _age(since: datetime, now: datetime) -> str:
    minutes = int((now - since).total_seconds() // 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
