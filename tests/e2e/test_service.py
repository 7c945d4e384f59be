"""The daemons under a service manager: what they tell it by sd_notify(3), and the units that systemd starts them by."""

import contextlib
import ctypes
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

from keyserver import KeyServer, secret
from member import BINARIES, Member, configuration, wait_for

UNITS = pathlib.Path(__file__).resolve().parents[2] / "packaging/systemd"
WATCHDOG = 3.0  # seconds
SA = {"spi": 0x10001, "transform": "aes-128-gcm", "key": "00" * 20, "mode": "tunnel", "direction": "both",
      "selectors": [{"src": "10.0.0.0/8", "dst": "10.0.0.0/8"}]}
GROUP = {"name": "finance", "id": 1234, "sas": [SA]}
NULL_PORTS = ["net_null0", "net_null1"]


class Manager:
    """Stands in for systemd: the socket that it listens on, and what has come so far."""

    def __init__(self, name):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(name.replace("@", "\0"))
        self.heard = []

    def listen(self, seconds=0.0):
        """Takes what is there, or what comes within so many seconds; returns what is new."""
        before = len(self.heard)
        self.socket.settimeout(seconds or 0.001)
        with contextlib.suppress(TimeoutError):
            while True:
                self.heard += self.socket.recv(4096).decode().splitlines()
                if seconds:
                    break
        return self.heard[before:]

    def wait_for(self, what, process, seconds=20):
        """Waits until this is said, and forgets it with all that came before."""
        wait_for(lambda: self.listen() is not None and any(re.fullmatch(what, said) for said in self.heard),
                 f"{what!r} in {self.heard}", seconds, process)
        at = next(n for n, said in enumerate(self.heard) if re.fullmatch(what, said))
        self.heard = self.heard[at + 1:]


@pytest.fixture(params=["a path", "an abstract name"])
def manager(request, tmp_path, monkeypatch):
    name = str(tmp_path / "notify") if request.param == "a path" else f"@getvpn-test-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    monkeypatch.setenv("WATCHDOG_USEC", str(int(WATCHDOG * 1e6)))
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    manager = Manager(name)
    yield manager
    manager.socket.close()


@contextlib.contextmanager
def halted(process, thread):
    """Halts one thread of a process, as if it hung; the others go on."""
    tasks = pathlib.Path(f"/proc/{process.process.pid}/task")
    tid = next(int(task.name) for task in tasks.iterdir() if (task / "comm").read_text().startswith(thread))
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    seize, interrupt, detach, any_thread = 0x4206, 0x4207, 17, 0x40000000
    assert ptrace(seize, tid, None, None) == 0, os.strerror(ctypes.get_errno())
    assert ptrace(interrupt, tid, None, None) == 0, os.strerror(ctypes.get_errno())
    os.waitpid(tid, any_thread)
    try:
        yield
    finally:
        ptrace(detach, tid, None, None)


def tells_of_reloading(manager, daemon, ctl):
    """By a signal and by an operator; not of a dry run."""
    for ask in (lambda: daemon.process.send_signal(signal.SIGHUP), lambda: ctl("reload")):
        ask()
        manager.wait_for("RELOADING=1", daemon)
        manager.wait_for("READY=1", daemon)
    ctl("reload", "--dry-run")
    manager.listen()
    assert not {"RELOADING=1", "READY=1"} & set(manager.heard)


def test_a_member_says_that_it_is_ready_that_it_lives_and_that_it_ends(tmp_path, manager):
    with Member(tmp_path, configuration(NULL_PORTS, [GROUP])) as member:
        manager.wait_for("READY=1", member)
        assert member.ctl("status")["role"] == "gm", "ready, so it answers"
        manager.wait_for("STATUS=1 workers; finance manual", member)
        for _ in range(2):
            manager.wait_for("WATCHDOG=1", member, WATCHDOG)
        tells_of_reloading(manager, member, member.ctl)
        member.ctl("sa", "delete", "0x10001")
        manager.wait_for("STATUS=1 workers; finance no-sa", member)
        assert member.end().status == 0
        manager.listen()
        assert "STOPPING=1" in manager.heard


