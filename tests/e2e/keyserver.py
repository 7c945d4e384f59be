"""Key servers and registering members for a test, on loopback addresses; the members' WANs joined by shared memory.

        test --pipe--> LAN  member "a"  WAN --memif-- WAN  member "b"  LAN --> what it decrypted is counted
                              |  address 2              |  address 3
                              +------- address 1 -------+  getvpn-ks, or racing-key-server
"""

import contextlib
import json
import os
import signal
import subprocess
import threading

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from member import BINARIES, EAL, Member, configuration, toml, wait_for

GROUP = {"name": "finance", "id": 1234}
PSK = "between the key server and its members"
NETWORK = f"127.86.{os.getpid() % 254 + 1}"  # so that test runs do not meet
KS = f"{NETWORK}.1:18849"
ADDRESSES = {"a": f"{NETWORK}.2", "b": f"{NETWORK}.3"}
SELECTORS = [{"src": "10.0.0.0/8", "dst": "10.0.0.0/8"}]
PACKET = bytes(Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01") / IP(src="10.1.0.1", dst="10.2.0.1") / UDP() / b"hello")

LOG = ("--log-format", "json")

TEK = {"transform": "aes-128-gcm", "lifetime_s": 3600, "mode": "tunnel", "selectors": SELECTORS}
KEK = {"cipher": "aes-128-cbc", "lifetime_s": 86400, "signature": "ecdsa-p256"}
REKEY = {"transport": "unicast", "retransmits": 2, "interval_s": 1, "acknowledge": True}


class Process:
    """A program whose output is a log of JSON lines; as a context manager it is killed at the end."""

    def __init__(self, work, name, command, netns=None, before=()):
        self.work, self.log = work, work / f"{name}.log"
        in_netns = ["ip", "netns", "exec", netns] if netns else []
        with self.log.open("wb") as log:
            words = [str(word) for word in (*in_netns, *before, *command)]
            self.process = subprocess.Popen(words, cwd=work, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=10)

    def events(self, name=None):
        return events(self.log, name)

    def wait_for(self, condition, what, seconds=20):
        return wait_for(condition, what, seconds, self)


def events(log, name=None):
    """What a daemon has logged, or only the events of one name."""
    found = []
    for line in log.read_text(errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            if isinstance(event, dict) and "event" in event and name in (None, event["event"]):
                found.append(event)
    return found


def ks_configuration(*, teks=(TEK,), kek=None, rekey=None, peers=None, group=None, server=None, more_groups=(), metrics=None):
    """ks.toml with one group, or several that differ in name and number, and a pre-shared key for each member's address."""
    tables = [
        ("[server]", {"listen": [KS], "local_id": "ks.example.net", "store": "ks-store",
                      "phase1": ["aes256-sha256-ecp256"], **(server or {})}),
        ("[control]", {"socket": "ks.sock"}),
        *([("[metrics]", metrics)] if metrics is not None else []),
    ]
    for peer in [{"address": f"{NETWORK}.0/24"}] if peers is None else peers:
        key = {"psk_file": "ks.psk"} if "address" in peer else {}
        tables.append(("[[peer]]", {**key, "groups": [GROUP["name"]], **peer}))
    delays = {"activation_delay_s": 0, "deactivation_delay_s": 1}
    for named in (GROUP, *more_groups):
        tables.append(("[[group]]", {**named, "sid_bits": 16, **delays, "kek": KEK | (kek or {}),
                                     "rekey": REKEY | (rekey or {}), **(group or {})}))
        tables.extend(("[[group.tek]]", tek) for tek in teks)
    return "\n".join("\n".join([head, *(f"{k} = {toml(v)}" for k, v in table.items())]) + "\n" for head, table in tables)


class KeyServer(Process):
    """A running getvpn-ks."""

    def __init__(self, work, config=None, netns=None, *, psk=PSK, log=LOG, before=()):
        work.mkdir(exist_ok=True)
        self.config = work / "ks.toml"
        self.config.write_text(config or ks_configuration())
        secret(work / "ks.psk", psk)
        super().__init__(work, "ks", [BINARIES / "getvpn-ks", "--config", "ks.toml", *log], netns, before)

    def wait_until_it_answers(self):
        self.wait_for(lambda: (self.work / "ks.sock").exists() and self.try_ctl("status"), "the key server's control socket")
        return self

    def try_ctl(self, *command):
        asked = subprocess.run([BINARIES / "getvpnctl", "--socket", "ks.sock", "--json", *command], cwd=self.work,
                               capture_output=True, timeout=10, text=True)
        return json.loads(asked.stdout) if asked.returncode == 0 else None

    def ctl(self, *command):
        reply = self.try_ctl(*command)
        assert reply is not None, f"getvpnctl {' '.join(command)} failed"
        return reply

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=15) == 0, self.log.read_text()


class RacingKeyServer(Process):
    """control/gdoi/examples/racing-key-server.rs: its policy changes between messages 2 and 4."""

    def __init__(self, work, race, answer="yes", calm=1):
        """With this many registrations before the first race."""
        work.mkdir(exist_ok=True)
        program = BINARIES / "examples" / "racing-key-server"
        super().__init__(work, "racing", [program, f"listen={KS}", f"psk={PSK}", f"group={GROUP['id']}", f"race={race}",
                                          f"answer={answer}", f"from={calm}"])
        self.wait_for(lambda: self.events("listening"), "the racing key server")


class RegisteringMember(Member):
    """A getvpn-gm that gets its SAs from the key server: "a", whose LAN is a pipe that the test writes frames to, or
    "b", whose LAN takes what it decrypts. Their WANs are joined. With `groups` it has those instead of one."""

    def __init__(self, work, name, *, key_servers=(KS,), group=None, groups=None, psk=PSK, sas=(), listen=None, netns=None,
                 wan=None, metrics=None, log=LOG, before=()):
        self.name, own = name, work / name
        own.mkdir(exist_ok=True)
        secret(own / "gm.psk", psk)
        socket = work / "wan.sock"
        lan = "rx_pcap=lan-in" if name == "a" else "tx_pcap=lan-out.pcap"
        role = "client" if socket.exists() else "server"  # a client needs its server, so the first one is that
        key = {"psk_file": "gm.psk"} if not groups else {}
        known = {**GROUP, "key_servers": list(key_servers), "local_id": f"{name}.example.net", **key}
        tables = [{**known, **(each or {}), "sas": sas} for each in groups or [group]]
        # Whether the other member is there yet does not matter to the key server, so nobody waits for the link.
        wan = wan or f"net_memif0,role={role},socket={socket},socket-abstract=no"
        config = configuration([f"net_pcap0,{lan}", wan], tables,
                               control={"listen": listen or f"{ADDRESSES[name]}:18849"},
                               workers={"tx_wait_us": 100_000, "link_wait_ms": 0}, metrics=metrics,
                               eal=[*EAL, f"--file-prefix=e2e-{name}-{os.getpid()}"])
        if name == "a":
            with contextlib.suppress(FileExistsError):
                os.mkfifo(own / "lan-in")
        super().__init__(own, config, *log, netns=netns, before=before)
        self.lan_in = None
        if name == "a":
            self.lan_in = open_pipe(own / "lan-in", self)

    def __exit__(self, *arguments):
        if self.lan_in is not None:
            os.close(self.lan_in)
        super().__exit__(*arguments)

    def send(self, *frames):
        """Frames arrive on the LAN."""
        for frame in frames:
            os.write(self.lan_in, bytes(8) + len(frame).to_bytes(4, "little") * 2 + frame)

    def events(self, name=None):
        return events(self.log, name)

    def end(self, with_signal=signal.SIGTERM):
        if self.lan_in is not None:  # its worker may be waiting for the rest of a burst
            os.close(self.lan_in)
            self.lan_in = None
        return super().end(with_signal)

    def spis(self):
        return {sa["spi"] for sa in self.ctl("sa", "list")["sas"]}

    def wait_until_it_has(self, condition, what="its SAs", seconds=20):
        return self.wait_until(lambda: condition(self.spis()), what, seconds)


@contextlib.contextmanager
def members(work, *names, **options):
    """Members that answer on their control sockets; "b" first, since it listens for "a" on the WAN."""
    with contextlib.ExitStack() as stack:
        started = {}
        for name in sorted(names, reverse=True):
            started[name] = stack.enter_context(RegisteringMember(work, name, **options.get(name, {})))
            started[name].wait_until_it_answers()
        yield [started[name] for name in sorted(names)]


def carried(a, b, frames=8, seconds=20):
    """Sends frames into A's LAN until as many more have come out of B's."""
    before = b.ctl("counters")["decrypted"]

    def arrived():
        a.send(*[PACKET] * 8)
        return b.ctl("counters")["decrypted"] >= before + frames

    wait_for(arrived, "traffic from A to B", seconds, a, b)


def settled(a, b):
    """How much A has sealed, once all of it has come out of B; and what B has dropped so far."""

    def counters():
        sealed, got = a.ctl("counters")["encrypted"], b.ctl("counters")
        return sealed == got["decrypted"] and (sealed, {reason: n for reason, n in got["drops"].items() if n})

    return wait_for(counters, "all that A sealed to come out of B", 10, a, b)


class Traffic:
    """A packet into a member's LAN every two milliseconds, until it is stopped."""

    def __init__(self, member):
        self.member, self.sent, self.stopping = member, 0, threading.Event()
        self.thread = threading.Thread(target=self.flow)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()

    def flow(self):
        while not self.stopping.wait(0.002):
            self.member.send(PACKET)
            self.sent += 1


def open_pipe(path, member):
    """Opens a pipe once the member reads it, and gives it the header of a capture file."""

    def opened():
        with contextlib.suppress(OSError):
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK)

    pipe = wait_for(opened, "the member reads its LAN", 20, member)
    os.set_blocking(pipe, True)
    os.write(pipe, b"\xd4\xc3\xb2\xa1\x02\x00\x04\x00" + bytes(8) + (65535).to_bytes(4, "little") + (1).to_bytes(4, "little"))
    return pipe


def secret(path, text=PSK):
    path.touch(mode=0o600)
    path.write_text(text + "\n")
