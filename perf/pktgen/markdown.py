"""The report: Markdown, plots that getvpn-perf-plot draws, all figures as CSV, and the checks."""

import csv
import dataclasses
import json
import os
import pathlib
import platform
import subprocess
import time

import frames
from captures import Failed
from rates import IO, PARTS, latency_sizes
from rig import DECRYPT, ENCRYPT

LEAST_SHARE = 0.95
# A generator that was held up for more of the time says little about what it tests.
MOST_HELD_UP = 0.02


class Machine:
    """Where it ran, and how much of its processors others took meanwhile."""

    def __init__(self):
        self.load = os.getloadavg()[0]
        self.steal, self.at = self.stolen(), time.monotonic()
        with open("/proc/cpuinfo") as info:
            self.processor = next((line.split(": ")[1].strip() for line in info if line.startswith("model name")), "unknown")

    @staticmethod
    def stolen():
        with open("/proc/stat") as stat:
            return int(stat.readline().split()[8]) / os.sysconf("SC_CLK_TCK")

    def lines(self):
        cores = len(os.sched_getaffinity(0))
        seconds = time.monotonic() - self.at
        stolen = 100 * (self.stolen() - self.steal) / seconds / cores
        return (f"{time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}, {self.processor}, {cores} cores, Linux "
                f"{platform.release()}. Load average {self.load:.1f} at the start and {os.getloadavg()[0]:.1f} at the end; the "
                f"hypervisor took {stolen:.1f} % of the processors; all of it took {seconds:.0f} s.")


@dataclasses.dataclass
class Results:
    rig: object
    machine: Machine
    rates: list
    delays: list
    books: list
    floods: list
    rekeys: object
    replays: list

    def rate(self, what, size):
        return next((r.found for r in self.rates if (r.what, r.size) == (what, size)), None)

    def delay(self, what, size, part):
        return next((d for d in self.delays if (d.what, d.size, d.part) == (what, size, part)), None)


def write(results, programs, out):
    """Writes all files; what the checks found wrong."""
    checks = checked(results)
    plots = [throughput_plot(results), bits_plot(results), latency_plot(results), flood_plot(results), rekey_plot(results)]
    draw([plot for plot in plots if plot], programs, out)
    parts = [head(results), throughput(results), imix(results), latency(results), unknown_spis(results), rekeys(results),
             replays(results), counters(results), checks_section(checks), meaning(results)]
    (out / "report.md").write_text("\n\n".join(parts) + "\n")
    write_csv(results, out / "figures.csv")
    return [what for what, fault in checks if fault]


def checked(results):
    """What must hold, whatever the machine; each with whether it does not."""
    checks = []
    for books in results.books:
        faults = books.faults()
        checks.append((f"counters of {books.name}: " + ("; ".join(faults) or "every packet is accounted for"), bool(faults)))
    for rate in results.rates:
        if rate.found.rate == 0:
            checks.append((f"{rate.what}, {rate.size}: there is a rate without loss", True))
    for flood in results.floods:
        what = f"{flood.each} forged packets to a good one: {flood.share:.2%} of the good ones opened, at least {LEAST_SHARE:.0%}"
        checks.append((what, flood.share < LEAST_SHARE))
    r = results.rekeys
    checks.append((f"{r.rekeys} rekeys under load: {r.lost} of {r.offered} packets lost, none may be", r.lost != 0 or r.rekeys == 0))
    for one in results.replays:
        expected = one.sent if one.replay == "none" or one.number == 1 else 0
        what = f"replay = \"{one.replay}\", round {one.number} of the capture: {one.opened} opened, {expected} expected"
        checks.append((what, one.opened != expected))
    return checks


def head(results):
    rig = results.rig
    return f"""# getvpn-gm over net_memif, on one machine

{results.machine.lines()}

Generator: `getvpn-perf-load` on core {rig.load_core}, which counts each frame and times it on its way. Under test: one worker of
`getvpn-gm` on core {rig.worker_core}, AES-128-GCM, one SA, 256 pairs of addresses; beside it `dpdk-testpmd` in its place
(`--forward-mode=io`), which only moves frames between the same two `net_memif` devices. No hugepages. Sealed packets are the
member's own, made by it from the cleartext ones before the first trial. Sizes are those of the cleartext frame on the wire, with
the FCS. Search: RFC 2544 section 26.1, no loss at all, trials of {rig.trial_s:g} s, steps down to {rig.resolution:.0%} of the rate,
each rate tried {rig.tries} times at most, what was found confirmed over {rig.confirm_s:g} s.{doubt(results)}"""


