"""Cause 3: there is no room for an SA, and then there is."""

from keyserver import RacingKeyServer
from scene import Row, scene

ROOM = {"limits": {"sas": 8}, "sad_limit": 16}  # this key server's policy has eight SAs at most


def room_appears(work, rounds):
    """Each registration of A brings another SA into being, and none is taken back. Time counts from the moment when the
    operator makes room at B, long after the packets that waited in vain were dropped."""
    with scene(work, key_server=lambda: RacingKeyServer(work, "added", calm=2), options={"b": {"group": ROOM}}) as s:
        while len(s.b.spis()) < ROOM["sad_limit"]:
            another(s)
        for _ in range(rounds):
            s.usual = s.traffic.usual(s.wait_until_steady())
            too_late = s.b.ctl("counters")["drops"]["parking_timeout"]
            raced = another(s)
            s.b.wait_until(lambda: s.b.ctl("counters")["drops"]["parking_timeout"] > too_late, "packets to wait in vain")
            assert raced not in s.b.spis()
            with s.resumed_round() as result:
                s.b.ctl("sa", "delete", s.b.ctl("sa", "list")["sas"][0]["spi"])
                s.b.wait_until_it_has(lambda spis: raced in spis)
            yield result


def another(s):
    races = len(s.ks.events("keyed"))
    s.a.ctl("resync", "finance")
    keyed = s.wait_for(lambda: s.ks.events("keyed")[races:], "a registration of A")[0]
    raced = keyed["spis"][-1]
    s.wait_for(lambda: s.sends_with(s.a, raced), "A to send with the new SA")
    return raced


ROWS = [Row("3", "there is no room for an SA (`sad_limit`), then an SA is deleted", "the SA that leaves",
            "one round trip from when there is room", room_appears, 10)]
