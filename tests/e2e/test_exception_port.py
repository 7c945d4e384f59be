"""Members whose only way to the key server is the link that they protect: an exception port, which the kernel sees as a TAP.

        host-a --veth-- lan [member a] wan --veth--+-- bridge --+--veth-- ks
                             tap: own0             |            |
        host-b --veth-- lan [member b] wan --veth--+            what crosses here is looked at
"""

import contextlib
import json
import os
import subprocess

import pytest

from bridge import cable, run
from keyserver import GROUP, KEK, PSK, REKEY, TEK, KeyServer, events, ks_configuration, secret
from member import BINARIES, EAL, Member, configuration
from oracle import OracleSa, group

needs_root = pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="network namespaces need root")

KS, OWN = "10.99.0.1", {"a": "10.99.0.2", "b": "10.99.0.3"}
HOST = {"a": "10.1.0.1", "b": "10.1.0.2"}
MULTICAST = "239.10.1.1:848"
POLICY = [{"src": "10.1.0.0/16", "dst": "10.1.0.0/16"}]


class Site:
    def __init__(self, stack, work):
        self.work, self.prefix = work, f"getvpn-test-{os.getpid()}-"
        for name in ("net", "ks", "host-a", "host-b", "gm-a", "gm-b"):
            run("ip", "netns", "add", self.prefix + name)
            stack.callback(subprocess.run, ["ip", "netns", "del", self.prefix + name], timeout=10)
            if name != "ks":
                self.run(name, "sysctl", "-q", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
        self.run("net", "ip", "link", "add", "bridge", "type", "bridge", "mcast_snooping", "0")
        self.run("net", "ip", "link", "set", "bridge", "up")
        for name, port in (("ks", "eth0"), ("gm-a", "wan"), ("gm-b", "wan")):
            cable(self.prefix + "net", f"to-{name}", self.prefix + name, port)
            self.run("net", "ip", "link", "set", f"to-{name}", "master", "bridge")
        self.run("ks", "ip", "addr", "add", f"{KS}/24", "dev", "eth0")
        for name in "ab":
            cable(self.prefix + f"host-{name}", "eth0", self.prefix + f"gm-{name}", "lan")
            self.run(f"host-{name}", "ip", "addr", "add", f"{HOST[name]}/16", "dev", "eth0")

    def run(self, name, *command):
        run("ip", "netns", "exec", self.prefix + name, *command)

    def try_run(self, name, *command):
        return subprocess.run(["ip", "netns", "exec", self.prefix + name, *command], capture_output=True, timeout=20,
                              text=True)

    def member(self, name):
        own = self.work / name
        own.mkdir()
        secret(own / "gm.psk", PSK)
        group = {**GROUP, "key_servers": [f"{KS}:848"], "local_id": f"{name}.example.net", "psk_file": "gm.psk"}
        config = configuration(
            ["net_af_packet0,iface=lan", "net_af_packet1,iface=wan", "net_tap0,iface=own0"], [group],
            link={"exception": "net_tap0"}, control={"listen": f"{OWN[name]}:848"},
            eal=[*EAL, f"--file-prefix=e2e-{name}-{os.getpid()}"])
        return Member(own, config, "--log-format", "json", netns=self.prefix + f"gm-{name}")


@pytest.fixture(scope="module", params=["unicast", "multicast"])
def site(request, tmp_path_factory):
    work = tmp_path_factory.mktemp("exception")
    rekey = REKEY if request.param == "unicast" else {"transport": "multicast", "address": MULTICAST}
    with contextlib.ExitStack() as stack:
        site = Site(stack, work)
        config = ks_configuration(server={"listen": [f"{KS}:848"]}, teks=[{**TEK, "selectors": POLICY}], kek=KEK, rekey=rekey,
                                  peers=[{"address": "10.99.0.0/24"}])
        site.ks = stack.enter_context(KeyServer(work, config, site.prefix + "ks"))
        site.members = {}
        for name in "ab":
            member = site.members[name] = stack.enter_context(site.member(name))
            member.wait_until_it_answers()
            # The operator's part, by networkd or by hand.
            site.run(f"gm-{name}", "ip", "addr", "add", f"{OWN[name]}/24", "dev", "own0")
        for member in site.members.values():
            member.wait_until(lambda member=member: member.ctl("sa", "list")["sas"], "its SAs")
        yield site
        for member in site.members.values():
            assert member.end().status == 0
        site.ks.end()


def pings(site, wanted=3):
    assert site.try_run("host-a", "ping", "-q", "-c", str(wanted), "-i", "0.01", "-w", "10", HOST["b"]).returncode == 0


@needs_root
def test_members_register_through_the_link_that_they_protect(site):
    for member in site.members.values():
        assert member.ctl("status")["groups"][0]["state"] == "in-step"
        counters = member.ctl("counters")
        assert counters["to_exception"] and counters["from_exception"]
        assert not counters["drops"]["exception_full"]


@needs_root
def test_a_trace_shows_what_is_said_to_the_key_server_and_what_it_answers(site):
    member = site.members["a"]
    trace = subprocess.Popen([BINARIES / "getvpnctl", "--socket", "gm.sock", "--json", "--timeout", "20", "trace", "--host", KS,
                              "--count", "4"], cwd=member.work, stdout=subprocess.PIPE, text=True)
    with trace:
        member.wait_until(lambda: events(member.log, "probe_started"), "the trace")
        member.ctl("resync", GROUP["name"])
        pages = [json.loads(line) for line in trace.communicate(timeout=30)[0].splitlines()]
    packets = [packet for page in pages for packet in page["packets"]]
    assert len(packets) == 4 and {packet["outcome"] for packet in packets} == {"own"}, packets
    assert {packet["direction"] for packet in packets} == {"in", "out"}
    for packet in packets:
        steps = {step["step"]: step["says"] for step in packet["steps"]}
        there, back = f"{OWN['a']} > {KS} UDP 848 > 848", f"{KS} > {OWN['a']} UDP 848 > 848"
        if packet["direction"] == "in":
            assert list(steps) == ["received", "parsed", "sent"] and back in steps["parsed"], steps
            assert steps["sent"] == "to this machine itself, by its exception port"
        else:
            assert list(steps) == ["made", "parsed", "sent"] and there in steps["parsed"], steps


@needs_root
def test_traffic_of_the_hosts_is_encrypted_and_their_arp_crosses(site):
    before = [site.members[name].ctl("counters") for name in "ab"]
    pings(site)
    for name, old in zip("ab", before):
        new = site.members[name].ctl("counters")
        assert new["encrypted"] - old["encrypted"] >= 3 and new["decrypted"] - old["decrypted"] >= 3


@needs_root
def test_a_rekey_arrives_and_a_lost_sa_comes_back(site):
    a, b = site.members["a"], site.members["b"]
    known = {sa["spi"] for sa in b.ctl("sa", "list")["sas"]}
    site.ks.ctl("rekey", GROUP["name"])
    for member in (a, b):
        member.wait_until(lambda member=member: {sa["spi"] for sa in member.ctl("sa", "list")["sas"]} - known, "the rekey")
    pings(site)
    for sa in b.ctl("sa", "list")["sas"]:
        b.ctl("sa", "delete", sa["spi"])
    b.wait_until(lambda: not site.try_run("host-a", "ping", "-q", "-c", "1", "-W", "1", HOST["b"]).returncode,
                 "the SA to come back by INVALID-SPI")
    assert len(events(b.log, "registered")) == 1
    assert events(b.log, "spi_recovered")


@needs_root
def test_the_member_answers_on_its_own_address_and_policy_does_not_apply_to_it(site):
    assert site.try_run("ks", "ping", "-q", "-c", "3", "-i", "0.01", "-w", "10", OWN["a"]).returncode == 0
    wan = site.try_run("gm-a", "cat", "/sys/class/net/wan/address").stdout
    assert site.try_run("gm-a", "cat", "/sys/class/net/own0/address").stdout == wan, "the WAN port's address, as documented"


@needs_root
def test_cleartext_for_a_host_behind_the_member_does_not_pass(site):
    site.run("ks", "ip", "addr", "replace", "10.1.0.99/16", "dev", "eth0")
    before = site.members["b"].ctl("counters")["drops"]["cleartext"]
    assert site.try_run("ks", "ping", "-q", "-c", "1", "-W", "1", "-I", "10.1.0.99", HOST["b"]).returncode
    assert site.members["b"].ctl("counters")["drops"]["cleartext"] > before
    site.run("ks", "ip", "addr", "del", "10.1.0.99/16", "dev", "eth0")


def test_the_ports_of_a_second_link_are_told_from_the_exception_port_of_the_first(tmp_path):
    # What has no peer at its other end is down; all else is up.
    wan = f"net_memif0,role=server,socket={tmp_path}/wan.sock,socket-abstract=no"
    second = """
[[link]]
name = "second"
lan = "net_null3"
wan = "net_memif0"
"""
    vdevs = ["net_null0,no-rx=1", "net_null1,no-rx=1", "net_null2,no-rx=1", "net_null3,no-rx=1", wan]
    config = configuration(vdevs, [group("finance", OracleSa(0x5100))], link={"exception": "net_null2"},
                           workers={"link_wait_ms": 0}) + second
    with Member(tmp_path, config) as member:
        member.wait_until_it_answers()
        links = [(link["name"], link["lan_up"], link["wan_up"]) for link in member.ctl("status")["links"]]
        assert links == [("site", True, True), ("second", True, False)]
        ports = [(port["link"], port["side"], port["device"]) for port in member.ctl("counters")["ports"]]
        assert ports == [("site", "LAN", "net_null0"), ("site", "WAN", "net_null1"), ("site", "exception", "net_null2"),
                         ("second", "LAN", "net_null3"), ("second", "WAN", "net_memif0")]
