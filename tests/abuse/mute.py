"""A key server that answers INVALID-SPI with garbage or never, and one that then answers nothing else either: where the
member's ladder ends, and what `status` says of it. The key server is a real one, and what it says is garbled or lost on
the way."""

import contextlib
import random

from keyserver import KS, NETWORK, KeyServer, Traffic, carried, members
from member import wait_for
from network import PUSH, exchange

from observer import Observer, garbage
from row import Row, at_most

RELAY = f"{NETWORK}.20:18849"
RECOVERY = {"tries": 3, "first_retry_ms": 100, "first_backoff_s": 1, "longest_backoff_s": 60, "give_up_s": 2}


class Mute(Observer):
    """Garbles or loses what the key server says: its rekeys, or everything."""

    def __init__(self, answer):
        super().__init__(RELAY, KS)
        self.answer, self.rekeys, self.everything = answer, False, False
        self.dice = random.Random(3)

    def from_ks(self, datagram, source):
        if not (self.everything or self.rekeys and exchange(datagram) == PUSH):
            super().from_ks(datagram, source)
        elif self.answer == "garbage":
            self.send(self.to_member, garbage(datagram, self.dice), self.member)


@contextlib.contextmanager
def scene(work, answer):
    with KeyServer(work) as ks, Mute(answer) as mute:
        ks.wait_until_it_answers()
        with members(work, "a", "b", b={"group": {"recovery": RECOVERY}, "key_servers": [RELAY]}) as (a, b):
            for member in (a, b):
                member.wait_until_it_has(lambda spis: len(spis) == 1)
            carried(a, b)
            yield ks, mute, a, b


def state(member):
    return member.ctl("status")["groups"][0]["state"]


def muted(work, seconds, *, answer):
    with scene(work, answer) as (ks, mute, a, b):
        (spi,) = b.spis()
        mute.rekeys = True
        b.ctl("sa", "delete", spi)
        carried(a, b)
        (group,) = b.ctl("sync")["groups"]
        (asked,) = group["asked"]
        name = f"INVALID-SPI is answered with {answer}"
        rows = [
            at_most(name, "tries before the member registers again", asked["tries"], RECOVERY["tries"]),
            at_most(name, "the registration brings the SA after", asked["missing_ms"], 2000, "{:,.0f} ms"),
            at_most(name, "registrations", group["recovery"]["registrations"], 1),
        ]

        name = f"everything is answered with {answer}"
        mute.everything = True
        before = group["recovery"]["invalid_spi_sent"]
        # Registrations that asking in vain leads to keep a distance; sooner the SPI would be left alone instead.
        b.wait_until(lambda: b.ctl("sync")["groups"][0]["registered"]["ago_s"] >= 2, "a moment in step")
        with Traffic(a):
            b.ctl("sa", "delete", spi)
            b.wait_until(lambda: state(b) == "backing-off", "back-off", 60)
            (group,) = b.ctl("sync")["groups"]
            rows.append(Row(name, "`status` and `sync` say", f"backing-off, next try in {group['retry_in_ms'] / 1000:.1f} s",
                            "backing-off, at most 60 s", group["retry_in_ms"] <= 60_000))
            sent = group["recovery"]["invalid_spi_sent"] - before
            rows.append(at_most(name, "INVALID-SPI sent until then", sent, RECOVERY["tries"]))
            mute.rekeys = mute.everything = False
            b.wait_until(lambda: b.spis() == {spi}, "the SA, once the key server is heard again", 75)
            b.wait_until(lambda: state(b) == "in-step", "in step", 20)
        rows.append(Row(name, "once the key server is heard again", "in-step", "in-step", True))
        wait_for(lambda: ks.ctl("sync"), "the key server, unharmed", 5, ks)
    return rows
