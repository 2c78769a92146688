"""Find an analyzer: by the name that a package registered, or by the path of a Python file.

Any installed package may register one, in its ``pyproject.toml``::

    [project.entry-points."hai_node.analyzers"]
    doppler = "hospital_doppler:ANALYZER"

A file needs no registration; it defines ``ANALYZER``. Nothing is imported before it is asked for, so one broken
analyzer never hurts the others.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from analyzers.contract import Analyzer
from analyzers.result_check import NAME
from analyzers.thresholds import why_unusable

GROUP = "hai_node.analyzers"


class UnknownAnalyzerError(ValueError):
    """No analyzer has that name, or there is no such file; the message lists the names that there are."""


class NotAnAnalyzerError(TypeError):
    """What was registered, or what the file defines, is not an :class:`~analyzers.contract.Analyzer`."""


def registered() -> Mapping[str, EntryPoint]:
    """Every registered name, sorted; nothing is imported."""
    return {entry.name: entry for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name)}


def find_analyzer(name_or_file: str) -> Analyzer:
    """Load one analyzer.

    Parameters
    ----------
    name_or_file : str
        A registered name, or the path of a file that ends in ``.py``.

    Raises
    ------
    UnknownAnalyzerError
        If there is none.
    NotAnAnalyzerError
        If what was found is not an analyzer, or calls itself otherwise than it was registered.
    Exception
        Whatever importing it raises.
    """
    if name_or_file.endswith(".py"):
        return _from_file(Path(name_or_file))
    known = registered()
    if name_or_file not in known:
        names = ", ".join(known) or "none; install the package first"
        raise UnknownAnalyzerError(f"no analyzer is called {name_or_file!r} (there are: {names})")
    analyzer = _checked(known[name_or_file].load(), f"entry point {name_or_file!r}")
    if analyzer.name != name_or_file:
        raise NotAnAnalyzerError(f"entry point {name_or_file!r} leads to an analyzer called {analyzer.name!r}")
    return analyzer


def _from_file(path: Path) -> Analyzer:
    if not path.is_file():
        raise UnknownAnalyzerError(f"there is no file {path}")
    name = f"analyzer_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UnknownAnalyzerError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by name while they are made.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return _checked(getattr(module, "ANALYZER", None), f"ANALYZER in {path}")


def _checked(found: object, where: str) -> Analyzer:
    if not isinstance(found, Analyzer):
        raise NotAnAnalyzerError(f"{where} is a {type(found).__name__}, not an analyzers.Analyzer")
    if not NAME.fullmatch(found.name) or not found.version:
        raise NotAnAnalyzerError(f"{where}: name {found.name!r} or version {found.version!r} is not usable")
    if (found.thresholds is None) != (found.with_thresholds is None):
        raise NotAnAnalyzerError(f"{where}: give thresholds and with_thresholds together, or neither")
    if found.thresholds is not None and (fault := why_unusable(found.thresholds)):
        raise NotAnAnalyzerError(f"{where}: thresholds: {fault}")
    return found
