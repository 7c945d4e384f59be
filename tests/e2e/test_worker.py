"""What a worker never does, and what it stops doing: system calls, and sealing past its last IV."""

import hashlib
import json
import os
import pathlib
import socket
import subprocess

import pytest
from scapy.layers.inet import IP, UDP

from member import BINARIES, Member, configuration, read_frames, run_files, write_frames
from oracle import ETHERNET, OracleSa, group

LAST_SEQUENCE = 2**32 - 1
ETH_P_ALL = 3


@pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="strace needs root or ptrace")
def test_a_worker_makes_no_system_call():
    shown = subprocess.run([pathlib.Path(__file__).parents[2] / "perf" / "no-syscalls", BINARIES], capture_output=True,
                           text=True, timeout=60)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert " 0 system calls while it received " in shown.stdout


def test_sealing_stops_before_the_sequence_number_wraps_and_goes_on_under_a_new_key(tmp_path):
    sa = OracleSa(0xA000, replay="counter")
    lan = [ETHERNET / IP(**sa.addresses(4)) / UDP() / bytes([n]) for n in range(10)]
    run_files(tmp_path, [group("g", sa)], lan=lan)
    used_until(tmp_path, LAST_SEQUENCE - 3)

    ended = run_files(tmp_path, [group("g", sa)], lan=lan)
    assert ended.drops() == {"iv_exhausted": 6}
    assert [sa.open(frame) for frame in ended.wan()] == [bytes(frame)[14:] for frame in lan[:4]]
    assert ended.output.count('event="iv_exhausted"') == 1
    assert "0x0000a000" in ended.output

    ended = run_files(tmp_path, [group("g", sa)], lan=lan)
    assert ended.drops() == {"iv_exhausted": 10}, "nor after a restart"
    ended = run_files(tmp_path, [group("g", OracleSa(0xA001, replay="counter"))], lan=lan)
    assert ended.drops() == {}


def used_until(work, counter):
    """Makes the member's own record say that its sender ID is about to end."""
    file = work / "state" / "counters.json"
    table = json.loads(file.read_text().splitlines()[0])
    [senders] = table["keys"].values()
    [sid] = senders
    senders[sid] = counter
    line = json.dumps(table, separators=(",", ":"))
    file.write_text(f"{line}\n{hashlib.sha256(line.encode()).hexdigest()}\n")


def test_workers_share_the_links_out_and_each_seals_with_its_own_sender_id(tmp_path):
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("one core only")
    sa = OracleSa(0xA000, options={"sid": 5})
    packets = [IP(**sa.addresses(4), id=n) / UDP() / bytes([n]) for n in range(100)]
    for port in range(4):
        write_frames(tmp_path / f"in{port}.pcap", [ETHERNET / (sa.seal(p).payload if port % 2 else p) for p in packets])
    ports = [f"net_pcap{n},rx_pcap=in{n}.pcap,tx_pcap=out{n}.pcap" for n in range(4)]
    config = configuration(ports, [group("g", sa)], workers={"cores": cores[-2:]})
    config = config.replace("[control]", '[[link]]\nname = "other"\nlan = "net_pcap2"\nwan = "net_pcap3"\n\n[control]')
    with Member(tmp_path, config) as member:
        member.wait_until_it_answers()
        counters = member.wait_until(lambda: (c := member.ctl("counters", "--per"))["rx"] == 400 and c, "all of it")
        ended = member.end()
    assert (ended.counters["encrypted"], ended.counters["decrypted"], ended.drops()) == (200, 200, {})
    assert {(p["link"], p["worker"], p["rx"]) for p in counters["per"] if p["rx"]} == {
        (link, worker, 100) for link in ("site", "other") for worker in (0, 1)}
    for lan, wan in ((0, 1), (2, 3)):
        assert read_frames(tmp_path / f"out{lan}.pcap") == [bytes(ETHERNET / p) for p in packets]
        assert [sa.open(frame) for frame in read_frames(tmp_path / f"out{wan}.pcap")] == [bytes(p) for p in packets]
    sealed = [frame for wan in (1, 3) for frame in read_frames(tmp_path / f"out{wan}.pcap")]
    ivs = {frame[42:50] for frame in sealed}
    assert len(ivs) == 200, "an IV twice"
    assert {int.from_bytes(iv[:2]) for iv in ivs} <= {5, 6}


@pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI") or not os.path.exists("/dev/net/tun"),
                    reason="tap devices need root")
def test_flows_are_spread_over_the_queues_of_a_device_that_has_several(tmp_path):
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("one core only")
    sa = OracleSa(0xA000, options={"sid": 5})
    lan, wan = (f"gv{side}{os.getpid()}" for side in "lw")
    config = configuration([f"net_tap0,iface={lan}", f"net_tap1,iface={wan}"], [group("g", sa)],
                           workers={"cores": cores[-2:]})
    packets = [IP(src=f"10.1.0.{n + 1}", dst="10.1.0.200") / UDP(sport=n, dport=9) / bytes([n]) for n in range(100)]
    with Member(tmp_path, config) as member:
        member.wait_until_it_answers()
        for device in (lan, wan):
            subprocess.run(["sysctl", "-q", f"net.ipv6.conf.{device}.disable_ipv6=1"], check=True, timeout=10)
            subprocess.run(["ip", "link", "set", device, "up"], check=True, timeout=10)
        with listener(lan) as at_lan, listener(wan) as at_wan:
            for packet in packets:
                at_lan.send(bytes(ETHERNET / packet))
            member.wait_until(lambda: member.ctl("counters")["encrypted"] == len(packets), "all of it")
            sealed = [frame for frame in heard(at_wan) if frame[23:24] == b"\x32"]
        per = member.ctl("counters", "--per")["per"]
        assert member.end().status == 0
    assert all(worker["encrypted"] > 0 for worker in per), per
    assert sorted(sa.open(frame) for frame in sealed) == sorted(bytes(packet) for packet in packets)
    assert {frame[42:44] for frame in sealed} == {b"\x00\x05", b"\x00\x06"}, "each worker has its own sender ID"


def listener(device):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    s.bind((device, 0))
    s.settimeout(1)
    return s


def heard(s):
    try:
        while True:
            yield s.recv(65536)
    except TimeoutError:
        return
