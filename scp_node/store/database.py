"""The database: opened, migrated, and two kinds of transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError, IntegrityError

from scp_node.errors import StoreError
from scp_node.store.tables import NEWEST_TABLES

FILE_NAME = "node.sqlite3"
BUSY_TIMEOUT_S = 30
"""How long a writer waits for another process' transaction. They are milliseconds long, so this is never reached
unless a disk hangs."""

_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    # WAL alone defaults to NORMAL in many builds, which loses the last commits at power loss.
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000}",
)


class _RefusedError(StoreError):
    """The file cannot be read or written; the message shows no patient data."""


class Database:
    """The node's database; one object for each process, safe for its threads.

    Open it with :meth:`open`. A transaction never spans file or network work.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._immediate = engine.execution_options(immediate=True)

    @classmethod
    def open(cls, data_folder: Path, *, migrate: bool) -> Database:
        """Open ``data_folder/node.sqlite3``.

        Parameters
        ----------
        data_folder : Path
            An existing folder on a local file system.
        migrate : bool
            True in the one process that brings the tables up to date (it makes the file, too); the others find them so.

        Raises
        ------
        StoreError
            If the file is no database or not ours to use; without ``migrate`` also if there is none, or its tables are
            of another version.
        """
        file = data_folder / FILE_NAME
        if not migrate and not file.exists():
            msg = f"there is no database {file}: start the node once, or correct data_folder in node.toml"
            raise StoreError(msg)
        database = cls(_engine(file))
        with ExitStack() as on_failure:
            on_failure.callback(database.close)
            try:
                if migrate:
                    database._migrate()
                else:
                    database._require_newest_tables(file)
            except _RefusedError as fault:
                raise StoreError(
                    f"{file} cannot be used: work as the user who owns the data folder; {fault}"
                ) from fault
            on_failure.pop_all()
        return database

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that begins IMMEDIATE, so that it waits for other writers instead of failing half-way.

        Committed at the end of the block, rolled back if the block raises.

        Raises
        ------
        StoreError
            If the disk is full or refuses, the file is damaged, or another process held the database longer than the
            busy time-out.
        """
        try:
            with self._immediate.begin() as connection:
                yield connection
        except IntegrityError:
            # A row that cannot be: a fault of this program, not of the file.
            raise
        except DatabaseError as fault:
            raise _named(fault) from fault

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one moment of the database and blocks nobody.

        Raises
        ------
        StoreError
            If the file is damaged or the disk refuses.
        """
        try:
            with self._engine.begin() as connection:
                yield connection
        except DatabaseError as fault:
            raise _named(fault) from fault

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def _migrate(self) -> None:
        # A receiver never migrates, and Alembic would be a tenth of all its memory.
        from scp_node.store.upgrade import upgrade  # noqa: PLC0415

        with self.writing() as connection:
            upgrade(connection)

    def _require_newest_tables(self, file: Path) -> None:
        with self.reading() as connection:
            present = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        if present != NEWEST_TABLES:
            if str(present) > NEWEST_TABLES:
                todo = (
                    "install the newer program again, or restore the backup made before the upgrade (docs/install.md)"
                )
            else:
                todo = "start `serve` once"
            msg = f"the tables in {file} are of version {present}, this program needs {NEWEST_TABLES}: {todo}"
            raise StoreError(msg)


def _engine(file: Path) -> Engine:
    engine = create_engine(
        f"sqlite:///{file}",
        connect_args={"timeout": BUSY_TIMEOUT_S},
        # The parameters are patient data, and the text of a fault ends in the journal.
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def prepare(dbapi_connection: sqlite3.Connection, _record: object) -> None:
        # The driver would begin transactions by its own rules, and deferred; we say BEGIN ourselves.
        dbapi_connection.isolation_level = None
        for pragma in _PRAGMAS:
            dbapi_connection.execute(pragma)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _named(fault: DatabaseError) -> StoreError:
    origin: Any = fault.orig
    name = getattr(origin, "sqlite_errorname", "") or ""
    # The second is the index of the write-ahead log, for which there is no room when the first process opens it.
    if name in ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE"):
        return StoreError("the disk of the database is full")
    if name.startswith("SQLITE_BUSY"):
        return StoreError(f"another process held the database for more than {BUSY_TIMEOUT_S} s")
    return _RefusedError(f"the database refused ({origin}): if its file is damaged, restore a backup (docs/install.md)")
