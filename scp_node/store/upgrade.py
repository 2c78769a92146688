"""Bring the tables of a database up to date, by the migrations in ``migrations/``."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection

from scp_node.errors import StoreError


def upgrade(connection: Connection) -> None:
    """Apply every migration that is missing.

    Raises
    ------
    StoreError
        If the tables are newer than this program.
    """
    config = alembic_config()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as fault:
        raise StoreError(
            f"the database was written by a newer program ({fault}): install that one again, or restore the "
            "backup made before the upgrade (docs/install.md)"
        ) from fault


def alembic_config() -> Config:
    """Where the migrations lie."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config
