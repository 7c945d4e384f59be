"""The other implementation: scapy makes and opens ESP for every transform of the member."""

import dataclasses
import hashlib
import struct

from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import ESP, SecurityAssociation
from scapy.layers.l2 import Ether
from scapy.utils import checksum

# name -> (scapy's cipher, scapy's integrity algorithm, octets of key with salt, octets of integrity key)
TRANSFORMS = {
    "aes-128-gcm": ("AES-GCM", None, 20, 0),
    "aes-256-gcm": ("AES-GCM", None, 36, 0),
    "chacha20-poly1305": ("CHACHA20-POLY1305", None, 36, 0),
    "aes-128-gmac": ("AES-NULL-GMAC", None, 20, 0),
    "aes-256-gmac": ("AES-NULL-GMAC", None, 36, 0),
    "aes-128-cbc-hmac-sha256": ("AES-CBC", "SHA2-256-128", 16, 32),
    "aes-256-cbc-hmac-sha256": ("AES-CBC", "SHA2-256-128", 32, 32),
    "aes-128-cbc-hmac-sha1": ("AES-CBC", "HMAC-SHA1-96", 16, 20),
    "aes-256-cbc-hmac-sha1": ("AES-CBC", "HMAC-SHA1-96", 32, 20),
    "null-hmac-sha256": ("NULL", "SHA2-256-128", 0, 32),
    "null-hmac-sha1": ("NULL", "HMAC-SHA1-96", 0, 20),
}
MODES = ("tunnel", "transport")
ETHERNET = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")


@dataclasses.dataclass
class OracleSa:
    """An SA as scapy has it, and as the member's configuration has it."""

    spi: int
    transform: str = "aes-128-gcm"
    mode: str = "tunnel"
    net: int = 1  # its selectors are 10.net.0.0/16 and fd00:net::/32
    replay: str = "none"
    options: dict = dataclasses.field(default_factory=dict)  # further keys of [[group.sa]]

    def __post_init__(self):
        self.cipher, self.integrity, key, integrity_key = TRANSFORMS[self.transform]
        self.key = octets(self.spi, "key", key)
        self.integrity_key = octets(self.spi, "integrity", integrity_key)
        self.sequence = 0

    def config(self):
        """Its [[group.sa]]."""
        nets = (f"10.{self.net}.0.0/16", f"fd00:{self.net}::/32")
        keys = {"key": self.key.hex()} | ({"integrity_key": self.integrity_key.hex()} if self.integrity else {})
        return {"spi": self.spi, "transform": self.transform, "mode": self.mode, "replay": self.replay, **keys,
                "selectors": [{"src": n, "dst": n} for n in nets], **self.options}

    def addresses(self, version):
        if version == 4:
            return {"src": f"10.{self.net}.0.1", "dst": f"10.{self.net}.0.2"}
        return {"src": f"fd00:{self.net}::1", "dst": f"fd00:{self.net}::2"}

    def seal(self, packet, *, sequence=None, sid=7, outer=None):
        """A frame with the packet in ESP, its outer header like the inner one."""
        self.sequence = sequence or self.sequence + 1
        iv = struct.pack(">HIH", sid, self.sequence >> 16, self.sequence & 0xFFFF) if self.counter_mode() else None
        return ETHERNET / self.scapy(outer or outer_header(packet)).encrypt(packet, seq_num=self.sequence, iv=iv)

    def forge(self, packet, *, sequence=None):
        """The octets of such a frame whose integrity check fails."""
        frame = bytearray(bytes(self.seal(packet, sequence=sequence)))
        frame[-1] ^= 1
        return bytes(frame)

    def open(self, frame):
        """The octets of the IP packet in a frame that the member has sealed. Raises when it is not authentic."""
        packet = Ether(frame).payload
        esp = packet[ESP]
        sa = self.scapy(outer_header(packet))
        sa.check_spi(esp)
        sa.auth_algo.verify(esp, sa.auth_key)
        plain = sa.crypt_algo.decrypt(sa, esp, sa.crypt_key, sa.crypt_algo.icv_size or sa.auth_algo.icv_size)
        if self.mode == "tunnel":
            assert plain.nh == (4 if packet.version == 4 else 41)
            return plain.data
        # scapy rebuilds the packet here only as long as it has no extension headers.
        header = bytearray(bytes(packet)[:len(packet) - len(esp)])
        if packet.version == 4:
            struct.pack_into(">H", header, 2, len(header) + len(plain.data))
            header[9] = plain.nh
            struct.pack_into(">H", header, 10, 0)
            struct.pack_into(">H", header, 10, checksum(bytes(header)))
        else:
            struct.pack_into(">H", header, 4, len(header) - 40 + len(plain.data))
            last = 6 if len(header) == 40 else 40
            assert len(header) in (40, 48), "at most one short extension header in these tests"
            header[last] = plain.nh
        return bytes(header) + plain.data

    def counter_mode(self):
        return self.cipher in ("AES-GCM", "AES-NULL-GMAC", "CHACHA20-POLY1305")

    def scapy(self, outer):
        return SecurityAssociation(ESP, spi=self.spi, crypt_algo=self.cipher, crypt_key=self.key or None,
                                   auth_algo=self.integrity, auth_key=self.integrity_key or None,
                                   tunnel_header=outer if self.mode == "tunnel" else None)


def outer_header(inner):
    """The outer header of address-preserving tunnel mode (RFC 5374 section 4.2)."""
    if inner.version == 4:
        return IP(src=inner.src, dst=inner.dst, tos=inner.tos, ttl=inner.ttl, flags=int(inner.flags) & 2)
    return IPv6(src=inner.src, dst=inner.dst, tc=inner.tc, fl=inner.fl, hlim=inner.hlim)


def group(name, *sas, **keys):
    return {"name": name, **keys, "sas": [sa.config() for sa in sas]}


def octets(*seed_then_length):
    """Reproducible, unremarkable octets."""
    *seed, length = seed_then_length
    return hashlib.shake_128(repr(seed).encode()).digest(length)
