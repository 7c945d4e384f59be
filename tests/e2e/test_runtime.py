"""`getvpnctl runtime` says where a worker's time goes, and that a worker without packets has nothing to do."""

import os
import subprocess

import pytest
from scapy.layers.inet import IP, UDP

from member import BINARIES, Member, configuration, write_frames
from oracle import ETHERNET, OracleSa, group

SA = OracleSa(0x6100)
STAGES = {
    "inbound": {"receive", "parse", "admit", "open", "replay", "unwrap", "transmit"},
    "outbound": {"receive", "parse", "policy", "wrap", "seal", "transmit"},
}


def test_a_busy_worker_is_told_with_its_stages(tmp_path):
    packet = IP(**SA.addresses(4)) / UDP() / bytes(200)
    write_frames(tmp_path / "lan-in.pcap", [ETHERNET / packet] * 8)
    write_frames(tmp_path / "wan-in.pcap", [SA.seal(packet) for _ in range(8)])
    config = configuration(["net_pcap0,rx_pcap=lan-in.pcap,infinite_rx=1", "net_pcap1,rx_pcap=wan-in.pcap,infinite_rx=1"],
                           [group("main", SA)])
    with Member(tmp_path, config) as member:
        member.wait_until_it_answers()
        # The first second's reading has to be there before there is anything since then.
        member.wait_until(lambda: member.ctl("runtime")["workers"][0]["recent"]["packets"] > 10_000, "packets")
        [worker] = member.ctl("runtime")["workers"]
        assert worker["core"] in os.sched_getaffinity(0)
        for work in (worker["recent"], worker["total"]):
            assert 0.5 < work["load"] <= 1, "packets never run out"
            assert work["busy_cycles"] / work["packets"] == pytest.approx(work["cycles_per_packet"])
            assert work["packets"] / work["bursts"] == pytest.approx(work["burst_size"])
            assert 1 <= work["burst_size"] <= 32
            timed = {direction: {stage["stage"] for stage in work["stages"]
                                 if stage["direction"] == direction and stage["packets"]} for direction in STAGES}
            assert timed == STAGES
            assert sum(stage["cycles"] for stage in work["stages"]) <= work["busy_cycles"] * 1.01
        assert worker["total"]["packets"] <= member.ctl("counters")["rx"]

        shown = subprocess.run([BINARIES / "getvpnctl", "--socket", "gm.sock", "runtime"], cwd=tmp_path, capture_output=True,
                               text=True, timeout=10)
        assert shown.returncode == 0 and all(len(line) <= 100 for line in shown.stdout.splitlines()), shown.stdout
        assert "integrity and decryption" in shown.stdout


def test_a_worker_without_packets_is_idle(tmp_path):
    write_frames(tmp_path / "in.pcap", [])
    config = configuration(["net_pcap0,rx_pcap=in.pcap", "net_pcap1,rx_pcap=in.pcap"], [group("main", SA)])
    with Member(tmp_path, config) as member:
        member.wait_until_it_answers()
        [worker] = member.wait_until(lambda: (w := member.ctl("runtime")["workers"])[0]["recent"]["seconds"] > 0.1 and w,
                                     "a reading")
        assert worker["recent"]["load"] < 0.05 and worker["recent"]["packets"] == 0
        assert worker["recent"]["cycles_per_packet"] is None and worker["total"]["stalls"] == 0
