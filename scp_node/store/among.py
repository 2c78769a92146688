"""Whether a column holds one of many values, asked by one parameter: as long as one list takes, whatever its length.

A parameter for each value makes another statement for each length of the list, and work for each of them.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from sqlalchemy import Column, ColumnElement, func, select


def is_among(column: Column[Any], values: Collection[str]) -> ColumnElement[bool]:
    """Whether the column is one of the texts; an index of the column is used."""
    each = func.json_each(json.dumps(list(values))).table_valued("value")
    return column.in_(select(each.c.value))
