"""A download over real TCP through two members, while the receiver's SA is deleted every second, the keys roll and datagrams
between members and key server are lost.

        host-a --veth-- member-a --veth-- member-b --veth-- host-b
                            |                 |
                            +---- losing -----+---- getvpn-ks
"""

import contextlib
import ctypes
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

from bridge import cable
from keyserver import GROUP, TEK, KeyServer, events, ks_configuration, secret
from member import Member, configuration
from test_tcp import Net

from observer import PUSH, Observer
from row import Row, at_least, at_most, cost

PORT = 8081
CLONE_NEWNET = 0x40000000
SERVER = {"a": "10.200.1.1", "b": "10.200.2.1"}
DOWNLOAD = pathlib.Path(__file__).with_name("download.py")
DELETE_EVERY_S, REKEY_EVERY_S = 1, 5
LOSS = 0.3
# Three INVALID-SPI in vain and then a registration: 1.4 s, and TCP may wait as long again until it sends the next time.
LONGEST_STALL_MS = 5_000


@contextlib.contextmanager
def netns(name):
    """Sockets that this thread opens belong to the namespace."""
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(path):
        with open(path) as namespace:
            if libc.setns(namespace.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"setns {path}")

    own = f"/proc/self/task/{threading.get_native_id()}/ns/net"
    with open(own) as here:
        enter(f"/run/netns/{name}")
        try:
            yield
        finally:
            enter(f"/proc/self/fd/{here.fileno()}")


class KeyedNet(Net):
    """The two sites, and a key server that each member reaches over a cable of its own, through an observer that loses some
    of what it hears."""

    def __init__(self, work, stack):
        super().__init__(stack)
        ks = self.prefix + "ks"
        subprocess.run(["ip", "netns", "add", ks], check=True, timeout=10)
        stack.callback(subprocess.run, ["ip", "netns", "del", ks], timeout=10)
        self.run("ks", "ip", "link", "set", "lo", "up")
        for name, server in SERVER.items():
            cable(f"{self.prefix}member-{name}", "ks", ks, f"member-{name}")
            self.run("ks", "ip", "addr", "add", f"{server}/24", "dev", f"member-{name}")
            self.run(f"member-{name}", "ip", "addr", "add", f"{server[:-1]}2/24", "dev", "ks")
        # Lives are short enough for each renewal to be made: eight generations may be alive.
        config = ks_configuration(teks=[{**TEK, "lifetime_s": 30}], peers=[{"address": "10.200.0.0/16"}],
                                  # Who gets only the last copy of a rekey has sent with the old SA until then.
                                  group={"deactivation_delay_s": 4},
                                  server={"listen": [f"{server}:848" for server in SERVER.values()]})
        self.ks = stack.enter_context(KeyServer(work, config, netns=ks)).wait_until_it_answers()
        self.observers = {}
        for n, (name, server) in enumerate(SERVER.items()):
            with netns(ks):
                observer = Observer(f"{server}:900", f"{server}:848", seed=n)
            self.observers[name] = stack.enter_context(observer)
            own = work / name
            own.mkdir()
            secret(own / "gm.psk")
            group = {**GROUP, "key_servers": [observer.address], "local_id": f"{name}.example.net", "psk_file": "gm.psk",
                     "replay": "sender"}
            cores = sorted(os.sched_getaffinity(0))
            config = configuration(["net_af_packet0,iface=lan", "net_af_packet1,iface=wan"], [group],
                                   control={"listen": "0.0.0.0:848"}, workers={"cores": [cores[-n]], "link_wait_ms": 0})
            member = stack.enter_context(Member(own, config, "--log-format", "json", netns=self.prefix + f"member-{name}"))
            self.members[name] = member
        for member in self.members.values():
            member.wait_until_it_answers()
            member.wait_until(lambda: member.ctl("sa", "list")["sas"], "its SAs")

    def lose(self, share, only):
        for observer in self.observers.values():
            observer.loss, observer.loses_only = share, only


