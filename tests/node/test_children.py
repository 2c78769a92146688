"""Child processes: they end when they must, with everything that they started."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from scp_node.pipeline.children import LEASH, LocalRunner, kill_remains
from scp_node.pipeline.ports import Child, ChildEnd, Ending, Limits

PATIENCE_S = 30.0


def run(
    tmp_path: Path,
    program: str,
    *,
    time_s: float = PATIENCE_S,
    memory_gib: float = 4.0,
    wanted: Callable[[], bool] = lambda: True,
) -> tuple[ChildEnd, int]:
    pids: list[int] = []
    child = Child(
        command=(sys.executable, "-c", program),
        log=tmp_path / "stderr.log",
        limits=Limits(time_s=time_s, memory_gib=memory_gib, niceness=3),
    )
    end = LocalRunner().run(child, started=lambda pid, _at: pids.append(pid), wanted=wanted)
    return end, pids[0]


def gone(pid: int) -> bool:
    """Wait for a process to vanish, within reason."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def gone_now(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_child_that_ends_well_leaves_its_output_and_exit_code(tmp_path: Path) -> None:
    end, _pid = run(tmp_path, "import sys; print('answer'); print('oops', file=sys.stderr); sys.exit(7)")
    assert (end.ending, end.exit_code) == (Ending.EXITED, 7)
    assert end.stdout == b"answer\n"
    assert end.stderr_tail == "oops\n"


def test_a_child_yields_the_cpu(tmp_path: Path) -> None:
    end, _pid = run(tmp_path, "import os; print(os.nice(0))")
    assert int(end.stdout) >= 3


def test_an_endless_child_is_stopped_at_its_time(tmp_path: Path) -> None:
    end, pid = run(tmp_path, "while True: pass", time_s=0.5)
    assert end.ending is Ending.TIMED_OUT
    assert gone(pid)


def test_a_memory_hog_is_stopped_at_its_limit(tmp_path: Path) -> None:
    end, pid = run(tmp_path, "import time; hog = bytearray(300_000_000); time.sleep(60)", memory_gib=0.1)
    assert end.ending is Ending.OUT_OF_MEMORY
    assert end.peak_memory_gib > 0.1
    assert gone(pid)


def test_memory_is_counted_over_the_whole_family(tmp_path: Path) -> None:
    hog = "import time; hog = bytearray(150_000_000); time.sleep(60)"
    program = (
        f"import subprocess, sys; [subprocess.Popen([sys.executable, '-c', {hog!r}]) for _ in range(2)][-1].wait()"
    )
    end, _pid = run(tmp_path, program, memory_gib=0.25)
    assert end.ending is Ending.OUT_OF_MEMORY


def test_a_child_whose_result_is_unwanted_is_stopped(tmp_path: Path) -> None:
    end, pid = run(tmp_path, "import time; time.sleep(60)", wanted=lambda: False)
    assert end.ending is Ending.STOPPED
    assert gone(pid)


def test_grandchildren_end_with_the_child(tmp_path: Path) -> None:
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    program = f"import subprocess; print(subprocess.Popen({sleeper!r}).pid)"
    end, _pid = run(tmp_path, program)
    assert end.exit_code == 0
    assert gone(int(end.stdout))


def test_a_child_dies_with_its_parent() -> None:
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    leashed = [sys.executable, "-I", "-S", str(LEASH), "0", *sleeper]
    program = f"import subprocess, time; p = subprocess.Popen({leashed!r}); print(p.pid, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child_pid = int(parent.stdout.readline())
        time.sleep(0.5)  # the leash sets its signal before it becomes the command
        assert psutil.pid_exists(child_pid)
        parent.kill()
    assert gone(child_pid)


GRANDCHILDREN = """
import os, subprocess, sys, time
sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
plain = subprocess.Popen(sleeper)
grouped = subprocess.Popen(sleeper, process_group=0)
print(os.getpid(), plain.pid, grouped.pid, flush=True)
time.sleep(60)
"""
"""Starts one process in its own group and one in another."""


def test_grandchildren_in_a_group_of_their_own_end_with_the_child(tmp_path: Path) -> None:
    end, _pid = run(tmp_path, GRANDCHILDREN, time_s=2.0)
    assert end.ending is Ending.TIMED_OUT
    assert all(gone(int(pid)) for pid in end.stdout.split())


@contextmanager
def family() -> Iterator[tuple[psutil.Process, list[psutil.Process]]]:
    """A child that leads a session, and the two processes that it started."""
    command = [sys.executable, "-c", GRANDCHILDREN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as leader:
        assert leader.stdout is not None
        members = [psutil.Process(int(pid)) for pid in leader.stdout.readline().split()]
        try:
            yield members[0], members[1:]
        finally:
            for process in members:
                with suppress(psutil.NoSuchProcess):
                    process.kill()


def test_what_a_dead_child_of_an_earlier_run_started_is_killed() -> None:
    with family() as (leader, started):
        started_at = leader.create_time()
        leader.kill()
        assert gone(leader.pid)
        os.waitpid(leader.pid, 0)  # as init does once the node is dead
        assert not any(gone_now(process) for process in started), "they do not die with it"
        assert kill_remains(leader.pid, started_at) == 2
        assert all(gone(process.pid) for process in started)


def test_a_living_child_of_an_earlier_run_is_killed_with_its_family() -> None:
    with family() as (leader, started):
        assert kill_remains(leader.pid, leader.create_time()) == 3
        assert all(gone(process.pid) for process in (leader, *started))


@pytest.mark.parametrize("recorded_s_later", [-3600.0, 3600.0])
def test_a_number_that_names_another_process_by_now_is_left_alone(recorded_s_later: float) -> None:
    with family() as (leader, started):
        assert kill_remains(leader.pid, leader.create_time() + recorded_s_later) == 0
        assert not any(gone_now(process) for process in (leader, *started))


def test_processes_that_began_before_the_recorded_child_are_not_its_own() -> None:
    with family() as (leader, started):
        started_at = leader.create_time()
        leader.kill()
        os.waitpid(leader.pid, 0)
        assert kill_remains(leader.pid, started_at + 3600.0) == 0
        assert not any(gone_now(process) for process in started)


def test_numbers_from_before_the_last_start_of_the_system_mean_nothing() -> None:
    with family() as (leader, started):
        leader.kill()
        os.waitpid(leader.pid, 0)
        assert kill_remains(leader.pid, psutil.boot_time() - 10.0) == 0
        assert not any(gone_now(process) for process in started)


def test_a_node_never_kills_its_own_session() -> None:
    assert kill_remains(os.getsid(0), 4e9) == 0
