"""Causes 1 and 2: the policy changes between messages 2 and 4 of a registration, by a key server that ours never is."""

from keyserver import RacingKeyServer
from scene import Row, scene




def added(work, rounds):
    """B registers again. The others have the new SA before B has, and send with it."""
    with scene(work, key_server=lambda: RacingKeyServer(work, "added", calm=2)) as s:
        for _ in range(rounds):
            known = s.b.spis()
            with s.round() as result:
                s.b.ctl("resync", "finance")
                spi = s.b.wait_until_it_has(lambda spis: spis - known, "the SA that raced").pop()
                s.wait_until_all_use(spi)
            yield result


def withdrawn(work, rounds):
    """A registers again. It is offered the SA that it sends with, gets no keys for it, and the others delete it."""
    with scene(work, key_server=lambda: RacingKeyServer(work, "withdrawn", calm=2)) as s:
        for _ in range(rounds):
            races = len(s.ks.events("keyed"))
            with s.round() as result:
                s.a.ctl("resync", "finance")
                s.wait_for(lambda: len(s.ks.events("keyed")) > races, "the registration")
                (gone,) = set(s.ks.events("offered")[-1]["spis"]) - set(s.ks.events("keyed")[-1]["spis"])
                s.b.wait_until_it_has(lambda spis: gone not in spis, "the others to delete it")
            yield result


ROWS = [
    Row("1", "an SPI is added between messages 2 and 4", "keys without a policy (rule S3), or a packet", "one round trip", added,
        40, target=True),
    Row("2", "an SPI is removed between messages 2 and 4", "a policy without keys", "message 4: it is not sent with any more",
        withdrawn, 40, target=True),
]
