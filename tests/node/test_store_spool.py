"""The spool: a file is durable or gone, has an opaque name, and never takes more room than allowed."""

import errno
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from scp_node.errors import SpoolFullError
from scp_node.store.file_image import LARGEST_BYTES
from scp_node.store.remains import remove_blank
from scp_node.store.spool import Spool

GIB = 1024**3
NO_LIMIT = 1e6


def spool_in(folder: Path, *, quota_bytes: float = NO_LIMIT * GIB, keep_free_gib: float = 0.0) -> Spool:
    return Spool(folder / "spool", quota_gib=quota_bytes / GIB, keep_free_gib=keep_free_gib)


def kept(spool: Spool, content: bytes) -> str:
    with spool.begin() as file:
        file.write([content])
        return file.durable()


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_durable_file_holds_what_was_written(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    with spool.begin() as file:
        file.write([b"DI"])
        file.write([memoryview(b"CM")])
        key = file.durable()

    assert spool.path(key).read_bytes() == b"DICM"
    assert file.byte_count == 4
    assert spool.used_bytes == 4


def test_file_and_name_are_forced_to_the_disk_before_the_key_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = spool_in(tmp_path)
    synced: list[int] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    key = kept(spool, b"x")

    assert synced == [spool.path(key).parent.stat().st_ino, spool.path(key).stat().st_ino]


def test_a_file_that_was_not_made_durable_is_gone(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    with spool.begin() as file:
        file.write([b"half of it"])
        assert len(files_below(tmp_path)) == 1

    assert files_below(tmp_path) == []


def test_a_fault_while_receiving_leaves_no_file(tmp_path: Path) -> None:
    def receive(spool: Spool) -> NoReturn:
        with spool.begin() as file:
            file.write([b"half of it"])
            raise ConnectionError

    with pytest.raises(ConnectionError):
        receive(spool_in(tmp_path))

    assert files_below(tmp_path) == []


def test_names_say_nothing_and_never_repeat(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    keys = {kept(spool, b"the same") for _ in range(50)}

    assert len(keys) == 50
    assert all(len(key) == 32 and set(key) <= set("0123456789abcdef") for key in keys)


@pytest.mark.parametrize("key", ["", "..", "../../etc/passwd", "ab", "A" * 32, "a" * 31 + "/", "a" * 33])
def test_what_is_no_key_names_no_path(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="no spool key"):
        spool_in(tmp_path).path(key)


def test_an_object_larger_than_the_quota_is_refused_while_it_arrives(tmp_path: Path) -> None:
    spool = spool_in(tmp_path, quota_bytes=1000)
    with spool.begin() as file:
        file.write([b"x" * 900])
        with pytest.raises(SpoolFullError):
            file.write([b"x" * 200])

    assert files_below(tmp_path) == []


def test_a_full_spool_refuses_and_takes_again_after_a_removal(tmp_path: Path) -> None:
    spool = spool_in(tmp_path, quota_bytes=1000)
    key = kept(spool, b"x" * 1000)
    with pytest.raises(SpoolFullError, match="quota_gib"):
        spool.begin()

    spool.remove(key)
    spool.remove(key)

    kept(spool, b"x" * 1000)


def test_what_another_process_wrote_counts(tmp_path: Path) -> None:
    mine, other = spool_in(tmp_path, quota_bytes=100_000), spool_in(tmp_path, quota_bytes=100_000)
    for _ in range(9):
        kept(other, b"x" * 10_000)

    kept(mine, b"x" * 1000)
    with pytest.raises(SpoolFullError), mine.begin() as file:
        file.write([b"x" * 10_000])


def test_a_full_spool_notices_that_another_process_removed_files(tmp_path: Path) -> None:
    elapsed_s = [0.0]
    mine = Spool(tmp_path / "spool", quota_gib=1000 / GIB, keep_free_gib=0, elapsed_s=lambda: elapsed_s[0])
    key = kept(mine, b"x" * 1000)
    spool_in(tmp_path).remove(key)

    elapsed_s[0] = 10.0

    kept(mine, b"x" * 1000)


def test_what_must_stay_free_on_the_disk_stays_free(tmp_path: Path) -> None:
    free_gib = shutil.disk_usage(tmp_path).free / GIB

    with pytest.raises(SpoolFullError, match="keep_free_gib"):
        spool_in(tmp_path, keep_free_gib=free_gib + 1).begin()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_as_such_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(_descriptor: int) -> NoReturn:
        raise OSError(number, os.strerror(number))

    spool = spool_in(tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SpoolFullError, match="disk"):
        kept(spool, b"x")

    assert files_below(tmp_path) == []


def test_another_fault_of_the_disk_is_not_called_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_descriptor: int) -> NoReturn:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    spool = spool_in(tmp_path)
    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output"):
        kept(spool, b"x")


def test_every_file_of_ours_is_listed_and_nothing_else(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    keys = {kept(spool, b"1"), kept(spool, b"2")}
    (tmp_path / "spool" / "ab" / "notes.txt").write_text("not ours")
    (tmp_path / "spool" / "ab" / "notes.dcm").write_text("not ours")

    assert set(spool.keys()) == keys


def test_once_full_the_spool_takes_nothing_until_there_is_room_for_more_than_one_object(tmp_path: Path) -> None:
    elapsed_s = [0.0]
    spool = Spool(tmp_path / "spool", quota_gib=100_000 / GIB, keep_free_gib=0, elapsed_s=lambda: elapsed_s[0])
    large, small = kept(spool, b"x" * 99_000), kept(spool, b"x" * 1000)
    with pytest.raises(SpoolFullError):
        spool.begin()

    spool.remove(small)
    with pytest.raises(SpoolFullError):
        spool.begin()

    spool.remove(large)
    kept(spool, b"x" * 1000)


def test_a_quota_that_is_larger_than_the_disk_does_not_keep_a_spool_closed_that_was_full_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    free, elapsed_s = [0], [0.0]
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _path: usage._replace(total=100_000, used=100_000 - free[0], free=free[0])
    )
    spool = Spool(tmp_path / "spool", quota_gib=200.0, keep_free_gib=0.0, elapsed_s=lambda: elapsed_s[0])
    with pytest.raises(SpoolFullError):
        spool.begin()

    free[0], elapsed_s[0] = 1_000, 10.0
    with pytest.raises(SpoolFullError):
        spool.begin()
    free[0], elapsed_s[0] = 3_000, 20.0

    kept(spool, b"x" * 1000)


# --- files made ahead --------------------------------------------------------------------------------------


def test_files_in_a_row_share_the_sync_of_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path / "spool", quota_gib=1.0, keep_free_gib=0.0, most_blanks=8, elapsed_s=lambda: 0.0)
    synced: list[str] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    keys = [kept(spool, b"x") for _ in range(1 + 2 + 4 + 8)]

    folders = [number for number, name in enumerate(synced) if not name.endswith(".dcm")]
    assert len(folders) == 4
    # The folder is synced before any of its files is acknowledged.
    assert [synced[number + 1] for number in folders] == [f"{keys[n]}.dcm" for n in (0, 1, 3, 7)]


def test_what_was_made_ahead_and_not_used_is_empty_without_a_seal_and_removed_at_the_end(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", quota_gib=1.0, keep_free_gib=0.0, most_blanks=8, elapsed_s=lambda: 0.0)
    keys = {kept(spool, b"x") for _ in range(4)}
    unused = set(spool.keys()) - keys
    assert len(unused) == 3
    assert all(spool.path(key).stat().st_size == 0 and spool.settled_seal_of(key) is None for key in unused)

    spool.close()

    assert set(spool.keys()) == keys


def test_a_file_that_another_process_removes_while_it_is_made_is_not_written_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "spool", quota_gib=1.0, keep_free_gib=0.0, most_blanks=8, elapsed_s=lambda: 0.0)
    flock = fcntl.flock
    removed: list[Path] = []

    def late(descriptor: int, operation: int) -> None:
        """Another process comes between making and locking."""
        if operation == fcntl.LOCK_EX and len(removed) < 2:
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            removed.append(path)
            remove_blank(path)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    keys = {kept(spool, b"y") for _ in range(7)}
    spool.close()

    assert len(removed) == 2
    assert len(keys) == 7
    assert set(spool.keys()) == keys
    assert all(spool.path(key).read_bytes() == b"y" for key in keys)


def test_a_file_made_ahead_that_somebody_removed_by_hand_is_not_written_into(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", quota_gib=1.0, keep_free_gib=0.0, most_blanks=8, elapsed_s=lambda: 0.0)
    keys = {kept(spool, b"x") for _ in range(4)}
    for key in set(spool.keys()) - keys:
        spool.path(key).unlink()
    keys.add(kept(spool, b"y"))
    spool.close()

    assert set(spool.keys()) == keys


def test_what_a_living_receiver_made_ahead_is_not_removed_and_that_of_a_killed_one_is(tmp_path: Path) -> None:
    spool, other = spool_in(tmp_path), spool_in(tmp_path)
    made = """
import os, signal, sys
from pathlib import Path
from scp_node.store.spool import Spool
spool = Spool(Path(sys.argv[1]), quota_gib=1.0, keep_free_gib=0.0, most_blanks=8, elapsed_s=lambda: 0.0)
for _ in range(4):
    with spool.begin() as file:
        file.write([b"x"])
        file.durable()
print("made", flush=True)
signal.pause()
"""
    folder = spool.path("0" * 32).parents[1]
    with subprocess.Popen([sys.executable, "-c", made, str(folder)], stdout=subprocess.PIPE, text=True) as living:
        assert living.stdout is not None
        assert living.stdout.readline() == "made\n"
        other.remove_blanks()
        before = {key: spool.path(key).stat().st_size for key in spool.keys()}  # noqa: SIM118 - not a dictionary
        living.kill()
    other.remove_blanks()

    assert sorted(before.values()) == [0, 0, 0, 1, 1, 1, 1]
    assert set(spool.keys()) == {key for key, size in before.items() if size}


def test_a_file_that_a_newer_version_sealed_is_not_taken_for_half_a_file(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    half, newer, gone = kept(spool, b"half of it"), kept(spool, b"HAI-NODE-SPOOL-9" + bytes(200)), kept(spool, b"x")
    spool.remove(gone)
    assert [spool.is_nobodys(key) for key in (half, newer, gone)] == [True, False, False]


def test_what_is_in_hand_or_has_bytes_is_not_removed_as_made_ahead(tmp_path: Path) -> None:
    spool, other = spool_in(tmp_path), spool_in(tmp_path)
    key = kept(spool, b"x")
    with spool.begin() as file:
        other.remove_blanks()
        assert set(other.keys()) == {file.spool_key, key}
        file.write([b"y"])
        assert spool.path(file.durable()).read_bytes() == b"y"


def test_a_node_at_rest_makes_no_files_ahead(tmp_path: Path) -> None:
    elapsed_s = [0.0]
    spool = Spool(tmp_path / "spool", quota_gib=1.0, keep_free_gib=0.0, most_blanks=8, elapsed_s=lambda: elapsed_s[0])
    keys = set()
    for _ in range(5):
        keys.add(kept(spool, b"x"))
        elapsed_s[0] += 60.0

    assert set(spool.keys()) == keys


# --- files put together in memory --------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 4096, 65_536, 65_538, 528_384, LARGEST_BYTES])
def test_an_image_is_written_as_it_was_put_together(size: int, tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    content = os.urandom(size)
    with spool.images.one() as image, spool.begin() as file:
        image.put(1, [content[1 : size // 2], memoryview(content)[size // 2 :]])
        image.put(0, [content[:1]])
        file.write_image(image)
        key = file.durable()

    assert spool.path(key).read_bytes() == content
    assert file.byte_count == size


def test_an_image_that_is_used_again_begins_empty(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    for size in (9000, 100):
        with spool.images.one() as image, spool.begin() as file:
            image.put(0, [bytes([size % 256]) * size])
            file.write_image(image)
            key = file.durable()
        assert spool.path(key).read_bytes() == bytes([size % 256]) * size


@pytest.mark.parametrize("refuses", ["fcntl", "pwrite"])
def test_a_file_system_that_takes_nothing_directly_gets_it_in_the_usual_way(
    refuses: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = spool_in(tmp_path)
    refusals: list[int] = []
    set_flags, pwrite = fcntl.fcntl, os.pwrite

    def flagged(descriptor: int, command: int, flags: int) -> int:
        if flags and refuses == "fcntl":
            refusals.append(descriptor)
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return int(set_flags(descriptor, command, flags))

    def written(descriptor: int, content: memoryview, offset: int) -> int:
        if set_flags(descriptor, fcntl.F_GETFL) & os.O_DIRECT and refuses == "pwrite":
            refusals.append(descriptor)
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return pwrite(descriptor, content, offset)

    monkeypatch.setattr(fcntl, "fcntl", flagged)
    monkeypatch.setattr(os, "pwrite", written)
    content = os.urandom(2 * 65_536)
    with spool.images.one() as image, spool.begin() as file:
        image.put(0, [content])
        file.write_image(image)
        key = file.durable()

    assert len(refusals) == 1
    assert spool.path(key).read_bytes() == content


def test_a_disk_that_breaks_under_a_direct_write_is_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def broken(descriptor: int, _content: memoryview, _offset: int) -> NoReturn:
        calls.append(descriptor)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    spool = spool_in(tmp_path)
    monkeypatch.setattr(os, "pwrite", broken)
    with spool.images.one() as image, spool.begin() as file:
        image.put(0, [bytes(65_536)])
        with pytest.raises(OSError, match="Input/output"):
            file.write_image(image)

    assert len(calls) == 1
    assert files_below(tmp_path) == []


def test_the_head_of_a_file_that_is_gone_is_fetched_in_vain(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    key = kept(spool, b"x")
    spool.fetch_head(key)
    spool.remove(key)

    spool.fetch_head(key)

    assert files_below(tmp_path) == []
