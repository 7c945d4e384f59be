"""What a capture does that is sent twice: to an SA without replay protection nothing, to one with it every packet of the
second round is an attack. The captures of the other tests go round and round, hence their `replay = "none"`."""

import dataclasses

from rates import Meter
from rig import DECRYPT, LAN, WAN


@dataclasses.dataclass
class Round:
    replay: str
    number: int
    sent: int
    opened: int
    duplicate: int
    stale: int


def measure(rig, frames, say):
    rounds = []
    for replay in ("none", "counter"):
        with rig.member(f"replay-{replay}", [rig.group(replay)]) as (generator, member):
            meter = Meter(rig, generator, member.process)
            for number in (1, 2):
                rounds.append(once(meter, member, replay, number, frames))
                say(f"replay = {replay!r}, round {number}: {rounds[-1].opened} of {frames} opened")
    return rounds


def once(meter, member, replay, number, frames):
    """The whole capture, once, and slowly enough that nothing is lost."""
    size = meter.rig.sizes[0]
    before = member.ctl("counters")
    stream = {"port": WAN, "file": str(meter.rig.capture(DECRYPT, size)), "rate": 20_000.0, "back": LAN, "most": frames}
    answer = meter.generator.trial([stream], 20)
    taken = before["rx"] + answer["streams"][0]["taken"]
    member.wait_until(lambda: member.ctl("counters")["rx"] >= taken, "all to be looked at")
    after = member.ctl("counters")

    def dropped(reason):
        return after["drops"].get(reason, 0) - before["drops"].get(reason, 0)

    return Round(replay, number, answer["streams"][0]["taken"], answer["received"][LAN]["frames"],
                 dropped("replay_duplicate"), dropped("replay_stale"))
