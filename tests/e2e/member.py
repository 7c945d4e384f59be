"""Runs getvpn-gm for a test: writes its configuration, starts it, asks it by getvpnctl, ends it."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import time

from scapy.utils import RawPcapReader, RawPcapWriter

BINARIES = pathlib.Path(os.environ.get("GETVPN_BIN", "target/release")).resolve()
EAL = ["--no-huge", "-m", "512", "--no-pci", "--no-shconf", "--no-telemetry"]


def configuration(vdevs, groups=(), *, mtu=1500, policy=(), eal=EAL, workers=None, control=None, link=None,
                  metrics=None):
    """A member's gm.toml with one link, LAN on the first of the two devices and WAN on the second."""
    tables = [
        ("[eal]", {"args": [*eal, *(f"--vdev={vdev}" for vdev in vdevs)]}),
        ("[workers]", {"cores": [sorted(os.sched_getaffinity(0))[-1]], "idle": "sleep", **(workers or {})}),
        ("[[link]]", {"name": "site", "lan": device(vdevs[0]), "wan": device(vdevs[1]), "mtu": mtu,
                     **(link or {})}),
        ("[control]", {"socket": "gm.sock", "state": "state", **(control or {})}),
        *([("[metrics]", metrics)] if metrics is not None else []),
        *(("[[policy]]", rule) for rule in policy),
    ]
    for number, group in enumerate(groups, 1):
        sas = group.get("sas", ())
        tables.append(("[[group]]", {"id": number, **{k: v for k, v in group.items() if k != "sas"}}))
        tables.extend(("[[group.sa]]", sa) for sa in sas)
    return "\n".join("\n".join([head, *(f"{k} = {toml(v)}" for k, v in table.items())]) + "\n" for head, table in tables)


def device(vdev):
    return vdev.split(",")[0]


def toml(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


@dataclasses.dataclass
class Ended:
    """A member that has ended."""

    status: int
    output: str
    counters: dict | None
    work: pathlib.Path

    def lan(self):
        """The frames that it sent on its LAN port."""
        return read_frames(self.work / "lan-out.pcap")

    def wan(self):
        return read_frames(self.work / "wan-out.pcap")

    def drops(self):
        """Drop reasons that happened, with their counts."""
        return {reason: n for reason, n in self.counters["drops"].items() if n}


class Member:
    """A running getvpn-gm; as a context manager it is killed at the end unless it has ended."""

    def __init__(self, work, config, *arguments, netns=None, before=()):
        self.work = work
        (work / "gm.toml").write_text(config)
        (work / "gm.toml").chmod(0o600)  # it holds keys
        self.log = work / "gm.log"
        in_netns = ["ip", "netns", "exec", netns] if netns else []
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*in_netns, *before, BINARIES / "getvpn-gm", "--config", "gm.toml", "--summary", "summary.json", *arguments],
                cwd=work, env={**os.environ, "RUNTIME_DIRECTORY": str(work)}, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=10)

    def ask(self, *command):
        return subprocess.run([BINARIES / "getvpnctl", "--socket", "gm.sock", "--json", *command], cwd=self.work,
                              capture_output=True, timeout=10, text=True)

    def ctl(self, *command):
        """The reply to a getvpnctl command."""
        asked = self.ask(*command)
        assert asked.returncode == 0, asked.stderr
        return json.loads(asked.stdout)

    def wait_until_it_answers(self):
        # The socket's file is there a moment before anybody listens.
        self.wait_until(lambda: (self.work / "gm.sock").exists() and self.ask("status").returncode == 0, "the control socket")

    def wait_until(self, condition, what, seconds=20):
        return wait_for(condition, what, seconds, self)

    def end(self, with_signal=signal.SIGTERM):
        """Asks it to end and returns what it left."""
        self.process.send_signal(with_signal)
        return self.wait()

    def wait(self, seconds=90):
        status = self.process.wait(timeout=seconds)
        summary = self.work / "summary.json"
        counters = json.loads(summary.read_text()) if summary.exists() else None
        if counters:
            assert_nothing_unaccounted(counters)
        return Ended(status, self.log.read_text(errors="replace"), counters, self.work)


def wait_for(condition, what, seconds, *processes):
    """What the condition gives once it holds; the processes, which have a log each, must live until then."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        for each in processes:
            assert each.process.poll() is None, f"it ended by itself\n{logs(processes)}"
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s\n{logs(processes)}"
        time.sleep(0.02)
    return result


def logs(processes):
    return "\n".join(f"--- {each.log}\n{each.log.read_text(errors='replace')[-8000:]}" for each in processes)


def assert_nothing_unaccounted(counters):
    verdicts = ("encrypted", "decrypted", "bypassed", "to_exception", "parked")
    accounted = sum(counters[k] for k in verdicts) + sum(counters["drops"].values())
    assert counters["rx"] == accounted, counters


def run_files(work, groups=(), *, lan=(), wan=(), **options):
    """Runs a member over what arrives on its LAN and its WAN, until it has taken all of it."""
    write_frames(work / "lan-in.pcap", lan)
    write_frames(work / "wan-in.pcap", wan)
    config = configuration(["net_pcap0,rx_pcap=lan-in.pcap,tx_pcap=lan-out.pcap",
                            "net_pcap1,rx_pcap=wan-in.pcap,tx_pcap=wan-out.pcap"], groups, **options)
    with Member(work, config, "--until-idle", "1") as member:
        ended = member.wait()
    assert ended.status == 0, ended.output
    assert ended.counters["rx"] == len(lan) + len(wan), ended.counters
    return ended


def run_refused(work, config, *arguments):
    """Runs a member that is expected not to start."""
    with Member(work, config, *arguments) as member:
        return member.wait(20)


def write_frames(path, frames):
    writer = RawPcapWriter(str(path), linktype=1, snaplen=65535)
    writer.write_header(None)
    for frame in frames:
        writer.write_packet(bytes(frame), sec=0, usec=0)
    writer.close()


def read_frames(path):
    with RawPcapReader(str(path)) as reader:
        return [frame for frame, _ in reader]
