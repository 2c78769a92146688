"""A database as an earlier program left it."""

from __future__ import annotations

from pathlib import Path

from alembic import command

from scp_node.store.database import Database
from scp_node.store.upgrade import alembic_config


def take_back(data_folder: Path, revision: str) -> None:
    """Give the tables the form of an earlier revision; nobody else may have the database open."""
    database = Database.open(data_folder, migrate=False)
    config = alembic_config()
    with database.writing() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)
    database.close()
