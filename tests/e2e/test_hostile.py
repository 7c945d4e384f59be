"""What nobody sends who means well: absurd frames, fragments that do not fit, and authentic ESP with anything inside.

Each case is a handful of frames and the one verdict that each of them must get: how many of them leave, and why the
others do not. That every frame got exactly one is checked whenever a member ends."""

import struct

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from scapy.layers.inet import IP, UDP, IPOption_Router_Alert
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop
from scapy.packet import Raw

from member import run_files
from oracle import ETHERNET, OracleSa, group, octets

SA = OracleSa(0x9000)
FROM = bytes(ETHERNET)[:12]


def frame(ethertype, octets_behind=b""):
    return FROM + struct.pack(">H", ethertype) + octets_behind


def inner(version=4, size=20, **fields):
    header = (IP if version == 4 else IPv6)(**{**SA.addresses(version), **fields})
    return bytes(header / UDP(sport=1000, dport=2000) / octets(version, size))


def esp(plaintext, version=4, spi=SA.spi, sequence=[0], above=b""):
    """A frame with authentic ESP around a plaintext that includes the trailer, well-formed or not."""
    sequence[0] += 1
    front = struct.pack(">II", spi, sequence[0])
    iv = struct.pack(">Q", sequence[0])
    extended = front[:4] + above + front[4:]
    sealed = AESGCM(SA.key[:16]).encrypt(SA.key[16:] + iv, plaintext, extended)
    outer = IP(**SA.addresses(4), proto=50) if version == 4 else IPv6(**SA.addresses(6), nh=50)
    return bytes(ETHERNET / outer / Raw(front + iv + sealed))


def padded(payload, next_header, padding=None):
    padding = -(len(payload) + 2) % 4 if padding is None else padding
    return payload + bytes(range(1, padding + 1)) + bytes([padding, next_header])


