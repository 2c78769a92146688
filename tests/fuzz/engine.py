"""Coverage-guided fuzzing with atheris, where it is installed; the targets work without it, on given bytes.

A target is a module with a function ``consider(data)``: it returns when the product behaved, and raises when it did
not. ``python -m tests.fuzz.NAME -max_total_time=60`` fuzzes it, from and into the corpus beside this file.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
FOUND = Path("build") / "fuzz"
"""New inputs and crashes go there; what is worth keeping is chosen by hand (``-merge=1``)."""


@contextlib.contextmanager
def instrumented(name: str) -> Iterator[None]:
    """Instrument what is imported inside, if the module of this ``__name__`` is the one that is being run."""
    if name != "__main__":
        yield
        return
    import atheris  # noqa: PLC0415 - does not exist for every Python that the tests run on

    with atheris.instrument_imports(include=["scp_node", "pydicom", "pynetdicom", "analyzers"]):
        yield


def fuzz(name: str, consider: Callable[[bytes], None]) -> None:
    """Hand over to libFuzzer; its options are those of the command line. Does not return."""
    import atheris  # noqa: PLC0415

    found, crashes = FOUND / name, FOUND / "crashes"
    for folder in (found, crashes, CORPUS / name):
        folder.mkdir(parents=True, exist_ok=True)
    folders = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    options = [argument for argument in sys.argv[1:] if argument.startswith("-")]
    options.append(f"-artifact_prefix={crashes}/{name}-")
    atheris.Setup([sys.argv[0], *options, *(folders or [str(found), str(CORPUS / name)])], consider)
    atheris.Fuzz()
