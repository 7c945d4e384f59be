"""scapy opens what the member seals, and the member opens what scapy seals."""

import itertools

import pytest
from scapy.layers.inet import IP, UDP, IPOption_NOP, IPOption_Router_Alert
from scapy.layers.inet6 import IPv6, IPv6ExtHdrHopByHop, RouterAlert
from scapy.layers.l2 import Ether

from member import run_files
from oracle import ETHERNET, MODES, TRANSFORMS, OracleSa, group, octets

EXPERIMENTAL = 253  # RFC 3692: a protocol number that no stack interprets
SIZES = (*range(20), 31, 32, 33, 63, 64, 65, 128, 255, 512, 1000, 1400, 1452, 2047, 2048, 4000, 8900)
SHAPES = ("plain", "options", "udp")
VERSIONS = (4, 6)
CASES = len(TRANSFORMS) * len(MODES) * len(VERSIONS) * len(SHAPES) * len(SIZES)
JUMBO = 9216
REPLAY = ("none", "counter", "sender")


def all_sas():
    for n, (transform, mode) in enumerate(itertools.product(TRANSFORMS, MODES)):
        sa = OracleSa(0x1000 + n, transform, mode, net=n + 1)
        sa.replay = REPLAY[n % (3 if sa.counter_mode() else 2)]
        yield sa


def packets(sa):
    """IP packets of every size and shape, with header fields that vary."""
    number = 0
    for version, shape, size in itertools.product(VERSIONS, SHAPES, SIZES):
        number += 1
        payload = octets(sa.spi, number, size)
        upper = {"proto" if version == 4 else "nh": EXPERIMENTAL}
        if version == 4:
            header = IP(**sa.addresses(4), tos=number * 4 & 0xFC, ttl=1 + number % 255, id=number,
                        flags=number & 2, **({} if shape == "udp" else upper))
            if shape == "options":
                header.options = [IPOption_Router_Alert(), IPOption_NOP(), IPOption_NOP(), IPOption_NOP(), IPOption_NOP()]
        else:
            header = IPv6(**sa.addresses(6), tc=number * 4 & 0xFC, fl=number, hlim=1 + number % 255,
                          **({} if shape != "plain" else upper))
            if shape == "options":
                header = header / IPv6ExtHdrHopByHop(options=[RouterAlert()], nh=EXPERIMENTAL)
        packet = header / UDP(sport=40000, dport=40001) / payload if shape == "udp" else header / payload
        yield type(packet)(bytes(packet))


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """One member with an SA for every transform and mode, given everything in both directions."""
    sas = list(all_sas())
    cases = [(sa, packet) for sa in sas for packet in packets(sa)]
    plain = [bytes(ETHERNET / packet) for _, packet in cases]
    sealed = [bytes(sa.seal(packet)) for sa, packet in cases]
    groups = [group(f"{sa.transform}-{sa.mode}", sa) for sa in sas]
    return cases, plain, run_files(tmp_path_factory.mktemp("oracle"), groups, lan=plain, wan=sealed, mtu=JUMBO)


def test_every_case_went_through_in_both_directions(ran):
    cases, _, ended = ran
    assert len(cases) == CASES == 11 * 2 * 2 * 3 * 36
    assert ended.drops() == {}
    assert (ended.counters["encrypted"], ended.counters["decrypted"]) == (CASES, CASES)


def test_the_member_opens_what_scapy_seals(ran):
    _, plain, ended = ran
    assert ended.lan() == plain


def test_scapy_opens_what_the_member_seals(ran):
    cases, plain, ended = ran
    opened = 0
    for (sa, packet), before, frame in zip(cases, plain, ended.wan(), strict=True):
        outer = Ether(frame).payload
        assert (outer.src, outer.dst) == (packet.src, packet.dst)
        assert frame[:14] == before[:14]
        assert sa.open(frame) == bytes(packet), f"{sa.transform} {sa.mode} {packet.summary()}"
        opened += 1
    assert opened == CASES


def test_the_outer_header_copies_what_routers_look_at(ran):
    cases, _, ended = ran
    for (_, packet), frame in zip(cases, ended.wan(), strict=True):
        outer = Ether(frame).payload
        if packet.version == 4:
            assert (outer.tos, outer.ttl, outer.flags) == (packet.tos, packet.ttl, packet.flags)
            checksum = outer.chksum
            del outer.chksum
            assert type(outer)(bytes(outer)).chksum == checksum
        else:
            assert (outer.tc, outer.fl, outer.hlim) == (packet.tc, packet.fl, packet.hlim)


def test_no_sender_uses_an_iv_or_a_sequence_number_twice(ran):
    cases, _, ended = ran
    used = set()
    for (sa, _), frame in zip(cases, ended.wan(), strict=True):
        esp = Ether(frame).payload
        while esp.name != "ESP":
            esp = esp.payload
        used.add((sa.spi, esp.seq))
        used.add((sa.spi, "iv", bytes(esp.data[:8])) if sa.counter_mode() else (sa.spi, "seq", esp.seq))
    assert len(used) == 2 * CASES
