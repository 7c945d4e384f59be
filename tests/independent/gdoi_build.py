"""GDOI's payloads, written by hand from RFC 6407, RFC 2408 and RFC 2409, without any code of the project."""

import os
import struct

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gdoi_messages import ENCRYPTED, PUSH
from gdoi_payloads import ESP, GAP, HEADER_LEN, KEK_PACKET, SAK, SAT, SID_PACKET, TEK_PACKET

GDOI_DOI = 2
PROPOSAL, TRANSFORM = 2, 3
ID_IPV4, ID_FQDN, ID_SUBNET, ID_GROUP = 1, 2, 4, 11
INVALID_SPI = 11
# Phase 1's attributes (RFC 2409 appendix A, RFC 3602, RFC 4868, RFC 5903): AES-CBC with 256 bits, SHA2-256, pre-shared key,
# group 19, a day.
SUITE = {1: 7, 14: 256, 2: 4, 3: 1, 4: 19, 11: 1, 12: 86_400}


def payloads(*parts):
    """(type of the first, octets) of payloads that are given as (type, content)."""
    following = [kind for kind, _ in parts[1:]] + [0]
    octets = [struct.pack(">BBH", after, 0, 4 + len(content)) + content for (_, content), after in zip(parts, following)]
    return (parts[0][0] if parts else 0), b"".join(octets)


def attributes(values):
    """Attributes by class: what fits two octets is basic, octets are written as they are (RFC 2408 section 3.3)."""
    octets = b""
    for kind, value in values.items():
        if isinstance(value, int) and value < 65_536:
            octets += struct.pack(">HH", 0x8000 | kind, value)
        else:
            long = value if isinstance(value, bytes) else value.to_bytes(4, "big")
            octets += struct.pack(">HH", kind, len(long)) + long
    return octets


def datagram(cookies, first, exchange, body, *, message_id=bytes(4), flags=0):
    return cookies + struct.pack(">BBBB", first, 0x10, exchange, flags) + message_id + struct.pack(">I", 28 + len(body)) + body


def encrypt(key, iv, clear):
    """AES-CBC, padded with zeros."""
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return encryptor.update(clear + bytes(-len(clear) % 16)) + encryptor.finalize()


def phase1_offer():
    """The SA payload of main mode with one suite, for the GDOI."""
    transform = struct.pack(">BBH", 1, 1, 0) + attributes(SUITE)
    proposal = struct.pack(">BBBB", 1, 1, 0, 1) + payloads((TRANSFORM, transform))[1]
    return struct.pack(">II", GDOI_DOI, 0) + payloads((PROPOSAL, proposal))[1]


def identity(kind, data):
    """An ID payload's content."""
    return struct.pack(">BBH", kind, 0, 0) + data


def invalid_spi(spi):
    """The N payload of INVALID-SPI."""
    return struct.pack(">IBBH", GDOI_DOI, ESP, 4, INVALID_SPI) + spi


def end(kind, port, data):
    """Source or destination of a SAK or SAT."""
    return struct.pack(">BHB", kind, port, len(data)) + data


class RekeySa:
    """A KEK: AES-128-CBC, signed with ECDSA P-256 (RFC 6407 section 5.3), acknowledged with SHA2-256 (RFC 8263)."""

    def __init__(self, address):
        self.spi, self.iv, self.key = (os.urandom(16) for _ in range(3))
        self.signing = ec.generate_private_key(ec.SECP256R1())
        self.sequence = 0
        self.address = address

    def policy(self):
        ends = end(ID_IPV4, 848, self.address) + end(ID_IPV4, 848, bytes(4))
        return bytes([17]) + ends + self.spi + bytes(4) + attributes({2: 3, 3: 128, 4: 86_400, 6: 4, 7: 256, 9: 1})

    def packet(self):
        public = self.signing.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return key_packet(KEK_PACKET, self.spi, {1: self.iv + self.key, 2: public})

    def push(self, *parts):
        """A PUSH of these payloads and SIG; the signature counts the header's length without padding."""
        self.sequence += 1
        signature = 4 + 64
        following = payloads(*parts, (9, b""))[1][:-4]
        first = parts[0][0]
        length = HEADER_LEN + len(following) + signature
        header = self.spi + struct.pack(">BBBBII", first, 0x10, PUSH, ENCRYPTED, 0, length)
        r, s = decode_dss_signature(self.signing.sign(b"rekey" + header + following, ec.ECDSA(SHA256())))
        signed = following + struct.pack(">BBH", 0, 0, signature) + r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return datagram(self.spi, first, PUSH, encrypt(self.key, self.iv, signed), flags=ENCRYPTED)


def key_packet(kind, spi, found):
    content = bytes([len(spi)]) + spi + attributes(found)
    return struct.pack(">BBH", kind, 0, 4 + len(content)) + content


class TrafficSa:
    """An SA with AES-128-GCM in address-preserving tunnel mode, from everywhere in 10.0.0.0/8 to everywhere in it."""

    def __init__(self, spi, lifetime=3600):
        self.spi, self.lifetime, self.keymat = spi, lifetime, os.urandom(20)

    def policy(self):
        net = end(ID_SUBNET, 0, bytes([10, 0, 0, 0, 255, 0, 0, 0]))
        found = attributes({1: 1, 2: self.lifetime.to_bytes(4, "big"), 4: 1, 6: 128, 14: 4, 15: 3})
        return bytes([ESP, 0]) + net + net + bytes([20]) + self.spi + found

    def packet(self):
        return key_packet(TEK_PACKET, self.spi, {1: self.keymat})


def sender_ids(*values):
    """Sender IDs of 16 bits (RFC 6407 section 5.6.4)."""
    octets = attributes({1: 16}) + b"".join(struct.pack(">HHH", 2, 2, value) for value in values)
    return struct.pack(">BBHB", SID_PACKET, 0, 5 + len(octets), 0) + octets


def security_association(kek, sas, delays=(0, 1)):
    """The SA payload's content: SAK, GAP with ATD and DTD, SATs."""
    gap = attributes({1: delays[0], 2: delays[1]})
    sak = [(SAK, kek.policy())] if kek else []
    first, inner = payloads(*sak, (GAP, gap), *((SAT, sa.policy()) for sa in sas))
    return struct.pack(">IIHH", GDOI_DOI, 0, first, 0) + inner


def key_download(packets):
    """The KD payload's content."""
    return struct.pack(">HH", len(packets), 0) + b"".join(packets)
