"""Wireshark's dissector opens what the member seals, given the keys. It knows no GMAC and no ChaCha20-Poly1305 for ESP."""

import subprocess

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6

from member import run_files
from oracle import ETHERNET, MODES, OracleSa, group

# name -> (Wireshark's cipher, Wireshark's integrity algorithm)
KNOWN = {
    "aes-128-gcm": ("AES-GCM with 16 octet ICV [RFC4106]", "NULL"),
    "aes-256-gcm": ("AES-GCM with 16 octet ICV [RFC4106]", "NULL"),
    "aes-128-cbc-hmac-sha256": ("AES-CBC [RFC3602]", "HMAC-SHA-256-128 [RFC4868]"),
    "aes-256-cbc-hmac-sha256": ("AES-CBC [RFC3602]", "HMAC-SHA-256-128 [RFC4868]"),
    "aes-128-cbc-hmac-sha1": ("AES-CBC [RFC3602]", "HMAC-SHA-1-96 [RFC2404]"),
    "aes-256-cbc-hmac-sha1": ("AES-CBC [RFC3602]", "HMAC-SHA-1-96 [RFC2404]"),
    "null-hmac-sha256": ("NULL", "HMAC-SHA-256-128 [RFC4868]"),
    "null-hmac-sha1": ("NULL", "HMAC-SHA-1-96 [RFC2404]"),
}
SIZES = (1, 15, 16, 17, 100, 1200)


def test_tshark_decrypts_our_esp_with_the_keys(tmp_path):
    sas = [OracleSa(0x2000 + n, transform, mode, net=n + 1)
           for n, (transform, mode) in enumerate((t, m) for t in KNOWN for m in MODES)]
    # Text, as Wireshark would take random octets for some protocol or other.
    cases = [(sa, version, (b"%08x " % sa.spi * size)[:size]) for sa in sas for version in (4, 6) for size in SIZES]
    lan = [bytes(ETHERNET / (IP if version == 4 else IPv6)(**sa.addresses(version)) / UDP(sport=40000, dport=40001)
                 / payload) for sa, version, payload in cases]
    ended = run_files(tmp_path, [group(f"{sa.transform}-{sa.mode}", sa) for sa in sas], lan=lan)
    assert ended.counters["encrypted"] == len(cases)

    dissected = tshark(ended.work / "wan-out.pcap", sas)

    assert len(dissected) == len(cases) == 8 * 2 * 2 * 6
    for (sa, _, payload), (spi, authentic, found) in zip(cases, dissected, strict=True):
        assert int(spi, 16) == sa.spi
        assert bytes.fromhex(found) == payload, f"{sa.transform} {sa.mode}"
        assert authentic == "1", f"{sa.transform} {sa.mode}"


def tshark(capture, sas):
    """SPI, whether the ICV is good, and the UDP payload, of every frame."""
    keys = []
    for sa in sas:
        cipher, integrity = KNOWN[sa.transform]
        for protocol in ("IPv4", "IPv6"):
            entry = (protocol, "*", "*", f"0x{sa.spi:08x}", cipher, hexadecimal(sa.key), integrity,
                     hexadecimal(sa.integrity_key))
            keys += ["-o", "uat:esp_sa:" + ",".join(f'"{field}"' for field in entry)]
    done = subprocess.run(
        ["tshark", "-n", "-r", capture, "-o", "esp.enable_encryption_decode:TRUE",
         "-o", "esp.enable_authentication_check:TRUE", *keys, "-T", "fields", "-e", "esp.spi", "-e", "esp.icv_good",
         "-e", "udp.payload"],
        check=True, capture_output=True, text=True, timeout=60, env={"PATH": "/usr/bin:/bin", "HOME": capture.parent})
    return [line.split("\t") for line in done.stdout.splitlines()]


def hexadecimal(key):
    return f"0x{key.hex()}" if key else ""
