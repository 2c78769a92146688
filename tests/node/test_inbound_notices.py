"""What a recorder hears of its receiver, and for what it waits."""

from __future__ import annotations

import os
import select

import pytest

from scp_node.inbound.notices import Ended, NoticeReader, NoticeWriter, Refused

MOST, LONG_S = 3, 3600.0


def test_notices_that_were_read_beyond_a_batch_do_not_wait_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    writer, reader = NoticeWriter(writing), NoticeReader(reading)
    told = [Refused(peer="ct", status="0xA700", reason=str(number)) for number in range(MOST + 1)]
    for one in told:
        writer.tell(one)
    writer.tell(Ended(call=1))
    writer.close()
    waits_s: list[float] = []

    def never_waits(
        for_reading: list[int], for_writing: list[int], for_faults: list[int], wait_s: float
    ) -> tuple[list[int], list[int], list[int]]:
        waits_s.append(wait_s)
        return real(for_reading, for_writing, for_faults, 0.0)

    real = select.select
    monkeypatch.setattr(select, "select", never_waits)
    first = reader.read(most=MOST, wait_s=LONG_S)
    assert first == told[:MOST]
    waits_s.clear()

    assert reader.read(most=MOST, wait_s=LONG_S) == [told[MOST], Ended(call=1)]

    assert max(waits_s) == 0.0
    os.close(reading)
