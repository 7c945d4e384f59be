"""perf/pktgen: the search, the captures, and the report of a quick run, section by section. The figures mean nothing here."""

import csv
import os
import pathlib
import re
import subprocess
import sys
import xml.etree.ElementTree

import pytest

from member import BINARIES

HERE = pathlib.Path(__file__).resolve().parent.parent.parent / "perf" / "pktgen"
sys.path.append(str(HERE))

import captures
import frames
import search

SECTIONS = ["Throughput", "IMIX", "Latency", "Unknown SPIs", "Rekey under load", "A capture that comes round again", "Counters",
            "Checks", "What these figures mean"]


def device(can, *, offers=10e6, seconds=1.0):
    """Loses all beyond what it can, behind a generator that has its limit too."""
    def run(rate):
        offered = min(rate, offers)
        return search.Trial(rate, int(offered * seconds), int(min(offered, can) * seconds), seconds)

    return run


def test_the_search_finds_what_a_device_can_from_below_and_within_its_resolution():
    found = search.highest(device(1.234e6), 4e6, resolution=0.02)
    assert 0.97 * 1.234e6 <= found.rate <= 1.234e6
    assert not found.by_generator and found.trials < 15


def test_the_search_says_that_the_generator_was_the_limit():
    found = search.highest(device(8e6, offers=2e6), 4e6, resolution=0.02)
    assert found.by_generator and found.rate == 2e6


def test_what_fails_longer_trials_is_lowered_until_it_passes_them():
    found = search.highest(device(1e6), 4e6, resolution=0.05, confirm=device(0.8e6))
    assert 0.7e6 <= found.rate <= 0.8e6


def test_where_longer_trials_fail_by_far_there_is_a_rate_all_the_same():
    found = search.highest(device(1e6), 4e6, resolution=0.05, confirm=device(0.1e6))
    assert 0.04e6 <= found.rate <= 0.1e6


def test_a_device_that_loses_at_any_rate_has_none():
    assert search.highest(lambda rate: search.Trial(rate, 100, 99, 1.0), 4e6, resolution=0.05).rate == 0


@pytest.mark.parametrize("size", [*frames.SIZES, frames.JUMBO])
def test_a_frame_has_its_size_less_the_fcs_and_a_valid_header(size):
    frame = frames.frame(size, 3)
    assert len(frame) == size - 4
    assert frames.checksum(frame[14:34]) == 0


def test_captures_come_in_pairs_with_a_key_that_others_may_not_read(tmp_path):
    out = tmp_path / "captures"
    done = subprocess.run([HERE / "captures.py", "--bin", BINARIES, "--out", out, "--frames", "32", "--sizes", "64,imix"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for size in ("64", "imix"):
        lan, wan = frames.read(out / f"lan-{size}.pcap"), frames.read(out / f"wan-{size}.pcap")
        assert len(lan) == len(wan) == 32
        assert all(sealed[23] == 50 and len(sealed) > len(clear) for clear, sealed in zip(lan, wan, strict=True))
        assert len({sealed[38:42] for sealed in wan}) == 32, "sequence numbers"
    flood = frames.read(out / "wan-flood.pcap")
    assert sum(packet[34:38] == captures.OWN_SPI.to_bytes(4, "big") for packet in flood) * captures.ONE_GOOD_IN == len(flood)
    assert (out / "sa.toml").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(("arguments", "said"), [
    (["--bin", "/nonexistent"], "getvpn-gm is not there, or cannot be run"),
    (["--trial", "0"], "'0' is no time of a trial"),
    (["--sizes", "63"], "'63' is no size: 64 to 9018, or imix"),
])
def test_the_report_says_what_is_wrong(tmp_path, arguments, said):
    done = report(tmp_path, *arguments)
    assert done.returncode == 2 and said in done.stderr, done.stderr


def test_without_testpmd_it_says_what_brings_it(tmp_path):
    done = report(tmp_path, environment={**os.environ, "PATH": "/nonexistent"})
    assert done.returncode == 2
    assert "dpdk-testpmd is not installed" in done.stderr and "--without-testpmd" in done.stderr


def test_a_port_whose_other_end_is_gone_is_named(tmp_path):
    import load
    frames.write(tmp_path / "some.pcap", [frames.frame(64, 0)])
    with load.Load(BINARIES, tmp_path, [tmp_path / "nobody.sock"], core=0, mtu=1500) as generator:
        with pytest.raises(captures.Failed, match="net_memif0 has no link: the program at its other end is not there"):
            generator.one_way(tmp_path / "some.pcap", 0, 0, 1000, 0.1)
        with pytest.raises(captures.Failed, match=r"port 7: there are 1, from 0"):
            generator.one_way(tmp_path / "some.pcap", 7, 0, 1000, 0.1)
        with pytest.raises(captures.Failed, match=r"gone\.pcap"):
            generator.one_way(tmp_path / "gone.pcap", 0, 0, 1000, 0.1)
        with pytest.raises(captures.Failed, match="a rate is from 1 to 1e9, not 0"):
            generator.one_way(tmp_path / "some.pcap", 0, 0, 0, 0.1)
        with pytest.raises(captures.Failed, match="not a command"):
            generator.ask({"nonsense": 1})


@pytest.mark.timeout(180)
def test_a_quick_run_writes_every_section_and_its_counters_add_up(tmp_path):
    done = report(tmp_path, "--quick")
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "report.md").read_text()
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
    assert "FAILED" not in text and text.count("- ok: counters of") == 2
    for name in re.findall(r"!\[.*\]\((.*)\)", text):
        assert xml.etree.ElementTree.parse(tmp_path / name).getroot().tag == "{http://www.w3.org/2000/svg}svg", name
    with (tmp_path / "figures.csv").open() as file:
        figures = {(row["section"], row["case"], row["figure"]): float(row["value"]) for row in csv.DictReader(file)}
    for way in ("encrypt", "decrypt", "testpmd"):
        for size in ("64", "imix"):
            assert figures["throughput", f"{way} {size}", "highest rate without loss"] > 0
    assert figures["rekey", "", "offered"] == figures["rekey", "", "received"] > 0 and figures["rekey", "", "rekeys"] == 2
    assert figures["flood", "4 to 1", "unknown"] > 0
    assert figures["replay", "counter round 2", "opened"] == 0 < figures["replay", "counter round 2", "duplicate"]


def report(out, *arguments, environment=None):
    return subprocess.run([sys.executable, HERE / "report.py", "--bin", BINARIES, "--out", out, *arguments], timeout=170,
                          capture_output=True, text=True, env=environment)
