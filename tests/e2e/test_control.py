"""The control socket of a member that is carrying traffic, its signals, and what an operator sees."""

import signal
import stat
import subprocess

import pytest
from scapy.layers.inet import IP, UDP

from member import BINARIES, Member, assert_nothing_unaccounted, configuration, write_frames
from oracle import ETHERNET, OracleSa, group

SA = OracleSa(0x5000)
LASTING = OracleSa(0x5001, net=2)


@pytest.fixture
def busy(tmp_path):
    """A member that hears the same ESP and the same cleartext over and over."""
    packet = IP(**SA.addresses(4)) / UDP() / b"over and over"
    write_frames(tmp_path / "lan-in.pcap", [ETHERNET / packet] * 8)
    write_frames(tmp_path / "wan-in.pcap", [SA.seal(packet), LASTING.seal(IP(**LASTING.addresses(4)) / UDP())] * 4)
    config = configuration(["net_pcap0,rx_pcap=lan-in.pcap,infinite_rx=1", "net_pcap1,rx_pcap=wan-in.pcap,infinite_rx=1"],
                           [group("main", SA, without_sa="drop"), group("other", LASTING)])
    with Member(tmp_path, config) as member:
        member.wait_until_it_answers()
        member.wait_until(lambda: member.ctl("counters")["decrypted"], "traffic")
        yield member


def test_status_says_what_the_member_is(busy):
    status = busy.ctl("status")
    assert status["role"] == "gm"
    assert status["uptime_s"] >= 0
    assert [(g["name"], g["sas"]) for g in status["groups"]] == [("main", 1), ("other", 1)]


def test_at_every_moment_each_received_packet_is_accounted_for(busy):
    before = busy.ctl("counters")
    for _ in range(50):
        counters = busy.ctl("counters", "--per")
        for part in (counters, *counters["per"]):
            assert_nothing_unaccounted(part)
    assert counters["rx"] > before["rx"]


def test_sa_list_and_sa_show_tell_what_was_carried(busy):
    listed = {sa["spi"]: sa for sa in busy.ctl("sa", "list")["sas"]}
    assert set(listed) == {"0x00005000", "0x00005001"}
    assert listed["0x00005000"]["packets"] > 0
    assert listed["0x00005000"]["group"] == "main"
    shown = busy.ctl("sa", "show", "0x5000")
    assert shown["transform"] == "aes-128-gcm"
    assert SA.key.hex() not in str(shown)


def test_a_deleted_sa_becomes_an_unknown_spi_and_its_group_fails_closed(busy):
    assert busy.ctl("counters")["drops"].get("unknown_spi", 0) == 0
    busy.ctl("sa", "delete", "0x5000")
    assert [sa["spi"] for sa in busy.ctl("sa", "list")["sas"]] == ["0x00005001"]
    [unknown] = busy.wait_until(lambda: busy.ctl("unknown-spi")["spis"], "the unknown SPI")
    assert unknown["spi"] == "0x00005000"
    assert unknown["link"] == "site"
    assert unknown["senders"] == [SA.addresses(4)["src"]]
    assert unknown["count"] > 0
    drops = busy.wait_until(lambda: (d := busy.ctl("counters")["drops"])["no_sa"] and d["unknown_spi"] and d, "the drops")
    assert set(reason for reason, n in drops.items() if n) == {"unknown_spi", "no_sa"}


def test_policy_says_what_becomes_of_a_packet_and_why(busy):
    ours = SA.addresses(4)
    hit = busy.ctl("policy", ours["src"], ours["dst"], "--protocol", "tcp", "--dst-port", "443")
    assert (hit["to_wan"], hit["from_wan_in_the_clear"], hit["spi"]) == ("encrypted", "dropped", "0x00005000")
    assert hit["rule"]["group"] == "main" and hit["rule"]["selector"]["src"] == "10.1.0.0/16"
    busy.ctl("sa", "delete", "0x5000")
    hit = busy.ctl("policy", ours["src"], ours["dst"])
    assert (hit["to_wan"], hit["spi"]) == ("dropped", None) and "no_sa" in hit["says"]
    hit = busy.ctl("policy", "192.0.2.1", "192.0.2.2")
    assert (hit["to_wan"], hit["rule"]) == ("bypassed", None)
    mixed = subprocess.run([BINARIES / "getvpnctl", "--socket", "gm.sock", "policy", "192.0.2.1", "fd00::1"], cwd=busy.work,
                           capture_output=True, text=True, timeout=10)
    assert mixed.returncode == 1 and "not of the same family" in mixed.stderr


