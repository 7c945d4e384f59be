"""A key server and two members in network namespaces of their own, joined by a bridge:

        ks --veth--+-- bridge --+--veth-- a
                                +--veth-- b        a port of the bridge can be told to lose multicast
"""

import contextlib
import os
import subprocess

FAMILIES = {"IPv4": ("10.99.0.{}", 24, "{}:848", "239.10.1.1:848"),
            "IPv6": ("fd00:99::{}", 64, "[{}]:848", "[ff15::10:1]:848")}


class Net:
    """The four namespaces. Removed at the end, also after a failure."""

    def __init__(self, stack, family):
        self.prefix = f"getvpn-test-{os.getpid()}-"
        address, length, self.endpoint, self.group = FAMILIES[family]
        self.addresses = {name: address.format(n) for n, name in enumerate(("ks", "a", "b"), 1)}
        for name in ("net", *self.addresses):
            run("ip", "netns", "add", self.netns(name))
            stack.callback(subprocess.run, ["ip", "netns", "del", self.netns(name)], timeout=10)
        self.run("net", "ip", "link", "add", "bridge", "type", "bridge", "mcast_snooping", "0")
        self.run("net", "ip", "link", "set", "bridge", "up")
        for name, own in self.addresses.items():
            run("ip", "link", "add", f"to-{name}", "netns", self.netns("net"), "type", "veth", "peer", "name", "eth0", "netns",
                self.netns(name))
            self.run("net", "ip", "link", "set", f"to-{name}", "master", "bridge", "up")
            self.run(name, "ip", "link", "set", "lo", "up")
            self.run(name, "ip", "link", "set", "eth0", "up")
            self.run(name, "ip", "addr", "add", f"{own}/{length}", "dev", "eth0", *["nodad"] * (family == "IPv6"))

    def netns(self, name):
        return self.prefix + name

    def run(self, name, *command):
        run("ip", "netns", "exec", self.netns(name), *command)

    def listen(self, name):
        return self.endpoint.format(self.addresses[name])

    @contextlib.contextmanager
    def without_multicast_to(self, name):
        self.run("net", "bridge", "link", "set", "dev", f"to-{name}", "mcast_flood", "off")
        yield
        self.run("net", "bridge", "link", "set", "dev", f"to-{name}", "mcast_flood", "on")


def cable(one, one_port, other, other_port):
    """Joins two namespaces. Without offloads the frames are what a wire would carry: no larger than the MTU, with checksums."""
    run("ip", "link", "add", one_port, "netns", one, "type", "veth", "peer", "name", other_port, "netns", other)
    for netns, port in ((one, one_port), (other, other_port)):
        run("ip", "netns", "exec", netns, "ethtool", "-K", port, "rx", "off", "tx", "off", "sg", "off", "gso", "off", "tso", "off",
            "gro", "off")
        run("ip", "netns", "exec", netns, "ip", "link", "set", port, "mtu", "1500", "up")


def run(*command):
    subprocess.run(command, check=True, capture_output=True, timeout=20)
