"""The recovery matrix: every way to fall out of step, played between real processes with traffic running.

    tests/recovery/matrix.py --bin target/quick [--rows 5,6] [--rounds N] [--json FILE]

Prints the table in Markdown, each row as soon as it is played. Exit status 1 if a row was not played to its end, or misses
its target."""

import argparse
import dataclasses
import json
import os
import pathlib
import sys
import tempfile
import time
import traceback

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]
sys.setswitchinterval(0.0005)  # several threads of this process see to packets

HEAD = ["cause", "detected by", "rounds", "p50", "p99", "lost", "INVALID-SPI", "registrations", "bounded by"]
TARGET_MS = {"p50": 5, "p99": 50}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, help="where the programs are, instead of GETVPN_BIN")
    parser.add_argument("--rows", help="only these, by the beginning of their names: 1,4,11")
    parser.add_argument("--rounds", type=int, help="of each row, instead of its own number")
    parser.add_argument("--json", type=pathlib.Path, help="where to write every round's figures")
    parser.add_argument("--list", action="store_true", help="the rows' names")
    options = parser.parse_args()
    if options.bin:
        os.environ["GETVPN_BIN"] = str(options.bin.resolve())
    rows = chosen(all_rows(), options.rows, parser)
    if options.list:
        return print("\n".join(f"{row.name:10} {row.cause}" for row in rows))

    print_line(HEAD)
    print_line(["---"] * len(HEAD))
    figures, failed = [], []
    for row in rows:
        if row.needs_root and os.geteuid() != 0:
            print(f"row {row.name} needs root: left out", file=sys.stderr)
            continue
        try:
            rounds = play(row, options.rounds or row.rounds)
        except Exception:  # the other rows are to be seen too
            failed.append(row.name)
            print(f"row {row.name} was not played to its end:", file=sys.stderr)
            traceback.print_exc()
            continue
        print_line(line(row, rounds))
        times = [each.stall_ms for each in rounds]
        if row.target and any(percentile(times, int(p[1:])) > limit for p, limit in TARGET_MS.items()):
            failed.append(row.name)
        figures.append({"row": row.name, "cause": row.cause, "rounds": [dataclasses.asdict(each) for each in rounds]})
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    if failed:
        sys.exit(f"rows that failed or missed their target: {', '.join(failed)}")


def all_rows():
    import absences
    import baseline
    import clocks
    import multicast
    import races
    import rekeys
    import resources
    import restarts
    rows = [row for file in (absences, baseline, clocks, multicast, races, rekeys, resources, restarts) for row in file.ROWS]
    return sorted(rows, key=lambda row: int(row.name.split()[0]))


def chosen(rows, names, parser):
    if names is None:
        return rows
    found = []
    for name in names.split(","):
        matching = [row for row in rows if f"{row.name} ".startswith(f"{name.strip()} ")]
        if not matching:
            parser.error(f"there is no row {name!r}; --list says what there is")
        found += matching
    return found


def play(row, rounds):
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="getvpn-recovery-") as work:
        results = list(row.play(pathlib.Path(work) / "scene", rounds))
    print(f"row {row.name}: {len(results)} rounds in {time.monotonic() - began:.0f} s", file=sys.stderr)
    return results


def line(row, rounds):
    times = [each.stall_ms for each in rounds]
    return [f"{row.name}. {row.cause}", row.detected, str(len(rounds)), ms(percentile(times, 50)), ms(percentile(times, 99)),
            span(each.lost for each in rounds), span(each.asked for each in rounds),
            span(each.registrations for each in rounds), row.bound]


def percentile(values, percent):
    """The smallest value that so many percent are not above."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def ms(value):
    return f"{value:.1f} ms" if value < 100 else f"{value / 1000:.2f} s"


def span(values):
    low, high = min(values := list(values)), max(values)
    return str(low) if low == high else f"{low} to {high}"


def print_line(cells):
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
