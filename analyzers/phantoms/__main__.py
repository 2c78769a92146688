"""The command ``python -m analyzers.phantoms KIND OUT --seed N``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from analyzers.phantoms.catalogue import KIND_MODULES, check_request, load_kind, variants_of
from analyzers.phantoms.request import PhantomError, PhantomRequest
from analyzers.phantoms.writing import check_folder, write_study


def make_phantom(request: PhantomRequest, out: Path) -> int:
    """Make and write one study; returns the number of DICOM files.

    Raises
    ------
    PhantomError
        If the request cannot be met or the folder is not empty.
    """
    kind = load_kind(request.kind)
    check_request(request, kind)
    check_folder(out)
    return write_study(request, kind.make(request), out)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m analyzers.phantoms", description="Make a synthetic HAI-pump study with known truth."
    )
    parser.add_argument("kind", choices=list(KIND_MODULES))
    parser.add_argument("out", type=Path, nargs="?", help="new or empty folder")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same patient and same bytes (default 1)")
    parser.add_argument("--variant", nargs="+", action="extend", default=[], metavar="NAME")
    parser.add_argument("--size", choices=["small", "full"], default="small")
    parser.add_argument(
        "--model",
        choices=["development", "evaluation"],
        default="development",
        help="which forward model makes the images",
    )
    parser.add_argument("--list-variants", action="store_true")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status, 2 for a request that cannot be met."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        if options.list_variants:
            for name, description in variants_of(load_kind(options.kind)).items():
                print(f"{name:26s} {description}")
            return 0
        if options.out is None:
            parser.error("name the folder to write, OUT")
        request = PhantomRequest(
            kind=options.kind,
            seed=options.seed,
            variants=tuple(sorted(set(options.variant))),
            size=options.size,
            model=options.model,
        )
        print(f"making {request.kind} phantom, seed {request.seed}, {request.size}", file=sys.stderr)
        count = make_phantom(request, options.out)
    except PhantomError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"wrote {count} DICOM files, truth.json and masks to {options.out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
