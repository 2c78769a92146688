"""Play the whole job: make three synthetic patients, send them, wait for every answer, compare it with the truth."""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scp_node.demo.archive import Archive
from scp_node.demo.comparison import Compared, compare, passed, read_json
from scp_node.demo.lesions import drawn_on, largest_lesion, plane_places
from scp_node.demo.orthanc import Orthanc, orthanc_program
from scp_node.demo.page import Answered, Shown, leave_objects, leave_result, write_page
from scp_node.demo.scanner import push
from scp_node.demo.world import (
    NODE_TITLE,
    SCANNER_TITLE,
    NodeProcess,
    Pacs,
    Ports,
    free_ports,
    orderly_end,
    start_process,
    write_configuration,
)
from scp_node.domain.delivery import DeliveryState
from scp_node.domain.study import StudyState
from scp_node.errors import NodeError, UnknownStudyError
from scp_node.store.database import Database
from scp_node.store.overview import Explanation, JobLine, Overview

KINDS = ("cta", "mri", "scintigraphy")
"""The longest first: it decides when all are done."""
VARIANTS: Mapping[str, tuple[str, ...]] = {"scintigraphy": ("--variant", "lung-shunt-raised")}
"""What a study must have so that the comparison can fail: a shunt larger than its tolerance."""
LONGEST_S = 600.0
POLL_S = 0.5
PHANTOM_S = 300.0
START_S = 120.0
PLAIN_WIDTH = 120
MARKER = "made-by-demo"
LEFT_BEHIND = f"{MARKER}\n\nThis folder was left by the demonstration; the next one replaces it.\n"


