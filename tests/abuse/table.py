"""Prints the abuse table: every way to abuse a member or a key server, what was measured, what is allowed.

    make abuse-table [SECONDS=60] [ONLY=name]
"""

import argparse
import os
import pathlib
import sys
import tempfile
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "e2e"), str(HERE.parent / "recovery"), str(HERE)]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seconds", type=int, default=60, help="how long each flood lasts")
    arguments.add_argument("--only", default="", help="only the kinds of abuse whose name contains this")
    arguments.add_argument("--bin", type=pathlib.Path, help="where the programs are, instead of GETVPN_BIN")
    given = arguments.parse_args()
    if given.bin:
        os.environ["GETVPN_BIN"] = str(given.bin.resolve())
    import cases  # it reads where the programs are
    if given.seconds < 5:
        arguments.error("a flood that is to say anything lasts 5 seconds at least")
    chosen = {name: case for name, case in cases.ALL.items() if given.only in name}
    if not chosen:
        arguments.error(f"no kind of abuse is called {given.only!r}; there are: {', '.join(cases.ALL)}")
    print("| abuse | measured | result | limit | |\n|---|---|---|---|---|", flush=True)
    failed = []
    for name, case in chosen.items():
        if name in cases.NEED_ROOT and os.geteuid() != 0:
            print(f"{name} needs root: left out", file=sys.stderr)
            continue
        try:
            with tempfile.TemporaryDirectory(prefix="getvpn-abuse-") as work:
                rows = case(pathlib.Path(work), given.seconds)
        except Exception:  # the other rows are to be seen too
            failed.append(name)
            print(f"{name} was not played to its end:", file=sys.stderr)
            traceback.print_exc()
            continue
        print_rows(rows)
        failed += [name] if not all(row.kept for row in rows) else []
    if failed:
        print(f"not played to the end, or beyond a limit: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def print_rows(rows):
    last = None
    for row in rows:
        abuse, last = (row.abuse if row.abuse != last else ""), row.abuse
        print(f"| {abuse} | {row.measured} | {row.result} | {row.limit} | {'kept' if row.kept else 'MISSED'} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