def held_up(results):
    """The part of the searches' time for which the generator had no core."""
    return sum(r.held_up_s for r in results.rates) / max(1e-9, sum(r.seconds for r in results.rates))


def doubt(results):
    part = held_up(results)
    if part <= MOST_HELD_UP:
        return ""
    return f"""

**The generator was held up for {part:.0%} of the time, since other programs had its core. Rates and latencies below are
theirs more than the member's; counts of packets are exact all the same.**"""


def throughput(results):
    rows = [f"| {size} | {rate_cells(results, size)} |" for size in results.rig.sizes if size != "imix"]
    return "\n".join([f"""## Throughput

{HIGHEST}

| frame, octets | encrypt, kpps | of testpmd | decrypt, kpps | of testpmd | testpmd, kpps | encrypt, Mbit/s |
|---|---|---|---|---|---|---|""", *rows, "", "![Throughput in frames](throughput.svg)", "", "![Throughput in bits](bits.svg)"])


HIGHEST = ("The highest rate at which every frame came back. `≥`: the generator could not offer more, so this is its limit, and "
           "where both columns have it a ratio of them says nothing of the member.")


def rate_cells(results, size):
    encrypt, decrypt, io = (results.rate(what, size) for what in (ENCRYPT, DECRYPT, IO))
    bits = f"{encrypt.rate * results.rig.octets[size] * 8 / 1e6:,.0f}" if encrypt else "-"
    return " | ".join([kpps(encrypt), ratio(encrypt, io), kpps(decrypt), ratio(decrypt, io), kpps(io), bits])


def kpps(found):
    return f"{'≥ ' if found.by_generator else ''}{found.rate / 1e3:,.1f}" if found else "-"


def ratio(found, io):
    return f"{found.rate / io.rate:.2f}" if found and io and io.rate else "-"


def imix(results):
    if "imix" not in results.rig.sizes:
        return "## IMIX\n\nNot measured: not among the sizes asked for."
    mean = results.rig.octets["imix"]
    return f"""## IMIX

RFC 6985 with twelve frames: seven of 64 octets, four of 594, one of 1518; {mean:.0f} on average.

| | encrypt, kpps | of testpmd | decrypt, kpps | of testpmd | testpmd, kpps | encrypt, Mbit/s |
|---|---|---|---|---|---|---|
| imix | {rate_cells(results, "imix")} |"""


def latency(results):
    rows = []
    for delay in results.delays:
        times = " | ".join(f"{delay.latency[k]:,.1f}" for k in ("p50_us", "p99_us", "max_us")) if delay.latency else "- | - | -"
        note = "" if delay.latency else f"lost {delay.lost}"
        rows.append(f"| {delay.size} | {delay.what} | {delay.part:.0%} | {delay.rate / 1e3:,.1f} | {times} | {note} |")
    return "\n".join([f"""## Latency

RFC 2544 section 26.2, but at {' and '.join(f'{part:.0%}' for part in PARTS)} of the throughput above: from handing a frame to the
device until it is taken from the other one, so both queues and the generator's own polling are in it.

| frame, octets | | of the throughput | kpps | p50, us | p99, us | longest, us | |
|---|---|---|---|---|---|---|---|""", *rows, "", "![Latency](latency.svg)"])


def unknown_spis(results):
    rows = [f"| {f.each} : 1 | {f.good_rate / 1e3:,.1f} | {f.forged_rate / 1e3:,.1f} | {f.good:,} | {f.opened:,} | {f.share:.2%} | "
            f"{f.unknown:,} of {f.forged:,} | {f.refused:,} | {f.asked} |" for f in results.floods]
    return "\n".join([f"""## Unknown SPIs

A member that a key server serves opens good packets while forged ones, each with one of {4096:,} random SPIs, come in by the same
port. At least {LEAST_SHARE:.0%} of the good ones must be opened.

| forged : good | good, kpps | forged, kpps | good | opened | share | dropped as unknown | no room in the ring | INVALID-SPI |
|---|---|---|---|---|---|---|---|---|""", *rows, "", "![Good packets under a flood](flood.svg)"])