class Story:
    """What happens, line by line, each with the seconds since the beginning."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        if not self.console.is_terminal:
            self.console.width = PLAIN_WIDTH
        self._begun_s = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._begun_s

    def tell(self, who: str, what: str) -> None:
        """Print one step."""
        self.console.print(f"{self.seconds:4.0f} s  [bold]{who:<13}[/bold] {escape(what)}", soft_wrap=True)


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
    story = Story()
    prepare(out)
    with ExitStack() as world:
        world.enter_context(orderly_end())
        scratch = Path(world.enter_context(tempfile.TemporaryDirectory(prefix="hai-demo-")))
        ports = free_ports()
        pacs = world.enter_context(running_pacs(scratch, ports))
        story.tell("PACS", f"{pacs.name} at 127.0.0.1:{pacs.port}, AE title {pacs.ae_title}")
        write_configuration(scratch / "config", scratch / "data", ports, pacs.ae_title)
        node = NodeProcess(scratch / "config", out / "node.log")
        world.callback(node.stop)
        node.start()
        story.tell("node", f"127.0.0.1:{ports.node}, AE title {NODE_TITLE}, log in {out / 'node.log'}")
        finished = _send_and_wait(scratch, ports, node, seed, story)
        shown = [_show(out, each, pacs, scratch / "data") for each in finished]
    page = write_page(out, shown, pacs=pacs.name, facts={"seed": seed, "seconds": story.seconds})
    _print_table(story.console, [each.answered for each in shown])
    good = all(each.answered.passed and each.answered.committed for each in shown)
    story.tell("", _verdict([each.answered for each in shown], good=good))
    story.tell("", f"look at {page}")
    return good


def _verdict(answered: list[Answered], *, good: bool) -> str:
    if good:
        return f"all {len(answered)} studies answered, committed and within tolerance"
    uncommitted = [each.kind for each in answered if not each.committed]
    off = [each.kind for each in answered if not each.passed]
    told = [f"not committed: {', '.join(uncommitted)}"] if uncommitted else []
    return "; ".join([*told, f"not within tolerance: {', '.join(off)}"] if off else told)


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


def _send_and_wait(scratch: Path, ports: Ports, node: NodeProcess, seed: int, story: Story) -> list[Finished]:
    """Make and send the studies two at a time; each is waited for from then on."""
    deadline_s = time.monotonic() + LONGEST_S
    with ThreadPoolExecutor(max_workers=2) as makers, ExitStack() as undo:
        # Whatever goes wrong here, studies that are not begun yet are not begun any more, and a begun one is dropped.
        undo.callback(makers.shutdown, wait=False, cancel_futures=True)
        given_up = threading.Event()
        undo.callback(given_up.set)
        maker = partial(_make_and_send, ports=ports, seed=seed, story=story, given_up=given_up)
        making = {kind: makers.submit(maker, kind, scratch / kind) for kind in KINDS}
        finished = _wait(making, scratch / "data", node, deadline_s, story)
    return [finished[kind] for kind in KINDS]


def _make_and_send(
    kind: str, folder: Path, *, ports: Ports, seed: int, story: Story, given_up: threading.Event
) -> Sent:
    story.tell(kind, f"making a synthetic study, seed {seed}")
    _make(kind, folder, seed, given_up)
    _await_port(ports.node, given_up)
    sent_at_s = time.monotonic()
    pushed = push(folder / "dicom", host="127.0.0.1", port=ports.node, calling_ae=SCANNER_TITLE, called_ae=NODE_TITLE)
    if pushed.refused:
        raise NodeError(f"the node refused {len(pushed.refused)} objects of the {kind} study: {pushed.refused[0]}")
    story.tell(kind, f"{pushed.stored} objects sent by C-STORE in {time.monotonic() - sent_at_s:.1f} s")
    uid = str(read_json(folder / "truth.json")["study_instance_uid"])
    return Sent(kind=kind, folder=folder, study_instance_uid=uid, sent_at_s=sent_at_s)


def _make(kind: str, folder: Path, seed: int, given_up: threading.Event) -> None:
    command = [sys.executable, "-m", "analyzers.phantoms", kind, str(folder), "--seed", str(seed), "--size", "small"]
    command += VARIANTS.get(kind, ())
    log = folder.with_suffix(".log")
    deadline_s = time.monotonic() + PHANTOM_S
    with log.open("wb") as stream, start_process(command, stream) as process:
        while process.poll() is None:
            if given_up.wait(POLL_S / 5) or time.monotonic() > deadline_s:
                process.kill()
    if process.returncode != 0:
        said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = said[-1] if said else "nothing said"
        raise NodeError(f"the synthetic {kind} study could not be made (exit code {process.returncode}): {last}")


def _await_port(port: int, given_up: threading.Event) -> None:
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s and not given_up.is_set():
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            given_up.wait(POLL_S)
        else:
            return
    raise NodeError("the node's port does not answer")


def _wait(
    making: Mapping[str, Future[Sent]], data_folder: Path, node: NodeProcess, deadline_s: float, story: Story
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
                story.tell(kind, step)
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
        return f"{told.study.state}: {told.study.state_reason}" if told.study.state_reason else told.study.state
    return "; ".join(_job_step(line) for line in told.jobs)


def _job_step(line: JobLine) -> str:
    if not line.deliveries:
        return f"analysis {line.job.state}"
    stored = sum(each.state in (DeliveryState.SENT, DeliveryState.COMMITTED) for each in line.deliveries)
    committed = sum(each.state is DeliveryState.COMMITTED for each in line.deliveries)
    return f"{len(line.deliveries)} objects made, {stored} stored in the PACS, {committed} committed"


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
        compared = _compared(sent, result, read_json(place / "truth.json"))
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
            committed=len(fetched) == len(deliveries) > 0
            and all(each.state is DeliveryState.COMMITTED for each in deliveries),
            seconds=finished.seconds,
            passed=passed(compared, sent.kind),
        ),
        pictures=tuple(f"{sent.kind}/{name}" for name in pictures),
        reports=tuple((f"{sent.kind}/{name}", text) for name, text in reports),
        objects=tuple(f"{sent.kind}/{name}" for name in objects),
    )


def _compared(sent: Sent, result: dict[str, Any], truth: dict[str, Any]) -> tuple[Compared, ...]:
    """What has one truth, and of MR the largest lesion too."""
    compared = compare(sent.kind, result, truth)
    if sent.kind == "mri":
        images = sorted(path for path in (sent.folder / "dicom").rglob("*") if path.is_file())
        lesion = largest_lesion(result, truth, plane_places(images, drawn_on(result)))
        compared += [lesion] if lesion is not None else []
    return tuple(compared)


def _print_table(console: Console, answered: list[Answered]) -> None:
    columns = ("study", "outcome", "measurement", "measured", "truth", "", "objects", "committed", "seconds")
    table = Table(*columns, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for each in answered:
        committed = "yes" if each.committed else "[red]no[/red]"
        head = (each.kind, each.outcome), (str(each.stored), committed, f"{each.seconds:.0f}")
        for line in each.compared or (None,):
            middle = ("", "", "", "") if line is None else _measured(line)
            table.add_row(*head[0], *middle, *head[1])
            head = ("", ""), ("", "", "")
        table.add_section()
    console.print(table)


def _measured(line: Compared) -> tuple[str, str, str, str]:
    value = "-" if line.measured is None else f"{line.measured:.4g} {line.unit_shown}"
    truth = f"{line.truth:.4g} ± {line.tolerance:.3g} {line.unit_shown}"
    if line.within:
        mark = "[green]within[/green]"
    else:
        mark = "[red]off[/red]" if line.required else "[yellow]off (not required)[/yellow]"
    return line.name, escape(value), escape(truth), mark
