"""Datagrams that hosts must fragment, through two members in either mode: real stacks on both sides put them together.

The ports are net_pcap on live interfaces: before it hands them to net_af_packet, Linux itself puts IPv4 fragments
together."""

import contextlib
import os
import subprocess
import sys

import pytest

from member import Member, configuration
from oracle import MODES, OracleSa, group
from test_tcp import Net, needs_root

PORT = 9000
SIZES = (0, 1, 1400, 1472, 1473, 4000, 9000)
ECHO = f"""
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], {PORT}))
print("ready", flush=True)
while True:
    data, sender = s.recvfrom(65536)
    s.sendto(data, sender)
"""
# Linux forgets a path MTU only after minutes, so the first answers may be lost to its discovery: three tries each.
ASK = f"""
import os, socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(1)
if s.family == socket.AF_INET:
    s.setsockopt(socket.IPPROTO_IP, 10, 0)  # IP_MTU_DISCOVER, IP_PMTUDISC_DONT
for size in map(int, sys.argv[2:]):
    data = os.urandom(size)
    for _ in range(3):
        s.sendto(data, (sys.argv[1], {PORT}))
        try:
            if s.recvfrom(65536)[0] == data:
                print(size)
                break
        except TimeoutError:
            pass
"""


@needs_root
@pytest.mark.parametrize("mode", MODES)
def test_datagrams_of_any_size_come_back_as_they_were(tmp_path, mode):
    with contextlib.ExitStack() as stack:
        net = Net(stack)
        for n, name in enumerate("ab"):
            work = tmp_path / name
            work.mkdir()
            sa = OracleSa(0x8000, mode=mode, replay="sender", options={"sid": n})
            config = configuration(["net_pcap0,iface=lan", "net_pcap1,iface=wan"], [group("g", sa)],
                                   workers={"cores": [sorted(os.sched_getaffinity(0))[-n]]})
            net.members[name] = stack.enter_context(Member(work, config, netns=net.prefix + f"member-{name}"))
        for member in net.members.values():
            member.wait_until_it_answers()
        for address in ("10.1.0.2", "fd00:1::2"):
            with echo(net, address):
                came = net.run("host-a", sys.executable, "-c", ASK, address, *SIZES)
            assert came.split() == [str(size) for size in SIZES], address
        ended = [member.end() for member in net.members.values()]
    for member in ended:
        assert set(member.drops()) <= {"too_big"}
        assert member.counters["parked"] == 0
    assert sum(member.counters["fragments"] for member in ended) > 0


@contextlib.contextmanager
def echo(net, address):
    server = subprocess.Popen(["ip", "netns", "exec", net.prefix + "host-b", sys.executable, "-c", ECHO, address],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        assert server.stdout.readline() == b"ready\n"
        yield
    finally:
        server.kill()
        server.wait(timeout=10)
