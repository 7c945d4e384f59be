"""Causes 7, 8 and 9: the key server or a member is killed and started again."""

import time

from scene import Row, scene

# A member believes a hint in the clear that its phase 1 is lost no more often than that.
HINTS_S = 5.5


def ks_with_store(work, rounds):
    """B loses its SA while the key server is away."""
    with scene(work) as s:
        for _ in range(rounds):
            s.kill_ks()
            with s.round() as result:
                s.b.ctl("sa", "delete", *s.b.spis())
                result.note_ms = s.restart_ks()
            yield result


def ks_with_empty_store(work, rounds):
    """It has other keys then, and draws other SPIs. A registers again at once, as the operator wants, and sends with the new
    SA; B notices by A's packets."""
    with scene(work) as s:
        for _ in range(rounds):
            s.kill_ks()
            s.restart_ks(forgetful=True)
            spi = s.wait_for(lambda: s.ks.events("sa_made"), "an SA")[-1]["spi"]
            with s.round() as result:
                s.a.ctl("resync", "finance")
                s.wait_until_all_use(spi)
            s.wait_for(lambda: s.b.ctl("status")["groups"][0]["state"] == "in-step", "B to be in step")
            yield result


def receiver(work, rounds):
    with scene(work, order="ab") as s:
        yield from restarted(s, "b", rounds)


def sender(work, rounds):
    with scene(work) as s:
        yield from restarted(s, "a", rounds)


def restarted(s, name, rounds):
    for _ in range(rounds):
        with s.round() as result:
            began = time.monotonic()
            s.restart_member(name)
            result.note_ms = (time.monotonic() - began) * 1000
        yield result


def ks_and_then_lost(work, rounds):
    """B loses its SA when the key server is back, and has no phase 1 with B any more."""
    with scene(work) as s:
        for _ in range(rounds):
            time.sleep(max(0, s.paced - time.monotonic()))
            s.kill_ks()
            s.restart_ks()
            s.wait_for(lambda: s.ks.events("rekey_ended"), "the rekey that a start brings")
            with s.round() as result:
                (spi,) = s.b.spis()
                s.b.ctl("sa", "delete", spi)
                s.b.wait_until_it_has(lambda spis: spi in spis)
            s.paced = time.monotonic() + HINTS_S
            yield result


ROWS = [
    Row("7 away", "the key server is killed and restarted with its store; meanwhile an SA is deleted",
        "the rekey that a key server sends when it starts", "the key server's start", ks_with_store, 10),
    Row("7 back", "the same, and the SA is deleted afterwards", "the next packet; no answer over the old phase 1",
        "200 ms for an answer, a new phase 1, one round trip", ks_and_then_lost, 10),
    Row("8", "the key server is restarted with an empty store, and the others have registered again",
        "packets with SPIs that the old key server would not have drawn", "200 ms for an answer, a new phase 1, a registration",
        ks_with_empty_store, 10),
    Row("9 receiver", "a member that receives is killed and restarted", "it has no SAs",
        "its start (most of it DPDK's), phase 1, a registration", receiver, 5),
    Row("9 sender", "a member that sends is killed and restarted", "it has no SAs", "the same", sender, 5),
]
