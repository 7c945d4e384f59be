"""The programs around the member under test: getvpn-perf-load, which offers packets, and dpdk-testpmd, which stands in the
member's place for comparison."""

import json
import os
import pathlib
import selectors
import shutil
import subprocess
import time

from captures import Failed
from search import Trial

# A ring holds what arrives while the scheduler runs something else for a few milliseconds. bsize: the longest frame.
RING = "rsize=13"
JUMBO_RING = "rsize=10,bsize=16384"


def memif(number, role, socket, jumbo=False):
    return f"net_memif{number},role={role},socket={socket},socket-abstract=no,{JUMBO_RING if jumbo else RING}"


class Load:
    """A running getvpn-perf-load, whose ports are the other ends of net_memif sockets."""

    def __init__(self, programs, work, sockets, *, core, mtu, jumbo=False):
        work.mkdir(parents=True, exist_ok=True)
        self.log = work / "load.log"
        program = programs / "getvpn-perf-load"
        if not os.access(program, os.X_OK):
            raise Failed(f"{program} is not there, or cannot be run: cargo build -p getvpn-perf-load")
        vdevs = [f"--vdev={memif(number, 'server', socket, jumbo)}" for number, socket in enumerate(sockets)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [program, *vdevs, "--core", str(core), "--mtu", str(mtu)], cwd=work, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=log, env={**os.environ, "RUNTIME_DIRECTORY": str(work)})
        self.answered()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def ask(self, command, seconds=30):
        self.tell(command)
        return self.answered(seconds)

    def tell(self, command):
        try:
            self.process.stdin.write(json.dumps(command).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self.ended() from None

    def answered(self, seconds=30):
        with selectors.DefaultSelector() as waiting:
            waiting.register(self.process.stdout, selectors.EVENT_READ)
            if not waiting.select(seconds):
                raise Failed(f"getvpn-perf-load has not answered for {seconds} s")
        line = self.process.stdout.readline()
        if not line:
            raise self.ended()
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(f"getvpn-perf-load: {answer['error']}")
        return answer

    def ended(self):
        status = self.process.wait(timeout=10)
        return Failed(f"getvpn-perf-load has ended with status {status}: {self.log.read_text(errors='replace').strip()}")

    def wait_for_link(self, seconds=20):
        self.ask({"link": seconds}, seconds + 10)

    def trial(self, streams, seconds):
        return self.ask({"trial": {"streams": streams, "seconds": seconds}}, seconds + 30)

    def one_way(self, file, port, back, rate, seconds):
        """A trial with one stream; what it was is counted in `self.taken`, what came back in `self.received`."""
        answer = self.trial([{"port": port, "file": str(file), "rate": rate, "back": back}], seconds)
        sent = answer["streams"][0]
        return Trial(rate, sent["offered"], answer["received"][back]["frames"], answer["elapsed_s"], sent["latency"]), answer


class Testpmd:
    """dpdk-testpmd, which moves frames between two net_memif devices: what those alone cost."""

    def __init__(self, work, sockets, *, cores):
        work.mkdir(parents=True, exist_ok=True)
        self.log = work / "testpmd.log"
        control, worker = cores
        eal = ["--no-huge", "--no-pci", "--no-shconf", "--no-telemetry", "-m", "512", "--lcores", f"0@{control},1@{worker}",
               *(f"--vdev={memif(number, 'client', socket)}" for number, socket in enumerate(sockets))]
        its = ["--nb-cores=1", "--burst=32", "--forward-mode=io", "--auto-start", "--stats-period=1",
               "--total-num-mbufs=32768"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([testpmd(), *eal, "--", *its], cwd=work, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT, env={**os.environ, "RUNTIME_DIRECTORY": str(work)})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        stop(self.process)

    def wait_until_it_forwards(self, seconds=30):
        end = time.monotonic() + seconds
        while b"Port statistics" not in self.log.read_bytes():
            if self.process.poll() is not None or time.monotonic() > end:
                raise Failed(f"dpdk-testpmd does not forward:\n{self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)


def testpmd():
    """Where dpdk-testpmd is."""
    found = shutil.which("dpdk-testpmd")
    if not found:
        raise Failed("dpdk-testpmd is not installed, beside which the member is measured: `packaging/install bench` brings it "
                     "(Debian's package dpdk), --without-testpmd leaves it out")
    return found


def stop(process):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def waited_s(process):
    """Seconds for which threads of a process were ready and did not run, since something else had their core."""
    waited = 0
    for task in pathlib.Path(f"/proc/{process.pid}/task").iterdir():
        try:
            waited += int((task / "schedstat").read_text().split()[1])
        except (OSError, IndexError, ValueError):  # it has ended, or the kernel does not count this
            continue
    return waited / 1e9