def test_spi_says_all_that_is_known_of_one(busy):
    known = busy.ctl("spi", "0x5000")
    assert known["sa"]["group"] == "main" and known["unknown"] is None and "an SA of group main" in known["says"]
    busy.ctl("sa", "delete", "0x5000")
    known = busy.wait_until(lambda: (k := busy.ctl("spi", "0x5000"))["unknown"] and k, "packets without an SA")
    assert known["sa"] is None and known["unknown"]["senders"] == [SA.addresses(4)["src"]]
    assert "nobody has been asked" in known["says"], "there is no key server"
    assert "no packet came with it" in busy.ctl("spi", "0x9999")["says"]


def test_what_is_not_there_is_refused_by_name(busy):
    asked = subprocess.run([BINARIES / "getvpnctl", "--socket", "gm.sock", "sa", "show", "0x1234"], cwd=busy.work,
                           capture_output=True, text=True, timeout=10)
    assert asked.returncode == 1
    assert "0x00001234" in asked.stderr


def test_only_the_owner_may_use_the_socket(busy):
    assert stat.S_IMODE((busy.work / "gm.sock").stat().st_mode) == 0o600


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_ends_the_member_cleanly(busy, sent):
    ended = busy.end(sent)
    assert ended.status == 0, ended.output
    assert ended.counters["parked"] == 0
    assert not (busy.work / "gm.sock").exists()


def test_an_sa_leaves_when_its_lifetime_ends(tmp_path):
    short = OracleSa(0x5000, options={"lifetime_s": 2})
    write_frames(tmp_path / "lan-in.pcap", [ETHERNET / IP(**short.addresses(4)) / UDP()] * 8)
    config = configuration(["net_pcap0,rx_pcap=lan-in.pcap,infinite_rx=1", "net_pcap1,tx_pcap=wan-out.pcap"],
                           [group("main", short)])
    with Member(tmp_path, config) as member:
        member.wait_until_it_answers()
        [sa] = member.ctl("sa", "list")["sas"]
        assert sa["lifetime_left_s"] <= 2
        member.wait_until(lambda: not member.ctl("sa", "list")["sas"], "the end of its lifetime", seconds=10)
        member.wait_until(lambda: member.ctl("counters")["drops"]["no_sa"], "fail-close", seconds=5)


def test_a_reset_lets_counters_and_drops_start_from_zero_and_everything_stays_accounted_for(busy):
    busy.ctl("sa", "delete", "0x5000")
    before = busy.wait_until(lambda: (c := busy.ctl("counters"))["drops"]["no_sa"] and c, "drops")
    assert "reset_s" not in before
    assert busy.ctl("reset", "counters")["counted_s"] >= 0
    for _ in range(20):
        after = busy.ctl("counters", "--per")
        for part in (after, *after["per"]):
            assert_nothing_unaccounted(part)
    assert after["reset_s"] >= 0
    busy.wait_until(lambda: busy.ctl("counters")["drops"]["no_sa"], "drops are counted again")
    [no_sa] = [drop for drop in busy.ctl("drops")["drops"] if drop["reason"] == "no_sa"]
    ended = busy.end()
    assert ended.counters["drops"]["no_sa"] >= before["drops"]["no_sa"] + no_sa["count"], "--summary is from the start"


def test_what_is_logged_can_be_changed_and_goes_back_by_itself(busy):
    assert busy.ctl("log", "level") == {"level": "info", "at_start": "info", "reverts_in_s": None}
    assert busy.ctl("log", "level", "debug")["level"] == "debug"
    assert "published" not in busy.log.read_text()
    busy.ctl("sa", "delete", "0x5000")
    busy.wait_until(lambda: "SAs are in force" in busy.log.read_text(), "a debug line")
    shown = busy.ctl("log", "level", "warn", "--for", "1")
    assert (shown["level"], shown["at_start"]) == ("warn", "info") and shown["reverts_in_s"] <= 1
    busy.wait_until(lambda: busy.ctl("log", "level")["level"] == "info", "the level of the start")
    wrong = subprocess.run([BINARIES / "getvpnctl", "--socket", "gm.sock", "log", "level", "inof"], cwd=busy.work,
                           capture_output=True, text=True, timeout=10)
    assert wrong.returncode == 1 and "use error, warn, info" in wrong.stderr
