"""The journal: structured JSON lines on standard error, without patient data.

Whitelisting, not blacklisting: only the keys in :data:`ALLOWED` are written; any other key of an event is replaced by
``"(withheld)"``, so that a careless call cannot leak a name or an accession number.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, TextIO

import structlog

ALLOWED = frozenset(
    {
        "event", "level", "timestamp", "part", "exception", "cause", "reason", "what", "where",
        "status", "state", "limit", "version", "digest", "until", "rate", "study", "series",
        "instance", "sop_class", "transfer_syntax", "reception", "association", "called_ae",
        "calling_ae", "address", "port", "job", "analyzer", "revision", "attempt", "fence", "pid",
        "exit_code", "seconds", "count", "bytes", "folder", "free_gib", "route", "delivery",
        "object_kind", "peer", "transaction",
    }
)  # fmt: skip
"""Keys whose values hold no patient data."""


def withhold_unknown_keys(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace the value of every key that is not allowed."""
    for key in event:
        if key not in ALLOWED:
            event[key] = "(withheld)"
    return event


def start_journal(level: str) -> None:
    """Write JSON lines to standard error from now on, at ``level`` and above."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            withhold_unknown_keys,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=lambda *_: _Lines(sys.stderr),
        cache_logger_on_first_use=True,
    )


class _Lines:
    """Writes lines; one that cannot be written, because the disk is full or the reader gone, is lost.

    Nothing else may be: an object is not refused, and no process ends, because its journal has no room.
    """

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._lock = threading.Lock()

    def msg(self, message: str) -> None:
        """Write one line, whatever its level."""
        with self._lock, suppress(OSError):
            self._output.write(message + "\n")
            self._output.flush()

    log = debug = info = warning = error = critical = fatal = failure = err = msg


def journal(part: str) -> structlog.typing.FilteringBoundLogger:
    """The journal for one part of the node, e.g. ``inbound``."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(part=part)
    return logger
