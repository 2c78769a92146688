"""The command line: ``run_node.py COMMAND``.

Exit codes, the same for every command: 0 done · 1 it did not work · 2 wrong usage or configuration · 3 the study is
not analysed (ignored, held or unknown) · 4 a peer does not answer.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import Annotated, ParamSpec

import typer

from scp_node import console
from scp_node.conformance import conformance_statement
from scp_node.domain.study import StudyEvent, StudyState
from scp_node.errors import NodeError, SettingsError, UnknownStudyError
from scp_node.installed import installed_analyzers, threshold_faults
from scp_node.journal import start_journal
from scp_node.node import Node, is_running
from scp_node.offline import Offline, analyzers_of
from scp_node.outbound.echo import echo as echo_peer
from scp_node.pipeline.children import LocalRunner
from scp_node.pipeline.clock import now_utc
from scp_node.receivers import receivers_fault
from scp_node.settings import Settings, load_settings
from scp_node.store.alarms import Alarm, AlarmKind
from scp_node.store.arrivals import Conflict
from scp_node.store.database import Database
from scp_node.store.deliveries import DeliveryStore
from scp_node.store.jobs import JobStore
from scp_node.store.overview import Overview
from scp_node.store.refusals import Refusal, Refusals
from scp_node.store.studies import StudyStore
from scp_node.tls import TlsFilesError, validities

DONE, FAILED, MISUSED, NOT_ANALYSED, NO_ANSWER = range(5)
DEFAULT_CONFIG = Path(__file__).resolve().parents[1] / "config"

REFUSALS_SHOWN_D = 2
"""Days of which `status` tells what was refused."""

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="A DICOM node for hepatic arterial infusion pump programmes: studies in, reports and segmentations out.",
    epilog="Exit codes: 0 done, 1 it did not work, 2 wrong usage or configuration, 3 the study is not analysed, "
    "4 a peer does not answer.",
)

Config = Annotated[
    Path, typer.Option("--config", help="Folder with node.toml, peers.toml, routes.toml and thresholds.toml.")
]
StudyText = Annotated[str, typer.Argument(help="Study Instance UID, accession number or patient ID.")]
Arguments = ParamSpec("Arguments")


def main() -> None:
    """Run the command that the arguments name."""
    app()


def says_faults_plainly(command: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """Turn the node's own errors into a message and an exit code; a traceback is never shown."""

    @wraps(command)
    def plain(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except SettingsError as error:
            console.faults(error.faults)
            raise typer.Exit(MISUSED) from error
        except UnknownStudyError as error:
            console.complain(str(error))
            raise typer.Exit(NOT_ANALYSED) from error
        except NodeError as error:
            console.complain(str(error))
            raise typer.Exit(FAILED) from error
        except OSError as error:
            console.complain(f"{error.filename or 'the system'}: {error.strerror}{_remedy(error)}")
            raise typer.Exit(FAILED) from error

    return plain


def _require(*, one_of: tuple[object | None, object | None], remedy: str) -> None:
    """End with a usage error unless exactly one of two is given."""
    if (one_of[0] is None) == (one_of[1] is None):
        console.complain(remedy)
        raise typer.Exit(MISUSED)


def _require_known(kind: str, names: Sequence[str], known: Collection[str]) -> None:
    """End with a usage error if a name names nothing."""
    unknown = [repr(name) for name in names if name not in known]
    if unknown:
        console.complain(f"no {kind} is called {', '.join(unknown)}; there are {', '.join(sorted(known))}")
        raise typer.Exit(MISUSED)


def _remedy(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "; the user who runs this must be able to write there"
    return "; free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""


@app.command()
@says_faults_plainly
def serve(config: Config = DEFAULT_CONFIG) -> None:
    """Run the node until SIGTERM: receive, analyse, deliver."""
    versions = installed_analyzers()
    settings = load_settings(config, known_analyzers=versions, check_thresholds=threshold_faults)
    start_journal(settings.node.log_level)
    Node(settings, versions).serve()


@app.command()
@says_faults_plainly
def demo(
    out: Annotated[Path, typer.Option(help="Where everything is left to look at.")] = Path("demo-out"),
    seed: Annotated[int, typer.Option(help="Seed of the synthetic studies.")] = 1,
) -> None:
    """Play the whole job here: scanner, node and PACS, three synthetic studies, answers compared with the truth."""
    from scp_node.demo.play import play  # noqa: PLC0415 - the other commands do not pay for it

    if not play(out, seed=seed):
        raise typer.Exit(FAILED)


@app.command("check-config")
@says_faults_plainly
def check_config(config: Config = DEFAULT_CONFIG) -> None:
    """Check the configuration files and say every fault at once."""
    settings = load_settings(config, known_analyzers=installed_analyzers(), check_thresholds=threshold_faults)
    ours = ", ".join(sorted(settings.thresholds)) or "none"
    console.say(
        f"{config}: {len(settings.peers)} peers, {len(settings.routes)} routes, nothing wrong; "
        f"port {settings.node.receiving.port}, data in {settings.node.data_folder}; thresholds set for: {ours}"
    )


@app.command()
@says_faults_plainly
def analyze(
    study_folder: Annotated[Path, typer.Argument(help="Folder with the DICOM files of one study.")],
    out: Annotated[Path, typer.Option(help="Where the answer is left, one folder for each analyzer.")],
    analyzer: Annotated[str | None, typer.Option(help="Use this analyzer and skip routing.")] = None,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Route, analyse and encode a study folder offline: no network, no store."""
    versions = installed_analyzers()
    settings = load_settings(config, known_analyzers=versions, check_thresholds=threshold_faults)
    offline = Offline(settings=settings, versions=versions, runner=LocalRunner(), progress=console.progress)
    _require_known("analyzer", [] if analyzer is None else [analyzer], versions)
    console.progress("reading headers")
    study, routed = offline.route(study_folder)
    chosen = analyzers_of(routed) if analyzer is None else (analyzer,)
    console.routing(routed, forced=analyzer)
    if not chosen:
        raise typer.Exit(NOT_ANALYSED)
    for answer in offline.answer(study, out, chosen, now_utc()):
        console.offline_answer(answer)


@app.command()
@says_faults_plainly
def status(
    config: Config = DEFAULT_CONFIG,
    json: Annotated[bool, typer.Option("--json", help="For programs; the keys are stable.")] = False,
) -> None:
    """Say what is received, under way, answered, and what needs a person. Exit code 1: nothing is received."""
    with _store(config) as (settings, database):
        overview = Overview(database, settings.node.data_folder)
        held_warning = timedelta(days=settings.node.retention.held_warning_d)
        held = StudyStore(database).in_state(StudyState.HELD)
        running = is_running(settings.node.data_folder)
        now = now_utc()
        door = _door(settings, Refusals(database).since(now - timedelta(days=REFUSALS_SHOWN_D)))
        told = overview.status(now, held_warning=held_warning, receiving=_receiving(settings))
        fault = receivers_fault(settings.node.data_folder, now) if running else ""
        if fault:
            alarm = Alarm(kind=AlarmKind.NOT_RECEIVING, sentence=fault)
            told = replace(told, alarms=(alarm, *told.alarms))
        console.status(told, held, door, running=running, as_json=json)
        if fault or not running:
            raise typer.Exit(FAILED)


def _receiving(settings: Settings) -> frozenset[str]:
    return frozenset(name for name, peer in settings.peers.items() if peer.receives)


def _door(settings: Settings, refusals: Sequence[Refusal]) -> console.Door:
    tls = settings.node.tls
    if tls is None:
        return console.Door(refusals=refusals)
    warning = timedelta(days=tls.expiry_warning_d)
    try:
        return console.Door(refusals=refusals, validities=validities(tls), expiry_warning=warning)
    except TlsFilesError as fault:
        return console.Door(refusals=refusals, fault=str(fault))


@app.command()
@says_faults_plainly
def explain(study: StudyText, config: Config = DEFAULT_CONFIG) -> None:
    """Say why a study went where it went: routes, completion, roles, gates, attempts, deliveries."""
    with _store(config) as (settings, database):
        overview = Overview(database, settings.node.data_folder)
        for found in _found(StudyStore(database), study):
            console.explanation(overview.explanation(found), settings.node.data_folder)


@app.command()
@says_faults_plainly
def release(
    study: StudyText,
    analyzer: Annotated[list[str] | None, typer.Option(help="Analyse with this analyzer (may be repeated).")] = None,
    ignore: Annotated[bool, typer.Option("--ignore", help="Do not analyse it.")] = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Decide about a held or ignored study."""
    _require(one_of=(analyzer or None, ignore or None), remedy="say either --analyzer NAME or --ignore")
    if analyzer:
        _require_known("analyzer", analyzer, installed_analyzers())
    with _store(config) as (settings, database):
        studies, jobs, now = StudyStore(database), JobStore(database), now_utc()
        uid = _one(studies, study)
        before = studies.get(uid)
        state = before.state
        if state not in (StudyState.HELD, StudyState.IGNORED):
            raise NodeError(f"study {uid} is {state}: only held and ignored studies are released (see also: requeue)")
        peers = () if ignore else _peers_of_release(settings, jobs, uid)
        if before.conflict:
            studies.resolve_conflict(uid, now)
        if ignore:
            studies.apply(uid, StudyEvent.RELEASED_TO_IGNORE, reason="released by a person", now=now)
            console.say(f"study {uid} is ignored")
            return
        jobs.route(
            uid,
            tuple(analyzer or ()),
            peers,
            studies.get(uid).revision,
            "released by a person",
            now,
            StudyEvent.RELEASED_TO_ANALYZE,
        )
        console.say(f"study {uid} is analysed by {', '.join(analyzer or ())} for {', '.join(peers)}")
        if Conflict.TWO_PATIENTS in before.conflict:
            console.say(f"{Conflict.TWO_PATIENTS}: the answer carries patient ID {before.identity.patient_id!r}")


def _peers_of_release(settings: Settings, jobs: JobStore, uid: str) -> tuple[str, ...]:
    """Those of the newest analysis that still receive, else those that routes.toml names for a release."""
    former = [tuple(name for name in job.peers if name in _receiving(settings)) for job in jobs.of_study(uid)]
    peers = next((names for names in reversed(former) if names), settings.release_peers)
    if not peers:
        raise NodeError(f"study {uid}: nobody would get the answer; name peers in deliver_to at the top of routes.toml")
    return peers


@app.command()
@says_faults_plainly
def requeue(
    study: Annotated[str | None, typer.Argument(help="Study to analyse anew, as its next revision.")] = None,
    peer: Annotated[str | None, typer.Option(help="Send again what failed or was withheld for this peer.")] = None,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Try again: a study's analysis as a new revision, or the failed and withheld deliveries of a peer."""
    _require(one_of=(study, peer), remedy="say either a STUDY or --peer NAME")
    with _store(config) as (settings, database):
        if peer is not None:
            _require_known("peer", [peer], settings.peers)
            count = DeliveryStore(database).requeue(now_utc(), peer=peer)
            told = f"{count} deliveries to {peer} are queued again"
            # What waits for a peer that is away is tried again by itself.
            console.say(told if count else f"nothing for {peer} failed or was withheld: nothing to queue again")
            return
        uid = _one(StudyStore(database), study or "")
        state = StudyStore(database).get(uid).state
        if state is not StudyState.ROUTED:
            decided = state in (StudyState.HELD, StudyState.IGNORED)
            remedy = "use `release`" if decided else "it is analysed by itself once it is complete"
            raise NodeError(f"study {uid} is {state}, not analysed yet: {remedy}")
        revision = JobStore(database).requeue(uid, now_utc())
        console.say(f"study {uid} is analysed anew as revision {revision}")


@app.command()
@says_faults_plainly
def dismiss(
    study: Annotated[str | None, typer.Argument(help="Study whose failed parts nobody wants any more.")] = None,
    peer: Annotated[str | None, typer.Option(help="Peer that is not to get what failed or was withheld.")] = None,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Give up what failed or was withheld, of a study or for a peer; for a peer that is gone, all that waits."""
    _require(one_of=(study, peer), remedy="say either a STUDY or --peer NAME")
    with _store(config) as (settings, database):
        deliveries = DeliveryStore(database)
        if peer is not None:
            count = deliveries.dismiss(peer, now_utc(), gone=peer not in _receiving(settings))
            console.say(f"{count} deliveries to {peer} are given up")
            return
        uid = _one(StudyStore(database), study or "")
        count = deliveries.dismiss_study(uid, now_utc())
        console.say(f"study {uid} is ignored from now on, {count} deliveries of it are given up")


@app.command()
@says_faults_plainly
def echo(
    peer: Annotated[str, typer.Argument(help="Name of a peer in peers.toml.")],
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Ask a peer for a C-ECHO and say what it answered."""
    settings = load_settings(config)
    _require_known("peer", [peer], settings.peers)
    if not settings.peers[peer].receives:
        console.complain(f"{peer} has no host and port in peers.toml: it only sends")
        raise typer.Exit(MISUSED)
    result = echo_peer(settings, peer)
    console.say(result.sentence)
    if not result.answered:
        raise typer.Exit(NO_ANSWER)


@app.command()
@says_faults_plainly
def conformance(config: Config = DEFAULT_CONFIG) -> None:
    """Print the DICOM conformance statement of the running configuration (Markdown)."""
    sys.stdout.write(conformance_statement(load_settings(config)))


@contextmanager
def _store(config: Path) -> Iterator[tuple[Settings, Database]]:
    """The store of a node that has run at least once."""
    settings = load_settings(config)
    folder = settings.node.data_folder
    if not (folder / "node.sqlite3").is_file():
        raise NodeError(f"{folder} holds no node's data yet: start the node once (run_node.py serve)")
    database = Database.open(folder, migrate=False)
    try:
        yield settings, database
    finally:
        database.close()


def _found(studies: StudyStore, text: str) -> list[str]:
    found = [study.study_instance_uid for study in studies.find(text)]
    if not found:
        raise UnknownStudyError(
            "no study has this UID, accession number or patient ID: it never arrived, or is in quarantine (see status)"
        )
    return found


def _one(studies: StudyStore, text: str) -> str:
    found = _found(studies, text)
    if len(found) > 1:
        raise UnknownStudyError("several studies match; name one by its UID:\n" + "\n".join(found))
    return found[0]
