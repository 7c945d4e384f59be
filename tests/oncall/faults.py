"""Ten faults, each prepared on real processes, with what an engineer on call is told, and the commands that find it."""

import contextlib
import dataclasses
import os
import pathlib
import struct
import subprocess
import sys

from scapy.layers.inet import ICMP, IP, UDP, fragment
from scapy.utils import checksum

from clocks import clock
from keyserver import KS, NETWORK, KeyServer, RegisteringMember, ks_configuration
from member import EAL, Member, configuration, write_frames
from network import Link
from oracle import ETHERNET, OracleSa, group
from pki import LONG_AGO, Pki

# A registration that leads to nothing is given up after 2 s instead of 20.
SOON = {"recovery": {"give_up_s": 2}}


@dataclasses.dataclass
class Fault:
    """What is wrong, and how it is found. `commands` are (whose control socket, words); the last one shows `tells`, a
    regular expression."""

    name: str
    told: str
    play: object  # work -> context manager that gives the processes by name, the fault in effect
    commands: list
    tells: str
    means: str
    remedy: str
    needs_root: bool = False


@contextlib.contextmanager
def wrong_psk(work):
    with KeyServer(work) as ks, RegisteringMember(work, "b", psk="another key", group=SOON) as gm:
        ks.wait_until_it_answers()
        gm.wait_until_it_answers()
        gm.wait_until(lambda: gm.events("registration_failed"), "a failed registration")
        ks.wait_for(lambda: ks.events("message_refused"), "the key server to refuse")
        yield {"gm": gm, "ks": ks}


@contextlib.contextmanager
def port_down(work):
    def member(name, role):
        own = work / name
        own.mkdir()
        wan = f"net_memif0,role={role},socket={work}/wan.sock,socket-abstract=no"
        eal = [*EAL, f"--file-prefix=oncall-{name}-{os.getpid()}"]
        return Member(own, configuration(["net_null0,no-rx=1", wan], [group("finance", OracleSa(0x5001))], eal=eal,
                                         workers={"link_wait_ms": 0}))

    def wan_up(gm):
        return gm.ctl("status")["links"][0]["wan_up"]

    with member("here", "server") as gm:
        gm.wait_until_it_answers()
        with member("there", "client") as far:
            far.wait_until_it_answers()
            gm.wait_until(lambda: wan_up(gm), "the cable")
        gm.wait_until(lambda: not wan_up(gm), "the port to be seen down")
        yield {"gm": gm}


@contextlib.contextmanager
def expired_certificate(work):
    pki = Pki(work / "pki")
    server = {"local_id": "ks.example.net", **pki.issue("ks", "ks.example.net"), **pki.trust()}
    config = ks_configuration(server=server, peers=[{"subject": "b.example.net"}])
    own = {"key_server_ids": ["ks.example.net"], **pki.issue("b", "b.example.net", validity=LONG_AGO), **pki.trust(), **SOON}
    with KeyServer(work, config) as ks, RegisteringMember(work, "b", groups=[own]) as gm:
        ks.wait_until_it_answers()
        gm.wait_until_it_answers()
        gm.wait_until(lambda: gm.events("registration_failed"), "a failed registration")
        yield {"gm": gm, "ks": ks}


@contextlib.contextmanager
def replay_storm(work):
    sa = OracleSa(0x5002, replay="counter")
    with storm(work, sa, wan=[sa.seal(IP(**sa.addresses(4)) / UDP() / b"once is enough") for _ in range(64)]) as gm:
        gm.wait_until(lambda: gm.ctl("counters")["drops"]["replay_duplicate"] + gm.ctl("counters")["drops"]["replay_stale"],
                      "replays")
        yield {"gm": gm}


@contextlib.contextmanager
def mtu_black_hole(work):
    sa = OracleSa(0x5003)
    # A router on the way, whose next link takes 1,400 octets, says so to the host whose packet it was.
    esp = sa.seal(IP(**sa.addresses(4), flags="DF") / UDP() / bytes(1400))[IP]
    here, there = sa.addresses(4)["src"], sa.addresses(4)["dst"]
    too_big = [ETHERNET / IP(src="10.1.255.1", dst=here) / ICMP(type=3, code=4, nexthopmtu=1400) / bytes(esp)[:28]] * 64
    assert esp.dst == there
    with storm(work, sa, wan=too_big) as gm:
        gm.wait_until(lambda: gm.ctl("counters")["drops"]["path_mtu"], "the router's complaints")
        yield {"gm": gm}


