"""perf/pktgen/second-box and its Lua scripts, with a stand-in for Pktgen. perf/pktgen/README.md says what was tried with Pktgen
itself."""

import csv
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
PKTGEN = HERE.parent.parent / "perf" / "pktgen"
sys.path.append(str(PKTGEN))

import frames

pytestmark = pytest.mark.skipif(not shutil.which("lua5.4"), reason="lua5.4 is not installed: packaging/install test")
LINE_RATE = 10e9 / (84 * 8)


@pytest.fixture
def box(tmp_path):
    """Runs a test as on a second box; the results, the status, what was said."""
    pktgen = tmp_path / "pktgen"
    pktgen.write_text(f'#!/bin/sh\nexec lua5.4 "{HERE / "pktgen_stub.lua"}" "$@"\n')
    pktgen.chmod(0o755)
    for side, size in (("lan", 64), ("wan", 118)):
        for name in ("64", "imix"):
            frames.write(tmp_path / f"{side}-{name}.pcap", [frames.frame(size, 0)])
    frames.write(tmp_path / "wan-flood.pcap", [frames.frame(118, 0)])

    def run(test, api="new", conf="", **stub):
        (tmp_path / "box.conf").write_text(
            f"PKTGEN={pktgen}\nCAPTURES={tmp_path}\nRESULTS={tmp_path / 'results.csv'}\nDEVICES=none\nCORES=none\n"
            f"MAP='1.0 2.1'\nSIZES=64\nTRIAL_MS=1000\nCONFIRM_MS=2000\n{conf}\n")
        done = subprocess.run([PKTGEN / "second-box", tmp_path / "box.conf", test], capture_output=True, text=True, timeout=60,
                              env={**os.environ, "STUB_API": api, **{f"STUB_{k.upper()}": str(v) for k, v in stub.items()}})
        results = tmp_path / "results.csv"
        return list(csv.DictReader(results.open())) if results.exists() else [], done

    return run


def test_throughput_is_what_the_member_can_each_way(box):
    rows, done = box("throughput", can=3e6, conf="SIZES='64 imix'\nDIRECTIONS='encrypt both'")
    assert done.returncode == 0, done.stderr
    assert [(row["frame"], row["direction"]) for row in rows[:3]] == [("64", "encrypt"), ("64", "encrypt"), ("64", "decrypt")]
    assert len(rows) == 6 and all(int(row["lost"]) == 0 for row in rows)
    assert 0.97 * 3e6 <= float(rows[0]["pps"]) <= 3e6
    assert 19.5 <= float(rows[0]["rate_percent"]) <= 100 * 3e6 / LINE_RATE


def test_the_answers_of_older_versions_are_understood(box):
    rows, done = box("throughput", "old", can=3e6, conf="DIRECTIONS=decrypt")
    assert done.returncode == 0 and 0.97 * 3e6 <= float(rows[0]["pps"]) <= 3e6, done.stderr


def test_a_member_at_line_rate_needs_one_trial_of_a_search(box):
    rows, done = box("throughput", can=1e9, conf="DIRECTIONS=encrypt")
    assert done.returncode == 0 and float(rows[0]["rate_percent"]) == 100 and "2 trials" in rows[0]["note"]


def test_loss_at_any_rate_is_an_error_and_no_result(box):
    rows, done = box("throughput", loses=1, conf="DIRECTIONS=encrypt")
    assert done.returncode == 1 and not rows
    assert "64 encrypt: something is lost at any rate" in done.stderr


def test_the_good_packets_of_a_flood_are_counted(box):
    rows, done = box("flood", can=1e9, conf="FLOOD_RATES='1 10'")
    # The stand-in gives back everything, so more than the good ones came; a share is at most all of them.
    assert done.returncode == 0, done.stderr
    assert [row["direction"] for row in rows] == ["decrypt", "encrypt"] * 2 and "100.00 % of the good ones beside a flood at 1 %" in rows[0]["note"]
    _, done = box("flood", can=1000, conf="FLOOD_RATES='1 10'")
    assert done.returncode == 1 and "less than 95 % of the good packets came through: decrypt at 1 %" in done.stderr


def test_a_rekey_that_loses_one_packet_fails(box, tmp_path):
    conf = f"REKEY_COMMAND='echo rekey >> {tmp_path / 'rekeys'}'\nREKEYS=3\nREKEY_EVERY_MS=1000"
    rows, done = box("rekey", can=1e9, conf=conf)
    assert done.returncode == 0 and rows[0]["note"] == "3 rekeys" and int(rows[0]["lost"]) == 0, done.stderr
    assert (tmp_path / "rekeys").read_text() == "rekey\n" * 3
    _, done = box("rekey", can=1e9, loses=1, conf=conf)
    assert done.returncode == 1 and "packets were lost; none may be" in done.stderr
    _, done = box("rekey", conf=conf.replace("echo rekey", "false"))
    assert done.returncode == 1 and "REKEY_COMMAND failed, at rekey 1: false" in done.stderr


@pytest.mark.parametrize("api", ["old", "new"])
def test_latency_comes_from_the_sampler(box, api):
    rows, done = box("latency", api, can=1e9, conf="LATENCY_SIZES='64 512'\nLATENCY_RATES='1 10'\nTRIAL_MS=2000")
    assert done.returncode == 0, done.stderr
    assert len(rows) == 4 and rows[0]["note"].startswith("100 probes; p50 50.0 us; p99 99.0 us; longest 100.0 us")


@pytest.mark.parametrize("missing", ["lan-64", "wan-64"])
def test_one_of_a_pair_of_captures_is_not_enough(box, tmp_path, missing):
    (tmp_path / f"{missing}.pcap").unlink()
    rows, done = box("throughput")
    assert done.returncode == 2 and f"{missing}.pcap is not there" in done.stderr and not rows


def test_a_check_tries_nothing_but_finds_what_is_missing(box, tmp_path):
    rows, done = box("check", conf="SIZES='64 imix'")
    assert done.returncode == 0 and "captures of 64 imix and of a flood: all there" in done.stdout and not rows
    (tmp_path / "wan-imix.pcap").unlink()
    _, done = box("check", conf="SIZES='64 imix'")
    assert done.returncode == 2 and "wan-imix.pcap is not there" in done.stderr


@pytest.mark.parametrize(("test", "conf", "said"), [
    ("throughput", "PKTGEN=/nonexistent/pktgen", "PKTGEN is /nonexistent/pktgen, which is not there"),
    ("throughput", "SIZES=1518", "lan-1518.pcap is not there: perf/pktgen/captures.py --out"),
    ("throughput", "DEVICES=", "DEVICES is not set"),
    ("rekey", "", "REKEY_COMMAND is not set"),
    ("speed", "", "no test is called speed: throughput, flood, latency, rekey or check"),
    ("throughput", "TRIAL_MS=ten", "TRIAL_MS is ten: expected a number from 1000 to 3600000"),
    ("throughput", "DIRECTIONS=up", "DIRECTION is up: encrypt, decrypt or both"),
    ("throughput", "PKTGEN=true", "Pktgen has ended before the script did"),
])
def test_what_is_wrong_is_said(box, test, conf, said):
    rows, done = box(test, conf=conf)
    assert done.returncode in (1, 2) and said in done.stderr and not rows, done.stderr


def test_a_port_without_a_link_is_named(box):
    _, done = box("throughput", link="<--Down-->")
    assert done.returncode == 1 and "port 0 has no link (<--Down-->): is the member running, and the cable in?" in done.stderr
