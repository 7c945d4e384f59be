"""Reads, repeats and compares capture files (classic pcap, as libpcap and DPDK's net_pcap write them)."""

import collections
import itertools
import mmap
import struct

HEADER = 24  # octets of a file's header
RECORD = struct.Struct("<IIII")  # seconds, fraction, octets captured, octets on the wire


class Capture:
    """The frames of a capture file, without their timestamps."""

    def __init__(self, path):
        with path.open("rb") as file:
            self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if self.data[:4] not in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1"):
            raise ValueError(f"{path} is no little-endian pcap file")

    def __iter__(self):
        at, data = HEADER, memoryview(self.data)
        while at + RECORD.size <= len(data):
            captured = RECORD.unpack_from(data, at)[2]
            at += RECORD.size
            yield data[at:at + captured]
            at += captured


def differences(sent, received):
    """Compares frame by frame, in the order of each flow: a member keeps that, and lets frames that it
    bypasses overtake those that it encrypts. Returns the number of equal frames, their octets, and the
    first difference in words."""
    count = octets = 0
    coming, waiting = iter(sent), collections.defaultdict(collections.deque)
    for frame in received:
        queue = waiting[flow(frame)]
        while not queue and (read := next(coming, None)) is not None:
            waiting[flow(read)].append(read)
        expected = queue.popleft() if queue else None
        if frame != expected:
            return count, octets, f"{describe(expected)} went in, {describe(frame)} came out"
        count += 1
        octets += len(frame)
    for read in itertools.chain(*waiting.values(), coming):
        return count, octets, f"{describe(read)} went in and did not come out"
    return count, octets, None


def flow(frame):
    """What a frame's order matters in: its addresses, Ethernet's and IP's."""
    at = 12
    while frame[at:at + 2] in (b"\x81\x00", b"\x88\xa8"):
        at += 4
    if frame[at:at + 2] == b"\x08\x00":
        return bytes(frame[:at]), bytes(frame[at + 14:at + 22])
    if frame[at:at + 2] == b"\x86\xdd":
        return bytes(frame[:at]), bytes(frame[at + 10:at + 42])
    return bytes(frame[:at + 2]), b""


def describe(frame):
    return "nothing" if frame is None else f"a frame of {len(frame)} octets {bytes(frame[:64]).hex()}"
