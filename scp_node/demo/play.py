"""Play the whole job: make three synthetic patients, send them, wait for every answer, compare it with the truth."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from scp_node.demo.archive import Archive
from scp_node.demo.comparison import Compared, compare, passed, read_json
from scp_node.demo.orthanc import Orthanc, orthanc_program
from scp_node.demo.page import Answered, Shown, leave_objects, leave_result, write_page
from scp_node.demo.scanner import push
from scp_node.demo.world import NODE_TITLE, SCANNER_TITLE, NodeProcess, Pacs, Ports, free_ports, write_configuration
from scp_node.domain.delivery import DeliveryState
from scp_node.domain.study import StudyState
from scp_node.errors import NodeError, UnknownStudyError
from scp_node.store.database import Database
from scp_node.store.overview import Explanation, Overview

KINDS = ("scintigraphy", "mri", "cta")
"""The quickest to make first, so that the node has something to do early."""
LONGEST_S = 600.0
POLL_S = 0.5
PHANTOM_S = 300.0
PLAIN_WIDTH = 120
MARKER = "made-by-demo"
LEFT_BEHIND = f"{MARKER}\n\nThis folder was left by the demonstration; the next one replaces it.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One study on its way."""

    kind: str
    folder: Path
    study_instance_uid: str
    sent_at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """One study whose answer the PACS has committed to."""

    sent: Sent
    explanation: Explanation
    seconds: float


def play(out: Path, *, seed: int) -> bool:
    """Run the demonstration and leave everything to look at in ``out``.

    Parameters
    ----------
    out : Path
        New, empty, or left by an earlier demonstration.
    seed : int
        Of the synthetic studies.

    Returns
    -------
    bool
        True when every study is answered and committed and every key measurement lies within its tolerance.

    Raises
    ------
    NodeError
        When a part does not start, or the answers do not come in time.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    prepare(out)
    begun_s = time.monotonic()
    with ExitStack() as world:
        scratch = Path(world.enter_context(tempfile.TemporaryDirectory(prefix="hai-demo-")))
        ports = free_ports()
        pacs = world.enter_context(running_pacs(scratch, ports))
        console.print(f"PACS    {pacs.name} at 127.0.0.1:{pacs.port}")
        write_configuration(scratch / "config", scratch / "data", ports, pacs.ae_title)
        node = NodeProcess(scratch / "config", out / "node.log")
        world.callback(node.stop)
        node.start()
        console.print(f"node    {NODE_TITLE} at 127.0.0.1:{ports.node}, log in {out / 'node.log'}")
        finished = _send_and_wait(scratch, ports, node, seed, console)
        shown = [_show(out, each, pacs, scratch / "data") for each in finished]
    page = write_page(out, shown, pacs=pacs.name, facts={"seed": seed})
    _print_table(console, [each.answered for each in shown])
    console.print(f"{time.monotonic() - begun_s:.0f} s; look at {page}")
    return all(each.answered.passed and each.answered.committed for each in shown)


def prepare(out: Path) -> None:
    """Empty the folder of an earlier demonstration; refuse any other folder that holds something.

    Raises
    ------
    NodeError
        When ``out`` holds something that we did not leave there.
    """
    if out.is_dir() and any(out.iterdir()):
        if not (out / MARKER).is_file():
            raise NodeError(f"{out} holds something that no demonstration left there: choose another --out")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARKER).write_text(LEFT_BEHIND, encoding="utf-8")


@contextmanager
def running_pacs(scratch: Path, ports: Ports) -> Iterator[Pacs]:
    """Orthanc where it is installed, else the stand-in."""
    folder = scratch / "pacs"
    folder.mkdir()
    program, node = orthanc_program(), (NODE_TITLE, ports.node)
    pacs: Pacs = (
        Archive(folder, port=ports.pacs, node=node)
        if program is None
        else Orthanc(program, folder, port=ports.pacs, http_port=ports.pacs_http, node=node)
    )
    try:
        pacs.start()
        yield pacs
    finally:
        pacs.stop()


def _send_and_wait(scratch: Path, ports: Ports, node: NodeProcess, seed: int, console: Console) -> list[Finished]:
    """Make and send the studies two at a time; each is waited for from then on."""
    deadline_s = time.monotonic() + LONGEST_S
    with ThreadPoolExecutor(max_workers=2) as makers, ExitStack() as undo:
        # Whatever goes wrong here, studies that are not begun yet are not begun any more.
        undo.callback(makers.shutdown, wait=False, cancel_futures=True)
        making = {kind: makers.submit(_make_and_send, kind, scratch / kind, ports, seed, console) for kind in KINDS}
        finished = _wait(making, scratch / "data", node, deadline_s, console)
    return [finished[kind] for kind in KINDS]


def _make_and_send(kind: str, folder: Path, ports: Ports, seed: int, console: Console) -> Sent:
    command = [sys.executable, "-m", "analyzers.phantoms", kind, str(folder), "--seed", str(seed), "--size", "small"]
    made = subprocess.run(command, capture_output=True, timeout=PHANTOM_S, check=False)
    if made.returncode != 0:
        raise NodeError(f"the synthetic {kind} study could not be made (exit code {made.returncode})")
    _await_port(ports.node)
    sent_at_s = time.monotonic()
    pushed = push(folder / "dicom", host="127.0.0.1", port=ports.node, calling_ae=SCANNER_TITLE, called_ae=NODE_TITLE)
    if pushed.refused:
        raise NodeError(f"the node refused {len(pushed.refused)} objects of the {kind} study: {pushed.refused[0]}")
    console.print(f"sent    {kind}: {pushed.stored} objects in {time.monotonic() - sent_at_s:.1f} s")
    uid = str(read_json(folder / "truth.json")["study_instance_uid"])
    return Sent(kind=kind, folder=folder, study_instance_uid=uid, sent_at_s=sent_at_s)


def _await_port(port: int) -> None:
    deadline_s = time.monotonic() + PHANTOM_S
    while time.monotonic() < deadline_s:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            time.sleep(POLL_S)
        else:
            return
    raise NodeError("the node's port does not answer")


def _wait(
    making: Mapping[str, Future[Sent]], data_folder: Path, node: NodeProcess, deadline_s: float, console: Console
) -> dict[str, Finished]:
    """Until every study's answer is committed; says each step as it is seen in the store."""
    finished: dict[str, Finished] = {}
    said: dict[str, str] = {}
    while len(finished) < len(making):
        node.require_running()
        if time.monotonic() > deadline_s:
            raise NodeError(
                f"no committed answer within {LONGEST_S:.0f} s for {', '.join(set(making) - set(finished))}"
            )
        time.sleep(POLL_S)
        for kind, future in making.items():
            if kind in finished or not future.done():
                continue
            sent = future.result()
            explanation = _explanation(data_folder, sent.study_instance_uid)
            if explanation is None:
                continue
            step = _step(explanation)
            if said.get(kind) != step:
                console.print(f"node    {kind}: {step}")
                said[kind] = step
            if is_settled(explanation):
                finished[kind] = Finished(sent=sent, explanation=explanation, seconds=time.monotonic() - sent.sent_at_s)
    return finished