@contextlib.contextmanager
def wrong_selector(work):
    sa = OracleSa(0x5004)
    elsewhere = IP(src="10.99.0.1", dst="10.1.0.2")
    with storm(work, sa, wan=[sa.seal(elsewhere / UDP() / b"from a net that policy does not name") for _ in range(64)]) as gm:
        gm.wait_until(lambda: gm.ctl("counters")["drops"]["selectors"], "packets outside the selectors")
        yield {"gm": gm}


@contextlib.contextmanager
def shared_core(work):
    sa = OracleSa(0x5005)
    lan = [ETHERNET / IP(**sa.addresses(4)) / UDP() / bytes([n]) for n in range(64)]
    core = sorted(os.sched_getaffinity(0))[-1]
    with storm(work, sa, lan=lan, idle="spin") as gm:
        code = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"
        other = subprocess.Popen([sys.executable, "-c", code, str(core)])
        try:
            gm.wait_until(lambda: preempted(gm) > 50, "the worker to lose its core to it")
            yield {"gm": gm}
        finally:
            other.kill()
            other.wait(timeout=10)


def preempted(gm):
    """How often the member's busiest thread was taken off its core."""
    tasks = pathlib.Path(f"/proc/{gm.process.pid}/task").glob("*/status")
    lines = [line for task in tasks for line in task.read_text().splitlines() if line.startswith("nonvoluntary_ctxt_switches")]
    return max(int(line.split()[1]) for line in lines)


@contextlib.contextmanager
def lost_rekeys(work):
    with KeyServer(work) as ks, Link(f"{NETWORK}.20:18849", KS) as link:
        ks.wait_until_it_answers()
        with RegisteringMember(work, "b", key_servers=[link.address]) as gm:
            gm.wait_until_it_answers()
            gm.wait_until_it_has(bool)
            # No rekey gets through, and nothing that the member says either.
            link.is_cut = True
            ks.ctl("rekey", "finance")
            ks.wait_for(lambda: ks.events("rekey_ended"), "the last retransmission of the rekey", 60)
            yield {"gm": gm, "ks": ks}


@contextlib.contextmanager
def full_mempool(work):
    # Transport mode waits for whole datagrams: of these the rest never comes.
    sa = OracleSa(0x5006, mode="transport")
    first = bytes(ETHERNET / fragment(IP(**sa.addresses(4), id=1) / UDP() / bytes(1000), 600)[0])
    firsts = [with_id(first, n) for n in range(1 << 16)]
    with storm(work, sa, lan=firsts, again=False, buffers=1024) as gm:
        gm.wait_until(lambda: any(p["rx_no_buffer"] for p in gm.ctl("counters")["ports"])
                      or gm.ctl("counters")["drops"]["no_buffers"], "buffers to run out")
        yield {"gm": gm}


def with_id(frame, number):
    """The frame with another IPv4 identification."""
    header = frame[14:18] + struct.pack(">H", number) + frame[20:24] + bytes(2) + frame[26:34]
    return frame[:14] + header[:10] + struct.pack(">H", checksum(header)) + header[12:] + frame[34:]


@contextlib.contextmanager
def clock_step(work):
    file = work / "clock"
    sa = OracleSa(0x5007)
    with clock(file):
        gm = Member(work, configuration(["net_null0,no-rx=1", "net_null1,no-rx=1"], [group("finance", sa)]))
    with gm:
        gm.wait_until_it_answers()
        file.write_text("+5h\n")
        gm.wait_until(lambda: gm.ctl("status").get("clock_step"), "the step to be seen")
        yield {"gm": gm}


@contextlib.contextmanager
def storm(work, sa, lan=(), wan=(), again=True, **workers):
    """A member whose one port is offered frames, the same again and again unless they are many."""
    sides = {"lan": lan, "wan": wan}
    devices = []
    for n, (side, frames) in enumerate(sides.items()):
        if frames:
            write_frames(work / f"{side}-in.pcap", frames)
            devices.append(f"net_pcap{n},rx_pcap={side}-in.pcap,infinite_rx={int(again)},tx_pcap=/dev/null")
        else:
            devices.append(f"net_null{n},no-rx=1")
    with Member(work, configuration(devices, [group("finance", sa)], workers=workers)) as gm:
        gm.wait_until_it_answers()
        yield gm


