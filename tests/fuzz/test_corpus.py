"""Every input that the fuzzers found worth keeping, once more, without a fuzzer."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz import header, lane, upper_layer
from tests.fuzz.engine import CORPUS

MOST_BYTES = 300_000
"""Of the whole corpus."""


def inputs(name: str) -> list[bytes]:
    found = [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
    assert len(found) >= 6, "the corpus is gone"
    return found


@pytest.mark.parametrize(("name", "consider"), [("upper_layer", upper_layer.consider), ("header", header.consider)])
def test_every_kept_input_is_answered_or_refused(name: str, consider: Callable[[bytes], None]) -> None:
    for data in inputs(name):
        consider(data)


@pytest.mark.parametrize("buffer_bytes", [lane.BUFFER_BYTES, 2 << 20])
def test_the_lane_acknowledges_just_what_each_kept_stream_holds(
    buffer_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in lane.BUFFERED:
        monkeypatch.setattr(module, "BUFFER_BYTES", buffer_bytes)
    for data in inputs("lane"):
        lane.consider(data)


@pytest.mark.parametrize("piece", range(len(lane.PIECES)))
def test_it_does_not_matter_in_which_pieces_a_stream_comes(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in lane.BUFFERED:
        monkeypatch.setattr(module, "BUFFER_BYTES", lane.BUFFER_BYTES)
    stream = (CORPUS / "lane" / "two-objects.bin").read_bytes()[1:]

    acknowledged, breaches, _ = lane.run(stream, lane.PIECES[piece])

    assert [uid for uid, _ in acknowledged] == ["1.2.11", "1.2.22"]
    assert breaches == []


def test_the_corpus_stays_small() -> None:
    assert sum(path.stat().st_size for path in Path(CORPUS).rglob("*") if path.is_file()) <= MOST_BYTES