def _explanation(data_folder: Path, study_instance_uid: str) -> Explanation | None:
    database = Database.open(data_folder, migrate=False)
    try:
        return Overview(database, data_folder).explanation(study_instance_uid)
    except UnknownStudyError:
        return None
    finally:
        database.close()


def _step(told: Explanation) -> str:
    if told.study.state is not StudyState.ROUTED:
        return told.study.state
    steps = []
    for line in told.jobs:
        committed = sum(delivery.state is DeliveryState.COMMITTED for delivery in line.deliveries)
        steps.append(
            f"{line.job.analyzer} {line.job.state}"
            + (f", {committed} of {len(line.deliveries)} objects committed" if line.deliveries else "")
        )
    return "; ".join(steps)


def is_settled(told: Explanation) -> bool:
    """True when nothing more will happen by itself: committed, or stopped for a person."""
    if told.study.state in (StudyState.IGNORED, StudyState.HELD):
        return True
    ended = (DeliveryState.COMMITTED, DeliveryState.FAILED, DeliveryState.WITHHELD)
    lines = [line for line in told.jobs if line.job.answered]
    return (
        bool(lines)
        and len(lines) == len(told.jobs)
        and all(delivery.state in ended for line in lines for delivery in line.deliveries)
    )


def _show(out: Path, finished: Finished, pacs: Pacs, data_folder: Path) -> Shown:
    """Fetch the answer back from the PACS and leave it with the result and the truth."""
    sent, told = finished.sent, finished.explanation
    fetched = pacs.fetch(sent.study_instance_uid)
    place = out / sent.kind
    objects, reports = leave_objects(place, fetched)
    line = told.jobs[0] if told.jobs else None
    compared: tuple[Compared, ...] = ()
    pictures: tuple[str, ...] = ()
    conclusion, limitations, outcome = told.study.state_reason, (), told.study.state.value
    if line is not None and line.out_folder:
        pictures = leave_result(place, data_folder / line.out_folder, sent.folder / "truth.json")
        result = read_json(place / "result.json")
        compared = tuple(compare(sent.kind, result, read_json(place / "truth.json")))
        answer = result["result"]
        outcome = str(result["outcome"])
        conclusion = str(answer.get("conclusion") or "; ".join(answer.get("reasons", ())) or answer.get("reason", ""))
        limitations = tuple(answer.get("limitations", ()))
    deliveries = [delivery for job in told.jobs for delivery in job.deliveries]
    return Shown(
        answered=Answered(
            kind=sent.kind,
            study_instance_uid=sent.study_instance_uid,
            outcome=outcome,
            conclusion=conclusion,
            compared=compared,
            limitations=limitations,
            stored=len(fetched),
            committed=bool(deliveries) and all(each.state is DeliveryState.COMMITTED for each in deliveries),
            seconds=finished.seconds,
            passed=passed(compared, sent.kind),
        ),
        pictures=tuple(f"{sent.kind}/{name}" for name in pictures),
        reports=tuple((f"{sent.kind}/{name}", text) for name, text in reports),
        objects=tuple(f"{sent.kind}/{name}" for name in objects),
    )


def _print_table(console: Console, answered: list[Answered]) -> None:
    table = Table("study", "outcome", "measured", "truth", "objects", "committed", "seconds")
    for each in answered:
        for index, line in enumerate(each.compared or (None,)):
            head = index == 0
            measured = "" if line is None else _measured(line)
            truth = "" if line is None else f"{line.truth:.4g} ± {line.tolerance:.3g} {line.unit}"
            table.add_row(
                each.kind if head else "",
                each.outcome if head else "",
                measured,
                truth,
                str(each.stored) if head else "",
                ("yes" if each.committed else "[red]no[/red]") if head else "",
                f"{each.seconds:.0f}" if head else "",
            )
    console.print(table)


def _measured(line: Compared) -> str:
    value = "not measured" if line.measured is None else f"{line.measured:.4g}"
    mark = "" if line.within else (" [red]off[/red]" if line.required else " [yellow]off (not required)[/yellow]")
    return f"{line.key.replace('_', ' ')} {value}{mark}"