MEMBER, KEY_SERVER = "gm", "ks"

FAULTS = [
    Fault("wrong pre-shared key", "A new site carries nothing since it was put in.", wrong_psk,
          [(MEMBER, ["status"]), (KEY_SERVER, ["drops"])], r"pre-shared-key +[1-9]",
          "The member's registration fails in phase 1, and what the key server says in the clear is only a hint. The key server "
          "knows: the keys of the two differ, and the address tells which member's.",
          "Put the same key into `psk_file` at both; the member tries again by itself within a minute, or at once after `resync`."),
    Fault("port down", "A site has gone dark; the other sites see each other.", port_down,
          [(MEMBER, ["status"])], r"net_memif0\s+down",
          "The WAN port has no link: cable, optics, or the switch's port.",
          "Mend the link. The member needs nothing: it goes on when the port does."),
    Fault("expired certificate", "A site cannot register after its restart; yesterday it could.", expired_certificate,
          [(MEMBER, ["status"]), (MEMBER, ["doctor"])], r"red +certificate of finance +expired",
          "The key server refuses the member's certificate; the member's own `doctor` says that it has expired.",
          "Issue a new one and name it in gm.toml, or put it where the old one was; then `reload`. The metric "
          "`getvpn_gm_certificate_expiry_timestamp_seconds` warns weeks ahead."),
    Fault("replay storm", "One application stutters; the link is twice as full as usual.", replay_storm,
          [(MEMBER, ["drops"])], r"replay_(duplicate|stale) +[1-9]",
          "Packets come again that were there already: a loop in the WAN, or somebody replays them. The last offender has the "
          "addresses and the SPI.",
          "Find the loop (a bridge without spanning tree, a mirror port that feeds back). Hosts get each packet once, whatever comes."),
    Fault("MTU black hole", "ssh works, downloads hang.", mtu_black_hole,
          [(MEMBER, ["drops"])], r"path_mtu +[1-9]",
          "Packets of full size do not fit a link between the members once they are encrypted. The router there says so to the host "
          "that sent the packet inside, which knows nothing of ESP: so nobody sends less.",
          "Set `mtu` of the link to what the path carries, on all members; hosts then learn it from their member."),
    Fault("wrong selector", "Traffic from one new subnet does not arrive, although it is encrypted.", wrong_selector,
          [(MEMBER, ["drops"]), (MEMBER, ["policy", "10.99.0.1", "10.1.0.2"])], r"no rule is for it",
          "Authentic packets come in an SA whose selectors do not name their addresses: the sender's policy is wider than this "
          "member's. `policy` says that no rule here is for them.",
          "Add the subnet to the group's selectors at the key server, and `reload` there; with manual SAs, at each member."),
    Fault("core shared with another process", "Latency is up and packets are lost at random, at half of the usual load.",
          shared_core, [(MEMBER, ["doctor"])], r"shared cores +.* takes \d+ % of core",
          "Another process runs on a worker's core, and each time the kernel gives it a turn the queue of the port runs over.",
          "Move it away: `isolcpus` or `hugepages/isolate`, and `taskset` for what runs already."),
    Fault("lost rekeys", "One site loses all traffic once an hour, for a moment.", lost_rekeys,
          [(KEY_SERVER, ["sync"]), (KEY_SERVER, ["member", "list", "finance"])], r"b\.example\.net.* behind",
          "The key server's rekeys to this member are not acknowledged: UDP 848 from the key server does not reach it, often a "
          "firewall that forgets the flow. Packets with the new SPI make the member ask, which heals it each time.",
          "Let UDP 848 through in both directions, or set `dpd_interval_s` below the firewall's time-out."),
    Fault("full mempool", "Packets are lost although the worker is idle most of the time.", full_mempool,
          [(MEMBER, ["doctor"])], r"red +buffers",
          "All packet buffers are in use: here by fragments that wait for the rest of their datagrams.",
          "Raise `[workers] buffers` (and the hugepages), and find out with `trace` who sends fragments without end."),
    Fault("clock step", "After the site's power cut certificates are refused.", clock_step,
          [(MEMBER, ["doctor"])], r"clock +was set forward",
          "The wall clock was stepped by hours while the member ran. SAs do not care, their lifetimes run by a clock that nobody "
          "steps; certificates, and times in logs, do.",
          "Set up time synchronisation (chrony), and look at `timedatectl`."),
]
