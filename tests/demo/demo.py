#!/usr/bin/env python3
"""`make demo`: two group members, one real capture through both, and a comparison octet for octet.

Member A reads the capture on its LAN port and encrypts it; its WAN port is joined to member B's by
shared memory (net_memif); member B decrypts it to another capture. Needs no hugepages, no NIC and
no root; works in a temporary directory and leaves nothing behind.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from capture import Capture, differences, repeat

HERE = pathlib.Path(__file__).resolve().parent
LONGEST_RUN_S = 60


def main():
    arguments = parse_arguments()
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, lambda *_: sys.exit("\ndemo: stopped"))
    with contextlib.ExitStack() as stack:
        work = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="getvpn-demo-")))
        frames = prepare_input(arguments, work)
        b = Member(stack, arguments.bin, work, "b")
        a = Member(stack, arguments.bin, work, "a")
        try:
            for member in (a, b):
                print(f"\n--- {member.config.name}\n{member.config.read_text().rstrip()}")
            print()
            b.start()
            b.wait_until((work / "wan.sock").exists, "its end of the WAN")
            a.start()
            for member in (a, b):
                member.wait_until(member.counters, "its control socket")
            samples = watch(a, b, frames)
            for member in (a, b):
                member.stop()
            print_table(a, b, samples)
            report(work, frames, a, b)
        except Failed as failure:
            sys.exit(f"\n{a.log_tail()}\n{b.log_tail()}\ndemo: FAILED: {failure}")


class Failed(Exception):
    """The demo did not show what it should."""


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=pathlib.Path, required=True, help="where getvpn-gm and getvpnctl are")
    parser.add_argument("--capture", type=pathlib.Path, default=HERE.parent / "capture" / "lan.pcap")
    parser.add_argument("--megabytes", type=int, default=500, help="the capture is repeated up to this size")
    return parser.parse_args()


def prepare_input(arguments, work):
    times = max(1, arguments.megabytes * 1_000_000 // arguments.capture.stat().st_size)
    needed = 3 * arguments.megabytes * 1_000_000
    if shutil.disk_usage(work).free < needed:
        sys.exit(f"demo: {work} has not the {needed // 1_000_000} MB free that it takes; try --megabytes or set TMPDIR")
    frames = repeat(arguments.capture, work / "in.pcap", times)
    print(f"demo: {arguments.capture.name} {times} times over: {frames:,} frames")
    return frames


# --- the members -----------------------------------------------------------------------------


class Member:
    """A getvpn-gm process, stopped by the exit stack it was given."""

    def __init__(self, stack, binaries, work, name):
        self.name, self.binaries, self.work = name, binaries.resolve(), work
        self.config = work / f"member-{name}.toml"
        self.config.write_text(for_this_run((HERE / self.config.name).read_text(), work))
        self.config.chmod(0o600)  # it holds keys
        self.log = work / f"{name}.log"
        self.summary = work / f"{name}.json"
        self.process = None
        stack.callback(self.kill)

    def start(self):
        environment = {**os.environ, "RUNTIME_DIRECTORY": str(self.work)}  # where EAL keeps its own directory
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [self.binaries / "getvpn-gm", "--config", self.config.name, "--summary", self.summary.name],
                cwd=self.work, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait_until(self, condition, what, seconds=20):
        deadline = time.monotonic() + seconds
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                raise Failed(f"member {self.name} did not open {what} within {seconds} s")
            time.sleep(0.02)

    def check(self):
        if self.process.poll() is not None:
            raise Failed(f"member {self.name} ended by itself with status {self.process.returncode}")

    def counters(self):
        """What `getvpnctl --json counters` says, or None while the member does not answer yet."""
        self.check()
        if not (self.work / f"{self.name}.sock").exists():
            return None
        asked = subprocess.run([self.binaries / "getvpnctl", "--socket", f"{self.name}.sock", "--json", "counters"],
                               cwd=self.work, capture_output=True, timeout=10)
        return json.loads(asked.stdout) if asked.returncode == 0 else None

    def stop(self):
        """Asks the member to end, and reads its final counters."""
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            raise Failed(f"member {self.name} did not end within 15 s of SIGTERM") from None
        if status != 0:
            raise Failed(f"member {self.name} ended with status {status}")
        self.final = json.loads(self.summary.read_text())

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=10)

    def log_tail(self):
        lines = self.log.read_text(errors="replace").splitlines()[-40:] if self.log.exists() else ["(not started)"]
        return "\n".join([f"--- the log of member {self.name}", *lines])


def for_this_run(config, work):
    """The configuration with its worker on a core that this process may use, and its WAN's socket in the directory."""
    config = config.replace("/run/getvpn-demo", str(work))  # net_memif takes absolute paths only
    cores = sorted(os.sched_getaffinity(0))
    return re.sub(r"cores = \[(\d+)\]", lambda m: f"cores = [{cores[int(m[1]) % len(cores)]}]", config)


