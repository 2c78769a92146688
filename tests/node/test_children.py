"""Child processes: they end when they must, with everything that they started."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from scp_node.pipeline.children import LEASH, LocalRunner, kill_if_same
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


def test_a_pid_that_names_another_process_by_now_is_left_alone() -> None:
    own_start = psutil.Process(os.getpid()).create_time()
    assert not kill_if_same(os.getpid(), own_start - 3600.0)


@pytest.mark.parametrize("recorded_later", [False, True])
def test_an_orphan_of_an_earlier_run_is_killed_by_pid_and_start(recorded_later: bool) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    try:
        started_at = psutil.Process(process.pid).create_time()
        assert kill_if_same(process.pid, started_at + (10.0 if recorded_later else 0.0)) is not recorded_later
    finally:
        process.kill()
        process.wait()
