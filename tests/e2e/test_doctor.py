"""`doctor`, before a member starts and while it runs: what is wrong with it is told, with what to do."""

import json
import os
import subprocess
import sys

import pytest
from scapy.layers.inet import IP, UDP

from member import BINARIES, Member, configuration, write_frames
from oracle import ETHERNET, OracleSa, group

SA = OracleSa(0x5000)
NULL = ["net_null0", "net_null1"]


def before_start(work, text, *arguments):
    (work / "gm.toml").write_text(text)
    (work / "gm.toml").chmod(0o600)
    return subprocess.run([BINARIES / "getvpn-gm", "--config", "gm.toml", "--doctor", *arguments], cwd=work,
                          capture_output=True, text=True, timeout=20, check=False)


def doctor(member):
    """The checks by name, and the exit status."""
    asked = subprocess.run([BINARIES / "getvpnctl", "--socket", "gm.sock", "--json", "doctor"], cwd=member.work,
                           capture_output=True, text=True, timeout=20, check=False)
    return {check["name"]: check for check in json.loads(asked.stdout)["checks"]}, asked.returncode


def named(checks, name, state, *words):
    check = checks[name]
    assert check["state"] == state, check
    for word in words:
        assert word in check["says"] + " -> " + check.get("fix", ""), check


def test_before_the_start_the_machine_is_looked_at(tmp_path):
    looked = before_start(tmp_path, configuration(NULL, [group("main", SA)]))
    assert looked.returncode == 0, looked.stdout
    assert "--no-huge" in looked.stdout and "0 red" in looked.stdout
    assert max(map(len, looked.stdout.splitlines())) <= 100
    assert not (tmp_path / "gm.sock").exists(), "nothing was started"


def test_before_the_start_what_is_red_ends_with_1_and_names_the_fix(tmp_path):
    text = configuration(["0000:fe:1f.0", "net_null1"], [group("main", SA)], eal=["--no-telemetry"])
    looked = before_start(tmp_path, text, "--json")
    assert looked.returncode == 1
    checks = {check["name"]: check for check in json.loads(looked.stdout)["checks"]}
    named(checks, "driver of 0000:fe:1f.0", "red", "no such device", "lspci")
    looked = before_start(tmp_path, text.replace("mtu = 1500", "mtu = 20"), "--json")
    assert looked.returncode == 1
    named({c["name"]: c for c in json.loads(looked.stdout)["checks"]}, "configuration", "red", "gm.toml:", "mtu")


def test_before_the_start_a_key_server_that_is_not_there_is_told(tmp_path):
    (tmp_path / "gm.psk").write_text("secret")
    (tmp_path / "gm.psk").chmod(0o600)
    away = {"name": "away", "key_servers": ["127.0.0.1:9"], "psk_file": "gm.psk"}
    looked = before_start(tmp_path, configuration(NULL, [away], control={"listen": "127.0.0.1:0"}), "--json")
    named({c["name"]: c for c in json.loads(looked.stdout)["checks"]}, "key server of away", "red", "nothing listens")
    assert looked.returncode == 1


@pytest.fixture
def running(tmp_path):
    packet = IP(**SA.addresses(4)) / UDP() / b"over and over"
    write_frames(tmp_path / "lan-in.pcap", [ETHERNET / packet] * 8)
    config = configuration(["net_pcap0,rx_pcap=lan-in.pcap,infinite_rx=1", "net_pcap1,tx_pcap=/dev/null"],
                           [group("main", SA, without_sa="drop")], workers={"idle": "spin"})
    with Member(tmp_path, config) as member:
        member.wait_until_it_answers()
        yield member


def test_a_running_member_tells_of_drops_that_grow_and_of_files_that_others_may_read(running):
    checks, _ = doctor(running)
    named(checks, "drops", "green")
    named(checks, "group main", "green", "1 manual SAs")
    named(checks, "link site", "green")
    named(checks, "buffers", "green")
    named(checks, "files with keys", "green")
    running.ctl("sa", "delete", "0x5000")
    (running.work / "gm.toml").chmod(0o644)
    running.wait_until(lambda: doctor(running)[0]["drops"]["state"] == "yellow", "drops that grow")
    checks, status = doctor(running)
    named(checks, "drops", "yellow", "no_sa", "`drops`")
    named(checks, "group main", "red", "no SA left")
    named(checks, "files with keys", "red", "gm.toml", "chmod 600")
    assert status == 1


def test_another_process_on_a_workers_core_is_named(running):
    core = sorted(os.sched_getaffinity(0))[-1]
    busy = subprocess.Popen(["taskset", "-c", str(core), sys.executable, "-c", "while True: pass"])
    try:
        def seen():
            check = doctor(running)[0]["shared cores"]
            # On a machine that does other work too, another process may take more.
            return check["state"] == "red" and f"core {core}" in check["says"] and check
        check = running.wait_until(seen, "the process that shares the core")
        assert "(process " in check["says"]
    finally:
        busy.kill()
        busy.wait()


def test_a_key_server_checks_itself(tmp_path):
    (tmp_path / "all.psk").write_text("secret")
    (tmp_path / "all.psk").chmod(0o600)
    (tmp_path / "ks.toml").write_text("""
[server]
listen = ["127.0.0.1:0"]
local_id = "ks.example.net"
store = "store"
psk_file = "all.psk"

[control]
socket = "gm.sock"

[[peer]]
address = "127.0.0.0/8"
groups = ["main"]

[[group]]
name = "main"
id = 1
kek = { cipher = "aes-128-cbc", lifetime_s = 86400, signature = "ecdsa-p256" }
rekey = { transport = "unicast" }

[[group.tek]]
transform = "aes-128-gcm"
lifetime_s = 3600
mode = "tunnel"
selectors = [{ src = "10.0.0.0/8", dst = "10.0.0.0/8" }]
""")
    look = lambda: subprocess.run([BINARIES / "getvpn-ks", "--config", "ks.toml", "--doctor"], cwd=tmp_path, text=True,
                                  capture_output=True, timeout=20, check=False)
    good = look()
    assert good.returncode == 0, good.stdout + good.stderr
    assert "files with keys" in good.stdout
    with open(tmp_path / "ks.log", "wb") as log:
        process = subprocess.Popen([BINARIES / "getvpn-ks", "--config", "ks.toml"], cwd=tmp_path, stdout=log, stderr=log)
    server = Member.__new__(Member)
    server.work, server.process, server.log = tmp_path, process, tmp_path / "ks.log"
    with server:
        server.wait_until_it_answers()
        server.wait_until(lambda: doctor(server)[0]["group main"]["state"] == "green", "a group that is served")
        (tmp_path / "all.psk").chmod(0o640)
        checks, status = doctor(server)
        named(checks, "configuration", "red", "chmod 600")
        assert status == 1
    assert look().returncode == 1