# --- what is shown ---------------------------------------------------------------------------


def watch(a, b, frames):
    """Shows progress until every frame has come out or been dropped. Returns the counters on the way."""
    samples, deadline, still_since = [], time.monotonic() + LONGEST_RUN_S, time.monotonic()
    while True:
        now, at_a, at_b = time.monotonic(), a.counters(), b.counters()
        if at_a is None or at_b is None:
            raise Failed("a member stopped answering on its control socket")
        if not samples or (at_a["rx"], at_b["rx"]) != samples[-1][1:]:
            still_since = now
        samples.append((now, at_a["rx"], at_b["rx"]))
        show_progress(f"A took {at_a['rx']:>9,} in, encrypted {at_a['encrypted']:>9,}   "
                      f"B decrypted {at_b['decrypted']:>9,}, out {at_b['tx']:>9,}   {at_a['rx'] * 100 // frames:3} %")
        if at_a["rx"] >= frames and at_b["rx"] >= at_a["tx"]:
            break
        if now - still_since > 5:
            raise Failed(f"nothing moves: A took {at_a['rx']:,} of {frames:,} frames, B {at_b['rx']:,} of {at_a['tx']:,}")
        if now > deadline:
            raise Failed(f"not done within {LONGEST_RUN_S} s")
        time.sleep(0.05)
    print()
    return samples


def show_progress(line):
    if sys.stdout.isatty():
        print(f"\r{line}", end="", flush=True)
    else:
        print(line, flush=True)


def print_table(a, b, samples):
    rate_a, rate_b = (rate(samples, column) for column in (1, 2))
    rows = [("packets in", "rx"), ("octets in", "rx_octets"), ("packets out", "tx"), ("octets out", "tx_octets"),
            ("encrypted", "encrypted"), ("decrypted", "decrypted"), ("bypassed", "bypassed"), ("parked", "parked")]
    print(f"\n{'':24}{'member A':>16}{'member B':>16}")
    for title, key in rows:
        print(f"{title:24}{a.final[key]:>16,}{b.final[key]:>16,}")
    print(f"{'dropped':24}{dropped(a):>16,}{dropped(b):>16,}")
    for reason in a.final["drops"]:
        if a.final["drops"][reason] or b.final["drops"][reason]:
            print(f"  {reason:22}{a.final['drops'][reason]:>16,}{b.final['drops'][reason]:>16,}")
    print(f"{'Mpps, files included':24}{rate_a:>16}{rate_b:>16}\n")


def rate(samples, column):
    """Millions of packets a second between the first and the last sample at which the count moved."""
    moving = [(t, s[0]) for t, *s in ((s[0], s[column]) for s in samples) if 0 < s[0] < samples[-1][column]]
    if len(moving) < 2 or moving[-1][1] == moving[0][1]:
        return "too quick"
    return f"{(moving[-1][1] - moving[0][1]) / (moving[-1][0] - moving[0][0]) / 1e6:.2f}"


def dropped(member):
    return sum(member.final["drops"].values())


def report(work, frames, a, b):
    """Compares what went in with what came out, whole frames, each flow in its order."""
    for member in (a, b):
        f = member.final
        if f["rx"] != f["encrypted"] + f["decrypted"] + f["bypassed"] + f["parked"] + dropped(member):
            raise Failed(f"member {member.name}: received is not encrypted + decrypted + bypassed + parked + dropped")
    sent, received = Capture(work / "in.pcap"), Capture(work / "out.pcap")
    count, octets, first = differences(sent, received)
    if first:
        raise Failed(f"what came out is not what went in: {first}")
    if count != frames or not a.final["encrypted"] or a.final["encrypted"] != b.final["decrypted"]:
        raise Failed(f"{count:,} frames came out of {frames:,}")
    print(f"demo: all {count:,} frames ({octets:,} octets) came out as they went in, octet for octet, each flow in its order: "
          f"{a.final['encrypted']:,} by way of ESP, {a.final['bypassed']:,} unchanged by policy")


if __name__ == "__main__":
    main()
