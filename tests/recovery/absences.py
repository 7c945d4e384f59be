"""Causes 10, 11 and 13: a member that sleeps, key servers that cannot be reached, and a policy that changes meanwhile."""

import os
import signal
import time

from keyserver import KS, NETWORK, TEK, KeyServer, ks_configuration
from scene import Row, scene

OTHER = f"{NETWORK}.9:18849"
EAGER = {"recovery": {"give_up_s": 1}}


def paused(work, rounds):
    """B is stopped for longer than an SA lives."""
    life = 8
    config = ks_configuration(teks=[{**TEK, "lifetime_s": life}], rekey={"retransmits": 0})
    with scene(work, config=config) as s:
        for _ in range(rounds):
            s.wait_until_steady()
            before, process = s.counts(), s.b.process.pid
            os.kill(process, signal.SIGSTOP)
            try:
                time.sleep(life + 2)
                # What A sent meanwhile filled the queue between the two, and is gone.
                with s.resumed_round(before) as result:
                    os.kill(process, signal.SIGCONT)
                    s.b.wait_until_it_has(bool)
            finally:
                os.kill(process, signal.SIGCONT)
            yield result


def unreachable(work, rounds):
    """B loses its SA while it cannot reach its key server for three seconds. Time counts from the loss."""
    away = 3
    with scene(work, far="b") as s:
        for _ in range(rounds):
            with s.round() as result:
                s.links["b"].is_cut = True
                s.b.ctl("sa", "delete", *s.b.spis())
                time.sleep(away)
                s.links["b"].is_cut = False
                result.note_ms = away * 1000
            yield result


def failover(work, rounds):
    """The first key server is gone for good; the other one has keys of its own."""
    tek, delays = {**TEK, "lifetime_s": 30}, {"activation_delay_s": 3, "deactivation_delay_s": 5}
    config = ks_configuration(teks=[tek], rekey={"retransmits": 0}, group=delays)
    other = ks_configuration(server={"listen": [OTHER]}, rekey={"retransmits": 0}, group=delays)
    options = {name: {"key_servers": [KS, OTHER], "group": EAGER} for name in "ab"}
    for n in range(rounds):
        with KeyServer(work.parent / f"other-{n}", other), scene(work / str(n), config=config, options=options) as s:
            (old,) = s.b.spis()
            with s.round() as result:
                s.kill_ks()
                for member in (s.a, s.b):
                    s.wait_for(lambda: member.events("failover"), "to move to the other key server")
                s.wait_for(lambda: old not in s.b.spis(), "the old SA to end")
            yield result


def policy_changed(work, rounds):
    """B is cut off while the group goes over to another transform, and A with it. Time counts from when B is back."""
    configs = [ks_configuration(teks=[{**TEK, "transform": transform}], group={"activation_delay_s": 0, "deactivation_delay_s": 1})
               for transform in ("aes-256-gcm", "aes-128-gcm")]
    with scene(work, config=configs[1], far="b") as s:
        for n in range(rounds):
            before = s.counts()
            s.links["b"].is_cut = True
            made = len(s.ks.events("sa_made"))
            s.ks.config.write_text(configs[n % 2])
            s.ks.ctl("reload")
            spi = s.wait_for(lambda: s.ks.events("sa_made")[made:], "a new SA")[-1]["spi"]
            s.wait_for(lambda: s.sends_with(s.a, spi), "A to go on")
            s.b.wait_until(lambda: s.b.ctl("sync")["groups"][0]["state"] != "in-step", "B to notice")
            time.sleep(2)
            with s.resumed_round(before) as result:
                s.links["b"].is_cut = False
                s.b.wait_until_it_has(lambda spis: spi in spis, "the new policy's SA", 60)
            s.b.wait_until(lambda: s.b.ctl("sync")["groups"][0]["state"] == "in-step", "B to be in step")
            yield result


ROWS = [
    Row("10", "a member is paused for longer than an SA lives", "its SAs have ended", "a registration", paused, 3),
    Row("11 away", "the key server cannot be reached for 3 s while an SA is missing", "INVALID-SPI without an answer",
        "the 3 s, and the next try: registrations that fail back off up to a minute", unreachable, 5),
    Row("11 failover", "the key server is gone for good; the next one has other keys", "SAs that are about to end",
        "nothing stands still: the old SAs live on until both have the new ones", failover, 2),
    Row("13", "the policy changes while half of the members are cut off", "packets of the others",
        "from when it is back: the next try", policy_changed, 4),
]
