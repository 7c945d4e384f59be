"""Ten prepared faults, each found with getvpnctl alone within three commands: the transcript.

    tests/oncall/transcript.py --bin target/quick [--only NAME] [--out docs/on-call.md]

Prints it as Markdown, or writes it to a file. Exit status 1 if a fault was not found."""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e"), str(HERE.parent / "recovery")]

MOST_COMMANDS = 3
SOCKETS = {"gm": "gm.sock", "ks": "ks.sock"}
HEAD = """# Ten faults, and how they are found

Made by `make on-call` from processes in which each fault was prepared (`tests/oncall/faults.py`); do not edit. `make test` looks for
each of them in the same way. What to do by symptom is in [runbook.md](runbook.md).
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, help="where the programs are, instead of GETVPN_BIN")
    parser.add_argument("--only", default="", help="the faults whose names contain this")
    parser.add_argument("--out", type=pathlib.Path, help="where to write it, instead of printing it")
    options = parser.parse_args()
    if options.bin:
        os.environ["GETVPN_BIN"] = str(options.bin.resolve())
    from faults import FAULTS

    chosen = [fault for fault in FAULTS if options.only in fault.name]
    if not chosen:
        parser.error(f"no fault's name contains {options.only!r}; there are: {', '.join(fault.name for fault in FAULTS)}")
    parts, missed = [HEAD], []
    for number, fault in enumerate(chosen, 1):
        with tempfile.TemporaryDirectory(prefix="getvpn-on-call-") as work:
            outputs = investigate(fault, pathlib.Path(work))
        parts.append(section(number, fault, outputs))
        if not re.search(fault.tells, outputs[-1]):
            missed.append(fault.name)
    text = "\n".join(parts)
    if options.out:
        options.out.write_text(text)
    else:
        print(text)
    if missed:
        sys.exit(f"not found: {', '.join(missed)}")


def investigate(fault, work):
    """What each of the fault's commands prints while the fault is in effect."""
    assert len(fault.commands) <= MOST_COMMANDS, fault.name
    with fault.play(work) as processes:
        return [ask(processes[whose], SOCKETS[whose], words) for whose, words in fault.commands]


def ask(process, socket, words):
    from member import BINARIES

    shown = subprocess.run([BINARIES / "getvpnctl", "--socket", socket, *words], cwd=process.work, capture_output=True, text=True,
                           timeout=20)
    return shown.stdout + shown.stderr


def section(number, fault, outputs):
    lines = [f"## {number}. {fault.name[0].upper()}{fault.name[1:]}", "", f"*{fault.told}*", "", "```"]
    for (whose, words), output in zip(fault.commands, outputs):
        lines += [f"$ getvpnctl --socket {SOCKETS[whose]} {' '.join(words)}", output.rstrip(), ""]
    return "\n".join([*lines[:-1], "```", "", f"{fault.means}", "", f"**What to do**: {fault.remedy}", ""])


if __name__ == "__main__":
    main()
