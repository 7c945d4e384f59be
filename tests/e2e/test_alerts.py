"""A member in all kinds of trouble, as a Prometheus with the alert rules that ship sees it. That an alert waits for its time
(`for`) is promtool's to test; here it is that what a real daemon shows makes it due."""

import pathlib

import pytest
from scapy.layers.inet import IP, UDP

from keyserver import GROUP, NETWORK, PSK, secret
from member import Member, configuration, write_frames
from oracle import ETHERNET, OracleSa, group
from prometheus import Prometheus

RULES = pathlib.Path(__file__).parents[2] / "docs" / "prometheus" / "alerts.yml"
AT, AT_PROMETHEUS = f"{NETWORK}.4:19848", f"{NETWORK}.5:19090"
GOOD = OracleSa(0x7000, replay="counter")
NEVER_SEALS = OracleSa(0x7001, net=2, options={"direction": "in"})
UNKNOWN = OracleSa(0x7002, net=3)
# From addresses that nobody has.
NO_KEY_SERVER = {**GROUP, "id": 9, "name": "lost", "key_servers": [f"{NETWORK}.77:18849"], "local_id": "m.example.net",
                 "psk_file": "gm.psk"}
DUE = {
    "GetvpnMemberOutOfStep", "GetvpnKeyServerUnreachable", "GetvpnFailClosed",
    "GetvpnDropsByAuthentication", "GetvpnDropsByReplay", "GetvpnDropsByUnknownSpi", "GetvpnCleartextFromWan", "GetvpnWorkerBusy",
}


def packet(sa):
    return IP(**sa.addresses(4)) / UDP(sport=7, dport=8) / b"a packet"


@pytest.fixture(scope="module")
def troubled(tmp_path_factory):
    """A member that hears forged, repeated, unknown and cleartext packets, over and over, and whose key server is away."""
    work = tmp_path_factory.mktemp("alerts")
    secret(work / "gm.psk", PSK)
    write_frames(work / "lan-in.pcap", [ETHERNET / packet(NEVER_SEALS)])
    write_frames(work / "wan-in.pcap", [GOOD.seal(packet(GOOD), sequence=5), GOOD.forge(packet(GOOD), sequence=77),
                                        UNKNOWN.seal(packet(UNKNOWN)), ETHERNET / packet(GOOD)])
    config = configuration(["net_pcap0,rx_pcap=lan-in.pcap,infinite_rx=1", "net_pcap1,rx_pcap=wan-in.pcap,infinite_rx=1"],
                           [group("good", GOOD), group("mute", NEVER_SEALS), NO_KEY_SERVER],
                           control={"listen": f"{NETWORK}.4:18848"}, metrics={"listen": AT})
    with (Member(work, config) as member,
          Prometheus(work / "prometheus", AT_PROMETHEUS, {"getvpn-gm": [AT]}, RULES) as prometheus):
        member.wait_until_it_answers()
        prometheus.wait_until_it_has_scraped(1)
        yield member, prometheus


def due(prometheus):
    return {name: rule["alerts"] for name, rule in prometheus.rules().items() if rule["state"] in ("pending", "firing")}


def test_each_trouble_makes_its_alert_due_and_the_alert_names_the_member(troubled):
    _, prometheus = troubled
    found = prometheus.wait_for(lambda: (d := due(prometheus)).keys() >= DUE and d, f"all of {DUE}", 60)
    for name in DUE:
        for alert in found[name]:
            assert alert["labels"]["instance"] == AT, alert
            assert AT in alert["annotations"]["summary"] and "{{" not in alert["annotations"]["summary"], alert
    [state] = found["GetvpnKeyServerUnreachable"]
    assert "lost" in state["annotations"]["summary"], state
    # Nothing is told of what is well.
    assert not found.keys() & {"GetvpnMemberDown", "GetvpnPortDown", "GetvpnBadRekeys", "GetvpnSenderIdUsedUp"}, found


def test_a_member_that_is_gone_is_noticed(troubled):
    """The last one: it takes the member away."""
    member, prometheus = troubled
    member.process.kill()
    prometheus.wait_for(lambda: "GetvpnMemberDown" in due(prometheus), "the alert that the member is down", 20)
