"""Packets that do not fit after encryption, and ESP that a router has fragmented."""

from scapy.layers.inet import ICMP, IP, UDP, defragment, fragment
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6, IPv6ExtHdrFragment, fragment6
from scapy.layers.l2 import Ether

from member import run_files
from oracle import ETHERNET, MODES, TRANSFORMS, OracleSa, group, octets

MTU = 1500


def all_sas():
    return [OracleSa(0x4000 + n, transform, mode, net=n + 1)
            for n, (transform, mode) in enumerate((t, m) for t in TRANSFORMS for m in MODES)]


def groups(sas):
    return [group(f"{sa.transform}-{sa.mode}", sa) for sa in sas]


def packet(sa, version, length, **fields):
    """A UDP packet that is `length` octets long, IP header included."""
    header = (IP if version == 4 else IPv6)(**sa.addresses(version), **fields)
    whole = header / UDP(sport=1, dport=2) / octets(sa.spi, version, length - len(header) - 8)
    return type(header)(bytes(whole))


def test_the_icmp_error_names_the_mtu_that_just_fits(tmp_path):
    sas = all_sas()
    cases = [(sa, version) for sa in sas for version in (4, 6)]
    df = {4: {"flags": "DF"}, 6: {}}
    lan = [ETHERNET / packet(sa, version, MTU, **df[version]) for sa, version in cases]
    (tmp_path / "first").mkdir()
    ended = run_files(tmp_path / "first", groups(sas), lan=lan)
    assert ended.drops() == {"too_big": len(cases)}
    assert ended.counters["icmp"] == len(cases)
    assert ended.wan() == []

    mtus = [mtu_in(reply, before) for reply, before in zip(ended.lan(), lan, strict=True)]
    fits = [ETHERNET / packet(sa, version, mtu, **df[version]) for (sa, version), mtu in zip(cases, mtus, strict=True)]
    over = [ETHERNET / packet(sa, version, mtu + 1, **df[version]) for (sa, version), mtu in zip(cases, mtus, strict=True)]
    (tmp_path / "second").mkdir()
    ended = run_files(tmp_path / "second", groups(sas), lan=fits + over)
    assert ended.counters["encrypted"] == len(fits)
    assert ended.drops() == {"too_big": len(over)}
    assert max(len(frame) - 14 for frame in ended.wan()) <= MTU


def mtu_in(reply, offending):
    """The MTU in the ICMP error, which must be addressed to the sender and quote its packet."""
    reply = Ether(reply)
    assert (reply.src, reply.dst) == (offending.dst, offending.src)
    ip, was = reply.payload, offending.payload
    assert (ip.src, ip.dst) == (was.dst, was.src)
    assert bytes(was)[:40] in bytes(ip)
    if ip.version == 4:
        assert (ip[ICMP].type, ip[ICMP].code) == (3, 4)
        assert type(ip)(bytes(with_fresh_checksums(ip))) == ip
        return ip[ICMP].nexthopmtu
    checksum = ip[ICMPv6PacketTooBig].cksum
    assert with_fresh_checksums(ip)[ICMPv6PacketTooBig].cksum == checksum
    return ip[ICMPv6PacketTooBig].mtu


def with_fresh_checksums(ip):
    fresh = type(ip)(bytes(ip))
    if fresh.version == 4:
        del fresh.chksum, fresh[ICMP].chksum
    else:
        del fresh[ICMPv6PacketTooBig].cksum
    return type(ip)(bytes(fresh))


def test_ipv4_that_may_be_fragmented_is_fragmented_before_encryption(tmp_path):
    sas = [sa for sa in all_sas() if sa.mode == "tunnel"]
    packets = [packet(sa, 4, MTU, id=n + 1) for n, sa in enumerate(sas)]
    ended = run_files(tmp_path, groups(sas), lan=[ETHERNET / p for p in packets])
    assert ended.drops() == {}
    assert ended.counters["encrypted"] == len(packets)
    assert ended.counters["fragments"] == len(packets)
    assert max(len(frame) - 14 for frame in ended.wan()) <= MTU
    for (sa, whole), frames in zip(zip(sas, packets, strict=True), pairs(ended.wan()), strict=True):
        [again] = defragment([IP(sa.open(frame)) for frame in frames])
        assert again[UDP] == whole[UDP]


def pairs(frames):
    return list(zip(frames[::2], frames[1::2], strict=True))


def test_fragments_from_the_lan_are_encrypted_one_by_one(tmp_path):
    sa = OracleSa(0x4000)
    four = fragment(packet(sa, 4, 4000, id=9), 1400)
    six = fragment6(IPv6(**sa.addresses(6)) / IPv6ExtHdrFragment(id=9) / UDP(sport=1, dport=2) / octets(4000), 1400)
    lan = [ETHERNET / p for p in (*four, *six)]
    ended = run_files(tmp_path, [group("g", sa)], lan=lan)
    assert [sa.open(frame) for frame in ended.wan()] == [bytes(f)[14:] for f in lan]


def test_esp_that_a_router_has_fragmented_is_reassembled(tmp_path):
    sa = OracleSa(0x4000)
    sealed = []
    for n in range(3):
        ip = sa.seal(packet(sa, 4, 1480)).payload
        ip.id = n + 1
        del ip.chksum
        sealed.append(fragment(IP(bytes(ip)), 600))
    shuffled = [f for group_of in zip(*sealed, strict=True) for f in reversed(group_of)]
    outer = sa.seal(packet(sa, 6, 1480)).payload
    esp = bytes(outer)[40:]
    six = fragment6(IPv6(src=outer.src, dst=outer.dst) / IPv6ExtHdrFragment(nh=50, id=5) / esp, 1280)
    ended = run_files(tmp_path, [group("g", sa)], wan=[ETHERNET / f for f in (*shuffled, *six)])
    assert ended.drops() == {}
    assert sorted(ended.lan()) == sorted(bytes(ETHERNET / p) for p in (*[packet(sa, 4, 1480)] * 3, packet(sa, 6, 1480)))


def test_fragments_that_never_become_whole_are_counted(tmp_path):
    sa = OracleSa(0x4000)
    ip = sa.seal(packet(sa, 4, 1480)).payload
    ended = run_files(tmp_path, [group("g", sa)], wan=[ETHERNET / fragment(IP(bytes(ip)), 600)[0]])
    assert ended.lan() == []
    assert sum(ended.drops().values()) == 1
    assert ended.counters["parked"] == 0
