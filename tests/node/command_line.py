"""The command line in process, a small configuration to give it, and what it answered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from scp_node.cli import app

NODE = """
data_folder = "{data}"

[receiving]
ae_titles = ["HAI_NODE"]
bind_address = "127.0.0.1"
port = {port}
keep_free_gib = 0.0
"""
PEERS = """
[peer.ct-1]
ae_title = "CT_1"
addresses = ["127.0.0.1"]
may_send = true

[peer.pacs]
ae_title = "PACS"
addresses = ["127.0.0.1"]
host = "127.0.0.1"
port = {pacs_port}
"""
ROUTES = """
deliver_to = ["pacs"]

[[route]]
name = "pump"
when = { attribute = "StudyDescription", matches = "HAI" }
analyze = ["scintigraphy"]
deliver_to = ["pacs"]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command said and how it ended."""

    exit_code: int
    said: str
    complained: str


def write_config(folder: Path, data: Path, *, port: int = 11112, pacs_port: int = 4242) -> Path:
    """The three files, with one sender and one PACS."""
    folder.mkdir(exist_ok=True)
    (folder / "node.toml").write_text(NODE.format(data=data, port=port), encoding="utf-8")
    (folder / "peers.toml").write_text(PEERS.format(pacs_port=pacs_port), encoding="utf-8")
    (folder / "routes.toml").write_text(ROUTES, encoding="utf-8")
    return folder


def run(*arguments: str | Path, config: Path | None = None) -> Answer:
    """Run one command; a fault that no command expects is raised, not turned into an exit code."""
    told = [str(argument) for argument in arguments]
    if config is not None:
        told += ["--config", str(config)]
    result = CliRunner().invoke(app, told, catch_exceptions=False, env={"COLUMNS": "300"})
    return Answer(exit_code=result.exit_code, said=result.stdout, complained=result.stderr)
