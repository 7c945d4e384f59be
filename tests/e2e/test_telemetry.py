"""DPDK's own telemetry socket answers about SAs and counters, asked by DPDK's own client."""

import json
import os
import subprocess

from scapy.layers.inet import IP, UDP

from member import EAL, Member, configuration, write_frames
from oracle import ETHERNET, OracleSa, group

SA = OracleSa(0x5000)


def asked(member, *questions):
    """What dpdk-telemetry.py shows for each question."""
    (own,) = (member.work / "dpdk").iterdir()  # named as the member's control socket, so that several run side by side
    done = subprocess.run(["dpdk-telemetry.py", "--file-prefix", own.name], input="\n".join([*questions, "quit", ""]),
                          env={**os.environ, "RUNTIME_DIRECTORY": str(member.work)}, capture_output=True, timeout=30, text=True)
    assert done.returncode == 0, done.stderr
    replies = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(replies) == len(questions), done.stdout
    return [reply[question.split(",")[0]] for question, reply in zip(questions, replies, strict=True)]


def test_dpdk_telemetry_answers_about_sas_counters_and_drops(tmp_path):
    packet = IP(**SA.addresses(4)) / UDP() / b"once"
    forged = SA.forge(packet)
    write_frames(tmp_path / "lan-in.pcap", [ETHERNET / packet] * 8)
    write_frames(tmp_path / "wan-in.pcap", [SA.seal(packet)] * 4 + [forged] * 3)
    config = configuration(["net_pcap0,rx_pcap=lan-in.pcap", "net_pcap1,rx_pcap=wan-in.pcap"], [group("main", SA, without_sa="drop")],
                           eal=[word for word in EAL if word != "--no-telemetry"])
    with Member(tmp_path, config) as member:
        member.wait_until_it_answers()
        member.wait_until(lambda: member.ctl("counters")["rx"] == 15, "all frames")
        commands, sas, sa, counters, of_link, drops, nothing, no_link, help_text = asked(
            member, "/", "/getvpn/sa", "/getvpn/sa,0x5000", "/getvpn/counters", "/getvpn/counters,site", "/getvpn/drops",
            "/getvpn/sa,0x6000", "/getvpn/drops,elsewhere", "/help,/getvpn/sa")
        assert {"/getvpn/sa", "/getvpn/counters", "/getvpn/drops", "/ethdev/stats"} <= set(commands)
        assert sas == ["0x00005000"]
        assert (sa["spi"], sa["group"], sa["transform"], sa["state"]) == ("0x00005000", "main", "aes-128-gcm", "active")
        assert (sa["in_packets"], sa["in_errors"], sa["out_packets"]) == (4, 3, 8)
        said = member.ctl("counters")
        assert counters == of_link == {name: said[name] for name in counters if name != "dropped"} | {"dropped": 3}
        assert len(counters) > 10 and counters["decrypted"] == 4
        assert drops == said["drops"] and drops["authentication"] == 3
        assert (nothing, no_link) == (None, None)
        assert "SPI" in str(help_text)
        # The socket is in the member's own directory, and gone with it.
        assert [path.is_socket() for path in (tmp_path / "dpdk").glob("*/dpdk_telemetry.v2")] == [True]
        assert member.end().status == 0
        assert not list((tmp_path / "dpdk").iterdir())
