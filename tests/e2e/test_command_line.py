"""Configurations and machines that a member must not start with, and what it says about them."""

import re
import subprocess

import pytest

from member import BINARIES, EAL, Member, configuration, run_files, run_refused
from oracle import OracleSa, group

GOOD = configuration(["net_pcap0,rx_pcap=lan-in.pcap,tx_pcap=lan-out.pcap",
                      "net_pcap1,rx_pcap=wan-in.pcap,tx_pcap=wan-out.pcap"],
                     [group("finance", OracleSa(0x6000), without_sa="drop"), group("staff", OracleSa(0x6001, net=2))])

# what is wrong -> (text of the good configuration, what replaces its first occurrence, words of the message)
BAD = {
    "an unknown key": ("without_sa =", "witout_sa =", ["witout_sa", "without_sa"]),
    "an unknown table": ("[control]", "[contrl]", ["contrl", "control"]),
    "no TOML": ("[control]", "[control", []),
    "a key that is too short": ('key = "', 'key = "00" #', ["key", "20"]),
    "an odd number of hex digits": ('key = "', 'key = "0', ["key"]),
    "no hex digits": ('key = "', 'key = "xy', ["key"]),
    "a reserved SPI": ("spi = 24576", "spi = 255", ["spi", "0x00000100"]),
    "the same SPI twice": ("spi = 24577", "spi = 24576", ["spi"]),
    "a device named twice": ('wan = "net_pcap1"', 'wan = "net_pcap0"', ["link.wan", "already"]),
    "a prefix that is none": ("10.1.0.0/16", "10.1.0.0/33", ["33"]),
    "bits behind the prefix": ("10.1.0.0/16", "10.1.0.1/16", ["10.1.0.0/16"]),
    "an unknown transform": ("aes-128-gcm", "aes-128-gmc", ["aes-128-gcm"]),
    "an unknown mode": ('"tunnel"', '"tunel"', ["tunnel"]),
    "a wrong type": ("mtu = 1500", 'mtu = "large"', ["mtu"]),
    "an MTU that is none": ("mtu = 1500", "mtu = 20", ["mtu"]),
    "a word that enforce does not know": ("without_sa =", 'enforce = "some"\nwithout_sa =', ["inbound-optional"]),
    "a file that is missing": ("without_sa =", 'key_servers = ["192.0.2.1:848"]\npsk_file = "missing.psk"\nwithout_sa =', ["missing.psk"]),
}


def check(tmp_path, text):
    (tmp_path / "gm.toml").write_text(text)
    (tmp_path / "gm.toml").chmod(0o600)
    return subprocess.run([BINARIES / "getvpn-gm", "--config", "gm.toml", "--check"], cwd=tmp_path, capture_output=True,
                          text=True, timeout=10)


def test_check_accepts_a_good_configuration(tmp_path):
    checked = check(tmp_path, GOOD)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("wrong", BAD)
def test_check_names_the_place_the_key_and_the_problem(tmp_path, wrong):
    before, after, words = BAD[wrong]
    assert before in GOOD
    line = GOOD[:GOOD.index(before)].count("\n") + 1
    checked = check(tmp_path, GOOD.replace(before, after, 1))
    assert checked.returncode == 2, checked.stderr
    message = checked.stderr.strip()
    assert len(message.splitlines()) == 1 or wrong == "no TOML", message
    named = re.search(r"gm\.toml:(\d+):(\d+)", message)
    assert named, message
    if wrong != "the same SPI twice":
        assert line <= int(named[1]) <= line + after.count("\n") + 1, message
    for word in words:
        assert word in message
    assert OracleSa(0x6000).key.hex() not in message, "a key in an error message"


def test_a_configuration_that_is_not_there_is_named(tmp_path):
    checked = subprocess.run([BINARIES / "getvpn-gm", "--config", "none.toml"], cwd=tmp_path, capture_output=True, text=True,
                             timeout=10)
    assert checked.returncode == 2
    assert "none.toml" in checked.stderr


@pytest.mark.parametrize(("wrong", "vdevs", "words"), [
    ("a capture that is missing", ["net_pcap0,rx_pcap=missing.pcap", "net_pcap1,tx_pcap=out.pcap"], ["missing.pcap"]),
    ("a driver that is none", ["net_nonsuch0", "net_pcap1,tx_pcap=out.pcap"], ["net_nonsuch0"]),
    ("an interface that is none", ["net_af_packet0,iface=nonsuch", "net_pcap1,tx_pcap=out.pcap"],
     ["net_af_packet0", "No such device"]),
])
def test_a_device_that_cannot_be_had_is_named(tmp_path, wrong, vdevs, words):
    ended = run_refused(tmp_path, configuration(vdevs, [group("g", OracleSa(0x6000))]))
    assert ended.status not in (0, None), wrong
    for word in words:
        assert word in ended.output


def test_an_eal_argument_that_dpdk_does_not_know_is_explained(tmp_path):
    config = configuration(["net_pcap0,tx_pcap=a.pcap", "net_pcap1,tx_pcap=b.pcap"], [group("g", OracleSa(0x6000))],
                           eal=[*EAL, "--no-such-option"])
    ended = run_refused(tmp_path, config)
    assert ended.status != 0
    assert "no-such-option" in ended.output


def test_a_device_that_the_link_does_not_find_is_answered_with_those_that_there_are(tmp_path):
    config = configuration(["net_pcap0,tx_pcap=a.pcap", "net_pcap1,tx_pcap=b.pcap"], [group("g", OracleSa(0x6000))])
    ended = run_refused(tmp_path, config.replace('wan = "net_pcap1"', 'wan = "net_pcap7"'))
    assert ended.status != 0
    assert "net_pcap7" in ended.output
    assert "net_pcap1" in ended.output


def test_without_hugepages_the_member_says_how_to_get_them(tmp_path):
    meminfo = open("/proc/meminfo", encoding="ascii").read()
    if int(re.search(r"HugePages_Total:\s+(\d+)", meminfo)[1]):
        pytest.skip("this machine has hugepages")
    config = configuration(["net_pcap0,tx_pcap=a.pcap", "net_pcap1,tx_pcap=b.pcap"], [group("g", OracleSa(0x6000))],
                           eal=["--no-pci", "--no-telemetry", "--no-shconf"])
    ended = run_refused(tmp_path, config)
    assert ended.status != 0
    assert "hugepages/" in ended.output or "hugepage" in ended.output.lower()
    assert "--no-huge" in ended.output


def test_a_run_over_empty_files_ends_by_itself(tmp_path):
    ended = run_files(tmp_path, [group("g", OracleSa(0x6000))])
    assert ended.counters["rx"] == ended.counters["tx"] == 0


def test_two_members_do_not_share_a_control_socket(tmp_path):
    for side in ("one", "two"):
        (tmp_path / side).mkdir()
    config = configuration(["net_pcap0,tx_pcap=a.pcap", "net_pcap1,tx_pcap=b.pcap"], [group("g", OracleSa(0x6000))])
    with Member(tmp_path / "one", config) as first:
        first.wait_until_it_answers()
        shared = config.replace('"gm.sock"', f'"{tmp_path}/one/gm.sock"')
        ended = run_refused(tmp_path / "two", shared)
        assert ended.status != 0
        assert "gm.sock" in ended.output
        assert first.ctl("status")["role"] == "gm"