def rekeys(results):
    r = results.rekeys
    drops = ", ".join(f"{reason} {n}" for reason, n in r.drops.items()) or "none"
    times = f"p50 {r.latency['p50_us']:,.1f} us, p99 {r.latency['p99_us']:,.1f} us" if r.latency else "not known, since some were lost"
    return f"""## Rekey under load

A key server and two members that register with it; frames go in at the one's LAN port and come out of the other's while the
operator demands {r.rekeys} rekeys. Every packet is counted: nothing may be lost.

| offered | sealed | opened | came out | lost | refused by the first ring | dropped | kpps | seconds |
|---|---|---|---|---|---|---|---|---|
| {r.offered:,} | {r.sealed:,} | {r.opened:,} | {r.received:,} | {r.lost:,} | {r.refused:,} | {drops} | {r.rate / 1e3:,.1f} | {r.seconds:.1f} |

SAs that the first member sealed with: {' -> '.join(f'`{spi}`' for spi in r.spis)}. INVALID-SPI sent: {r.asked}. Through both members:
{times}.

![What came out by tenths of a second](rekey.svg)"""


def replays(results):
    rows = [f"| `{r.replay}` | {r.number} | {r.sent:,} | {r.opened:,} | {r.duplicate:,} | {r.stale:,} |" for r in results.replays]
    return "\n".join(["""## A capture that comes round again

The captures of the tests above go round and round, which is a replay; their SA has `replay = "none"`. With `"counter"` the first
round is opened, and all of the second is dropped: figures taken so would be those of dropping.

| replay | round | sent | opened | replay_duplicate | replay_stale |
|---|---|---|---|---|---|""", *rows])


def counters(results):
    rows = []
    for books in results.books:
        c = books.counters
        drops = ", ".join(f"{reason} {n:,}" for reason, n in books.drops().items()) or "none"
        rows.append(f"| {books.name} | {books.taken:,} | {c['rx']:,} | {c['encrypted']:,} | {c['decrypted']:,} | {c['bypassed']:,} | "
                    f"{c['parked']:,} | {drops} | {books.received:,} |")
    return "\n".join(["""## Counters

The member accounts for every packet that it received, and both ends have counted the same. Searches drive the
member beyond what it can do, on purpose: what it then has no room to send is `tx_full`.

| trials | handed over | received | encrypted | decrypted | bypassed | parked | dropped | came back |
|---|---|---|---|---|---|---|---|---|""", *rows])


def checks_section(checks):
    return "\n".join(["## Checks", "", *(f"- {'FAILED' if fault else 'ok'}: {what}" for what, fault in checks)])


def meaning(results):
    waited = {what: sum(r.waited_s for r in results.rates if r.what == what) for what in (ENCRYPT, DECRYPT, IO)}
    spent = ", ".join(f"{what} {seconds:.1f} s" for what, seconds in waited.items() if seconds)
    return f"""## What these figures mean

They show a shape, and ratios within this run; they are no rates of a NIC. `net_memif` copies each frame twice, generator and member
share a machine, and a pause of either loses what its ring of 8,192 frames (jumbo frames: 1,024) cannot hold. During the searches the
generator was held up for {held_up(results):.1%} of the time, and the process under test was ready to run but had no core for:
{spent or "no time at all"}. Much of that, or a hypervisor that takes
processors away, makes all rates low and all latencies long, testpmd's like the member's. perf/pktgen/README.md has the procedure for
two boxes with NICs."""


def named(sizes):
    return [str(size) for size in sizes]


def plot(name, title, x, y, categories, series, **more):
    return {"out": name, "title": title, "x": x, "y": y, "categories": categories,
            "series": [{"name": name, "values": values} for name, values in series], **more}


