"""Unknown SPIs beside good traffic: a member that a key server serves opens one stream while another, all of whose packets
have SPIs that no SA has, arrives at the same port."""

import contextlib
import dataclasses
import pathlib
import sys

import captures
import frames
import rig as rigs
from keyserver import KeyServer
from rates import Meter
from rig import LAN, WAN

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "abuse"))
from flood import sealed_packets  # noqa: E402, after the path that it is on

FLOODS = (0, 1, 4, 16)  # forged packets for each good one
FRAMES = 4096


@dataclasses.dataclass
class Flood:
    """A trial of good packets and forged ones."""

    each: int
    good: int        # offered
    good_rate: float
    forged: int
    forged_rate: float
    refused: int
    opened: int
    unknown: int     # dropped for that reason
    asked: int       # INVALID-SPI sent meanwhile

    @property
    def share(self):
        return self.opened / self.good if self.good else 0.0


def measure(rig, good_rate, say):
    """A trial for each strength of the flood, and the member's books."""
    work = rig.work / "flood"
    work.mkdir()
    with contextlib.ExitStack() as stack:
        stack.enter_context(KeyServer(work)).wait_until_it_answers()
        sealed = sealed_packets(work, frames.frame(64, 1))
        own = int.from_bytes(sealed[0][captures.SPI_AT:captures.SPI_AT + 4], "big")
        good, forged = work / "good.pcap", work / "forged.pcap"
        frames.write(good, sealed)
        frames.write(forged, [captures.with_spi(sealed[0], spi) for spi in captures.unknown_spis(FRAMES, own)])
        groups, control = rigs.registering("b", replay="none")
        generator, member = stack.enter_context(rig.member("flooded", groups, control=control))
        member.wait_until(member.has_sas, "its SAs")
        meter = Meter(rig, generator, member.process)
        results = []
        for each in FLOODS[::2] if rig.quick else FLOODS:
            results.append(trial(meter, member, good, forged, good_rate, each))
            say(f"flood {each} to 1: {results[-1].share:.1%} of good packets opened")
        return results, [meter.books(f"flood, {len(results)} trials", member)]


def trial(meter, member, good, forged, rate, each):
    streams = [{"port": WAN, "file": str(good), "rate": rate, "back": LAN}]
    if each:
        streams.append({"port": WAN, "file": str(forged), "rate": rate * each})
    before, asked = member.ctl("counters"), asks(member)
    answer = meter.generator.trial(streams, meter.rig.confirm_s)
    meter.count(answer)
    sent = answer["streams"]
    taken = before["rx"] + sum(each["taken"] for each in sent)
    # What waited for an SA that no key server has is dropped when its time is over.
    member.wait_until(lambda: (c := member.ctl("counters"))["rx"] >= taken and c["parked"] == 0, "the flood to be dropped")
    after = member.ctl("counters")
    other = sent[1] if each else {"offered": 0, "refused": 0}
    received = answer["received"][LAN]["frames"]
    return Flood(each, sent[0]["offered"], sent[0]["offered"] / answer["elapsed_s"], other["offered"],
                 other["offered"] / answer["elapsed_s"], sent[0]["refused"] + other["refused"], received,
                 unknown(after) - unknown(before), asks(member) - asked)


def unknown(counters):
    return sum(counters["drops"].get(reason, 0) for reason in ("unknown_spi", "parking_timeout", "parking_full"))


def asks(member):
    return member.ctl("sync")["groups"][0]["recovery"]["invalid_spi_sent"]