def fragments(cuts, packet=None, **fields):
    """Pieces of one ESP packet: (from, to, whether more follow)."""
    whole = (packet or esp(padded(inner(size=1200), 4)))[34:]
    return [bytes(ETHERNET / IP(**SA.addresses(4), proto=50, id=7, flags="MF" * more, frag=start // 8, **fields)
                  / Raw(whole[start:end])) for start, end, more in cuts]


def destination_options(count):
    packet = IPv6(**SA.addresses(6))
    for _ in range(count):
        packet = packet / IPv6ExtHdrDestOpt()
    return ETHERNET / packet / UDP(sport=1, dport=2)


def tags(count, rest):
    return frame(0x8100, b"\x00\x01\x81\x00" * (count - 1) + b"\x00\x01" + rest)


# name -> (frames, how many of them leave, drops)
ANYWHERE = {
    "no EtherType": ([b"\x02", FROM, FROM + b"\x08"], 0, {"frame_truncated": 3}),
    "no IP behind the EtherType": ([frame(0x0800), frame(0x86DD)], 0, {"frame_truncated": 2}),
    "an IPv4 header cut off": ([frame(0x0800, b"\x45" + bytes(18)), frame(0x0800, b"\x4f" + bytes(30))], 0,
                               {"frame_truncated": 2}),
    "an IPv4 header of 16 octets": ([frame(0x0800, b"\x44" + bytes(40))], 0, {"ipv4_header": 1}),
    "a wrong IPv4 checksum": ([ETHERNET / IP(**SA.addresses(4), chksum=1) / UDP()], 0, {"ipv4_header": 1}),
    "IPv4 under the EtherType of IPv6": ([frame(0x86DD, inner(4) + bytes(40))], 0, {"ipv6_header": 1}),
    "a length beyond the frame": ([ETHERNET / IPv6(**SA.addresses(6), plen=500) / UDP()], 0, {"ip_length": 1}),
    "ports cut off": ([ETHERNET / IP(**SA.addresses(4), proto=p) / Raw(b"abc") for p in (6, 17, 33, 132, 136)], 0,
                      {"frame_truncated": 5}),
    "a jumbogram": ([ETHERNET / IPv6(**SA.addresses(6), plen=0, nh=0) / Raw(bytes([17, 0, 0xC2, 4, 0, 1, 0x11, 0x70]))],
                    0, {"ipv6_header": 1}),
    "nine extension headers": ([destination_options(9)], 0, {"ipv6_header": 1}),
    "hop-by-hop options in the middle": ([ETHERNET / IPv6(**SA.addresses(6)) / IPv6ExtHdrDestOpt() / IPv6ExtHdrHopByHop()
                                          / UDP()], 0, {"ipv6_header": 1}),
    "a tag cut off": ([frame(0x8100, b"\x00"), frame(0x8100, b"\x00\x01\x81\x00\x00")], 0, {"frame_truncated": 2}),
    "IP behind three tags": ([tags(3, b"\x08\x00" + inner())], 0, {"vlan_tags": 1}),
    "IP behind twenty tags": ([tags(20, b"\x86\xdd" + inner(6))], 0, {"vlan_tags": 1}),
    "ARP behind three tags": ([tags(3, b"\x08\x06" + bytes(28))], 1, {}),
    "an IEEE 802.3 length": ([frame(0x0030, b"\xaa\xaa\x03" + bytes(45))], 1, {}),
}

FROM_THE_WAN = {
    "AH instead of ESP": ([ETHERNET / IP(**SA.addresses(4), proto=51) / Raw(bytes(24) + inner())], 0, {"cleartext": 1}),
    "ESP of every length too short": ([ETHERNET / IP(**SA.addresses(4), proto=50) / Raw(esp(padded(inner(), 4))[34:34 + n])
                                       for n in (0, 1, 4, 7, 8, 15, 16, 33, 34, 35)], 0, {"esp_truncated": 10}),
    "reserved SPIs": ([esp(padded(inner(), 4), spi=spi) for spi in (0, 1, 255)], 0, {"unknown_spi": 3}),
    "an extended sequence number": ([esp(padded(inner(), 4), above=bytes(4))], 0, {"authentication": 1}),
    # RFC 4303 section 2.6: nothing but the next header of a dummy need be well-formed.
    "dummy packets": ([esp(padded(octets(1, 40), 59)), esp(octets(2, 38) + b"\xff;"), esp(octets(3, 38) + b"\x09;")], 0,
                      {"dummy": 3}),
    # RFC 4303 section 2.7.
    "padding for traffic-flow confidentiality": ([esp(padded(inner() + octets(4, 101), 4)),
                                                  esp(padded(inner(6) + bytes(900), 41), 6)], 2, {}),
    "the longest padding": ([esp(padded(inner(size=19), 4, 255))], 1, {}),
    "padding longer than all": ([esp(inner()[:38] + b"\xff\x04"), esp(b"\x01\x00\x04\x04")], 0, {"esp_trailer": 2}),
    "padding that is not 1, 2, 3": ([esp(inner()[:36] + b"\x07\x07\x02\x04")], 0, {"esp_trailer": 1}),
    "nothing inside": ([esp(b"\x01\x02\x02\x04"), esp(b"\x01\x02\x02\x29")], 0, {"inner_packet": 2}),
    "a next header that tunnel mode has not": ([esp(padded(octets(5, 20), n)) for n in (0, 6, 17, 50, 255)], 0,
                                               {"esp_trailer": 5}),
    "another version inside than is said": ([esp(padded(inner(6), 4)), esp(padded(inner(4), 41)),
                                             esp(padded(b"\xf5" + inner()[1:], 4))], 0, {"inner_packet": 3}),
    "the other version inside, and said so": ([esp(padded(inner(6), 41)), esp(padded(inner(4), 4), 6)], 2, {}),
    "a source outside the selectors": ([esp(padded(inner(src=src), 4)) for src in ("10.77.0.1", "224.0.0.5", "0.0.0.0")], 0,
                                       {"selectors": 3}),
    "fragments in order, and not": (fragments([(0, 800, 1), (800, 2000, 0)]) + fragments([(800, 2000, 0), (0, 800, 1)]), 2,
                                    {}),
    "the smallest first fragment": (fragments([(0, 8, 1), (8, 2000, 0)]), 1, {}),
    "options on the first fragment": (fragments([(0, 800, 1)], options=[IPOption_Router_Alert()])
                                      + [bytes(ETHERNET / IP(**SA.addresses(4)) / UDP())], 0, {"cleartext": 1, "shutdown": 1}),
    "fragments that overlap": (fragments([(0, 808, 1), (800, 2000, 0)]), 0, {"reassembly_failed": 2}),
    "a fragment inside another": (fragments([(0, 800, 1), (400, 440, 0)]), 0, {"reassembly_failed": 2}),
    "a fragment beyond 65,535": (fragments([(0, 800, 1)]) + [bytes(
        ETHERNET / IP(**SA.addresses(4), proto=50, id=7, frag=8190) / Raw(bytes(64)))], 0,
                                 {"reassembly_failed": 1, "shutdown": 1}),
    "more fragments than are put together": (fragments([(n * 136, n * 136 + 136, n < 8) for n in range(9)]), 0,
                                             {"reassembly_failed": 8, "shutdown": 1}),
    "a flood of first fragments": ([bytes(ETHERNET / IP(**SA.addresses(4), proto=50, id=n, flags="MF") / Raw(bytes(800)))
                                    for n in range(2000)], 0, {"reassembly_failed": 976, "shutdown": 1024}),
}


@pytest.mark.parametrize("case", ANYWHERE)
def test_an_absurd_frame_is_dropped_by_name_or_crosses(tmp_path, case):
    frames, leave, drops = ANYWHERE[case]
    ended = run_files(tmp_path, [group("g", SA)], lan=frames, wan=frames)
    assert ended.drops() == {reason: 2 * n for reason, n in drops.items()}
    assert (len(ended.wan()), len(ended.lan())) == (leave, leave)


@pytest.mark.parametrize("case", FROM_THE_WAN)
def test_hostile_esp_is_dropped_by_name(tmp_path, case):
    frames, leave, drops = FROM_THE_WAN[case]
    ended = run_files(tmp_path, [group("g", SA)], wan=frames)
    assert ended.drops() == drops
    assert len(ended.lan()) == leave


def test_what_hides_behind_the_inner_packet_does_not_reach_the_lan(tmp_path):
    packet = inner()
    ended = run_files(tmp_path, [group("g", SA)], wan=[esp(padded(packet + octets(6, 500), 4))])
    assert ended.lan() == [bytes(ETHERNET / Raw(packet))[:12] + b"\x08\x00" + packet]
