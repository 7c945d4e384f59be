"""strongSwan's charon for a test: two network namespaces joined by a veth pair, charon in one, our phase 1 in the other.

        charon 10.98.0.1:500 --veth-- 10.98.0.2:848 the driver, control/gdoi/examples/main-mode.rs
"""

import contextlib
import os
import pathlib
import shutil
import subprocess
import time

BINARIES = pathlib.Path(os.environ.get("GETVPN_BIN", "target/release")).resolve()
TESTDATA = pathlib.Path(__file__).resolve().parents[2] / "control/gdoi/src/ike/testdata"
CHARON = pathlib.Path("/usr/lib/ipsec/charon")
THEIRS, OURS = "10.98.0.1", "10.98.0.2"

SETTINGS = """
charon {{
  load = random nonce aes sha1 sha2 hmac kdf gmp openssl x509 pem pkcs1 pkcs8 pubkey constraints vici kernel-netlink socket-default
  install_routes = no
  install_virtual_ip = no
  retransmit_tries = 2
  port = {port}
  filelog {{ log {{ path = {work}/charon.log
      default = 1
      ike = 2
      cfg = 1
      flush_line = yes }} }}
  plugins {{ vici {{ socket = unix://{work}/vici }} }}
}}
"""

CONNECTION = """
connections {{ peer {{
  version = 1
  local_addrs = {THEIRS}
  remote_addrs = {OURS}
  remote_port = {remote_port}
  proposals = {proposal}
  dpd_delay = 0
  local {{ {local} }}
  remote {{ {remote} }}
  children {{ net {{ local_ts = 10.1.0.0/16
      remote_ts = 10.2.0.0/16 }} }}
}} }}
secrets {{ {secrets} }}
"""


class Charon:
    """A running charon with one connection. Killed at the end."""

    def __init__(self, work, *, proposal, psk=None, key=None, port=500, remote_port=848):
        self.work = work
        self.stack = contextlib.ExitStack()
        self.prefix = f"getvpn-ike-{os.getpid()}-"
        for directory in ("x509", "x509ca", "private"):
            (work / directory).mkdir()
        if psk:
            local, remote = "auth = psk\nid = ks1.example.net", "auth = psk\nid = gm1.example.net"
            secrets = f'ike-psk {{ id-1 = ks1.example.net\n id-2 = gm1.example.net\n id-3 = {OURS}\n secret = "{psk}" }}'
        else:
            shutil.copy(TESTDATA / f"ks-{key}.pem", work / "x509/own.pem")
            shutil.copy(TESTDATA / "root.pem", work / "x509ca")
            shutil.copy(TESTDATA / f"{key}.key.pem", work / "private")
            local, remote = "auth = pubkey\ncerts = own.pem\nid = ks1.example.net", "auth = pubkey\nid = gm1.example.net"
            secrets = ""
        (work / "strongswan.conf").write_text(SETTINGS.format(work=work, port=port))
        (work / "swanctl.conf").write_text(CONNECTION.format(
            THEIRS=THEIRS, OURS=OURS, proposal=proposal, local=local, remote=remote, secrets=secrets,
            remote_port=remote_port))

    def __enter__(self):
        with self.stack:
            self._start()
            self.stack = self.stack.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()

    def _start(self):
        for name in ("charon", "driver"):
            run("ip", "netns", "add", self.prefix + name)
            self.stack.callback(subprocess.run, ["ip", "netns", "del", self.prefix + name], timeout=10)
        run("ip", "link", "add", "theirs", "netns", self.prefix + "charon", "type", "veth", "peer", "name", "ours", "netns",
            self.prefix + "driver")
        for name, device, address in (("charon", "theirs", THEIRS), ("driver", "ours", OURS)):
            run("ip", "-n", self.prefix + name, "address", "add", f"{address}/24", "dev", device)
            run("ip", "-n", self.prefix + name, "link", "set", device, "up")
            run("ip", "-n", self.prefix + name, "link", "set", "lo", "up")
        # A copy: AppArmor confines the installed one to its own directories. /run is its own, for its PID file.
        shutil.copy(CHARON, self.work / "charon")
        with (self.work / "charon.out").open("wb") as out:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.prefix + "charon", "sh", "-c",
                 'mount -t tmpfs none /run && exec "$0"', self.work / "charon"],
                env={**os.environ, "STRONGSWAN_CONF": str(self.work / "strongswan.conf")}, stdin=subprocess.DEVNULL,
                stdout=out, stderr=subprocess.STDOUT)
        self.stack.callback(end, process)
        wait_until((self.work / "vici").exists, "charon's socket", self.work / "charon.out")
        self.swanctl("--load-all", "--file", self.work / "swanctl.conf")

    def swanctl(self, command, *arguments, check=True):
        done = subprocess.run(
            ["swanctl", command, "--uri", f"unix://{self.work}/vici", *arguments], capture_output=True, text=True, timeout=60,
            env={**os.environ, "SWANCTL_DIR": str(self.work), "STRONGSWAN_CONF": str(self.work / "strongswan.conf")})
        assert not check or done.returncode == 0, f"{done.stdout}{done.stderr}{self.log()}"
        return done.stdout

    def log(self):
        return (self.work / "charon.log").read_text(errors="replace")

    def wait_for(self, text, seconds=20):
        wait_until(lambda: text in self.log(), text, self.work / "charon.log", seconds)

    def driver(self, role, *, suite, psk=None, key=None, local_port=848, peer_port=500, **options):
        """Starts our side. It ends by itself."""
        arguments = {"local": f"{OURS}:{local_port}", "peer": f"{THEIRS}:{peer_port}", "identity": "gm1.example.net",
                     "peer-identity": "ks1.example.net", "suite": suite, **options}
        if psk:
            arguments["psk"] = psk
        else:
            arguments |= {"certificate": TESTDATA / f"gm-{key}.pem", "key": TESTDATA / f"{key}.key.pem",
                          "trust": TESTDATA / "root.pem"}
        return subprocess.Popen(
            ["ip", "netns", "exec", self.prefix + "driver", BINARIES / "examples/main-mode", role,
             *(f"{name}={value}" for name, value in arguments.items())],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run(*command):
    subprocess.run(command, check=True, timeout=10)


def end(process):
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=10)


def wait_until(condition, what, log, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s\n{log.read_text(errors='replace')}"
        time.sleep(0.02)
