"""The abuse table (tests/abuse), as far as it is quick: a few seconds of some rows. `make abuse-table` measures all."""

import os
import pathlib
import sys

import pytest

sys.path += [str(pathlib.Path(__file__).parent.parent / name) for name in ("recovery", "abuse")]

import asking
import churn
import flood
import mute
import pushes
from keyserver import PACKET


def assert_kept(rows):
    missed = [row for row in rows if not row.kept]
    assert rows and not missed, missed


@pytest.mark.parametrize("plausible", [False, True], ids=["random", "plausible"])
def test_a_flood_of_unknown_spis_hides_nothing_and_fills_nothing(tmp_path, plausible):
    assert_kept(flood.flood(tmp_path, plausible=plausible, addresses=1000, seconds=3, frame=PACKET))


def test_forged_and_replayed_messages_change_nothing_at_either_side(tmp_path):
    assert_kept(pushes.forged(tmp_path, seconds=1, count=300))


@pytest.mark.parametrize("what", ["foreign", "own"])
def test_a_member_that_floods_its_key_server_changes_nothing_and_others_are_served(tmp_path, what):
    assert_kept(asking.asked(tmp_path, 3, what=what))


def test_a_key_server_that_answers_with_garbage_ends_in_back_off_which_status_shows(tmp_path):
    assert_kept(mute.muted(tmp_path, 3, answer="garbage"))


@pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="network namespaces need root")
def test_a_download_arrives_intact_while_sas_are_deleted_keks_roll_and_rekeys_are_lost(tmp_path):
    it = churn.download(tmp_path, seconds=8, megabytes=20)
    assert it["got"]["sha256"] == it["sent"]["sha256"]
    assert it["got"]["octets"] == it["sent"]["octets"] >= 20_000_000
    assert it["deleted"] >= 4 and it["rekeys"] >= 1 and it["lost"] >= 1, it
    assert it["got"]["longest_ms"] < 15_000, it