def whats(results):
    return [ENCRYPT, DECRYPT] + ([IO] if results.rig.with_testpmd else [])


def throughput_plot(results):
    sizes = results.rig.sizes
    series = [(what, [found.rate / 1e6 if (found := results.rate(what, size)) else None for size in sizes])
              for what in whats(results)]
    return plot("throughput.svg", "Highest rate without loss", "frame, octets", "M frames/s", named(sizes), series)


def bits_plot(results):
    sizes, octets = results.rig.sizes, results.rig.octets
    series = [(what, [found.rate * octets[size] * 8 / 1e9 if (found := results.rate(what, size)) else None for size in sizes])
              for what in whats(results)]
    return plot("bits.svg", "The same in bits of cleartext frames", "frame, octets", "Gbit/s", named(sizes), series)


def latency_plot(results):
    pairs = [(size, what) for size in latency_sizes(results.rig) for what in whats(results)]
    series = []
    for part in PARTS:
        for key in ("p50_us", "p99_us"):
            delays = [results.delay(what, size, part) for size, what in pairs]
            values = [delay.latency[key] if delay and delay.latency else None for delay in delays]
            series.append((f"{key[:3]} at {part:.0%}", values))
    if not pairs:
        return plot("latency.svg", "No size that latency is measured of", "", "us", ["none"], [("none", [None])])
    return plot("latency.svg", "Latency at parts of the throughput", "", "us", [f"{size} {what}" for size, what in pairs], series)


def flood_plot(results):
    return plot("flood.svg", "Good packets opened beside packets with unknown SPIs", "forged packets for each good one", "%",
                named(f.each for f in results.floods), [("opened", [100 * f.share for f in results.floods])])


def rekey_plot(results):
    tenths = results.rekeys.by_tenth[:int(results.rekeys.seconds * 10)]  # the last one is not whole
    return plot("rekey.svg", f"Packets out of the second member while keys are replaced {results.rekeys.rekeys} times", "s",
                "packets in a tenth of a second", [f"{n / 10:.1f}" for n in range(len(tenths))], [("came out", tenths)], lines=True)


def draw(plots, programs, out):
    """All in one call."""
    lines = "".join(json.dumps({**each, "out": str(out / each["out"])}) + "\n" for each in plots)
    drawn = subprocess.run([programs / "getvpn-perf-plot"], input=lines, text=True, capture_output=True, timeout=60)
    if drawn.returncode != 0:
        raise Failed(f"the plots could not be drawn: {drawn.stderr.strip()}")


def write_csv(results, path):
    with pathlib.Path(path).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["section", "case", "figure", "unit", "value"])
        for rate in results.rates:
            writer.writerow(["throughput", f"{rate.what} {rate.size}", "highest rate without loss", "pps", f"{rate.found.rate:.1f}"])
            writer.writerow(["throughput", f"{rate.what} {rate.size}", "limited by the generator", "", int(rate.found.by_generator)])
            writer.writerow(["throughput", f"{rate.what} {rate.size}", "kept from its core", "s", f"{rate.waited_s:.3f}"])
            held_up_part = rate.held_up_s / max(1e-9, rate.seconds)
            writer.writerow(["throughput", f"{rate.what} {rate.size}", "generator held up", "", f"{held_up_part:.4f}"])
        for delay in results.delays:
            for key, value in (delay.latency or {}).items():
                case = f"{delay.what} {delay.size} at {delay.part:.0%}"
                writer.writerow(["latency", case, key.removesuffix("_us"), "us", f"{value:.2f}"])
        for flood in results.floods:
            for figure in ("good", "forged", "refused", "opened", "unknown", "asked"):
                writer.writerow(["flood", f"{flood.each} to 1", figure, "packets", getattr(flood, figure)])
        for figure in ("offered", "refused", "sealed", "opened", "received", "lost", "rekeys", "asked"):
            writer.writerow(["rekey", "", figure, "packets", getattr(results.rekeys, figure)])
        for one in results.replays:
            for figure in ("sent", "opened", "duplicate", "stale"):
                writer.writerow(["replay", f"{one.replay} round {one.number}", figure, "packets", getattr(one, figure)])
