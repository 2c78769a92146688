"""The child process that encodes: ``python -m scp_node.objects JOB_FOLDER``.

Reads ``JOB_FOLDER/job.json``, writes ``JOB_FOLDER/objects/*.dcm`` and, last, ``objects/manifest.json``. Exit code 0:
made; 2: the order is wrong; 3: a fault, with one clear line and the traceback on standard error; 4: no room to write.
"""

from __future__ import annotations

import argparse
import errno
import logging
import sys
import traceback
import warnings
from pathlib import Path

from scp_node.objects.encoding import encode
from scp_node.objects.order import EXIT_NO_ROOM, EncodingOrderError

EXIT_MADE = 0
EXIT_BAD_ORDER = 2
EXIT_FAULT = 3
_NO_ROOM_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


def main(arguments: list[str] | None = None) -> int:
    """Encode one job; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m scp_node.objects", description="Encode the result of one job.")
    parser.add_argument("job_folder", type=Path, metavar="JOB_FOLDER", help="folder that holds job.json")
    job_folder: Path = parser.parse_args(arguments).job_folder
    # Libraries warn by quoting the value that they dislike, and it may be a patient's.
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    try:
        entries = encode(job_folder)
    except EncodingOrderError as fault:
        print(f"the encoding order is wrong: {fault}", file=sys.stderr)
        return EXIT_BAD_ORDER
    except Exception as fault:
        if isinstance(fault, OSError) and fault.errno in _NO_ROOM_ERRORS:
            print(f"nothing can be written: {fault.strerror}", file=sys.stderr)
            return EXIT_NO_ROOM
        print(f"encoding failed: {type(fault).__name__}: {fault}", file=sys.stderr)
        traceback.print_exc(file=sys.stderr)
        return EXIT_FAULT
    print(f"{len(entries)} object(s) in {job_folder / 'objects'}")
    return EXIT_MADE


if __name__ == "__main__":
    sys.exit(main())
