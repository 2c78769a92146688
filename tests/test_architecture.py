"""The size budget and the house rules that no linter knows, counted over the source itself."""

import ast
import io
import re
import statistics
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PRODUCT = ("scp_node", "analyzers")

MODULE_LINES = 400
FUNCTION_CODE_LINES = 60
FUNCTION_CODE_LINES_P95 = 40

# The three places where a fault that nobody planned becomes a status or an outcome, each logging the traceback:
# the C-STORE handler, the stage runner, and the main of a child process (there are two kinds of child).
BROAD_EXCEPT_PLACES = {
    # The handler of C-STORE has two halves: one answers, one records.
    ("scp_node/inbound/intake.py", "_guarded"),
    ("scp_node/inbound/recorder.py", "_examined"),
    ("scp_node/pipeline/stage.py", "_step"),
    ("analyzers/__main__.py", "main"),
    ("scp_node/objects/__main__.py", "main"),
}

# Where the wall clock is read; everywhere else `now` is an argument. Measuring a duration (`monotonic`) is free.
CLOCK_PLACES = (
    "scp_node/pipeline/clock.py",
    "scp_node/inbound/listener.py",
    "scp_node/inbound/recorder.py",
    "scp_node/demo/",
)
CLOCK_CALLS = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.time_ns"}

# These words say that something could not be named.
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc", "tools", "shared"}

DEVELOPER_PATHS = re.compile(r"(?:^|[\s\"'`=(:])(?:/(?:home|Users)/\w|/root\b|[A-Z]:\\Users)")
NOT_OURS = {".git", ".venv", "demo-out", "build", "__pycache__"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function of the product and how much code it holds, without blank lines, comments and docstring."""

    path: str
    name: str
    code_lines: int


def product_modules() -> list[Path]:
    return sorted(path for package in PRODUCT for path in (REPOSITORY / package).rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def code_line_numbers(source: str) -> set[int]:
    """Line numbers that hold code, counted from 1; the lines of a multi-line string count."""
    silent = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    return {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in silent
        for line in range(token.start[0], token.end[0] + 1)
    }


def docstring_line_numbers(node: ast.AST) -> set[int]:
    """Line numbers of every docstring inside the node, its own one included."""
    lines: set[int] = set()
    for inner in ast.walk(node):
        if not isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
            continue
        if ast.get_docstring(inner, clean=False) is not None:
            lines.update(range(inner.body[0].lineno, (inner.body[0].end_lineno or 0) + 1))
    return lines


def functions_of(source: str, path: str) -> Iterator[Function]:
    code = code_line_numbers(source)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            own = set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
            yield Function(path=path, name=node.name, code_lines=len((own & code) - docstring_line_numbers(node)))


def product_functions() -> list[Function]:
    return [
        function
        for path in product_modules()
        for function in functions_of(path.read_text(encoding="utf-8"), relative(path))
    ]


def catches_everything(handler: ast.ExceptHandler) -> bool:
    """Whether the handler is bare or names Exception or BaseException, alone or among others."""
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(
        kind is None or (isinstance(kind, ast.Name) and kind.id in {"Exception", "BaseException"}) for kind in caught
    )


def broad_excepts_of(source: str, path: str) -> set[tuple[str, str]]:
    """Pairs of file and innermost named function around each handler that catches everything."""
    found: set[tuple[str, str]] = set()

    def visit(node: ast.AST, function: str) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            function = node.name
        if isinstance(node, ast.ExceptHandler) and catches_everything(node):
            found.add((path, function))
        for child in ast.iter_child_nodes(node):
            visit(child, function)

    visit(ast.parse(source), "<module>")
    return found


def clock_reads_of(source: str) -> list[int]:
    """Line numbers of the calls that read the wall clock."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and ".".join(ast.unparse(node.func).split(".")[-2:]) in CLOCK_CALLS
    ]


def our_text_files() -> Iterator[tuple[str, str]]:
    """Relative name and content of every text file of the checkout that is not the product of a command."""
    for path in sorted(REPOSITORY.rglob("*")):
        parts = path.relative_to(REPOSITORY).parts
        ignored = any(part in NOT_OURS or part.endswith((".egg-info", "_cache")) for part in parts)
        if ignored or not path.is_file() or ".hypothesis" in parts:
            continue
        content = path.read_bytes()
        if b"\0" not in content:
            yield relative(path), content.decode("utf-8", errors="replace")


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    too_long = {
        relative(path): count
        for path in product_modules()
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > MODULE_LINES
    }

    assert too_long == {}


