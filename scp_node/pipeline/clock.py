"""The metronome: APScheduler says when to look; the store says what there is to do.

Its jobs live in memory on purpose. A second persistent truth beside the store would disagree with it after a crash.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from scp_node.errors import StoreError
from scp_node.journal import journal

SPARE_THREADS = 4


def now_utc() -> datetime:
    """The present moment, aware UTC: the only place where the pipeline reads a clock."""
    return datetime.now(UTC)


class Clock:
    """Calls functions of one argument, ``now``, at even intervals; never two calls of the same one at once."""

    def __init__(self, *, threads: int) -> None:
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(threads + SPARE_THREADS)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        # A beat that falls into a long step is left out on purpose; the library would warn of each in its own words.
        library = logging.getLogger("apscheduler")
        library.addHandler(logging.NullHandler())
        library.propagate = False
        self._scheduler.add_listener(_tell, EVENT_JOB_ERROR)

    def every(self, seconds: float, name: str, call: Callable[[datetime], Any]) -> None:
        """Call ``call(now)`` every so many seconds, the first time at once."""
        self._scheduler.add_job(
            lambda: call(now_utc()), "interval", seconds=seconds, id=name, name=name, next_run_time=now_utc()
        )

    def start(self) -> None:
        """Begin."""
        self._scheduler.start()

    def stop(self) -> None:
        """End: no new call begins, those under way are waited for."""
        self._scheduler.shutdown(wait=True)


def _tell(event: JobExecutionEvent) -> None:
    """Write down a fault; the next beat tries again."""
    if isinstance(event.exception, StoreError):
        journal("pipeline.clock").warning("will be tried again", what=event.job_id, cause=str(event.exception))
        return
    journal("pipeline.clock").error(
        "a duty met a fault that nobody planned",
        what=event.job_id,
        cause=type(event.exception).__name__,
        exception=event.traceback,
    )
