"""Rekeys under load: a key server replaces the SA again and again while packets pass from one member through another. Every
frame that went in must come out.

    getvpn-perf-load --memif--> LAN  "a"  WAN --memif-- WAN  "b"  LAN --memif--> getvpn-perf-load
                                      |   127.x.x.2     |    127.x.x.3
                                      +--- 127.x.x.1 ---+ getvpn-ks
"""

import contextlib
import dataclasses
import time

import load
import rig as rigs
from keyserver import KeyServer, ks_configuration
from member import wait_for
from rates import ENCRYPT

# A key server keeps five generations of an SA that lives for an hour.
REKEYS = 4
DELAYS = {"activation_delay_s": 0, "deactivation_delay_s": 4}


@dataclasses.dataclass
class Rekeys:
    """What came out of the other member."""

    rate: float
    seconds: float
    offered: int
    refused: int
    sealed: int
    opened: int
    received: int
    drops: dict
    rekeys: int
    spis: list          # that "a" sealed with, in their order
    by_tenth: list
    latency: dict | None
    asked: int

    @property
    def lost(self):
        return self.offered - self.received


def measure(rig, rate, say):
    work = rig.work / "rekey"
    work.mkdir()
    count = 2 if rig.quick else REKEYS
    seconds = 0.6 * (count + 1) if rig.quick else 2.0 * (count + 1)
    with contextlib.ExitStack() as stack:
        ks = stack.enter_context(KeyServer(work, ks_configuration(group=DELAYS))).wait_until_it_answers()
        lan_a, lan_b, between = (work / f"{name}.sock" for name in ("a-lan", "b-lan", "wan"))
        generator = stack.enter_context(load.Load(rig.programs, work / "load", [lan_a, lan_b], core=rig.load_core, mtu=rigs.MTU))
        members = []
        for number, (name, lan) in enumerate((("b", lan_b), ("a", lan_a))):
            groups, control = rigs.registering(name)
            wan = load.memif(1, "client" if number else "server", between)
            # Both share the core that is not the generator's, and waste none of it.
            site = rigs.Site(work / "site" / name, [lan, None], groups, core=rig.worker_core, mtu=rigs.MTU, wan=wan,
                             control=control, workers={"idle": "sleep", "tx_wait_us": 100_000})
            members.append(stack.enter_context(site))
            site.wait_until_it_answers()
        b, a = members
        wait_for(lambda: a.has_sas() and b.has_sas(), "their SAs", 20, a, b)
        generator.wait_for_link()
        passes(generator, rig, a, b)
        return run(rig, ks, generator, a, b, rate, seconds, count, say)


def passes(generator, rig, a, b):
    """Until the members' WANs are connected nothing passes."""
    def passed():
        trial, _ = generator.one_way(rig.capture(ENCRYPT, rig.sizes[0]), 0, 1, 1000, 0.05)
        return trial.lost == 0

    wait_for(passed, "packets to pass from a to b", 20, a, b)


def run(rig, ks, generator, a, b, rate, seconds, count, say):
    before_a, before_b = a.ctl("counters"), b.ctl("counters")
    asked = asks(a) + asks(b)
    made = len(ks.events("sa_made"))
    stream = {"port": 0, "file": str(rig.capture(ENCRYPT, rig.sizes[0])), "rate": rate, "back": 1}
    generator.tell({"trial": {"streams": [stream], "seconds": seconds}})
    began, spis = time.monotonic(), [active(a)]
    for number in range(1, count + 1):
        wait_for(lambda: time.monotonic() >= began + number * seconds / (count + 1), "the time", seconds + 10, a, b)
        ks.ctl("rekey", "finance")
        wait_for(lambda: active(a) != spis[-1], "a to seal with the new SA", 10, a, b)
        spis.append(active(a))
        say(f"rekey {number} of {count}: a seals with {spis[-1]}")
    answer = generator.answered(seconds + 30)
    after_a, after_b = a.ctl("counters"), b.ctl("counters")
    sent = answer["streams"][0]
    drops = {}
    for before, after in ((before_a, after_a), (before_b, after_b)):
        for reason, n in after["drops"].items():
            if n > before["drops"].get(reason, 0):
                drops[reason] = drops.get(reason, 0) + n - before["drops"].get(reason, 0)
    return Rekeys(sent["offered"] / answer["elapsed_s"], answer["elapsed_s"], sent["offered"], sent["refused"],
                  after_a["encrypted"] - before_a["encrypted"], after_b["decrypted"] - before_b["decrypted"],
                  answer["received"][1]["frames"], drops, len(ks.events("sa_made")) - made, spis,
                  answer["received"][1]["by_tenth"], sent["latency"], asks(a) + asks(b) - asked)


def active(member):
    """The SA that it seals with."""
    sas = member.ctl("sa", "list")["sas"]
    return next((sa["spi"] for sa in sas if sa["state"] == "active"), None)


def asks(member):
    return member.ctl("sync")["groups"][0]["recovery"]["invalid_spi_sent"]
