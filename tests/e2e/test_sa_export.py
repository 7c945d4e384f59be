"""`getvpnctl sa export`: Wireshark opens what the member seals with the file that it writes; root only, and never unnoticed."""

import json
import os
import socket
import stat
import subprocess

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6

from member import BINARIES, Member, configuration, write_frames
from oracle import ETHERNET, MODES, TRANSFORMS, OracleSa, group

# Wireshark has no AES-GMAC and no ChaCha20-Poly1305 for ESP.
UNKNOWN = {"aes-128-gmac", "aes-256-gmac", "chacha20-poly1305"}
SAS = [OracleSa(0x2000 + n, transform, mode, net=n + 1)
       for n, (transform, mode) in enumerate((t, m) for t in TRANSFORMS for m in MODES)]


def ctl(member, *arguments):
    done = subprocess.run([BINARIES / "getvpnctl", "--socket", "gm.sock", *arguments], cwd=member.work, capture_output=True,
                          text=True, timeout=20)
    done.stderr = " ".join(done.stderr.split())  # as one line, however it was broken
    return done


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """A member that has sealed a packet of either family with each of its SAs, and the payloads."""
    work = tmp_path_factory.mktemp("export")
    cases = [(sa, version, (b"%08x " % sa.spi * 20)[:120]) for sa in SAS for version in (4, 6)]
    write_frames(work / "lan-in.pcap", [ETHERNET / (IP if version == 4 else IPv6)(**sa.addresses(version))
                                        / UDP(sport=40000, dport=40001) / payload for sa, version, payload in cases])
    write_frames(work / "wan-in.pcap", [])
    config = configuration(["net_pcap0,rx_pcap=lan-in.pcap,tx_pcap=lan-out.pcap",
                            "net_pcap1,rx_pcap=wan-in.pcap,tx_pcap=wan-out.pcap"],
                           [group(f"{sa.transform}-{sa.mode}", sa) for sa in SAS])
    with Member(work, config) as member:
        member.wait_until_it_answers()
        member.wait_until(lambda: member.ctl("counters")["encrypted"] == len(cases), "the packets")
        yield member, cases


def test_tshark_opens_what_the_member_seals_with_the_file_that_is_written(sealed):
    member, cases = sealed
    settings = member.work / ".config" / "wireshark"
    settings.mkdir(parents=True)
    exported = ctl(member, "sa", "export", "--out", settings / "esp_sa")
    assert (exported.returncode, exported.stdout) == (0, ""), exported.stderr
    assert f"WRITES KEYS of {len(SAS)} SAs" in exported.stderr
    for sa in SAS:
        assert (f"0x{sa.spi:08x} ({sa.transform})" in exported.stderr) == (sa.transform in UNKNOWN)
    assert stat.S_IMODE((settings / "esp_sa").stat().st_mode) == 0o600
    # The port writes it out when it is closed.
    capture = member.work / "copy.pcapng"
    ended = member.end()
    assert "sa_exported" in ended.output or "was given the keys of SAs" in ended.output
    assert all(key not in ended.output for sa in SAS for key in (sa.key.hex(), sa.integrity_key.hex()) if key)
    capture.write_bytes((member.work / "wan-out.pcap").read_bytes())
    done = subprocess.run(["tshark", "-n", "-r", capture, "-o", "esp.enable_encryption_decode:TRUE",
                           "-o", "esp.enable_authentication_check:TRUE", "-T", "fields", "-e", "esp.spi", "-e", "esp.icv_good",
                           "-e", "udp.payload"],
                          check=True, capture_output=True, text=True, timeout=60,
                          env={"PATH": "/usr/bin:/bin", "HOME": str(member.work)})
    dissected = [line.split("\t") for line in done.stdout.splitlines()]
    assert len(dissected) == len(cases)
    for (sa, _, payload), (spi, authentic, found) in zip(cases, dissected, strict=True):
        opened = (int(spi, 16), authentic, bytes.fromhex(found))
        if sa.transform in UNKNOWN:
            assert opened[0] == sa.spi and opened[2] != payload
        else:
            assert opened == (sa.spi, "1", payload), f"{sa.transform} {sa.mode}"


def test_some_sas_on_standard_output_and_a_file_that_is_there_is_not_touched(running):
    exported = ctl(running, "sa", "export", "0x2000", "8194")
    assert exported.returncode == 0 and "WRITES KEYS of 2 SAs to standard output" in exported.stderr
    lines = [line for line in exported.stdout.splitlines() if not line.startswith("#")]
    assert [line.split(",")[3] for line in lines] == ['"0x00002000"'] * 2 + ['"0x00002002"'] * 2
    assert f'"0x{SAS[0].key.hex()}"' in lines[0]
    assert len(json.loads(ctl(running, "--json", "sa", "export", "0x2000").stdout)["sas"]) == 1
    (running.work / "there").write_text("mine")
    refused = ctl(running, "sa", "export", "--out", "there")
    assert refused.returncode == 1 and "choose another --out" in refused.stderr
    assert (running.work / "there").read_text() == "mine"
    missing = ctl(running, "sa", "export", "--out", "missing", "0x9999")
    assert missing.returncode == 1 and "0x00009999" in missing.stderr and not (running.work / "missing").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_whoever_is_not_root_gets_no_keys_although_the_socket_lets_him_in(running):
    running.work.chmod(0o755)
    (running.work / "gm.sock").chmod(0o666)
    before = os.getcwd()
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10)
    try:
        os.chdir(running.work)
        os.seteuid(65534)
        client.connect("gm.sock")
    finally:
        os.seteuid(0)
        os.chdir(before)
    client.sendall(b'{"version":1,"command":"sa export"}\n')
    answer = json.loads(client.makefile().readline())
    assert not answer["ok"] and answer["error"]["code"] == "forbidden" and "root" in answer["error"]["message"]


@pytest.fixture
def running(tmp_path):
    write_frames(tmp_path / "lan-in.pcap", [])
    config = configuration(["net_pcap0,rx_pcap=lan-in.pcap,tx_pcap=lan-out.pcap", "net_null1,no-rx=1"],
                           [group(f"{sa.transform}-{sa.mode}", sa) for sa in SAS[:6]])
    with Member(tmp_path, config) as member:
        member.wait_until_it_answers()
        yield member
