"""A registered member that floods its key server with INVALID-SPI: for its own group's SA, for SPIs that nobody has, and for
an SA of a group that it is not in."""

import contextlib
import time

from keyserver import GROUP, NETWORK, KeyServer, carried, ks_configuration, members
from member import wait_for

from insider import ADDRESS, Insider
from row import at_most, cost, processor_s, resident, same

OTHER = {"name": "other", "id": 99}
RATE = 5_000


@contextlib.contextmanager
def scene(work, insider_groups):
    peers = [{"address": ADDRESS, "groups": insider_groups}, {"address": f"{NETWORK}.0/24"}]
    with KeyServer(work, ks_configuration(peers=peers, more_groups=[OTHER])) as ks:
        ks.wait_until_it_answers()
        with members(work, "a", "b") as (a, b):
            for member in (a, b):
                member.wait_until_it_has(lambda spis: len(spis) == 1)
            carried(a, b)
            yield ks, a, b


def asked(work, seconds, *, what):
    """The rows of one kind of flood of INVALID-SPI."""
    group, rows = (OTHER, []) if what == "foreign" else (GROUP, [])
    name = {"foreign": "INVALID-SPI for an SA of another group", "own": "INVALID-SPI for a live SA, over and over",
            "unknown": "INVALID-SPI for random SPIs"}[what]
    with scene(work, [group["name"]]) as (ks, a, b):
        (spi,) = b.spis()
        before, memory = groups(ks), resident(ks.process)
        earlier, used, began = ks.ctl("sync")["invalid_spi"], processor_s(ks.process), time.monotonic()
        spis = "random" if what == "unknown" else spi
        with Insider(work, group=group, spis=spis, rate=RATE, seconds=seconds) as insider:
            insider.wait_for(lambda: insider.events("registered"), "the insider's registration")
            healed = []
            while not is_over(insider):
                healed.append(lost_and_found(a, b, spi))
                until = time.monotonic() + 2
                wait_for(lambda: is_over(insider) or time.monotonic() > until, "the next loss", 10, b, ks)
            done = insider.result(seconds + 20)
        used, took = processor_s(ks.process) - used, time.monotonic() - began
        now = ks.ctl("sync")
        counts = {outcome: n - earlier[outcome] for outcome, n in now["invalid_spi"].items()}
        came = sum(counts.values())
        (it,) = [member for g in now["groups"] for member in g["members"] if ADDRESS in member["name"]]
        outcome = {"foreign": "not_authorised", "own": "rate_limited", "unknown": "unknown"}[what]
        counted = f"{came:,} of {done['sent']:,} INVALID-SPI, {it['invalid_spi'][outcome]:,} {outcome}"
        rows.append(same(name, f"groups after {counted}", before, groups(ks)))
        limit = now["limits"]["member_per_s"]
        rows.append(at_most(name, f"rekeys sent to it in {took:.0f} s", done["rekeys"],
                            limit * (took + 1) if what == "own" else 0))
        rows.append(at_most(name, f"an SA that another member loses is back, longest of {len(healed)}", max(healed), 1000,
                            "{:,.1f} ms"))
        rows.append(at_most(name, "key server grows by", resident(ks.process) - memory, 4096, "{:,.0f} KiB"))
        rows.append(cost(name, f"processor time of the key server, each, {100 * used / took:.0f} % of a core",
                         1e6 * used / came, "{:.1f} us"))
        assert it["invalid_spi"][outcome] > 0, it
    return rows


def is_over(insider):
    return insider.process.poll() is not None


def groups(ks):
    """What the flood might change in the groups; the insider joins one of them meanwhile."""
    shown = ks.ctl("group", "list")["groups"]
    kept = ("state", "version", "sas", "rekey_sas", "silent")
    return {f"{group['name']}: {key}": group[key] for group in shown for key in kept}


def lost_and_found(a, b, spi):
    """B loses the SA under traffic; milliseconds that it was missing."""
    before = b.ctl("sync")["groups"][0]["recovery"]["recovered"]
    b.ctl("sa", "delete", spi)
    carried(a, b)
    (group,) = b.ctl("sync")["groups"]
    assert group["recovery"]["recovered"] > before
    return group["asked"][-1]["missing_ms"]
