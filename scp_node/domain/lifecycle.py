"""A life-cycle is one table: (state, event) → state. What is not in the table is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

State = TypeVar("State", bound=StrEnum)
Event = TypeVar("Event", bound=StrEnum)


# No slots: Python 3.11 cannot construct a frozen, slotted, generic class by its subscripted name.
@dataclass(frozen=True, kw_only=True)
class Lifecycle(Generic[State, Event]):
    """The legal transitions of one kind of thing."""

    name: str
    table: Mapping[tuple[State, Event], State]

    def after(self, state: State, event: Event) -> State | None:
        """The state after the event, or ``None`` when the event is not legal in this state."""
        return self.table.get((state, event))
