"""Unknown SPIs at the full rate that one core can receive: a file of good and forged packets that goes round and round.

        file of a's sealed packets and forged ones --infinite_rx--> WAN  member "b"  LAN --> nothing
"""

import contextlib
import os
import random
import time

from keyserver import ADDRESSES, GROUP, KS, KeyServer, events, open_pipe, secret
from member import EAL, Member, configuration, read_frames, wait_for, write_frames

from insider import marked_spis
from row import at_least, at_most, joined, resident

# In the file: one packet in sixteen is good.
FORGED = 30_720
GOOD = 2_048
PLAUSIBLE_PER_S, PLAUSIBLE_AT_ONCE = 20, 32
IMPLAUSIBLE_PER_S, IMPLAUSIBLE_AT_ONCE = 1, 2
PACKETS = 64


class Site(Member):
    """A registered member between two devices of the test's choice."""

    def __init__(self, work, name, lan, wan, workers=None):
        own = work / name
        own.mkdir(exist_ok=True)
        secret(own / "gm.psk")
        group = {**GROUP, "key_servers": [KS], "local_id": f"{name}.example.net", "psk_file": "gm.psk", "replay": "none"}
        config = configuration([lan, wan], [group], control={"listen": f"{ADDRESSES[name]}:18849"},
                               workers={"link_wait_ms": 0, **(workers or {})},
                               eal=[*EAL, f"--file-prefix=abuse-{name}-{os.getpid()}"])
        super().__init__(own, config, "--log-format", "json")

    def has_sas(self):
        return {sa["spi"] for sa in self.ctl("sa", "list")["sas"]}


