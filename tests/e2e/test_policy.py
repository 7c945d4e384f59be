"""What a member does with each kind of packet: policy, enforcement, and every way for ESP to be refused."""

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_NS, IPv6
from scapy.layers.ipsec import ESP
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether

from member import run_files
from oracle import ETHERNET, OracleSa, group, octets


def udp(sa, version=4, size=100, **fields):
    header = (IP if version == 4 else IPv6)(**{**sa.addresses(version), **fields})
    return type(header)(bytes(header / UDP(sport=1000, dport=2000) / octets(version, size)))


# --- what crosses, in which form -------------------------------------------------------------


def test_what_policy_does_not_name_crosses_unchanged_in_both_directions(tmp_path):
    sa = OracleSa(0x3000)
    frames = [bytes(frame) for frame in (
        ETHERNET / ARP(pdst="10.1.0.2"),
        Ether(dst="01:80:c2:00:00:0e", type=0x88CC) / bytes.fromhex("020704aabbccddeeff0404050102060200780000"),
        ETHERNET / IP(src="192.168.0.1", dst="10.1.0.2") / UDP() / b"source outside",
        ETHERNET / IP(src="10.1.0.1", dst="192.168.0.2") / UDP() / b"destination outside",
        ETHERNET / IPv6(src="fe80::1", dst="ff02::1:ff00:2") / ICMPv6ND_NS(tgt="fe80::2"),
        ETHERNET / Dot1Q(vlan=5) / ARP(),
        ETHERNET / Dot1AD(vlan=5) / Dot1Q(vlan=6) / IPv6(src="2001:db8::1", dst="2001:db8::2") / UDP() / b"tagged twice",
    )]
    ended = run_files(tmp_path, [group("g", sa)], lan=frames, wan=frames)
    assert sorted(ended.wan()) == sorted(frames)
    assert sorted(ended.lan()) == sorted(frames)
    assert ended.counters["bypassed"] == 2 * len(frames)


@pytest.mark.parametrize("tags", [(), (Dot1Q(vlan=5),), (Dot1AD(vlan=5), Dot1Q(vlan=6))], ids=["none", "one", "two"])
def test_vlan_tags_stay_on_what_is_encrypted_and_decrypted(tmp_path, tags):
    sa = OracleSa(0x3000)
    link = ETHERNET.copy()
    for tag in tags:
        link = link / tag
    packets = [udp(sa, 4), udp(sa, 6)]
    sealed = [link / sa.seal(packet).payload for packet in packets]
    ended = run_files(tmp_path, [group("g", sa)], lan=[link / packet for packet in packets], wan=sealed)
    assert ended.lan() == [bytes(link / packet) for packet in packets]
    for frame, packet in zip(ended.wan(), packets, strict=True):
        assert frame[:len(link)] == bytes(link / packet)[:len(link)]
        assert sa.open(bytes(ETHERNET)[:12] + frame[len(link) - 2:]) == bytes(packet)


@pytest.mark.parametrize("destination", ["239.1.2.3", "ff15::1"])
def test_multicast_is_protected_like_unicast(tmp_path, destination):
    version = 6 if ":" in destination else 4
    sa = OracleSa(0x3000)
    selector = {"src": ("10.1.0.0/16", "fd00:1::/32")[version == 6], "dst": ("239.0.0.0/8", "ff00::/8")[version == 6]}
    g = group("g", sa)
    g["sas"][0]["selectors"].append(selector)
    packet = udp(sa, version, dst=destination)
    ended = run_files(tmp_path, [g], lan=[ETHERNET / packet], wan=[sa.seal(packet)])
    assert ended.lan() == [bytes(ETHERNET / packet)]
    assert [sa.open(frame) for frame in ended.wan()] == [bytes(packet)]


# --- policy ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("without_sa", "drops", "sent"), [("drop", {"no_sa": 1}, 0), ("bypass", {}, 1)])
def test_without_an_outbound_sa_a_group_fails_closed_or_open_as_configured(tmp_path, without_sa, drops, sent):
    sa = OracleSa(0x3000, options={"direction": "in"})
    frame = bytes(ETHERNET / udp(sa))
    ended = run_files(tmp_path, [group("g", sa, without_sa=without_sa)], lan=[frame])
    assert ended.drops() == drops
    assert ended.wan() == [frame] * sent


def test_enforce_both_drops_cleartext_that_should_have_been_encrypted(tmp_path):
    sa = OracleSa(0x3000)
    ended = run_files(tmp_path, [group("g", sa)], lan=[ETHERNET / udp(sa)], wan=[ETHERNET / udp(sa), sa.seal(udp(sa))])
    assert ended.drops() == {"cleartext": 1}
    assert (ended.counters["encrypted"], ended.counters["decrypted"]) == (1, 1)


def test_enforce_inbound_optional_encrypts_and_accepts_both(tmp_path):
    sa = OracleSa(0x3000)
    frame = bytes(ETHERNET / udp(sa))
    ended = run_files(tmp_path, [group("g", sa, enforce="inbound-optional")], lan=[frame],
                      wan=[frame, sa.seal(udp(sa))])
    assert ended.drops() == {}
    assert ended.lan() == [frame, frame]
    assert [sa.open(sealed) for sealed in ended.wan()] == [bytes(udp(sa))]


def test_enforce_receive_only_sends_in_the_clear_and_accepts_both(tmp_path):
    sa = OracleSa(0x3000)
    frame = bytes(ETHERNET / udp(sa))
    ended = run_files(tmp_path, [group("g", sa, enforce="receive-only")], lan=[frame], wan=[frame, sa.seal(udp(sa))])
    assert ended.drops() == {}
    assert ended.lan() == [frame, frame]
    assert ended.wan() == [frame]


