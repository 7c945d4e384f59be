#!/usr/bin/env python3
"""`make demo`: a key server, two group members, one real capture through both, and a comparison octet for octet.

The members have no keys in their configuration: they register with the key server. Member A reads the capture on
its LAN port and encrypts it; its WAN port is joined to member B's by shared memory (net_memif); member B decrypts
it to another capture. While the traffic runs the key server rekeys, by its schedule and on demand, and replaces the
KEK. Needs no hugepages, no NIC and no root; works in a temporary directory and leaves nothing behind.
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

from capture import Capture, differences
from feed import Feed

HERE = pathlib.Path(__file__).resolve().parent
LONGEST_RUN_S = 60
ON_DEMAND_AT_S = 3  # after the traffic began
# What happens between the key server and the members, out of all that they log.
STORY = {"sa_made", "kek_made", "rekey_begun", "rekey_ended", "sa_ended", "kek_ended", "registered", "kek_installed",
         "rekeyed", "registration_failed", "spi_recovered"}


def main():
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("demo: stopped"))
    with contextlib.ExitStack() as stack:
        work = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="getvpn-demo-")))
        feed = stack.enter_context(prepare_input(arguments, work))
        ks = Daemon(stack, arguments.bin, work, "getvpn-ks", "ks")
        b = Daemon(stack, arguments.bin, work, "getvpn-gm", "b")
        a = Daemon(stack, arguments.bin, work, "getvpn-gm", "a")
        daemons = (ks, a, b)
        try:
            for daemon in daemons:
                print(f"\n--- {daemon.config.name}\n{daemon.config.read_text().rstrip()}")
            print()
            story = Story(daemons)
            ks.start()
            ks.wait_until(lambda: ks.ctl("status"), "its control socket")
            b.start("--summary", b.summary.name)
            b.wait_until((work / "wan.sock").exists, "its end of the WAN")
            a.start("--summary", a.summary.name)
            for member in (a, b):
                member.wait_until(lambda: story.tell() or member.is_registered(), "a registration")
            feed.begin()
            samples = watch(ks, a, b, feed, story)
            for daemon in (a, b, ks):
                daemon.stop()
            story.tell()
            print_table(a, b, samples)
            report(work, feed, a, b, story)
        except Failed as failure:
            tails = "\n".join(daemon.log_tail() for daemon in daemons)
            sys.exit(f"\n{tails}\ndemo: FAILED: {failure}")


class Failed(Exception):
    """The demo did not show what it should."""


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=pathlib.Path, required=True, help="where the programs are")
    parser.add_argument("--capture", type=pathlib.Path, default=HERE.parent / "capture" / "lan.pcap")
    parser.add_argument("--seconds", type=float, default=18, help="how long the traffic runs")
    parser.add_argument("--megabytes-per-second", type=float, default=15, help="the capture is repeated at this rate")
    return parser.parse_args()


def prepare_input(arguments, work):
    size = arguments.capture.stat().st_size
    times = max(1, round(arguments.seconds * arguments.megabytes_per_second * 1e6 / size))
    needed = 2 * times * size
    if shutil.disk_usage(work).free < needed:
        sys.exit(f"demo: {work} has not the {needed // 1_000_000} MB free that it takes; try --seconds or set TMPDIR")
    feed = Feed(arguments.capture, work / "in.pcap", times, arguments.seconds)
    print(f"demo: {arguments.capture.name} {times} times over: {feed.frames:,} frames in {arguments.seconds:g} s")
    return feed


# --- the daemons -----------------------------------------------------------------------------


class Daemon:
    """A getvpn-ks or getvpn-gm process, stopped by the exit stack it was given."""

    def __init__(self, stack, binaries, work, program, name):
        self.program, self.name, self.binaries, self.work = program, name, binaries.resolve(), work
        self.config = work / ("ks.toml" if name == "ks" else f"member-{name}.toml")
        self.config.write_text(for_this_run((HERE / self.config.name).read_text(), work))
        if name != "ks":
            psk = work / f"{name}.psk"
            psk.touch(mode=0o600)
            psk.write_text(f"between the key server and member {name}, for this demo only\n")
        self.log = work / f"{name}.log"
        self.summary = work / f"{name}.json"
        self.process = None
        stack.callback(self.kill)

    def start(self, *more):
        environment = {**os.environ, "RUNTIME_DIRECTORY": str(self.work)}  # where EAL keeps its own directory
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [self.binaries / self.program, "--config", self.config.name, "--log-format", "json", *more],
                cwd=self.work, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait_until(self, condition, what, seconds=20):
        deadline = time.monotonic() + seconds
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                raise Failed(f"{self.name}: no {what} within {seconds} s")
            time.sleep(0.02)

    def check(self):
        if self.process.poll() is not None:
            raise Failed(f"{self.name} ended by itself with status {self.process.returncode}")

    def ctl(self, *command):
        """What `getvpnctl --json` says, or None while the daemon does not answer yet."""
        self.check()
        if not (self.work / f"{self.name}.sock").exists():
            return None
        asked = subprocess.run([self.binaries / "getvpnctl", "--socket", f"{self.name}.sock", "--json", *command],
                               cwd=self.work, capture_output=True, timeout=10)
        return json.loads(asked.stdout) if asked.returncode == 0 else None

    def is_registered(self):
        status = self.ctl("status")
        return status and all(group["sas"] for group in status["groups"])

    def stop(self):
        """Asks the daemon to end, and reads a member's final counters."""
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} did not end within 15 s of SIGTERM") from None
        if status != 0:
            raise Failed(f"{self.name} ended with status {status}")
        if self.summary.exists():
            self.final = json.loads(self.summary.read_text())

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=10)

    def log_tail(self):
        lines = self.log.read_text(errors="replace").splitlines()[-40:] if self.log.exists() else ["(not started)"]
        return "\n".join([f"--- the log of {self.name}", *lines])