class Churn(threading.Thread):
    """Deletes the receiver's SAs and renews the group's keys, until it is told to stop."""

    def __init__(self, ks, receiver):
        super().__init__(daemon=True)
        self.ks, self.receiver = ks, receiver
        self.stopping, self.failure = threading.Event(), None
        self.deleted = self.rekeys = 0

    def run(self):
        try:
            next_delete = next_rekey = time.monotonic()
            while not self.stopping.wait(max(0.0, min(next_delete, next_rekey) - time.monotonic())):
                if time.monotonic() >= next_delete:
                    next_delete += DELETE_EVERY_S
                    for sa in self.receiver.ctl("sa", "list")["sas"]:
                        with contextlib.suppress(AssertionError):  # its life may have ended in this moment
                            self.receiver.ctl("sa", "delete", sa["spi"])
                            self.deleted += 1
                if time.monotonic() >= next_rekey:
                    next_rekey += REKEY_EVERY_S
                    # Refused while too many generations are alive: the next one will do.
                    self.rekeys += self.ks.try_ctl("rekey", GROUP["name"], "--kek") is not None
        except Exception as failure:  # a thread must not fail in silence
            self.failure = failure


def download(work, seconds, megabytes, only=PUSH):
    """The download, and what went on meanwhile; `only` is what gets lost."""
    with contextlib.ExitStack() as stack:
        net = KeyedNet(work, stack)
        net.lose(LOSS, only)
        a, b = net.members["a"], net.members["b"]
        python = [sys.executable, str(DOWNLOAD)]
        server = stack.enter_context(popen(net, "host-a", *python, "serve", "10.1.0.1", PORT, seconds, megabytes))
        net.wait_until_listening("host-a", PORT)
        churn = Churn(net.ks, b)
        churn.start()
        try:
            client = stack.enter_context(popen(net, "host-b", *python, "get", "10.1.0.1", PORT))
            got = output(client, seconds + 240)
            sent = output(server, 60)
        finally:
            churn.stopping.set()
            churn.join(timeout=30)
        if churn.failure:
            raise churn.failure
        (group,) = b.ctl("sync")["groups"]
        return {
            "sent": sent, "got": got, "deleted": churn.deleted, "rekeys": churn.rekeys, "recovery": group["recovery"],
            "registrations": {name: len(events(member.log, "registered")) - 1 for name, member in net.members.items()},
            "lost": sum(observer.lost_datagrams for observer in net.observers.values()),
            "drops": {name: {why: n for why, n in member.ctl("counters")["drops"].items() if n} for name, member in
                      (("a", a), ("b", b))},
        }


def popen(net, name, *command):
    return subprocess.Popen(["ip", "netns", "exec", net.prefix + name, *map(str, command)], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def output(process, seconds):
    out, errors = process.communicate(timeout=seconds)
    assert process.returncode == 0, errors
    return json.loads(out)


def rows(work, seconds, *, only):
    it = download(work, seconds, megabytes=100, only=only)
    got, sent = it["got"], it["sent"]
    name = f"a download over TCP, and {100 * LOSS:.0f} % of {'rekeys' if only else 'all datagrams of GDOI'} lost"
    what = (f"SHA-256 of {got['octets'] / 1e6:,.0f} MB in {got['seconds']:.0f} s, {it['deleted']} SAs deleted, "
            f"{it['rekeys']} KEKs rolled, {it['lost']} datagrams lost")
    intact = (got["octets"], got["sha256"]) == (sent["octets"], sent["sha256"])
    stalled = f"longest stall that TCP saw, of {len(got['stalls_ms'])} over 50 ms"
    return [
        Row(name, what, "intact" if intact else "ANOTHER", "intact", intact),
        at_least(name, "megabytes", got["octets"] / 1e6, 100),
        at_most(name, stalled, got["longest_ms"], LONGEST_STALL_MS, "{:,.0f} ms") if only else
        cost(name, stalled, got["longest_ms"], "{:,.0f} ms"),
        Row(name, "recovery: p50, p99; INVALID-SPI sent; registrations after the first",
            f"{it['recovery']['p50_ms'] or 0:,.1f} ms, {it['recovery']['p99_ms'] or 0:,.1f} ms; "
            f"{it['recovery']['invalid_spi_sent']}; {it['registrations']['b']}", "-", True),
    ]
