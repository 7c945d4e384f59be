"""`getvpnctl drops` names whoever had a packet dropped last: forged and replayed ESP, an unknown SPI, cleartext."""

import subprocess

import pytest
from scapy.layers.inet import IP, TCP, UDP

from member import BINARIES, Member, configuration, write_frames
from oracle import ETHERNET, OracleSa, group

GOOD = OracleSa(0x6000, replay="counter")
FORGED = OracleSa(0x6001, net=2)
NOBODYS = OracleSa(0x6002, net=3)


def addresses(last):
    """Of a sender that only one of the packets has."""
    return {"src": f"10.1.0.{last}", "dst": "10.1.0.200"}


def forged():
    return FORGED.forge(IP(**FORGED.addresses(4)) / UDP() / b"forged", sequence=77)


@pytest.fixture(scope="module")
def member(tmp_path_factory):
    """A member that hears the same offenders over and over, each for another reason."""
    work = tmp_path_factory.mktemp("drops")
    cleartext = ETHERNET / IP(**addresses(4)) / TCP(sport=5555, dport=443)
    malformed = bytearray(bytes(ETHERNET / IP(**addresses(5)) / UDP() / b"checksum"))
    malformed[24] ^= 0xFF
    write_frames(work / "wan-in.pcap", [
        GOOD.seal(IP(**addresses(2)) / UDP() / b"again and again", sequence=1234),
        forged(),
        NOBODYS.seal(IP(**NOBODYS.addresses(4)) / UDP(), sequence=99),
        cleartext,
        bytes(malformed),
    ])
    write_frames(work / "lan-in.pcap", [ETHERNET / IP(src="10.1.0.9", dst="10.1.0.10") / UDP(sport=53, dport=5353)])
    config = configuration(["net_pcap0,rx_pcap=lan-in.pcap,infinite_rx=1", "net_pcap1,rx_pcap=wan-in.pcap,infinite_rx=1"],
                           [group("main", GOOD), group("other", FORGED)])
    with Member(work, config) as running:
        running.wait_until_it_answers()
        running.wait_until(lambda: len(by_reason(running)) >= 5, "all of the drops")
        yield running


def by_reason(member, *options):
    return {drop["reason"]: drop for drop in member.ctl("drops", "--peek", *options)["drops"]}


def test_esp_is_named_by_addresses_spi_and_sequence_number(member):
    drops = by_reason(member)
    for reason, packet, spi, sequence in [
        ("replay_duplicate", addresses(2), "0x00006000", 1234),
        ("authentication", FORGED.addresses(4), "0x00006001", 77),
        ("unknown_spi", NOBODYS.addresses(4), "0x00006002", 99),
    ]:
        last = drops[reason]["last"]
        assert (last["src"], last["dst"]) == (packet["src"], packet["dst"]), reason
        assert (last["spi"], last["sequence"], last["protocol"]) == (spi, sequence, 50)
        assert (last["link"], last["from"], last["direction"]) == ("site", "WAN", "inbound")
        assert 0 <= last["ago_ms"] < 5000
        assert drops[reason]["count"] > 0 and drops[reason]["advice"]


def test_cleartext_is_named_by_its_ports_and_a_malformed_packet_by_its_addresses(member):
    drops = by_reason(member)
    last = drops["cleartext"]["last"]
    assert (last["src"], last["src_port"], last["dst_port"], last["protocol"]) == (addresses(4)["src"], 5555, 443, 6)
    assert last["octets"] == 14 + 20 + 20
    last = drops["ipv4_header"]["last"]
    assert last["src"] == addresses(5)["src"] and "src_port" not in last


def test_a_call_says_what_has_come_since_the_last_and_a_peek_does_not_count_as_one(member):
    before = member.ctl("drops")
    peeked = member.ctl("drops", "--peek")
    assert peeked["since"] == "last-call"
    member.wait_until(lambda: by_reason(member)["cleartext"]["more"] > 1000, "more of them")
    after = member.ctl("drops")
    assert after["since"] == "last-call" and after["since_s"] >= peeked["since_s"]
    counts = {drop["reason"]: drop["count"] for drop in before["drops"]}
    for drop in after["drops"]:
        assert drop["more"] == drop["count"] - counts.get(drop["reason"], 0)
        assert drop["per_s"] == pytest.approx(drop["more"] / after["since_s"], rel=0.01)
        assert drop["recent_per_s"] >= 0


def test_people_read_it_within_a_hundred_columns_and_all_names_every_reason(member):
    shown = subprocess.run([BINARIES / "getvpnctl", "--socket", "gm.sock", "drops"], cwd=member.work, capture_output=True,
                           text=True, timeout=10)
    assert shown.returncode == 0, shown.stderr
    assert all(len(line) <= 100 for line in shown.stdout.splitlines()), shown.stdout
    assert f"ESP, SPI 0x00006001, sequence number 77, from {FORGED.addresses(4)['src']}" in shown.stdout
    assert set(by_reason(member, "--all")) == set(member.ctl("counters")["drops"])
    assert "last" not in by_reason(member, "--all")["seal_failed"]
