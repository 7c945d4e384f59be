"""What the tests on one machine share: the captures, where things run, how long trials take, and the member under test.

    getvpn-perf-load --net_memif0--> LAN  getvpn-gm, or dpdk-testpmd  WAN --net_memif1--> getvpn-perf-load
                     <--                                              <--
"""

import contextlib
import dataclasses
import os
import pathlib

import captures
import frames
import load
import search
from keyserver import ADDRESSES, GROUP, KS, secret
from member import EAL, Member, configuration

LAN, WAN = 0, 1
ENCRYPT, DECRYPT = "encrypt", "decrypt"
# Nothing is fragmented: this holds the longest frame of the captures, sealed.
MTU, JUMBO_MTU = 1600, captures.MTU
SOCKETS = ("lan.sock", "wan.sock")


@dataclasses.dataclass
class Rig:
    programs: pathlib.Path
    work: pathlib.Path
    sizes: list
    load_core: int
    worker_core: int
    trial_s: float
    confirm_s: float
    resolution: float
    tries: int
    most: float  # frames a second that are offered first
    quick: bool
    with_testpmd: bool
    key: str = dataclasses.field(default_factory=captures.new_key)

    def make_captures(self, count):
        made = captures.pairs(self.programs, self.sizes, count, self.key)
        for size, (lan, wan) in made.items():
            frames.write(self.capture(ENCRYPT, size), lan)
            frames.write(self.capture(DECRYPT, size), wan)
        self.octets = {size: sum(map(len, lan)) / len(lan) + frames.FCS for size, (lan, _) in made.items()}

    def capture(self, direction, size):
        return self.work / f"{direction}-{size}.pcap"

    def group(self, replay="none"):
        sa = {"spi": captures.OWN_SPI, "transform": "aes-128-gcm", "key": self.key, "mode": "tunnel", "direction": "both",
              "replay": replay, "sid": 16, "selectors": [{"src": "10.0.0.0/8", "dst": "10.0.0.0/8"}]}
        return {"name": "pktgen", "sas": [sa]}

    @contextlib.contextmanager
    def member(self, name, groups, *, jumbo=False, **options):
        """A member between the two ports of a generator: both, once packets can pass."""
        work, sockets = self.place(name)
        mtu = JUMBO_MTU if jumbo else MTU
        with load.Load(self.programs, work / "load", sockets, core=self.load_core, mtu=mtu, jumbo=jumbo) as generator:
            with Site(work / "gm", sockets, groups, core=self.worker_core, mtu=mtu, jumbo=jumbo, **options) as member:
                member.wait_until_it_answers()
                generator.wait_for_link()
                yield generator, member

    @contextlib.contextmanager
    def testpmd(self, name):
        """The same with dpdk-testpmd, which takes no jumbo frames from net_memif."""
        work, sockets = self.place(name)
        with load.Load(self.programs, work / "load", sockets, core=self.load_core, mtu=MTU) as generator:
            with load.Testpmd(work / "pmd", sockets, cores=(self.load_core, self.worker_core)) as pmd:
                pmd.wait_until_it_forwards()
                generator.wait_for_link()
                yield generator, pmd

    def place(self, name):
        work = self.work / name
        work.mkdir()
        return work, [work / socket for socket in SOCKETS]

    def highest(self, run):
        """The highest rate without loss; `run(rate, seconds)` makes a trial."""
        return search.highest(lambda rate: run(rate, self.trial_s), self.most, resolution=self.resolution, tries=self.tries,
                              confirm=lambda rate: run(rate, self.confirm_s))


class Site(Member):
    """A member whose ports are net_memif devices."""

    def __init__(self, work, sockets, groups, *, core, mtu, jumbo=False, wan=None, control=None, workers=None):
        work.mkdir(parents=True, exist_ok=True)
        if any("psk_file" in group for group in groups):
            secret(work / "gm.psk")
        lan = load.memif(0, "client", sockets[0], jumbo)
        wan = wan or load.memif(1, "client", sockets[1], jumbo)
        settings = {"cores": [core], "idle": "spin", "link_wait_ms": 0, "buffers": 65_535, **(workers or {})}
        eal = ["1024" if word == "512" else word for word in EAL]
        eal.append(f"--file-prefix=pktgen-{work.parent.name}-{work.name}-{os.getpid()}")
        super().__init__(work, configuration([lan, wan], groups, mtu=mtu, eal=eal, workers=settings, control=control),
                         "--log-format", "json")

    def has_sas(self):
        return {sa["spi"] for sa in self.ctl("sa", "list")["sas"]}


def registering(name, **more):
    """A group whose SAs come from the key server, and the [control] that its member takes."""
    group = {**GROUP, "key_servers": [KS], "local_id": f"{name}.example.net", "psk_file": "gm.psk", **more}
    return [group], {"listen": f"{ADDRESSES[name]}:18849"}
