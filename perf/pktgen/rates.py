"""Throughput by RFC 2544 section 26.1 and latency by section 26.2, of a member and of dpdk-testpmd in its place."""

import dataclasses
import time

import frames
import load
from member import assert_nothing_unaccounted
from rig import DECRYPT, ENCRYPT, LAN, WAN

WAYS = {ENCRYPT: (LAN, WAN), DECRYPT: (WAN, LAN)}
IO = "testpmd"
# Of the throughput, when latency is measured; what is left lets queues drain after the machine has paused.
PARTS = (0.5, 0.9)


@dataclasses.dataclass
class Rate:
    """The highest rate without loss of one size in one direction."""

    what: str
    size: object
    found: object  # search.Found
    seconds: float  # that the search took
    held_up_s: float  # for so long the generator was ready to run, and something else had its core
    waited_s: float  # the same of the one that was measured


@dataclasses.dataclass
class Delay:
    what: str
    size: object
    part: float
    rate: float
    latency: dict | None
    lost: int


@dataclasses.dataclass
class Books:
    """What went in and out of the member in all trials together, and what it says itself."""

    name: str
    taken: int
    received: int
    counters: dict

    def drops(self):
        return {reason: n for reason, n in self.counters["drops"].items() if n}

    def faults(self):
        """Where the figures do not add up; nothing where they do."""
        c, faults = self.counters, []
        try:
            assert_nothing_unaccounted(c)
        except AssertionError:
            faults.append("the member does not account for all that it received")
        if c["rx"] != self.taken:
            faults.append(f"the generator handed over {self.taken}, the member received {c['rx']}")
        if c["encrypted"] + c["decrypted"] != self.received:
            faults.append(f"the member sent {c['encrypted'] + c['decrypted']}, the generator received {self.received}")
        return faults


class Meter:
    """Trials through one pair of ports, with the sum of what passed."""

    def __init__(self, rig, generator, process):
        self.rig, self.generator, self.process = rig, generator, process
        self.taken = self.received = 0

    def trial(self, direction, size, rate, seconds):
        port, back = WAYS[direction]
        trial, answer = self.generator.one_way(self.rig.capture(direction, size), port, back, rate, seconds)
        self.count(answer)
        return trial

    def count(self, answer):
        """Adds a trial to the books."""
        self.taken += sum(each["taken"] for each in answer["streams"])
        self.received += sum(each["frames"] for each in answer["received"]) + answer["late"]

    def books(self, name, member):
        """What both have counted, once the member has looked at everything and what it then sent has come back."""
        member.wait_until(lambda: (c := member.ctl("counters"))["rx"] >= self.taken and c["parked"] == 0, "all to be looked at")
        last = self.generator.trial([], 0.05)
        self.count(last)
        return Books(name, self.taken, self.received, member.ctl("counters"))

    def rate(self, what, direction, size):
        began, waited = time.monotonic(), [load.waited_s(each) for each in (self.generator.process, self.process)]
        found = self.rig.highest(lambda rate, seconds: self.trial(direction, size, rate, seconds))
        held_up = load.waited_s(self.generator.process) - waited[0]
        return Rate(what, size, found, time.monotonic() - began, held_up, load.waited_s(self.process) - waited[1])

    def delay(self, what, direction, size, part, rate):
        """Of several trials the first in which nothing is lost."""
        for _ in range(max(2, self.rig.tries)):
            trial = self.trial(direction, size, rate, self.rig.confirm_s)
            if trial.lost == 0:
                break
        return Delay(what, size, part, rate, trial.latency, trial.lost)


def measure(rig, say):
    """All sizes both ways, then latency of some; and the member's books."""
    rates, delays, books = [], [], []
    for jumbo in (False, True):
        sizes = [size for size in rig.sizes if (size == frames.JUMBO) == jumbo]
        if not sizes:
            continue
        name = "jumbo" if jumbo else "sizes"
        with rig.member(name, [rig.group()], jumbo=jumbo) as (generator, member):
            meter = Meter(rig, generator, member.process)
            mine = ways(meter, [(ENCRYPT, ENCRYPT), (DECRYPT, DECRYPT)], sizes, say)
            delays += later(meter, mine, say)
            books.append(meter.books(f"{name}, {len(mine)} searches", member))
        rates += mine
        if rig.with_testpmd and not jumbo:
            with rig.testpmd(IO) as (generator, pmd):
                meter = Meter(rig, generator, pmd.process)
                io = ways(meter, [(IO, ENCRYPT)], sizes, say)
                delays += later(meter, io, say)
            rates += io
    return rates, delays, books


def ways(meter, whats, sizes, say):
    found = []
    for size in sizes:
        for what, direction in whats:
            rate = meter.rate(what, direction, size)
            say(f"{size} {what}: {rate.found.rate:,.0f} frames/s, {rate.found.trials} trials")
            found.append(rate)
    return found


def later(meter, rates, say):
    """Latency at parts of the throughput, of the sizes that the report names."""
    delays = []
    for rate in rates:
        if rate.size not in latency_sizes(meter.rig) or rate.found.rate < 1000:
            continue
        direction = ENCRYPT if rate.what == IO else rate.what
        for part in PARTS[:1] if meter.rig.quick else PARTS:
            delay = meter.delay(rate.what, direction, rate.size, part, part * rate.found.rate)
            say(f"{rate.size} {rate.what} latency at {part:.0%}: {delay.latency or f'lost {delay.lost}'}")
            delays.append(delay)
    return delays


def latency_sizes(rig):
    return [size for size in rig.sizes if size in (64, 512, 1518, "imix")]
