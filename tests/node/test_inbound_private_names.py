"""What the receiver uses of the library beside its public interface is listed, exists, and nothing else is used."""

import ast
import importlib
import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from scp_node.inbound.reactor import PRIVATE_NAMES
from tests.node.network import REPOSITORY

BASES: dict[str, type] = {
    "Association": Association,
    "PromptAssociation": Association,
    "DULServiceProvider": DULServiceProvider,
    "PromptProvider": DULServiceProvider,
    "AssociationSocket": AssociationSocket,
    "RequestHandler": RequestHandler,
    "ThreadedAssociationServer": ThreadedAssociationServer,
}
"""Names after which our classes are derived from the library's."""
LISTED = {name for names in PRIVATE_NAMES.values() for name in names}
MODULES = sorted((REPOSITORY / "scp_node" / "inbound").glob("*.py"))


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_names_of(source: str) -> set[str]:
    """Private methods, and attributes of ``self`` and ``cls``, in some source."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and is_private(node.name):
            found.add(node.name)
        if isinstance(node, ast.Attribute) and is_private(node.attr) and isinstance(node.value, ast.Name):
            found.add(node.attr)
    return found


def library_names(kind: type) -> set[str]:
    """Private names of a class of the library, inherited ones among them."""
    bases = [base for base in kind.__mro__ if base is not object]
    return set().union(*(private_names_of(textwrap.dedent(inspect.getsource(one))) for one in bases))


def foreign_accesses(source: str) -> Iterator[str]:
    """Private attributes of anything but ``self`` and ``cls``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and ast.unparse(node.value) not in ("self", "cls"):
            yield node.attr


def overlaps(source: str) -> Iterator[tuple[str, str]]:
    """Class and name, where a class that is derived from the library's has a private name that the library has, too."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ClassDef):
            continue
        for base in (ast.unparse(one) for one in node.bases):
            if base in BASES:
                shared = private_names_of(ast.unparse(node)) & library_names(BASES[base])
                yield from ((node.name, name) for name in sorted(shared))


@pytest.mark.parametrize("path", sorted(PRIVATE_NAMES))
def test_every_private_name_exists_in_the_pinned_library(path: str) -> None:
    module, _, name = path.rpartition(".")
    kind = getattr(importlib.import_module(module), name)

    assert set(PRIVATE_NAMES[path]) - library_names(kind) == set()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_no_other_private_name_is_used(path: Path) -> None:
    assert set(foreign_accesses(path.read_text())) - LISTED == set()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_no_name_of_ours_hides_one_of_the_library(path: Path) -> None:
    assert {(kind, name) for kind, name in overlaps(path.read_text()) if name not in LISTED} == set()


def test_every_listed_name_is_used() -> None:
    sources = [path.read_text() for path in MODULES]
    used = {name for source in sources for name in (*foreign_accesses(source), *private_names_of(source))}

    assert LISTED - used == set()


def test_a_name_that_hides_the_library_s_is_found() -> None:
    source = "class Ours(Association):\n    def __init__(self):\n        self._handlers = 1\n        self._new = 2\n"

    assert list(overlaps(source)) == [("Ours", "_handlers")]


def test_an_access_to_a_foreign_private_name_is_found() -> None:
    assert list(foreign_accesses("association._acse._x = self._y")) == ["_x", "_acse"]
