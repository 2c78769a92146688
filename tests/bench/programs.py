"""The programs that take part: our two small C programs, compiled here, and the peers' as they are installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from scp_node.demo.orthanc import orthanc_program
from tests.node.network import dcmtk

SOURCES = Path(__file__).parent
COMPILER_OPTIONS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread")


class BenchError(Exception):
    """The benchmark cannot go on, or a check after a run failed."""


def compiled(name: str, folder: Path) -> Path:
    """Compile one of the C programs beside this file."""
    program = folder / name
    command = ["cc", *COMPILER_OPTIONS, "-o", str(program), str(SOURCES / f"{name}.c")]
    if shutil.which("cc") is None:
        raise BenchError("there is no C compiler: install gcc and libc6-dev")
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise BenchError(f"{name}.c does not compile:\n{ended.stderr}")
    return program


def orthanc() -> str:
    """Path of the Orthanc program."""
    found = orthanc_program()
    if found is None:
        raise BenchError("Orthanc is not installed; tests/peers.sh installs it")
    return found


def versions() -> str:
    """Of the peers."""
    told = (_first_line(dcmtk("storescp"), "--version"), _first_line(orthanc(), "--version"), _first_line("cc"))
    return f"DCMTK {told[0].split()[2]}, {told[1]}, {told[2]}"


def _first_line(program: str, option: str = "--version") -> str:
    return subprocess.run([program, option], capture_output=True, text=True, check=True).stdout.splitlines()[0]
