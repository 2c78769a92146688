"""Start a command that dies with its parent and yields the CPU: ``leash.py NICENESS COMMAND ...`` (Linux).

Run as a file by an isolated interpreter, it sets its own parent-death signal (which survives ``exec``) before it
becomes the command. Doing that here, and not in a hook between fork and exec, keeps the threaded parent safe.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Set the parent-death signal and the niceness, then become the command."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if parent == 1 or os.getppid() != parent:
        sys.exit("the parent ended before its child began")
    os.nice(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - no shell on purpose


if __name__ == "__main__":
    main()
