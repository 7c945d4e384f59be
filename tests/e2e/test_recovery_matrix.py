"""The recovery matrix (tests/recovery), as far as it is quick: one round of a row, and what the row promises. Bounds are
generous, since other tests may run beside this one; `make recovery-matrix` measures."""

import os
import pathlib
import sys

import pytest

sys.path.append(str(pathlib.Path(__file__).parent.parent / "recovery"))

import matrix

ROWS = {row.name: row for row in matrix.all_rows()}
# What the member itself must not need: a registration, and packets. None is lost while there is room for them to wait.
BY_REKEY = ["1", "2", "4 one", "4 multicast", "5", "6", "7 away", "12"]
# Seconds that traffic may stand still.
BY_MORE = {"3": 5, "7 back": 5, "8": 5, "9 receiver": 15, "11 away": 15, "14 key server": 5}


def only_round(tmp_path, name):
    row = ROWS[name]
    if row.needs_root and os.geteuid() != 0 and not os.environ.get("CI"):
        pytest.skip("network namespaces need root")
    (result,) = row.play(tmp_path / "scene", 1)
    return result


@pytest.mark.parametrize("name", BY_REKEY)
def test_a_member_that_fell_out_of_step_is_back_by_rekey_and_nothing_is_lost(tmp_path, name):
    result = only_round(tmp_path, name)
    assert result.stall_ms < 1000
    assert result.lost == 0 or result.stall_ms > 100, "there was room for all to wait"
    assert result.registrations == (name in ("1", "2")), "those two begin with one"


@pytest.mark.parametrize("name", BY_MORE)
def test_a_member_that_fell_out_of_step_is_back_within_seconds(tmp_path, name):
    assert only_round(tmp_path, name).stall_ms < BY_MORE[name] * 1000


def test_there_is_a_row_for_each_cause():
    assert {int(name.split()[0]) for name in ROWS} == set(range(15))
