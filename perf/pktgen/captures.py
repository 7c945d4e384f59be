#!/usr/bin/env python3
"""Makes the captures that a generator replays: cleartext frames, and the same sealed by getvpn-gm itself.

    perf/pktgen/captures.py --bin target/release --out captures [--frames 8192] [--sizes 64,512,1518,imix]

writes for each size lan-SIZE.pcap and wan-SIZE.pcap, wan-flood.pcap (one good packet in sixteen, the others with unknown
SPIs), and sa.toml: the group that the member under test must have to open them. The key is drawn anew each time.
"""

import argparse
import os
import pathlib
import random
import secrets
import subprocess
import sys
import tempfile

import frames

# Nothing may be fragmented: the largest jumbo frame, sealed.
MTU = 9216
ONE_GOOD_IN = 16
SPI_AT = frames.ETHERNET + frames.IPV4
OWN_SPI = 0x00010001

SA = """[[group]]
name = "pktgen"
id = 2544

[[group.sa]]
spi = {spi:#010x}
transform = "{transform}"
key = "{key}"
mode = "tunnel"
direction = "both"
replay = "{replay}"
sid = {sid}
selectors = [{{ src = "10.0.0.0/8", dst = "10.0.0.0/8" }}]
"""

MEMBER = """[eal]
args = ["--no-huge", "-m", "512", "--no-pci", "--no-shconf", "--no-telemetry", "--file-prefix={prefix}",
        "--vdev=net_pcap0,rx_pcap=lan.pcap,tx_pcap=lan-out.pcap", "--vdev=net_pcap1,tx_pcap=wan.pcap"]

[workers]
cores = [{core}]
idle = "sleep"

[[link]]
name = "captures"
lan = "net_pcap0"
wan = "net_pcap1"
mtu = {mtu}

[control]
socket = "gm.sock"
state = "state"

"""


class Failed(Exception):
    """What went wrong, for whoever called the program."""


def group(key, *, transform="aes-128-gcm", replay="none", sid=1):
    """The group as a member's configuration has it. Who only opens has another `sid` than who seals."""
    return SA.format(spi=OWN_SPI, transform=transform, key=key, replay=replay, sid=sid)


def new_key(transform="aes-128-gcm"):
    """Cipher key and salt; this needs no integrity key."""
    lengths = {"aes-128-gcm": 20, "aes-256-gcm": 36, "chacha20-poly1305": 36}
    if transform not in lengths:
        raise Failed(f"no captures with {transform}; there are: {', '.join(lengths)}")
    return secrets.token_hex(lengths[transform])


def seal(programs, work, cleartext, key, transform="aes-128-gcm"):
    """What getvpn-gm makes of the frames, in their order."""
    gm = pathlib.Path(programs).resolve() / "getvpn-gm"
    if not os.access(gm, os.X_OK):
        raise Failed(f"{gm} is not there, or cannot be run: build it first, or say where it is with --bin")
    frames.write(work / "lan.pcap", cleartext)
    config = MEMBER.format(core=max(os.sched_getaffinity(0)), mtu=MTU, prefix=f"captures-{os.getpid()}")
    (work / "gm.toml").touch(mode=0o600)
    (work / "gm.toml").write_text(config + group(key, transform=transform))
    ended = subprocess.run([gm, "--config", "gm.toml", "--until-idle", "1"], cwd=work, stdin=subprocess.DEVNULL, timeout=300,
                           env={**os.environ, "RUNTIME_DIRECTORY": str(work)}, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True)
    if ended.returncode != 0:
        raise Failed(f"getvpn-gm ended with status {ended.returncode}:\n{ended.stdout.strip()}")
    sealed = frames.read(work / "wan.pcap")
    if len(sealed) != len(cleartext):
        raise Failed(f"of {len(cleartext)} frames getvpn-gm sent {len(sealed)}:\n{ended.stdout.strip()}")
    return sealed


def pairs(programs, sizes, count, key, transform="aes-128-gcm"):
    """For each size the cleartext frames and the sealed ones. All are sealed in one run, so that no IV comes twice."""
    cleartext = {size: frames.of_size(size, count) for size in sizes}
    with tempfile.TemporaryDirectory(prefix="getvpn-captures-") as work:
        sealed = seal(programs, pathlib.Path(work), [f for each in cleartext.values() for f in each], key, transform)
    return {size: (lan, sealed[n * count:(n + 1) * count]) for n, (size, lan) in enumerate(cleartext.items())}


def with_spi(packet, spi):
    """A sealed packet with another SPI."""
    return packet[:SPI_AT] + spi.to_bytes(4, "big") + packet[SPI_AT + 4:]


def unknown_spis(count, own, seed=1):
    dice = random.Random(seed)
    return [spi for spi in (dice.randrange(256, 1 << 32) for _ in range(count)) if spi != own]


def flood(sealed, one_good_in=ONE_GOOD_IN):
    """Sealed packets, and so many less one with other SPIs after each."""
    own = int.from_bytes(sealed[0][SPI_AT:SPI_AT + 4], "big")
    spis = iter(unknown_spis(len(sealed) * one_good_in, own))
    mixed = []
    for packet in sealed:
        mixed += [packet, *(with_spi(packet, next(spis)) for _ in range(one_good_in - 1))]
    return mixed


def parsed_sizes(text):
    sizes = []
    for word in text.split(","):
        if word != "imix" and not (word.isdecimal() and 64 <= int(word) <= frames.JUMBO):
            raise argparse.ArgumentTypeError(f"{word!r} is no size: 64 to {frames.JUMBO}, or imix")
        sizes.append(word if word == "imix" else int(word))
    return sizes


def parsed_count(text):
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of frames: 1 to 1000000")
    return int(text)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--bin", default="target/release", help="where getvpn-gm is; default %(default)s")
    arguments.add_argument("--out", type=pathlib.Path, required=True, help="the directory that they go to")
    arguments.add_argument("--frames", type=parsed_count, default=8192, help="in each capture; default %(default)s")
    arguments.add_argument("--sizes", type=parsed_sizes, default=[*frames.SIZES, frames.JUMBO, "imix"],
                           help="in octets on the wire, with the FCS; default all of RFC 2544, 9018 and imix")
    arguments.add_argument("--transform", default="aes-128-gcm", help="default %(default)s")
    given = arguments.parse_args()
    try:
        key = new_key(given.transform)
        made = pairs(given.bin, given.sizes, given.frames, key, given.transform)
        given.out.mkdir(parents=True, exist_ok=True)
        for size, (lan, wan) in made.items():
            frames.write(given.out / f"lan-{size}.pcap", lan)
            frames.write(given.out / f"wan-{size}.pcap", wan)
        smallest = made[given.sizes[0]][1]
        frames.write(given.out / "wan-flood.pcap", flood(smallest[:max(1, given.frames // ONE_GOOD_IN)]))
        # What the member under test seals must not have an IV of the captures: they had another sender ID.
        path = given.out / "sa.toml"
        path.touch(mode=0o600)
        path.chmod(0o600)
        path.write_text(group(key, transform=given.transform, sid=16))
    except (Failed, OSError) as error:
        print(f"captures.py: {error}", file=sys.stderr)
        return 1
    print(f"{given.out}: {', '.join(str(size) for size in given.sizes)}, {given.frames} frames each; wan-flood.pcap; sa.toml")
    return 0


if __name__ == "__main__":
    sys.exit(main())