def test_the_newest_active_sa_of_a_group_seals_and_all_of_them_open(tmp_path):
    old, new = OracleSa(0x3000), OracleSa(0x3001)
    ended = run_files(tmp_path, [group("g", old, new)], lan=[ETHERNET / udp(new)],
                      wan=[old.seal(udp(old)), new.seal(udp(new))])
    assert ended.counters["decrypted"] == 2
    assert [new.open(frame) for frame in ended.wan()] == [bytes(udp(new))]


def test_selectors_name_protocols_and_ports(tmp_path):
    sa = OracleSa(0x3000)
    g = group("g", sa)
    g["sas"][0]["selectors"] = [{"src": "10.1.0.0/16", "dst": "10.1.0.0/16", "protocol": 17, "dst_port": "2000-2001"}]
    inside, outside = udp(sa), udp(sa)
    outside[UDP].dport = 2002
    ended = run_files(tmp_path, [g], lan=[ETHERNET / inside, ETHERNET / outside])
    assert (ended.counters["encrypted"], ended.counters["bypassed"]) == (1, 1)


def test_local_rules_come_before_the_groups_in_their_order(tmp_path):
    sa = OracleSa(0x3000)
    anything = {"src": "10.1.0.0/16", "dst": "10.1.0.0/16"}
    policy = [{"action": "bypass", **anything, "protocol": 17, "dst_port": "2000"}, {"action": "drop", **anything}]
    other = udp(sa)
    other[UDP].dport = 9
    ended = run_files(tmp_path, [group("g", sa)], policy=policy, lan=[ETHERNET / udp(sa), ETHERNET / other])
    assert ended.drops() == {"policy": 1}
    assert ended.wan() == [bytes(ETHERNET / udp(sa))]


# --- ESP that is refused ---------------------------------------------------------------------


def changed(frame, at):
    frame = bytearray(bytes(frame))
    frame[at] ^= 1
    return bytes(frame)


def cut(sa, packet, octets_kept):
    """ESP that ends early, in an IP packet whose header agrees with that."""
    sealed = sa.seal(packet)
    return ETHERNET / IP(src=packet.src, dst=packet.dst) / ESP(bytes(sealed[ESP])[:octets_kept])


def with_inner(sa, inner, outer=None):
    return sa.seal(inner, outer=outer or IP(**sa.addresses(4)))


REFUSED = {
    "unknown_spi": lambda sa: [OracleSa(0x9999).seal(udp(sa))],
    "authentication": lambda sa: [changed(sa.seal(udp(sa)), -1), changed(sa.seal(udp(sa)), 50),
                                  changed(sa.seal(udp(sa)), 38)],
    "esp_truncated": lambda sa: [cut(sa, udp(sa), n) for n in (8, 12, 35)],
    "replay_duplicate": lambda sa: [sa.seal(udp(sa), sequence=5), sa.seal(udp(sa), sequence=5)],
    "replay_stale": lambda sa: [sa.seal(udp(sa), sequence=5000), sa.seal(udp(sa), sequence=5)],
    "selectors": lambda sa: [with_inner(sa, IP(src="10.77.0.1", dst="10.1.0.2") / UDP())],
    "inner_packet": lambda sa: [with_inner(sa, IP(bytes(IP(**sa.addresses(4), len=2000) / UDP())))],
    "ecn": lambda sa: [sa.seal(udp(sa), outer=IP(**sa.addresses(4), tos=3))],
}


@pytest.mark.parametrize("reason", REFUSED)
def test_esp_that_must_not_be_accepted_is_dropped_and_counted(tmp_path, reason):
    sa = OracleSa(0x3000, replay="counter", options={"replay_window": 1024})
    frames = REFUSED[reason](sa)
    refused = 1 if reason.startswith("replay") else len(frames)
    ended = run_files(tmp_path, [group("g", sa)], wan=frames)
    assert ended.drops() == {reason: refused}
    assert len(ended.lan()) == len(frames) - refused


def test_an_outbound_sa_opens_nothing(tmp_path):
    sa = OracleSa(0x3000, options={"direction": "out"})
    ended = run_files(tmp_path, [group("g", sa)], wan=[sa.seal(udp(sa))])
    assert ended.drops() == {"sa_direction": 1}


def test_a_forged_packet_does_not_move_the_replay_window(tmp_path):
    sa = OracleSa(0x3000, replay="counter")
    forged = changed(sa.seal(udp(sa), sequence=60000), -1)
    ended = run_files(tmp_path, [group("g", sa)], wan=[forged, sa.seal(udp(sa), sequence=1)])
    assert ended.drops() == {"authentication": 1}
    assert ended.counters["decrypted"] == 1


def test_each_sender_has_a_replay_window_of_its_own(tmp_path):
    sa = OracleSa(0x3000, replay="sender", options={"sid_bits": 16})
    frames = [sa.seal(udp(sa), sequence=n, sid=sid) for sid, n in ((1, 9000), (2, 1), (1, 9001), (2, 2), (1, 1), (2, 2))]
    ended = run_files(tmp_path, [group("g", sa)], wan=frames)
    assert ended.drops() == {"replay_stale": 1, "replay_duplicate": 1}
    assert ended.counters["decrypted"] == 4


def test_ecn_marks_that_the_network_made_reach_the_receiver(tmp_path):
    sa = OracleSa(0x3000)
    capable = udp(sa, tos=2)
    ended = run_files(tmp_path, [group("g", sa)], wan=[sa.seal(capable, outer=IP(**sa.addresses(4), tos=3))])
    assert Ether(ended.lan()[0])[IP].tos == 3
    assert ended.lan() == [bytes(ETHERNET / udp(sa, tos=3))]