def for_this_run(config, work):
    """The configuration with its worker on a core that this process may use, and its WAN's socket in the directory."""
    config = config.replace("/run/getvpn-demo", str(work))  # net_memif takes absolute paths only
    cores = sorted(os.sched_getaffinity(0))
    return re.sub(r"cores = \[(\d+)\]", lambda m: f"cores = [{cores[int(m[1]) % len(cores)]}]", config)


class Story:
    """What the daemons log of registrations and rekeys, told as it happens."""

    def __init__(self, daemons):
        self.daemons, self.read, self.began = daemons, {daemon.name: 0 for daemon in daemons}, time.monotonic()
        self.seen = []

    def tell(self):
        for daemon in self.daemons:
            if not daemon.log.exists():
                continue
            with daemon.log.open("rb") as log:
                log.seek(self.read[daemon.name])
                for line in log:
                    if not line.endswith(b"\n"):
                        break
                    self.read[daemon.name] += len(line)
                    self.tell_line(daemon, line)

    def count(self, daemon, event):
        return sum((name, seen) == (daemon.name, event) for name, seen, _ in self.seen)

    def tell_line(self, daemon, line):
        try:
            fields = json.loads(line)
        except ValueError:
            return  # the last counters, which a member prints, are no log lines
        if isinstance(fields, dict) and fields.get("event") in STORY:
            self.seen.append((daemon.name, fields["event"], fields))
            who = "key server" if daemon.name == "ks" else f"member {daemon.name.upper()}"
            clear = "\r\x1b[K" if sys.stdout.isatty() else ""
            print(f"{clear}{time.monotonic() - self.began:6.1f} s  {who:11} {fields['message']}", flush=True)


# --- what is shown ---------------------------------------------------------------------------


def watch(ks, a, b, feed, story):
    """Shows progress until every frame has come out or been dropped, and asks for a rekey on the way. Returns the
    counters of that time."""
    samples, asked = [], False
    began = still_since = time.monotonic()
    while True:
        now, at_a, at_b = time.monotonic(), a.ctl("counters"), b.ctl("counters")
        if at_a is None or at_b is None:
            raise Failed("a member stopped answering on its control socket")
        if not samples or (at_a["rx"], at_b["rx"]) != samples[-1][1:]:
            still_since = now
        samples.append((now, at_a["rx"], at_b["rx"]))
        story.tell()
        show_progress(f"A took {at_a['rx']:>9,} in, encrypted {at_a['encrypted']:>9,}   "
                      f"B decrypted {at_b['decrypted']:>9,}, out {at_b['tx']:>9,}   {at_a['rx'] * 100 // feed.frames:3} %")
        if not asked and now - began > ON_DEMAND_AT_S:
            asked = True
            if ks.ctl("rekey", "demo") is None:
                raise Failed("the key server did not take `getvpnctl rekey demo`")
        if at_a["rx"] >= feed.frames and at_b["rx"] >= at_a["tx"]:
            break
        if now - still_since > 5:
            raise Failed(f"nothing moves: A took {at_a['rx']:,} of {feed.frames:,} frames, B {at_b['rx']:,} of {at_a['tx']:,}")
        if now - began > LONGEST_RUN_S:
            raise Failed(f"not done within {LONGEST_RUN_S} s")
        time.sleep(0.1)
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


def report(work, feed, a, b, story):
    """Compares what went in with what came out, whole frames, each flow in its order."""
    reasons = {fields["why"] for name, event, fields in story.seen if event == "rekey_begun"}
    if len(reasons) < 2:
        raise Failed(f"the key server rekeyed for {reasons or 'no reason'}, and not both by schedule and on demand")
    for member in (a, b):
        if story.count(member, "kek_installed") < 2:
            raise Failed(f"member {member.name} got no new KEK while the traffic ran")
        if story.count(member, "rekeyed") < 2 or story.count(member, "registered") != 1:
            raise Failed(f"member {member.name} did not stay in step by rekeys alone")
    for member in (a, b):
        f = member.final
        if f["rx"] != f["encrypted"] + f["decrypted"] + f["bypassed"] + f["parked"] + dropped(member):
            raise Failed(f"member {member.name}: received is not encrypted + decrypted + bypassed + parked + dropped")
    received = Capture(work / "out.pcap")
    count, octets, first = differences(feed.sent(), received)
    if first:
        raise Failed(f"what came out is not what went in: {first}")
    if count != feed.frames or not a.final["encrypted"] or a.final["encrypted"] != b.final["decrypted"]:
        raise Failed(f"{count:,} frames came out of {feed.frames:,}")
    print(f"demo: all {count:,} frames ({octets:,} octets) came out as they went in, octet for octet, each flow in its order: "
          f"{a.final['encrypted']:,} by way of ESP, {a.final['bypassed']:,} unchanged by policy")


if __name__ == "__main__":
    main()
