"""What is said twice is compared: documentation and program, examples and settings, links and files."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, get_args

import click
import pytest
import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from analyzers.headers import ATTRIBUTES, CODE_SEQUENCES
from scp_node import errors
from scp_node.cli import app
from scp_node.settings.node import NodeSettings
from scp_node.settings.peers import Peer
from scp_node.settings.routes import ConditionTable, RoutesFile, RouteTable
from scp_node.store.alarms import AlarmKind

REPOSITORY = Path(__file__).parents[1]
CONFIG_TEXT = (REPOSITORY / "config" / "README.md").read_text(encoding="utf-8")
OPERATIONS_TEXT = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|<img[^>]*\ssrc=\"([^\"]+)\"")
KEY_ROW = re.compile(r"^\| `(\w+)` \| (.*?) \|", re.MULTILINE)


def commands() -> dict[str, click.Command]:
    group = typer.main.get_command(app)
    found: dict[str, click.Command] = vars(group)["commands"]  # typer may bring a group class of its own
    return found


def tables() -> dict[str, type[BaseModel]]:
    """Heading in the documentation → the settings that it explains."""
    node = {
        f"[{name}]": table
        for name, field in NodeSettings.model_fields.items()
        # A table that may be absent is annotated as "Table | None".
        for table in (field.annotation, *get_args(field.annotation))
        if isinstance(table, type) and issubclass(table, BaseModel)
    }
    return {
        "The node": NodeSettings,
        **node,
        "peers.toml": Peer,
        "routes.toml": RoutesFile,
        "[[route]]": RouteTable,
        "A condition": ConditionTable,
    }


def section(heading: str) -> str:
    found = re.search(rf"^##+ {re.escape(heading)}\n(.*?)(?=^##|\Z)", CONFIG_TEXT, re.MULTILINE | re.DOTALL)
    assert found is not None, f"config/README.md has no section {heading}"
    return found.group(1)


def shown_default(value: Any) -> str:
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value is None:
        return "none"
    if isinstance(value, str):
        return f'`"{value}"`'
    return "`[]`" if value == () else f"`{value}`"


@pytest.mark.parametrize("heading", tables())
def test_every_key_is_explained_with_its_default(heading: str) -> None:
    model = tables()[heading]
    of_their_own = {name for name in NodeSettings.model_fields if f"[{name}]" in tables() and model is NodeSettings}
    defaults = {
        name: shown_default(field.default)
        for name, field in model.model_fields.items()
        if name not in of_their_own and field.default_factory is None
    }

    explained = dict(KEY_ROW.findall(section(heading)))

    assert set(explained) == set(model.model_fields) - of_their_own
    special = {"objects": "all kinds"}
    assert {name: special.get(name, shown) for name, shown in defaults.items()} == {
        name: shown for name, shown in explained.items() if name in defaults
    }


def test_every_attribute_that_a_route_can_ask_for_is_listed() -> None:
    listed = set(re.findall(r"`([\w.]+)`", section("A condition")))

    assert set(ATTRIBUTES) | set(CODE_SEQUENCES) | {"Modality"} <= listed


@pytest.mark.parametrize("file", ["node.toml", "peers.toml", "routes.toml"])
def test_the_shipped_files_name_no_key_that_is_not_explained(file: str) -> None:
    shipped = tomllib.loads((REPOSITORY / "config" / file).read_text(encoding="utf-8"))
    explained = set(re.findall(r"`(\w+)`", CONFIG_TEXT)) | set(re.findall(r"^### \[(\w+)\]", CONFIG_TEXT, re.MULTILINE))

    assert set(shipped) - {"peer"} <= explained


@pytest.mark.parametrize("name", commands())
def test_every_command_has_help_and_is_documented(name: str) -> None:
    command = commands()[name]

    assert command.help
    assert all(getattr(parameter, "help", None) for parameter in command.params if parameter.name != "help")
    assert re.search(rf"^\| `{re.escape(name)}[ `]", OPERATIONS_TEXT, re.MULTILINE)


@pytest.mark.parametrize("text", ["README.md", "docs/operations.md", "docs/install.md"])
def test_no_command_is_documented_that_does_not_exist(text: str) -> None:
    told = (REPOSITORY / text).read_text(encoding="utf-8")

    named = re.findall(r"(?:run_node\.py|^hai-node|`hai-node|&& hai-node) ([a-z-]+)(?=[ `\n])", told, re.MULTILINE)

    assert set(named) <= set(commands())


@pytest.mark.parametrize("kind", AlarmKind)
def test_every_alarm_says_what_to_do(kind: AlarmKind) -> None:
    assert f"| `{kind}` |" in OPERATIONS_TEXT


def tracked_documents() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode != 0:  # an unpacked archive is no repository
        return [path for path in REPOSITORY.rglob("*.md") if ".venv" not in path.parts]
    return [REPOSITORY / name for name in listed.stdout.splitlines()]


@pytest.mark.parametrize("document", tracked_documents(), ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_every_link_leads_to_a_file(document: Path) -> None:
    targets = ["".join(found) for found in LINK.findall(document.read_text(encoding="utf-8"))]
    relative = [target.split("#")[0] for target in targets if not target.startswith(("http", "mailto:", "#"))]

    assert [target for target in relative if not (document.parent / target).exists()] == []


def test_the_tree_of_errors_is_the_one_in_its_description() -> None:
    described: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"( *)(\w+Error)\b", line)
        if found is not None:
            depth = len(found.group(1)) // 2
            path[depth:] = [found.group(2)]
            described[found.group(2)] = path[depth - 1] if depth else "Exception"

    real = {
        name: value.__bases__[0].__name__
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }

    assert described == real


def test_the_analyzer_in_the_readme_runs_as_it_stands(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "doppler.py").write_text(example, encoding="utf-8")
    study, out = tmp_path / "study", tmp_path / "out"
    make = [sys.executable, "-m", "analyzers.phantoms", "scintigraphy", str(study), "--seed", "1", "--size", "small"]
    subprocess.run(make, check=True, capture_output=True)

    bench = [sys.executable, "-m", "analyzers", str(tmp_path / "doppler.py"), str(study / "dicom"), str(out)]
    subprocess.run(bench, check=True, capture_output=True)

    assert json.loads((out / "result.json").read_text(encoding="utf-8"))["outcome"] == "declined"


def test_the_unit_starts_what_the_installation_installs() -> None:
    unit = (REPOSITORY / "docs" / "systemd" / "hai-node.service").read_text(encoding="utf-8")
    install = (REPOSITORY / "docs" / "install.md").read_text(encoding="utf-8")

    for place in ("/opt/hai-node", "/etc/hai-node", "/var/lib/hai-node"):
        assert place in unit
        assert place in install
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE" in unit


def test_each_test_that_stands_for_a_promise_of_the_front_door_exists() -> None:
    named = re.findall(r"`(tests/[\w/.]+\.py)::(\w+)`", (REPOSITORY / "docs" / "front-door.md").read_text("utf-8"))
    assert len(named) > 50
    absent = [name for file, name in named if f"\ndef {name}(" not in (REPOSITORY / file).read_text("utf-8")]
    assert absent == []