def sealed_packets(work, frame):
    """What member "a" makes of a frame with the group's SA."""
    own = work / "a"
    own.mkdir(exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkfifo(own / "lan-in")
    with Site(work, "a", "net_pcap0,rx_pcap=lan-in", "net_pcap1,tx_pcap=wan-out.pcap") as a:
        lan = open_pipe(own / "lan-in", a)
        a.wait_until_it_answers()
        a.wait_until(a.has_sas, "its SAs")

        def sealed():
            os.write(lan, (bytes(8) + len(frame).to_bytes(4, "little") * 2 + frame) * PACKETS)
            return a.ctl("counters")["encrypted"] >= PACKETS

        a.wait_until(sealed, "packets to be sealed")
        os.close(lan)
        assert a.end().status == 0
    return read_frames(own / "wan-out.pcap")


def forged(frame, spi, source=None):
    """A sealed packet with another SPI, and another source if one is given; the IPv4 checksum follows."""
    spi_at = 14 + 20
    packet = bytearray(frame)
    packet[spi_at:spi_at + 4] = spi.to_bytes(4, "big")
    if source is not None:
        packet[26:30] = source.to_bytes(4, "big")
        packet[24:26] = bytes(2)
        total = sum(int.from_bytes(packet[at:at + 2], "big") for at in range(14, 34, 2))
        total = (total & 0xffff) + (total >> 16)
        packet[24:26] = (0xffff - (total & 0xffff) - (total >> 16)).to_bytes(2, "big")
    return bytes(packet)


def mixture(sealed, spis, addresses, dice):
    """Good packets and forged ones, shuffled."""
    sources = [None] if addresses == 1 else [dice.randrange(0x0a010000, 0x0a01ffff) for _ in range(addresses)]
    frames = [sealed[n % len(sealed)] for n in range(GOOD)]
    frames += [forged(sealed[0], spis[n % len(spis)], dice.choice(sources)) for n in range(FORGED)]
    dice.shuffle(frames)
    return frames


def random_spis(dice, marked, own):
    known = {*marked, own}
    spis = []
    while len(spis) < FORGED:
        spi = dice.randrange(256, 1 << 32)
        if spi not in known:
            spis.append(spi)
    return spis


def flood(work, *, plausible, addresses, seconds, frame):
    """The rows of one kind of flood."""
    work.mkdir(parents=True, exist_ok=True)
    dice = random.Random(1)
    name = f"{'plausible' if plausible else 'random'} unknown SPIs from {'one address' if addresses == 1 else 'many'}"
    with contextlib.ExitStack() as stack:
        ks = stack.enter_context(KeyServer(work)).wait_until_it_answers()
        sealed = sealed_packets(work, frame)
        own = int.from_bytes(sealed[0][34:38], "big")
        marked = marked_spis(work, 65_535)
        spis = [spi for spi in marked if spi != own] if plausible else random_spis(dice, marked, own)
        (work / "b").mkdir(exist_ok=True)
        write_frames(work / "b" / "wan-in.pcap", mixture(sealed, dice.sample(spis, FORGED), addresses, dice))
        b = stack.enter_context(Site(work, "b", "net_null0,no-rx=1", "net_pcap1,rx_pcap=wan-in.pcap,infinite_rx=1",
                                     {"buffers": 65_536}))
        b.wait_until_it_answers()
        b.wait_until(b.has_sas, "its SAs although it is flooded")
        wait_for(lambda: b.ctl("counters")["decrypted"], "good traffic", 10, b)
        # Until its first registration it could not tell SPIs by their mark; what it asked for until then is over soon.
        wait_for(lambda: b.ctl("sync")["groups"][0]["registered"]["ago_s"] >= 3, "a moment in step", 10, b)
        return measure(name, ks, b, f"{own:#010x}", plausible, seconds)


def measure(name, ks, b, own, plausible, seconds):
    asked_before = b.ctl("sync")["groups"][0]["recovery"]["invalid_spi_sent"]
    memory_before, ks_before = resident(b.process), resident(ks.process)
    lines_before = len(events(b.log))
    began = time.monotonic()
    taken = opened = calm_s = 0
    losses = []
    while time.monotonic() < began + seconds:
        before, calm = b.ctl("counters"), time.monotonic()
        # Rarely enough that one SPI may be asked for so often.
        wait_for(lambda: time.monotonic() >= calm + max(2.0, seconds / 20), "the next loss", seconds + 5, b, ks)
        after = b.ctl("counters")
        taken, opened = taken + after["rx"] - before["rx"], opened + after["decrypted"] - before["decrypted"]
        calm_s += time.monotonic() - calm
        losses.append(lose(b, own))
    took = time.monotonic() - began
    sent = b.ctl("sync")["groups"][0]["recovery"]["invalid_spi_sent"] - asked_before
    memory, ks_memory = resident(b.process), resident(ks.process)
    share = 100 * opened / (taken * GOOD / (GOOD + FORGED))
    # The lost SA is asked for in any case.
    limit = IMPLAUSIBLE_AT_ONCE + IMPLAUSIBLE_PER_S * took + 3 * len(losses)
    if plausible:
        limit += PLAUSIBLE_AT_ONCE + PLAUSIBLE_PER_S * took
    lines = (len(events(b.log)) - lines_before) / took
    return [
        at_least(name, f"good packets opened, of {taken / calm_s / 1e6:.2f} M packets a second, one in sixteen good", share, 95,
                 "{:.1f} %"),
        at_most(name, f"INVALID-SPI sent in {took:.0f} s", sent, limit),
        joined(at_most(name, "member grows by", memory - memory_before, 4096, "{:,.0f} KiB"),
               at_most(name, "key server by", ks_memory - ks_before, 4096, "{:,.0f} KiB")),
        at_most(name, f"an SA deleted meanwhile is back, longest of {len(losses)}", max(losses), 1000, "{:,.0f} ms"),
        at_most(name, "lines in the log a second", lines, 25, "{:.1f}"),
    ]


def lose(b, own):
    """Deletes the SA that the good packets have; milliseconds until it is back, as getvpnctl sees it."""
    b.ctl("sa", "delete", own)
    began = time.monotonic()
    wait_for(lambda: own in b.has_sas(), "the lost SA", 30, b)
    return (time.monotonic() - began) * 1000