def test_no_function_exceeds_the_hard_limit_of_code_lines() -> None:
    too_long = [function for function in product_functions() if function.code_lines > FUNCTION_CODE_LINES]

    assert too_long == []


def test_nineteen_of_twenty_functions_fit_on_a_screen() -> None:
    counts = [function.code_lines for function in product_functions()]

    assert statistics.quantiles(counts, n=20)[-1] <= FUNCTION_CODE_LINES_P95


def test_no_name_is_rebound_across_the_process() -> None:
    rebinding = [
        f"{relative(path)}:{node.lineno}"
        for path in product_modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Global)
    ]

    assert rebinding == []


def test_everything_is_caught_only_at_the_named_boundaries() -> None:
    found: set[tuple[str, str]] = set()
    for path in product_modules():
        found |= broad_excepts_of(path.read_text(encoding="utf-8"), relative(path))

    assert found - BROAD_EXCEPT_PLACES == set()


def test_the_clock_is_read_only_at_the_edges() -> None:
    reads = [
        f"{relative(path)}:{line}"
        for path in product_modules()
        if not relative(path).startswith(CLOCK_PLACES)
        for line in clock_reads_of(path.read_text(encoding="utf-8"))
    ]

    assert reads == []


def test_every_module_has_a_name_that_says_what_it_holds() -> None:
    empty = [relative(path) for path in product_modules() if path.stem.strip("_") in EMPTY_NAMES]

    assert empty == []


def test_config_folder_holds_data_only() -> None:
    allowed = {".toml", ".md"}
    code = [relative(path) for path in (REPOSITORY / "config").rglob("*.*") if path.suffix not in allowed]

    assert code == []


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    named = [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in our_text_files()
        for number, line in enumerate(text.splitlines(), start=1)
        if DEVELOPER_PATHS.search(line)
    ]

    assert named == []


@pytest.mark.parametrize("lock", ["dev.lock", "runtime.lock"])
def test_lock_file_names_versions_and_hashes_but_no_place_to_fetch_from(lock: str) -> None:
    text = (REPOSITORY / "requirements" / lock).read_text(encoding="utf-8")
    requirements = re.findall(r"(?m)^[a-z0-9][^\s=]*==\S+", text)

    assert len(requirements) > 20
    assert text.count("--hash=sha256:") >= len(requirements)
    assert not re.search(r"http|@|--(?:extra-)?index-url|--find-links", text)


def test_runtime_lock_is_a_part_of_the_development_lock() -> None:
    def pins(lock: str) -> set[str]:
        text = (REPOSITORY / "requirements" / lock).read_text(encoding="utf-8")
        return set(re.findall(r"(?m)^[a-z0-9][^\s\\]*==[^\s\\]+", text))

    assert pins("runtime.lock") <= pins("dev.lock")


def test_counting_leaves_out_docstring_comments_and_blank_lines() -> None:
    source = 'def f(x):\n    """Say.\n\n    More.\n    """\n    # why\n\n    return (\n        x\n    )\n'

    assert [function.code_lines for function in functions_of(source, "f.py")] == [4]


@pytest.mark.parametrize(
    "clause", ["except:", "except Exception:", "except BaseException as fault:", "except (OSError, Exception):"]
)
def test_a_broad_except_is_recognised_in_each_of_its_spellings(clause: str) -> None:
    source = f"def f():\n    try:\n        pass\n    {clause}\n        pass\n"

    assert broad_excepts_of(source, "f.py") == {("f.py", "f")}


@pytest.mark.parametrize("call", ["datetime.now(UTC)", "datetime.datetime.now()", "time.time()", "dt.date.today()"])
def test_a_read_of_the_clock_is_recognised(call: str) -> None:
    assert clock_reads_of(f"x = 1\ny = {call}\n") == [2]


def test_a_narrow_except_is_not_called_broad() -> None:
    source = "def f():\n    try:\n        pass\n    except (OSError, ValueError):\n        pass\n"

    assert broad_excepts_of(source, "f.py") == set()


@pytest.mark.parametrize("line", ["see /" + "home/ada/x", "cd /" + "root", "C:" + "\\Users\\ada"])
def test_a_path_of_somebodys_machine_is_recognised(line: str) -> None:
    assert DEVELOPER_PATHS.search(line)
