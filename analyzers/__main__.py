"""The bench command, and the child process that the node starts.

::

    python -m analyzers NAME|FILE.py STUDY OUT [--priors FOLDER]    analyse a study folder
    python -m analyzers NAME|FILE.py --expects summary.json         has everything arrived?
    python -m analyzers NAME|FILE.py --list-thresholds              print what a site may change, as TOML
    python -m analyzers --check-thresholds FILE [--json]            say every fault of a file of thresholds
    python -m analyzers --summary STUDY                             print a folder's summary.json
    python -m analyzers --list [--json]                             name the registered analyzers

The first two take ``--thresholds FILE``: what the site decides otherwise.

Exit status: 0 answered ("not assessable" and "declined" are answers), 2 the command or its input is wrong, 3 the
analyzer failed (with a traceback, for its author), 4 there is no room to write the result.
"""

from __future__ import annotations

import argparse
import errno
import json
import logging
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from analyzers.contract import AnalysisResult, Assessed, Declined, NotAssessable
from analyzers.loading import StudyFolderError, open_study
from analyzers.prior_files import PriorsFolderError
from analyzers.registry import UnknownAnalyzerError, find_analyzer, registered
from analyzers.running import OutFolderError, run_analysis
from analyzers.threshold_files import (
    ThresholdFileError,
    adjusted_by,
    as_toml,
    read_threshold_file,
    threshold_faults,
)
from analyzers.thresholds import ThresholdsError
from analyzers.wire import (
    ContractBrokenError,
    expectation_to_json,
    read_summary,
    summary_to_json,
    threshold_faults_to_json,
)

ANSWERED = 0
BAD_INPUT = 2
ANALYZER_FAULT = 3
NO_ROOM = 4
_NO_ROOM_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


class _BadCommandError(ValueError):
    """The command line or a file that it names is wrong."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    # What a header does wrong becomes a remark or a refusal in the result.
    logging.getLogger("pydicom").setLevel(logging.ERROR)
    try:
        return _run(options)
    except (
        _BadCommandError,
        UnknownAnalyzerError,
        StudyFolderError,
        PriorsFolderError,
        OutFolderError,
        ThresholdFileError,
    ) as error:
        print(f"analyzers: {error}", file=sys.stderr)
        return BAD_INPUT
    except ThresholdsError as error:
        for fault in error.faults:
            print(f"analyzers: threshold {fault}", file=sys.stderr)
        return BAD_INPUT
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _NO_ROOM_ERRORS:
            print(f"analyzers: nothing can be written: {error.strerror}", file=sys.stderr)
            return NO_ROOM
        # The child process' main: whatever an analyzer raises becomes a status.
        traceback.print_exc()
        print("analyzers: the analyzer failed", file=sys.stderr)
        return ANALYZER_FAULT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m analyzers",
        description="Analyse the images of a hepatic arterial infusion patient.",
        epilog="Exit status: 0 answered, 2 the command or its input is wrong, 3 the analyzer failed, "
        "4 no room to write.",
    )
    parser.add_argument("analyzer", nargs="?", metavar="NAME|FILE.py", help="a registered name, or a file")
    parser.add_argument("study", nargs="?", type=Path, metavar="STUDY", help="folder of DICOM files, only read")
    parser.add_argument("out", nargs="?", type=Path, metavar="OUT", help="folder for the result, new or empty")
    parser.add_argument("--priors", type=Path, metavar="FOLDER", help="earlier results of the same patient")
    parser.add_argument("--thresholds", type=Path, metavar="FILE", help="TOML or JSON: what the site decides otherwise")
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--expects", type=Path, metavar="SUMMARY", help="say whether everything has arrived")
    other.add_argument("--summary", type=Path, metavar="STUDY", help="print a study folder's summary.json")
    other.add_argument("--list", action="store_true", help="name the registered analyzers")
    other.add_argument("--list-thresholds", action="store_true", help="print every threshold with its default, as TOML")
    other.add_argument("--check-thresholds", type=Path, metavar="FILE", help="say every fault of a file of thresholds")
    parser.add_argument("--json", action="store_true", help="with --list or --check-thresholds: for programs")
    return parser


def _run(options: argparse.Namespace) -> int:
    if options.list:
        return _list(as_json=options.json)
    if options.summary:
        print(json.dumps(summary_to_json(open_study(options.summary).summary), ensure_ascii=False, indent=1))
        return ANSWERED
    if options.check_thresholds:
        return _check_thresholds(options.check_thresholds, as_json=options.json)
    if not options.analyzer:
        raise _BadCommandError("name an analyzer, or --list them")
    if options.list_thresholds:
        print(as_toml(find_analyzer(options.analyzer)), end="")
        return ANSWERED
    if options.expects:
        return _expects(options.analyzer, options.expects, options.thresholds)
    if not options.study or not options.out:
        raise _BadCommandError("name the folder to read, STUDY, and the folder to write, OUT")
    tables = _tables(options.thresholds)
    result = run_analysis(find_analyzer(options.analyzer), options.study, options.out, options.priors, tables)
    print(_in_words(result), file=sys.stderr)
    return ANSWERED


def _tables(file: Path | None) -> Mapping[str, Any]:
    return read_threshold_file(file) if file else {}


def _expects(name: str, path: Path, thresholds: Path | None) -> int:
    try:
        summary = read_summary(path)
    except (ContractBrokenError, OSError) as error:
        raise _BadCommandError(f"{path}: {error}") from error
    # Standard output is the answer; what an analyzer prints is for people.
    with redirect_stdout(sys.stderr):
        analyzer, _ = adjusted_by(find_analyzer(name), _tables(thresholds))
        expectation = analyzer.expects(summary)
    print(json.dumps(expectation_to_json(expectation), ensure_ascii=False))
    return ANSWERED


def _check_thresholds(file: Path, *, as_json: bool) -> int:
    with redirect_stdout(sys.stderr):
        faults = threshold_faults(read_threshold_file(file))
    if as_json:
        print(json.dumps(threshold_faults_to_json(faults)))
        return ANSWERED
    for fault in faults:
        print(fault)
    return BAD_INPUT if faults else ANSWERED


def _list(*, as_json: bool) -> int:
    listed = [_listed(name, entry.value) for name, entry in registered().items()]
    if as_json:
        print(json.dumps(listed))
        return ANSWERED
    for entry in listed:
        told = entry["version"] or f"cannot be loaded: {entry['fault']}"
        print(f"{entry['name']:20s} {told:12s} {entry['entry_point']}")
    return ANSWERED


def _listed(name: str, entry_point: str) -> dict[str, str]:
    version = fault = ""
    try:
        version = find_analyzer(name).version
    except (ImportError, AttributeError, TypeError) as error:
        fault = str(error)
    return {"name": name, "version": version, "fault": fault, "entry_point": entry_point}


def _in_words(result: AnalysisResult) -> str:
    match result:
        case Assessed(conclusion=conclusion):
            return f"assessed: {conclusion}"
        case NotAssessable(reasons=reasons):
            return f"not assessable: {'; '.join(reasons)}"
        case Declined(reason=reason):
            return f"declined: {reason}"


if __name__ == "__main__":
    sys.exit(main())