@pytest.mark.parametrize("manager", ["a path"], indirect=True)
def test_a_member_with_a_worker_that_hangs_gives_no_sign_of_life(tmp_path, manager):
    with Member(tmp_path, configuration(NULL_PORTS, [GROUP])) as member:
        manager.wait_for("WATCHDOG=1", member)
        with halted(member, "rte-worker"):
            manager.wait_for("STATUS=worker 0 hangs; finance manual", member)
            deadline = time.monotonic() + WATCHDOG
            while (left := deadline - time.monotonic()) > 0:
                assert "WATCHDOG=1" not in manager.listen(left)
            assert "worker 0 has not come round for" in member.log.read_text()
        manager.wait_for("STATUS=1 workers; finance manual", member)
        manager.wait_for("WATCHDOG=1", member)
        assert member.end().status == 0


def test_a_key_server_says_that_it_is_ready_that_it_lives_and_that_it_ends(tmp_path, manager):
    with KeyServer(tmp_path) as server:
        manager.wait_for("READY=1", server)
        assert server.try_ctl("status")["role"] == "ks", "ready, so it answers"
        manager.wait_for("STATUS=0 members; finance serving", server)
        for _ in range(2):
            manager.wait_for("WATCHDOG=1", server, WATCHDOG)
        tells_of_reloading(manager, server, server.try_ctl)
        server.end()
        manager.listen()
        assert "STOPPING=1" in manager.heard


@pytest.mark.parametrize("manager", ["a path"], indirect=True)
def test_a_key_server_whose_authority_hangs_gives_no_sign_of_life(tmp_path, manager):
    with KeyServer(tmp_path) as server:
        manager.wait_for("WATCHDOG=1", server)
        with halted(server, "authority"):
            manager.listen()
            manager.heard.clear()
            deadline = time.monotonic() + WATCHDOG
            while (left := deadline - time.monotonic()) > 0:
                assert "WATCHDOG=1" not in manager.listen(left)
        manager.wait_for("WATCHDOG=1", server)
        server.end()


def test_signs_of_life_are_not_for_another_process(tmp_path, manager, monkeypatch):
    monkeypatch.setenv("WATCHDOG_PID", "1")
    with Member(tmp_path, configuration(NULL_PORTS, [GROUP])) as member:
        manager.wait_for("STATUS=1 workers; finance manual", member)
        assert member.end().status == 0
        manager.listen()
        assert "WATCHDOG=1" not in manager.heard


def understood(unit):
    """systemd has nothing to say about a unit and its drop-ins, but that the program is not installed."""
    unit.write_text(re.sub(r"^(Exec\w+=)/usr/sbin/\S+", r"\1/bin/true", unit.read_text(), flags=re.MULTILINE))
    verified = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, timeout=60)
    about_it = [line for line in verified.stderr.splitlines() if unit.name in line]
    assert verified.returncode == 0 and not about_it, verified.stderr


@pytest.mark.parametrize("unit", sorted(UNITS.glob("*.service")), ids=lambda unit: unit.name)
def test_the_units_are_understood_and_expose_little(tmp_path, unit):
    assert shutil.which("systemd-analyze"), "packaging/install test"
    copy = pathlib.Path(shutil.copy(unit, tmp_path))
    understood(copy)
    judged = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=25", copy],
                            capture_output=True, text=True, timeout=60)
    assert judged.returncode == 0, judged.stdout[-500:]


def test_the_drop_ins_are_understood(tmp_path):
    copy = pathlib.Path(shutil.copy(UNITS / "getvpn-gm.service", tmp_path))
    drop_ins = tmp_path / "getvpn-gm.service.d"
    drop_ins.mkdir()
    for drop_in in UNITS.glob("*.conf"):
        shutil.copy(drop_in, drop_ins)
    understood(copy)


@pytest.mark.parametrize("daemon", ["gm", "ks"])
def test_the_example_lacks_only_the_key(tmp_path, daemon):
    config = pathlib.Path(shutil.copy(UNITS.parent / f"examples/{daemon}.toml", tmp_path))
    config.chmod(0o600)
    config.write_text(re.sub(r"^cores = .*$", "cores = [0]", config.read_text(), flags=re.MULTILINE))
    command = [BINARIES / f"getvpn-{daemon}", "--config", config, "--check"]
    without = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert without.returncode == 2 and "psk_file: there is no file" in without.stderr, without.stderr
    secret(tmp_path / ("gm.psk" if daemon == "gm" else "gm1.psk"))
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "OK\n", ""), done.stderr
