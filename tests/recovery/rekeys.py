"""Causes 4, 5, 6 and 12: rekeys that are lost, doubled, reordered and replayed, and an SA that an operator deletes."""

from keyserver import ks_configuration
from scene import Row, portions, scene

DELAYS = {"activation_delay_s": 1, "deactivation_delay_s": 4}


def deleted(work, rounds):
    with scene(work) as s:
        for _ in range(rounds):
            with s.round() as result:
                (spi,) = s.b.spis()
                s.b.ctl("sa", "delete", spi)
                s.b.wait_until_it_has(lambda spis: spi in spis)
            yield result


def one_lost(work, rounds):
    """The others begin to send with the new SA at once, long before the rekey is sent again."""
    yield from lost(work, rounds, {"rekey": {"interval_s": 2}}, lambda link: setattr(link, "rekeys_to_lose", 1))


def three_of_four_lost(work, rounds):
    """The others begin to send with the new SA when the third copy was lost: the fourth is to come a second later."""
    config = {"rekey": {"retransmits": 3, "interval_s": 1}, "group": {"activation_delay_s": 2, "deactivation_delay_s": 3}}
    yield from lost(work, rounds, config, lambda link: setattr(link, "rekeys_to_lose", 3))


def all_lost(work, rounds):
    config = {"rekey": {"retransmits": 1, "interval_s": 1}, "group": {"activation_delay_s": 2, "deactivation_delay_s": 3}}
    yield from lost(work, rounds, config, lambda link: setattr(link, "loses_rekeys_until_asked", True))


def kek_missed(work, rounds):
    yield from lost(work, rounds, {}, lambda link: setattr(link, "loses_rekeys_until_asked", True), "--kek")


def lost(work, rounds, config, lose, *options):
    for n, few in enumerate(portions(rounds)):
        yield from lost_in_one_scene(work / str(n), few, config, lose, *options)


def lost_in_one_scene(work, rounds, config, lose, *options):
    with scene(work, config=ks_configuration(**config), far="b") as s:
        link = s.links["b"]
        for _ in range(rounds):
            was_lost = link.lost
            with s.round() as result:
                lose(link)
                spi = s.rekey(*options)
                s.wait_until_all_use(spi)
            assert link.lost > was_lost, "no rekey was lost"
            assert result.registrations == 0 and len(s.b.events("registered")) == 1
            link.loses_rekeys_until_asked = False
            s.b.wait_until_it_has(lambda spis: spis == {spi}, "the old SA to end")
            s.a.wait_until_it_has(lambda spis: spis == {spi}, "the old SA to end")
            yield result


def disordered(work, rounds):
    """Each rekey comes three times, the first of two after the second one, and in the end all that ever came once more."""
    for n, few in enumerate(portions(rounds, 3)):
        yield from disordered_in_one_scene(work / str(n), few)


def disordered_in_one_scene(work, rounds):
    with scene(work, config=ks_configuration(group=DELAYS), far="b") as s:
        link = s.links["b"]
        link.copies = 3
        for _ in range(rounds):
            with s.round() as result:
                link.holds_rekeys = True
                s.rekey()
                s.wait_for(lambda: len(link.held) >= 1, "a rekey on the way")
                spi = s.rekey()
                s.wait_for(lambda: len(link.held) >= 2, "a second rekey on the way")
                link.release()
                link.replay()
                s.wait_until_all_use(spi)
                link.replay()
            assert s.b.ctl("status")["groups"][0]["state"] == "in-step"
            for member in (s.a, s.b):
                member.wait_until_it_has(lambda spis: spis == {spi}, "the old SAs to end")
            yield result


SEEN = "the first packet with the new SPI"
ROWS = [
    Row("4 one", "a unicast rekey is lost, and the others send with the new SA at once", SEEN,
        "one round trip to the key server", one_lost, 40, target=True),
    Row("4 three", "three of four copies of a unicast rekey are lost, and the others go on to the new SA", SEEN,
        "one round trip", three_of_four_lost, 20, target=True),
    Row("4 all", "all copies of a unicast rekey are lost", SEEN, "one round trip", all_lost, 20, target=True),
    Row("5", "an SA is deleted by the operator", "the next packet", "one round trip", deleted, 100, target=True),
    Row("6", "a rollover of the KEK is missed", SEEN, "one round trip; the answer comes under the old KEK", kek_missed, 40,
        target=True),
    Row("12", "rekeys are doubled, reordered and replayed", "SEQ (RFC 6407 section 3.2)", "nothing is out of step", disordered, 6),
]
