"""`getvpnctl top` in a terminal of its own against a running member and a running key server: it shows what passes, ends
by q, Control-C and SIGTERM, and leaves the terminal as it found it."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest
from scapy.layers.inet import IP, UDP

from keyserver import KeyServer
from member import BINARIES, Member, configuration, write_frames
from oracle import ETHERNET, OracleSa, group

SA = OracleSa(0x7000)
NOBODYS = OracleSa(0x7001, net=2)
SIZE = (40, 120)  # rows, columns
LEAVES_ALTERNATE_SCREEN = "\x1b[?1049l"


class Top:
    """getvpnctl top in a terminal, with what stands on its screen."""

    def __init__(self, work, socket):
        self.terminal, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE, 0, 0))
        self.before = termios.tcgetattr(theirs)
        self.theirs = theirs  # kept open, to see how the terminal is left
        self.process = subprocess.Popen([BINARIES / "getvpnctl", "--socket", socket, "top"], cwd=work, stdin=theirs,
                                        stdout=theirs, stderr=subprocess.PIPE, env={**os.environ, "TERM": "xterm-256color"})
        self.drawn = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=10)
        self.process.stderr.close()
        os.close(self.theirs)
        os.close(self.terminal)

    def read(self, seconds=0.1):
        while select.select([self.terminal], [], [], seconds)[0]:
            self.drawn += os.read(self.terminal, 65536).decode(errors="replace")
            seconds = 0

    def screen(self):
        """What stands where, after all that was drawn: it moves the cursor and writes, and never scrolls."""
        rows = [[" "] * SIZE[1] for _ in range(SIZE[0])]
        row = column = 0
        for place, text in re.findall(r"\x1b\[([0-9;?]*[a-zA-Z])|([^\x1b]+)", self.drawn):
            if place.endswith("H"):
                row, column = (int(n or 1) - 1 for n in (place[:-1].split(";") + [""])[:2])
            elif place == "2J":
                rows = [[" "] * SIZE[1] for _ in range(SIZE[0])]
            for character in text:
                if row < SIZE[0] and column < SIZE[1]:
                    rows[row][column] = character
                column += 1
        return "\n".join("".join(row).rstrip() for row in rows)

    def wait_for(self, *patterns, seconds=20):
        deadline = time.monotonic() + seconds
        while not all(re.search(pattern, self.screen()) for pattern in patterns):
            assert self.process.poll() is None, self.process.stderr.read()
            assert time.monotonic() < deadline, f"not drawn: {patterns}\n{self.screen()}"
            self.read()

    def ended(self):
        """The exit status; the terminal must be as it was before."""
        status = self.process.wait(timeout=10)
        self.read()
        assert LEAVES_ALTERNATE_SCREEN in self.drawn
        assert termios.tcgetattr(self.theirs) == self.before
        return status


@pytest.fixture(scope="module")
def member(tmp_path_factory):
    work = tmp_path_factory.mktemp("top")
    write_frames(work / "lan-in.pcap", [ETHERNET / IP(**SA.addresses(4)) / UDP() / bytes(100)] * 8)
    write_frames(work / "wan-in.pcap", [SA.seal(IP(**SA.addresses(4)) / UDP()), NOBODYS.seal(IP(**NOBODYS.addresses(4)))])
    config = configuration(["net_pcap0,rx_pcap=lan-in.pcap,infinite_rx=1", "net_pcap1,rx_pcap=wan-in.pcap,infinite_rx=1"],
                           [group("main", SA)])
    with Member(work, config) as running:
        running.wait_until_it_answers()
        yield running


@pytest.mark.parametrize("end", [b"q", b"\x1b", b"\x03"], ids=["q", "escape", "control-c"])
def test_a_member_is_shown_until_a_key_ends_it(member, end):
    with Top(member.work, "gm.sock") as top:
        # Rates need a second answer; then packets pass both ways, and one in two from the WAN is nobody's.
        top.wait_for("getvpn-gm", r"on core \d+", "unknown_spi", "0x00007000", r"[1-9][\d.]* ?[kM]? ?packets/s", "bit/s")
        os.write(top.terminal, end)
        assert top.ended() == 0


def test_a_signal_ends_it_with_the_terminal_as_it_was(member):
    with Top(member.work, "gm.sock") as top:
        top.wait_for("getvpn-gm")
        top.process.send_signal(signal.SIGTERM)
        assert top.ended() == 0


def test_a_key_server_is_shown_and_its_end_is_said(tmp_path):
    with KeyServer(tmp_path) as ks:
        ks.wait_until_it_answers()
        with Top(tmp_path, "ks.sock") as top:
            top.wait_for("getvpn-ks", "finance", "requests and rekeys", "registrations", "members, 0")
            ks.end()
            top.wait_for("no answer")
            os.write(top.terminal, b"q")
            assert top.ended() == 0


@pytest.mark.parametrize(("arguments", "status", "says"), [
    (["top"], 2, "standard output is none"),
    (["--json", "top"], 2, "neither --json nor --watch"),
    (["--watch", "1", "top"], 2, "neither --json nor --watch"),
])
def test_without_a_terminal_it_says_what_there_is_instead(member, arguments, status, says):
    asked = subprocess.run([BINARIES / "getvpnctl", "--socket", "gm.sock", *arguments], cwd=member.work, capture_output=True,
                           timeout=10, text=True)
    assert (asked.returncode, asked.stdout) == (status, "") and says in asked.stderr
