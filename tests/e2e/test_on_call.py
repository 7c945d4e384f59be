"""Ten prepared faults (tests/oncall), each found with getvpnctl alone within three commands; `make on-call` writes docs/on-call.md."""

import pathlib
import re
import sys

import pytest

sys.path += [str(pathlib.Path(__file__).parent.parent / each) for each in ("oncall", "recovery")]

import transcript
from faults import FAULTS


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_prepared_fault_is_found_within_three_commands(tmp_path, fault):
    outputs = transcript.investigate(fault, tmp_path)
    assert re.search(fault.tells, outputs[-1]), "\n".join(outputs)


def test_there_are_ten_and_their_transcript_is_in_the_documentation():
    shown = (pathlib.Path(__file__).parents[2] / "docs" / "on-call.md").read_text()
    assert len(FAULTS) == 10
    for number, fault in enumerate(FAULTS, 1):
        assert f"## {number}. {fault.name[0].upper()}{fault.name[1:]}" in shown
