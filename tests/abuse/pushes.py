"""Forged and replayed rekeys, and notifications that nothing protects, at the member and at the key server.

The forger hears all that passes, so it knows the cookies of the phase 1 and of the Rekey SA, and it speaks from the
address of either side. It has no keys.
"""

import contextlib
import random
import time

from keyserver import KS, NETWORK, KeyServer, carried, events, members
from member import wait_for

from observer import ACK, INFORMATIONAL, PUSH, Observer, altered, garbage, invalid_cookie
from row import at_most, cost, joined, processor_s, same

RELAY = f"{NETWORK}.20:18849"
# A key server tells of twenty in a second, in each of its shards, of which the forger meets one.
LINES_PER_S = 20


@contextlib.contextmanager
def scene(work):
    with KeyServer(work) as ks, Observer(RELAY, KS) as observer:
        ks.wait_until_it_answers()
        with members(work, "a", "b", b={"key_servers": [RELAY]}) as (a, b):
            for member in (a, b):
                member.wait_until_it_has(lambda spis: len(spis) == 1)
            carried(a, b)
            # An INVALID-SPI, the rekey that answers it, and its acknowledgement, for the forger to learn from.
            b.ctl("sa", "delete", *b.spis())
            carried(a, b)
            wait_for(lambda: observer.last(ACK), "an acknowledgement", 20, ks, b)
            yield ks, observer, a, b


def standing(ks, b):
    """All that a forger might want to move, at the member and at the key server."""
    (group,) = b.ctl("sync")["groups"]
    (served,) = ks.ctl("group", "list")["groups"]
    (record,) = [m for m in ks.ctl("member", "list", "finance")["members"] if "b.example.net" in m["name"]]
    return {
        "state": group["state"], "SAs": b.spis(), "KEK": group["kek"]["spi"], "SEQ": group["kek"]["sequence"],
        "phase 1s": group["counters"]["phase_1_established"], "registrations": group["counters"]["registrations"],
        "INVALID-SPI": group["recovery"]["invalid_spi_sent"],
        "KS version": served["version"], "KS members": served["members"], "KS SAs": served["sas"],
        "KS record": (record["address"], record["registrations"], record["missed"], record["kek"]),
    }


def forgeries(observer, dice, count):
    """Name -> (who is made believe, the datagrams)."""
    push, ack, said = (observer.last(kind) for kind in (PUSH, ACK, INFORMATIONAL))
    cookies = observer.cookies()
    # Forged as for an unknown Rekey SA too: it must not lead to a registration of an innocent member.
    stranger = dice.randbytes(16) + push[16:]

    def repeat(make):
        return (make() for _ in range(count))

    return {
        "PUSH, random octets behind the right cookies": ("member", repeat(lambda: garbage(push, dice))),
        "a real PUSH again": ("member", repeat(lambda: push)),
        "a real PUSH with one octet changed": ("member", repeat(lambda: altered(push, dice))),
        "a PUSH of a Rekey SA that nobody has": ("member", repeat(lambda: stranger)),
        '"your cookie is invalid" in the clear': ("member", repeat(lambda: invalid_cookie(cookies))),
        "random octets as of the phase 1, to the member": ("member", repeat(lambda: garbage(said, dice))),
        '"your cookie is invalid", to the key server': ("key server", repeat(lambda: invalid_cookie(cookies))),
        "a real INVALID-SPI again, to the key server": ("key server", repeat(lambda: said)),
        "random octets as of the phase 1, to the key server": ("key server", repeat(lambda: garbage(said, dice))),
        "a real acknowledgement again": ("key server", repeat(lambda: ack)),
        "an acknowledgement with one octet changed": ("key server", repeat(lambda: altered(ack, dice))),
    }


def received(ks, b, victim):
    """Datagrams that have reached the victim's protocol."""
    if victim == "key server":
        return ks.ctl("counters")["rx"]
    counters = b.ctl("sync")["groups"][0]["counters"]
    return sum(n for name, n in counters.items() if name in {
        "replayed_rekeys", "bad_rekeys", "unread_rekeys", "rekeys_of_unknown_kek", "stray_datagrams", "hints_in_the_clear"})


def forged(work, seconds, count=None):
    """A row for each forgery, and what is still possible meanwhile and afterwards."""
    count = count or 500 * seconds
    rows = []
    dice = random.Random(2)
    with scene(work) as (ks, observer, a, b):
        for name, (victim, datagrams) in forgeries(observer, dice, count).items():
            process, log = (ks.process, ks.log) if victim == "key server" else (b.process, b.log)
            # At the member its control thread, which is named after the program; its workers poll in any case.
            threads = None if victim == "key server" else ("getvpn-gm",)
            before, came, lines = standing(ks, b), received(ks, b, victim), len(events(log))
            used, began = processor_s(process, threads), time.monotonic()
            observer.as_key_server(datagrams) if victim == "member" else observer.as_member(datagrams)
            wait_for(lambda: received(ks, b, victim) - came >= count * 0.9, f"{name}: to have arrived", 20, ks, b)
            used = processor_s(process, threads) - used
            came = received(ks, b, victim) - came
            rows.append(joined(
                same(name, f"state of both sides after {came:,}", before, standing(ks, b)),
                at_most(name, "lines in the log", len(events(log)) - lines, LINES_PER_S * (time.monotonic() - began + 1)),
                cost(name, f"processor time of the {victim}, each", 1e6 * used / came, "{:.0f} us")))
        rows.append(rekey_amid(ks, observer, b, dice, count))
        carried(a, b)
    return rows


def rekey_amid(ks, observer, b, dice, count):
    """A real rekey, while random octets come as rekeys."""
    push, before = observer.last(PUSH), b.spis()
    poured = observer.as_key_server(garbage(push, dice) for _ in range(count))
    ks.ctl("rekey", "finance")
    poured += observer.as_key_server(garbage(push, dice) for _ in range(count))
    wait_for(lambda: b.spis() - before, "the rekey", 20, ks, b)
    registrations = len(b.events("registered"))
    return at_most("a real rekey amid forged ones", f"registrations that {poured:,} forged ones led to", registrations - 1, 0)
