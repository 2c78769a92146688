"""A small model of what a disk may hold after a power cut, and a recorder of what a program asked of the disk.

What it takes for granted is what POSIX and the kernel promise, and no more:

* bytes of a file are safe after ``fsync`` or ``fdatasync`` of that file; of later writes any block may be there or not,
  in any order, and the file may have any length between the safe one and the newest; a block that was never written
  reads as zeros or as whatever lay there before;
* a name is safe after ``fsync`` of its folder; a later change of names may be there or not, each for itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, product
from pathlib import Path
from typing import Any

import pytest

BLOCK_BYTES = 512
STALE = (b"\0", b"\xa5")
"""What a block may hold that was allocated and never written."""
MOST_FREE_NAMES = 4
"""So many unsafe names of one folder are tried in every combination; of more, all and none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that a program asked of the disk, or told the world."""

    kind: str
    """``make``, ``create``, ``write``, ``cut``, ``sync``, ``sync-folder``, ``sync-all``, ``remove``; or a promise:
    ``acknowledged``, ``recorded``."""
    name: str
    """Path below the root; of a promise the spool key."""
    offset: int = 0
    content: bytes = b""


class Tape:
    """Records what the present process does below a folder, through the functions of ``os``.

    Parameters
    ----------
    root : Path
        The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.events: list[Event] = []
        self.after: Callable[[int], None] = lambda _count: None
        """Called after each event with the number of events so far, but not for its own."""
        self.before: Callable[[str, int], None] = lambda _kind, _count: None
        """Called before each event; may raise."""
        self._names: dict[int, str] = {}
        self._positions: dict[int, int] = {}
        self._is_within = False

    @property
    def open_descriptors(self) -> list[int]:
        """What the program opened and did not close."""
        return list(self._names)

    def note(self, kind: str, name: str, offset: int = 0, content: bytes = b"") -> None:
        """Add an event."""
        self.events.append(Event(kind=kind, name=name, offset=offset, content=content))
        if not self._is_within:
            self._is_within = True
            try:
                self.after(len(self.events))
            finally:
                self._is_within = False

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record from here on."""
        with pytest.MonkeyPatch.context() as patch:
            for call in ("open", "close", "write", "writev", "pwrite", "ftruncate", "unlink", "mkdir"):
                patch.setattr(os, call, getattr(self, f"_{call}")(getattr(os, call)))
            patch.setattr(os, "fsync", self._sync(os.fsync))
            patch.setattr(os, "fdatasync", self._sync(os.fdatasync))
            # The real one would sync the disks of everybody on this machine.
            patch.setattr("scp_node.store.spool.sync_file_system", lambda _descriptor: self.note("sync-all", ""))
            yield

    def _below(self, path: Any) -> str | None:
        if isinstance(path, int):
            return None
        whole = Path(os.fsdecode(path))
        return str(whole.relative_to(self.root)) if whole.is_relative_to(self.root) else None

    def _about_to(self, kind: str) -> None:
        if not self._is_within:
            self.before(kind, len(self.events))

    def _open(self, real: Callable[..., int]) -> Callable[..., int]:
        def called(path: Any, flags: int, *rest: Any, **more: Any) -> int:
            name = self._below(path)
            creates = name is not None and bool(flags & os.O_CREAT)
            if creates:
                self._about_to("create")
            descriptor = real(path, flags, *rest, **more)
            if name is not None:
                self._names[descriptor] = name
                self._positions[descriptor] = 0
                if creates:
                    self.note("create", name)
            return descriptor

        return called

    def _close(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def called(descriptor: int) -> None:
            self._names.pop(descriptor, None)
            real(descriptor)

        return called

    def _write(self, real: Callable[[int, Any], int]) -> Callable[[int, Any], int]:
        return lambda descriptor, content: self._written(descriptor, bytes(content), lambda: real(descriptor, content))

    def _writev(self, real: Callable[[int, Any], int]) -> Callable[[int, Any], int]:
        return lambda descriptor, parts: self._written(descriptor, b"".join(parts), lambda: real(descriptor, parts))

    def _written(self, descriptor: int, content: bytes, act: Callable[[], int]) -> int:
        name = self._names.get(descriptor)
        if name is None:
            return act()
        self._about_to("write")
        taken = act()
        start = self._positions[descriptor]
        self._positions[descriptor] = start + taken
        self.note("write", name, start, content[:taken])
        return taken

    def _pwrite(self, real: Callable[[int, bytes, int], int]) -> Callable[[int, bytes, int], int]:
        def called(descriptor: int, content: bytes, offset: int) -> int:
            name = self._names.get(descriptor)
            if name is not None:
                self._about_to("write")
            taken = real(descriptor, content, offset)
            if name is not None:
                self.note("write", name, offset, content[:taken])
            return taken

        return called

    def _ftruncate(self, real: Callable[[int, int], None]) -> Callable[[int, int], None]:
        def called(descriptor: int, length: int) -> None:
            real(descriptor, length)
            if (name := self._names.get(descriptor)) is not None:
                self.note("cut", name, length)

        return called

    def _unlink(self, real: Callable[..., None]) -> Callable[..., None]:
        def called(path: Any, **more: Any) -> None:
            name = self._below(path)
            if name is not None:
                self._about_to("remove")
            real(path, **more)
            if name is not None:
                self.note("remove", name)

        return called

    def _mkdir(self, real: Callable[..., None]) -> Callable[..., None]:
        def called(path: Any, *rest: Any, **more: Any) -> None:
            real(path, *rest, **more)
            if (name := self._below(path)) is not None:
                self.note("make", name)

        return called

    def _sync(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def called(descriptor: int) -> None:
            name = self._names.get(descriptor)
            if name is not None:
                self._about_to("sync")
            real(descriptor)
            if name is not None:
                self.note("sync-folder" if (self.root / name).is_dir() else "sync", name)

        return called


@dataclass(slots=True)
class _File:
    """Bytes by block: the safe version first, then every newer one."""

    safe_bytes: int = 0
    bytes_now: int = 0
    blocks: dict[int, list[bytes]] = field(default_factory=dict)

    def write(self, offset: int, content: bytes) -> None:
        end = offset + len(content)
        for number in range(offset // BLOCK_BYTES, -(-end // BLOCK_BYTES)):
            versions = self.blocks.setdefault(number, [])
            block = bytearray(versions[-1].ljust(BLOCK_BYTES, b"\0") if versions else bytes(BLOCK_BYTES))
            first = number * BLOCK_BYTES
            start, stop = max(offset, first), min(end, first + BLOCK_BYTES)
            block[start - first : stop - first] = content[start - offset : stop - offset]
            versions.append(bytes(block))
        self.bytes_now = max(self.bytes_now, end)

    def sync(self) -> None:
        self.safe_bytes = self.bytes_now
        self.blocks = {number: versions[-1:] for number, versions in self.blocks.items()}

    def contents(self) -> Iterator[bytes]:
        """Every content that may be found; the newest first."""
        lengths = {self.safe_bytes, self.bytes_now}
        lengths |= set(range(self.safe_bytes // BLOCK_BYTES * BLOCK_BYTES, self.bytes_now, BLOCK_BYTES))
        count = -(-self.bytes_now // BLOCK_BYTES)
        choices = [self._versions(number) for number in range(count)]
        for length in sorted((one for one in lengths if one >= self.safe_bytes), reverse=True):
            # What lies behind the end is cut off, so it need not be varied.
            for blocks in product(*choices[: -(-length // BLOCK_BYTES)]):
                yield b"".join(blocks)[:length]

    def _versions(self, number: int) -> list[bytes]:
        versions = self.blocks.get(number, [])[::-1]
        if number * BLOCK_BYTES >= self.safe_bytes:
            versions += [stale * BLOCK_BYTES for stale in STALE]
        return list(dict.fromkeys(versions))


class Disk:
    """What was asked of a disk so far, and what it may hold if the power fails now."""

    def __init__(self) -> None:
        self._files: dict[str, _File] = {}
        self._safe: set[str] = set()
        self._pending: dict[str, dict[str, bool]] = {}
        """Folder -> name -> whether it is to be there."""

    def take(self, event: Event) -> None:
        """Let an event happen."""
        if event.kind in ("make", "create", "remove"):
            self._pending.setdefault(str(Path(event.name).parent), {})[event.name] = event.kind != "remove"
        if event.kind == "create":
            self._files[event.name] = _File()
        elif event.kind == "write":
            self._files[event.name].write(event.offset, event.content)
        elif event.kind == "cut":
            # Nothing may rely on it: the file keeps every state that it may have had.
            self._files[event.name].safe_bytes = min(event.offset, self._files[event.name].safe_bytes)
        elif event.kind == "sync":
            self._files[event.name].sync()
        elif event.kind == "sync-folder":
            self._sync_names(event.name)
        elif event.kind == "sync-all":
            for file in self._files.values():
                file.sync()
            for folder in list(self._pending):
                self._sync_names(folder)

    def _sync_names(self, folder: str) -> None:
        for name, there in self._pending.pop(folder, {}).items():
            (self._safe.add if there else self._safe.discard)(name)

    def states(self) -> Iterator[Mapping[str, bytes]]:
        """Every legal content of the disk: file name -> bytes."""
        for names in self._namings():
            there = [name for name in sorted(names) if name in self._files and _reachable(name, names)]
            unsafe = [name for name in there if self._files[name].bytes_now != self._files[name].safe_bytes]
            unsafe += [name for name in there if name not in unsafe and self._is_torn(name)]
            settled = {name: next(self._files[name].contents()) for name in there if name not in unsafe}
            for contents in product(*(self._files[name].contents() for name in unsafe)):
                yield settled | dict(zip(unsafe, contents, strict=True))

    def _is_torn(self, name: str) -> bool:
        return any(len(versions) > 1 for versions in self._files[name].blocks.values())

    def _namings(self) -> Iterator[set[str]]:
        folders = [_subsets(changes) for changes in self._pending.values()]
        for chosen in product(*folders):
            names = set(self._safe)
            for name, there in chain.from_iterable(chosen):
                (names.add if there else names.discard)(name)
            yield names


def _subsets(changes: Mapping[str, bool]) -> list[list[tuple[str, bool]]]:
    items = list(changes.items())
    if len(items) > MOST_FREE_NAMES:
        return [items, []]
    return [
        [item for item, is_done in zip(items, done, strict=True) if is_done]
        for done in product((True, False), repeat=len(items))
    ]


def _reachable(name: str, names: set[str]) -> bool:
    """Whether every folder above is there; the root always is."""
    return all(str(folder) in names for folder in [*Path(name).parents][:-1]) and name in names
