#!/usr/bin/env python3
"""Tests of perf/pktgen on one machine, over net_memif: a report in Markdown with plots, and all figures as CSV.

    perf/pktgen/run [--quick] [--out perf/out/pktgen]       builds what is needed and starts this; or: make pktgen-report

Ends with status 1 if a check failed, such as a packet that was lost while keys were replaced, and with 2 if it could not
measure.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent / "tests" / "e2e")]

import frames
from captures import Failed, parsed_sizes

QUICK_SIZES = [64, "imix"]
ALL_SIZES = [*frames.SIZES, frames.JUMBO, "imix"]


def parsed_trial(text):
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.05 <= seconds <= 600:
        raise argparse.ArgumentTypeError(f"{text!r} is no time of a trial: 0.05 to 600 seconds")
    return seconds


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--bin", type=pathlib.Path, default=pathlib.Path("target/release"), help="default %(default)s")
    arguments.add_argument("--out", type=pathlib.Path, default=pathlib.Path("perf/out/pktgen"), help="default %(default)s")
    arguments.add_argument("--quick", action="store_true", help="few sizes, short trials: shows that it works, no more")
    arguments.add_argument("--sizes", type=parsed_sizes, help="such as 64,512,imix; octets on the wire, with the FCS")
    arguments.add_argument("--trial", type=parsed_trial, help="seconds of each trial of a search; default 0.5")
    arguments.add_argument("--without-testpmd", action="store_true", help="the member alone, beside nothing")
    given = arguments.parse_args()
    try:
        faults = run(given)
    except (Failed, OSError, AssertionError, subprocess.TimeoutExpired) as error:
        print(f"perf/pktgen: {error}", file=sys.stderr)
        return 2
    for fault in faults:
        print(f"perf/pktgen: FAILED: {fault}", file=sys.stderr)
    return 1 if faults else 0


def run(given):
    """Measures and writes the report; the checks that failed."""
    programs = given.bin.resolve()
    for name in ("getvpn-gm", "getvpn-ks", "getvpnctl", "getvpn-perf-load", "getvpn-perf-plot"):
        if not os.access(programs / name, os.X_OK):
            raise Failed(f"{programs / name} is not there, or cannot be run: perf/pktgen/run builds it; --bin says where it is")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise Failed("two cores are needed, one for the generator and one for the member's worker; this has one")
    os.environ["GETVPN_BIN"] = str(programs)
    # These read where the programs are.
    import floods
    import load
    import markdown
    import rates
    import rekeys
    import replays
    from rig import Rig

    if not given.without_testpmd:
        load.testpmd()
    given.out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()

    def say(what):
        print(f"{time.monotonic() - began:5.1f} s  {what}", flush=True)

    machine = markdown.Machine()
    with tempfile.TemporaryDirectory(prefix="getvpn-pktgen-") as work:
        trial = given.trial or (0.1 if given.quick else 0.5)
        rig = Rig(programs, pathlib.Path(work), given.sizes or (QUICK_SIZES if given.quick else ALL_SIZES), cores[0], cores[-1],
                  trial_s=trial, confirm_s=(1.5 if given.quick else 4) * trial, resolution=0.3 if given.quick else 0.05, tries=2,
                  most=4e6, quick=given.quick, with_testpmd=not given.without_testpmd)
        count = 1024 if given.quick else 4096
        say(f"getvpn-gm seals {count} frames of each size")
        rig.make_captures(count)
        found, delays, books = rates.measure(rig, say)
        slowest = min((rate.found.rate for rate in found if rate.what != rates.IO and rate.found.rate), default=0.0)
        good = max(1000.0, min(slowest / 20, 100_000.0))
        flooded, more = floods.measure(rig, good, say)
        rekeyed = rekeys.measure(rig, max(1000.0, min(slowest / 4, 20_000.0)), say)
        replayed = replays.measure(rig, count, say)
        results = markdown.Results(rig, machine, found, delays, books + more, flooded, rekeyed, replayed)
        faults = markdown.write(results, programs, given.out)
    say(f"{given.out / 'report.md'}")
    return faults


if __name__ == "__main__":
    sys.exit(main())
