"""The journal writes what it knows to be harmless, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from scp_node.journal import ALLOWED, withhold_unknown_keys

PERSONAL = ("patient_name", "patient_id", "birth_date", "accession", "description", "name", "text", "dataset", "value")


@pytest.mark.parametrize("key", PERSONAL)
def test_a_key_that_is_not_allowed_loses_its_value(key: str) -> None:
    written = withhold_unknown_keys(None, "info", {"event": "arrived", key: "DOE^JANE"})

    assert written == {"event": "arrived", key: "(withheld)"}


def test_no_allowed_key_is_named_after_a_person() -> None:
    assert not ALLOWED.intersection(PERSONAL)


def test_a_line_is_json_without_the_patient() -> None:
    program = (
        "from scp_node.journal import journal, start_journal\n"
        "start_journal('info')\n"
        "journal('inbound').info('arrived', study='1.2.3', patient_name='DOE^JANE')\n"
        "journal('inbound').debug('not wanted')\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    (line,) = ended.stderr.splitlines()
    written = json.loads(line)
    assert (written["event"], written["study"], written["part"]) == ("arrived", "1.2.3", "inbound")
    assert "DOE" not in line
