"""Real TCP through two members: hosts with MTU 1,500 on either side, path MTU discovery by the members' ICMP.

        host-a --veth-- member-a --veth-- member-b --veth-- host-b
        10.1.0.1        no addresses, no routes: they only wire through        10.1.0.2
"""

import contextlib
import hashlib
import os
import random
import subprocess
import sys
import time

import pytest

from bridge import cable
from member import Member, configuration
from oracle import OracleSa, group

MEGABYTES = 100
PORT = 8080

needs_root = pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="network namespaces need root")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A directory with the file, for both hosts to serve."""
    path = tmp_path_factory.mktemp("site")
    (path / "file").write_bytes(random.Random(1).randbytes(MEGABYTES * 1_000_000))
    return path


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """The two hosts and the two members, up and running. Removed at the end, also after a failure."""
    with contextlib.ExitStack() as stack:
        net = Net(stack)
        for n, name in enumerate("ab"):
            work = tmp_path_factory.mktemp(f"member-{name}")
            sa = OracleSa(0x7000, replay="sender", options={"sid": n})  # the same SA, each member with its own sender ID
            config = configuration(["net_af_packet0,iface=lan", "net_af_packet1,iface=wan"], [group("g", sa)],
                                   workers={"cores": [sorted(os.sched_getaffinity(0))[-n]]})
            net.members[name] = stack.enter_context(Member(work, config, netns=net.prefix + f"member-{name}"))
        for member in net.members.values():
            member.wait_until_it_answers()
        yield net
        for member in net.members.values():
            assert member.end().status == 0


class Net:
    def __init__(self, stack):
        self.prefix = f"getvpn-test-{os.getpid()}-"
        self.members = {}
        for name in ("host-a", "member-a", "member-b", "host-b"):
            run("ip", "netns", "add", self.prefix + name)
            stack.callback(subprocess.run, ["ip", "netns", "del", self.prefix + name], timeout=10)
            if name.startswith("member"):
                self.run(name, "sysctl", "-q", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
        cable(self.prefix + "host-a", "eth0", self.prefix + "member-a", "lan")
        cable(self.prefix + "member-a", "wan", self.prefix + "member-b", "wan")
        cable(self.prefix + "member-b", "lan", self.prefix + "host-b", "eth0")
        for n, name in enumerate(("host-a", "host-b"), 1):
            self.run(name, "ip", "addr", "add", f"10.1.0.{n}/16", "dev", "eth0")
            self.run(name, "ip", "addr", "add", f"fd00:1::{n}/32", "dev", "eth0", "nodad")

    def forget_path_mtus(self):
        """A host tells its peer of a path MTU that it has learnt, by its MSS; so each download must find it anew."""
        for host in ("host-a", "host-b"):
            for version in ("-4", "-6"):
                self.run(host, "ip", version, "route", "flush", "cache")

    def wait_until_listening(self, host, port=PORT):
        deadline = time.monotonic() + 10
        while not self.run(host, "ss", "-Hltn", f"sport = :{port}"):
            assert time.monotonic() < deadline, f"nothing listens on {host} after 10 s"
            time.sleep(0.02)

    def run(self, name, *command, seconds=30):
        return run("ip", "netns", "exec", self.prefix + name, *command, seconds=seconds)

    def start(self, name, *command):
        return subprocess.Popen(["ip", "netns", "exec", self.prefix + name, *command], stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def run(*command, seconds=30):
    done = subprocess.run(list(map(str, command)), capture_output=True, stdin=subprocess.DEVNULL, timeout=seconds, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@needs_root
@pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize(("server", "client", "address"), [("b", "a", "2"), ("a", "b", "1")], ids=["a gets", "b gets"])
def test_a_download_arrives_intact_through_path_mtu_discovery(net, site, tmp_path, version, server, client, address):
    host = f"10.1.0.{address}" if version == 4 else f"fd00:1::{address}"
    url = f"http://{host if version == 4 else f'[{host}]'}:{PORT}/file"
    net.forget_path_mtus()
    sender = net.members[server]
    before = sender.ctl("counters")
    web = net.start(f"host-{server}", sys.executable, "-m", "http.server", "--bind", host, "--directory", str(site), str(PORT))
    try:
        net.wait_until_listening(f"host-{server}")
        began = time.monotonic()
        net.run(f"host-{client}", "curl", "--silent", "--show-error", "--fail", "--max-time", "80", "--output",
                tmp_path / "got", url, seconds=90)
        took = time.monotonic() - began
    finally:
        web.kill()
        web.wait(timeout=10)
    assert digest(tmp_path / "got") == digest(site / "file")
    (tmp_path / "got").unlink()

    after, at_client = sender.ctl("counters"), net.members[client].ctl("counters")
    assert after["drops"]["too_big"] > before["drops"]["too_big"], "path MTU discovery was not needed"
    assert after["icmp"] > before["icmp"]
    assert after["encrypted"] - before["encrypted"] > MEGABYTES * 1_000_000 / 1500
    for counters in (after, at_client):
        assert {reason for reason, n in counters["drops"].items() if n} <= {"too_big"}, counters["drops"]
    print(f"\n{MEGABYTES} MB in {took:.1f} s, {MEGABYTES * 8 / took:.0f} Mbit/s")


def digest(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
