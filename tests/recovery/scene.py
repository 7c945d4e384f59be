"""What each cause of the recovery matrix plays in: a key server, member "a" that sends and member "b" that receives, traffic
from the one to the other, and a relay before each member that a cause wants one for."""

import contextlib
import dataclasses
import time

from keyserver import KS, NETWORK, KeyServer, RegisteringMember, ks_configuration
from member import wait_for
from network import Link
from traffic import Traffic

PATIENCE_S = 60
# Rounds that lose the same SA begin no faster than a member may ask for one SPI: twice a second.
PACE_S = 0.55


@dataclasses.dataclass
class Round:
    """What one disturbance led to."""

    stall_ms: float
    lost: int
    asked: int
    registrations: int
    note_ms: float | None = None  # of the stall: what had to restart, or other things that the cause explains


@dataclasses.dataclass
class Row:
    """One way to fall out of step."""

    name: str
    cause: str
    detected: str
    bound: str
    play: object  # work, rounds -> yields a Round for each
    rounds: int = 5
    target: bool = False  # whether the median is to be 5 ms at most, and the 99th percentile 50 ms
    needs_root: bool = False


class Scene:
    def __init__(self, work, stack, *, config=None, key_server=None, far="", options=None, order="ba"):
        """`far` are the members with a relay before them; the one that is first in `order` must not be restarted, since the
        other one's WAN connects to its."""
        self.work, self.stack, self.options = work, stack, {name: dict((options or {}).get(name, {})) for name in "ab"}
        self.config = config or ks_configuration()
        work.mkdir(parents=True, exist_ok=True)
        self.ks = (key_server or (lambda: KeyServer(work, self.config)))()
        stack.callback(lambda: self.ks.kill())
        self.links = {name: stack.enter_context(Link(f"{NETWORK}.{20 + n}:18849", KS)) for n, name in enumerate(far)}
        for name, link in self.links.items():
            self.options[name].setdefault("key_servers", [link.address])
        self.members, self.paced, self.ks_is_away = {}, 0, False
        stack.callback(lambda: [member.__exit__() for member in self.members.values()])
        for name in order:
            self.start(name)
        for member in self.members.values():
            member.wait_until_it_has(bool)
        self.traffic = stack.enter_context(Traffic(lambda: self.a, self.b.work / "lan-out.pcap"))
        self.usual = self.traffic.usual(self.wait_until_steady())

    @property
    def a(self):
        return self.members["a"]

    @property
    def b(self):
        return self.members["b"]

    def start(self, name):
        self.members[name] = RegisteringMember(self.work, name, **self.options[name])
        self.members[name].wait_until_it_answers()
        return self.members[name]

    def restart_member(self, name):
        """Kills it, as nobody asks for, and starts it again."""
        killed = self.members[name]
        killed.process.kill()
        with self.traffic.lock:
            del self.members[name]
            killed.__exit__()
        (killed.work / "gm.sock").unlink()
        if name == "b":
            self.traffic.starts_anew()
        self.start(name)

    def processes(self):
        """Those that must not end by themselves."""
        return [*self.members.values(), *([] if self.ks_is_away else [self.ks])]

    def wait_until_steady(self, seconds=PATIENCE_S):
        return self.traffic.wait_until_steady(seconds, *self.processes())

    def wait_for(self, condition, what, seconds=PATIENCE_S):
        return wait_for(condition, what, seconds, *self.processes())

    def counts(self):
        """INVALID-SPI sent and registrations made so far, of both members; what has been started anew begins at 0."""
        groups = {member.process.pid: member.ctl("sync")["groups"][0] for member in self.members.values()}
        return {pid: (group["recovery"]["invalid_spi_sent"], group["counters"]["registrations"]) for pid, group in groups.items()}

    @contextlib.contextmanager
    def round(self):
        """Measures what happens to traffic while the block runs, and after it until traffic flows. What it yields becomes
        the round's figures at the end."""
        time.sleep(max(0, self.paced - time.monotonic()))
        first = self.wait_until_steady()
        self.usual = self.traffic.usual(first)
        self.traffic.forget(first)
        with self.resumed_round() as result:
            yield result

    @contextlib.contextmanager
    def resumed_round(self, before=None):
        """The same, where traffic does not flow at first because of what happened before; `before` are the counts then."""
        traffic, before = self.traffic, before or self.counts()
        result = Round(0, 0, 0, 0)
        first = traffic.next()
        self.paced = time.monotonic() + PACE_S
        yield result
        last = self.wait_until_steady()
        result.stall_ms, result.lost = traffic.outcome(first, last, self.usual)
        after = self.counts()
        for at, what in enumerate(("asked", "registrations")):
            setattr(result, what, sum(now[at] - before.get(pid, (0, 0))[at] for pid, now in after.items()))

    def rekey(self, *options):
        """A rekey on the operator's demand. Returns the new SA's SPI."""
        made = len(self.ks.events("sa_made"))
        self.ks.ctl("rekey", "finance", *options)
        return self.wait_for(lambda: self.ks.events("sa_made")[made:], "a new SA")[-1]["spi"]

    def sends_with(self, member, spi):
        return any(sa["spi"] == spi and sa["state"] == "active" for sa in member.ctl("sa", "list")["sas"])

    def wait_until_all_use(self, spi):
        self.wait_for(lambda: self.sends_with(self.a, spi), f"a to send with {spi}")
        self.b.wait_until_it_has(lambda spis: spi in spis, f"SA {spi}", PATIENCE_S)

    def kill_ks(self):
        self.ks_is_away = True
        self.ks.kill()

    def restart_ks(self, *, forgetful=False):
        """Starts the key server again, and returns how long, in ms, it took until it answers."""
        began = time.monotonic()
        if forgetful:
            for file in (self.work / "ks-store").iterdir():
                file.unlink()
        (self.work / "ks.sock").unlink(missing_ok=True)
        self.ks = KeyServer(self.work, self.config).wait_until_it_answers()
        self.ks_is_away = False
        return (time.monotonic() - began) * 1000


@contextlib.contextmanager
def scene(work, **options):
    with contextlib.ExitStack() as stack:
        yield Scene(work, stack, **options)


def portions(rounds, most=5):
    """How many rounds each of several scenes plays: a key server refuses to make an SA anew when there are too many of it that
    have not ended, and they live for an hour."""
    return [min(most, rounds - done) for done in range(0, rounds, most)]
