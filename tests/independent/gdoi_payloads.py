"""GDOI's payloads, read by hand from RFC 6407, RFC 2408 and RFC 2407, without any code of the project.

Numbers stay numbers where the RFCs give them names: what is compared are octets and values. `reference` is the layout of the
C reference implementation, which has two octets more in a SAK, and IPv4 addresses of a SAT and SID values in little-endian order.
"""

import dataclasses
import struct

SA, ID, HASH, SIG, NONCE, NOTIFY, DELETE, SAK, SAT, KD, SEQ, GAP = 1, 5, 8, 9, 10, 11, 12, 15, 16, 17, 18, 22
NAMES = {SA: "SA", 4: "KE", ID: "ID", HASH: "HASH", SIG: "SIG", NONCE: "NONCE", NOTIFY: "N", DELETE: "D", 13: "VID",
         SAK: "SAK", SAT: "SAT", KD: "KD", SEQ: "SEQ", GAP: "GAP"}
ESP, AH = 1, 2
TEK_PACKET, KEK_PACKET, LKH_PACKET, SID_PACKET = 1, 2, 3, 4
HEADER_LEN = 28


class Malformed(Exception):
    """Octets that are not what they should be."""


class Cursor:
    """Octets, taken from the front."""

    def __init__(self, octets):
        self.octets = octets
        self.at = 0

    def take(self, count):
        if self.at + count > len(self.octets):
            raise Malformed(f"{count} octets wanted at {self.at} of {len(self.octets)}")
        self.at += count
        return self.octets[self.at - count:self.at]

    def number(self, size):
        return int.from_bytes(self.take(size), "big")

    def rest(self):
        return self.take(len(self.octets) - self.at)

    @property
    def left(self):
        return len(self.octets) - self.at


@dataclasses.dataclass
class Header:
    """RFC 2408 section 3.1."""

    cookies: bytes
    next_payload: int
    version: int
    exchange: int
    flags: int
    message_id: int
    length: int

    @classmethod
    def read(cls, datagram):
        if len(datagram) < HEADER_LEN:
            raise Malformed("a datagram without a header")
        header = cls(datagram[:16], *struct.unpack(">BBBBII", datagram[16:HEADER_LEN]))
        if header.length != len(datagram):
            raise Malformed(f"the header counts {header.length} octets of {len(datagram)}")
        return header

    def octets(self, length):
        return self.cookies + struct.pack(">BBBBII", self.next_payload, self.version, self.exchange, self.flags,
                                          self.message_id, length)


@dataclasses.dataclass
class Payload:
    """One payload: its type, its place, and its content without the generic header."""

    type: int
    start: int
    end: int
    content: bytes

    @property
    def name(self):
        return NAMES.get(self.type, str(self.type))


def chain(first, body):
    """The payloads of a body; what follows the last is padding."""
    payloads, cursor, kind = [], Cursor(body), first
    while kind:
        start = cursor.at
        following, reserved, length = cursor.number(1), cursor.number(1), cursor.number(2)
        if reserved or length < 4:
            raise Malformed(f"payload {kind} has reserved {reserved} and length {length}")
        payloads.append(Payload(kind, start, start + length, cursor.take(length - 4)))
        kind = following
    return payloads, cursor.at


def attributes(cursor):
    """RFC 2408 section 3.3: a list of (class, octets); a basic value has two octets."""
    found = []
    while cursor.left:
        kind = cursor.number(2)
        found.append((kind & 0x7FFF, cursor.take(2) if kind & 0x8000 else cursor.take(cursor.number(2))))
    return found


def numbers(found):
    """Attributes as numbers, by class; no class twice."""
    values = {kind: int.from_bytes(octets, "big") for kind, octets in found}
    if len(values) != len(found):
        raise Malformed("an attribute comes twice")
    return values


def identity(cursor, reference=False):
    """Source or destination of a SAK or SAT: (type, port, data)."""
    kind, port = cursor.number(1), cursor.number(2)
    data = cursor.take(cursor.number(1))
    if reference and kind in (1, 4, 7):
        data = b"".join(data[at:at + 4][::-1] for at in range(0, len(data), 4))
    return kind, port, data


def sak(content, reference):
    """RFC 6407 section 5.3."""
    cursor = Cursor(content)
    found = {"protocol": cursor.number(1), "source": identity(cursor), "destination": identity(cursor),
             "spi": cursor.take(16)}
    cursor.take(6 if reference else 4)
    return found | {"attributes": numbers(attributes(cursor))}


def sat(content, reference):
    """RFC 6407 section 5.5; a protocol other than ESP and AH stays octets."""
    cursor = Cursor(content)
    protocol = cursor.number(1)
    if protocol not in (ESP, AH):
        return {"security_protocol": protocol, "octets": cursor.rest()}
    return {"security_protocol": protocol, "protocol": cursor.number(1), "source": identity(cursor, reference),
            "destination": identity(cursor, reference), "transform": cursor.number(1), "spi": cursor.take(4),
            "attributes": numbers(attributes(cursor))}


def security_association(content, reference):
    """RFC 6407 section 5.2: {"sak": one or None, "gap": {...}, "sats": [...]}."""
    cursor = Cursor(content)
    doi, situation, kind, reserved = cursor.number(4), cursor.number(4), cursor.number(2), cursor.number(2)
    if (doi, situation, reserved) != (2, 0, 0):
        raise Malformed(f"DOI {doi}, situation {situation}, reserved {reserved}")
    found = {"sak": None, "gap": {}, "sats": []}
    payloads, end = chain(kind, cursor.rest())
    if end != len(content) - 12:
        raise Malformed("octets follow the last SA attribute payload")
    order = [payload.type for payload in payloads]
    if order != sorted(order, key=(SAK, GAP, SAT).index):
        raise Malformed("SAK, GAP and SATs are not in this order")
    for payload in payloads:
        if payload.type == SAK:
            found["sak"] = sak(payload.content, reference)
        elif payload.type == GAP:
            found["gap"] = numbers(attributes(Cursor(payload.content)))
        else:
            found["sats"].append(sat(payload.content, reference))
    return found


def key_download(content, reference):
    """RFC 6407 section 5.6: a list of (KD Type, SPI, attributes)."""
    cursor = Cursor(content)
    count, _ = cursor.number(2), cursor.number(2)
    packets = []
    while cursor.left:
        kind, _, length = cursor.number(1), cursor.number(1), cursor.number(2)
        inner = Cursor(cursor.take(length - 4))
        spi = inner.take(inner.number(1))
        found = attributes(inner)
        if kind == SID_PACKET and reference:
            found = [(kind, octets[::-1] if kind == 2 else octets) for kind, octets in found]
        packets.append((kind, spi, found))
    if len(packets) != count:
        raise Malformed(f"{len(packets)} key packets of {count}")
    return packets


def deletion(content):
    """RFC 2408 section 3.15: (DOI, protocol, [SPI, ...])."""
    cursor = Cursor(content)
    doi, protocol, size, count = cursor.number(4), cursor.number(1), cursor.number(1), cursor.number(2)
    return doi, protocol, [cursor.take(size) for _ in range(count)]


def describe(payload, reference):
    """What a payload says, for printing and comparing."""
    if payload.type == SA:
        return security_association(payload.content, reference)
    if payload.type == KD:
        return key_download(payload.content, reference)
    if payload.type == DELETE:
        return deletion(payload.content)
    if payload.type == GAP:
        return numbers(attributes(Cursor(payload.content)))
    if payload.type == SEQ:
        return int.from_bytes(payload.content, "big")
    return payload.content
