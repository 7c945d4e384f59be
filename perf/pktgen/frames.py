"""Cleartext frames of the sizes that RFC 2544 and RFC 6985 name, and capture files. Sizes are those on the wire with the
frame check sequence, which no capture holds: a frame of 64 octets is a record of 60. Standard library only."""

import struct

FCS = 4
ETHERNET, IPV4, UDP = 14, 20, 8
# RFC 2544 section 9.1, and a jumbo frame.
SIZES = (64, 128, 256, 512, 1024, 1280, 1518)
JUMBO = 9018
# RFC 6985: seven, four and one of twelve.
IMIX = (64, 594, 64, 64, 594, 64, 1518, 64, 594, 64, 64, 594)
PCAP_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
RECORD = struct.Struct("<IIII")


def of_size(size, count, addresses=256):
    """Frames of one size, or "imix", from so many pairs of addresses: a NIC spreads sealed packets by addresses alone."""
    sizes = IMIX if size == "imix" else (size,)
    return [frame(sizes[n % len(sizes)], n % addresses) for n in range(count)]


def frame(size, pair):
    """A UDP packet from 10.1.0.0/16 to 10.2.0.0/16."""
    octets = size - FCS - ETHERNET
    if octets < IPV4 + UDP:
        raise ValueError(f"a frame of {size} octets has no room for IPv4 and UDP: at least {ETHERNET + IPV4 + UDP + FCS}")
    source, destination = 0x0A010001 + pair, 0x0A020001 + pair
    header = bytearray(struct.pack(">BBHHHBBHII", 0x45, 0, octets, 0, 0x4000, 64, 17, 0, source, destination))
    header[10:12] = checksum(header).to_bytes(2, "big")
    udp = struct.pack(">HHHH", 1024 + pair, 2544, octets - IPV4, 0)
    ethernet = bytes.fromhex("020000000002 020000000001 0800")
    return bytes(ethernet + header + udp + bytes(n & 0xFF for n in range(octets - IPV4 - UDP)))


def checksum(header):
    total = sum(int.from_bytes(header[at:at + 2], "big") for at in range(0, len(header), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


def write(path, all_frames):
    """A capture file, as libpcap, DPDK's net_pcap and Pktgen read it."""
    with path.open("wb") as file:
        file.write(PCAP_HEADER)
        for each in all_frames:
            file.write(RECORD.pack(0, 0, len(each), len(each)) + each)


def read(path):
    content = path.read_bytes()
    if content[:4] not in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1"):
        raise ValueError(f"{path} is no little-endian pcap file")
    at, found = len(PCAP_HEADER), []
    while at + RECORD.size <= len(content):
        length = RECORD.unpack_from(content, at)[2]
        found.append(content[at + RECORD.size:at + RECORD.size + length])
        at += RECORD.size + length
    return found
