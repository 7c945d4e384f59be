"""Numbered packets into a member's LAN, and what of them came out of another member's: how many were lost, and for how
long nothing got through.

A burst of 32 every few milliseconds, since the device that takes them from the pipe waits for so many. When a packet came
out, the member itself says (its device stamps each frame by the CPU's clock); when it went in, the clock here does. What the
two clocks differ by, and the usual way through both members, is taken out by what the packets before the disturbance took."""

import contextlib
import os
import statistics
import struct
import threading
import time

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from member import wait_for

BURST = 32
EVERY_S = 0.004
NUMBER = struct.Struct(">Q")
EMPTY = bytes(Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01") / IP(src="10.1.0.1", dst="10.2.0.1")
              / UDP(sport=1, dport=2, chksum=0) / Raw(bytes(NUMBER.size)))
HEAD = bytes(8) + len(EMPTY).to_bytes(4, "little") * 2 + EMPTY[:-NUMBER.size]
# So long a burst has arrived whole before traffic counts as flowing.
STEADY_BURSTS = 8
# A packet waits in a member for its SA no longer than that (`[parking] age_ms`), and some more for it to get through.
WAITS_S = 1.3


class Traffic:
    """The stream, from when it is entered until it is left."""

    def __init__(self, sender, output):
        self.sender, self.output = sender, output
        self.sent = []  # when each burst was, in ns
        self.arrived = {}  # packet number -> when, in ns
        self.duplicates, self.place, self.forgotten = 0, 0, 0
        self.lock = threading.Lock()  # held while the sender is written to
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.flow, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join(timeout=10)

    def flow(self):
        due = time.monotonic()
        while not self.stopping.is_set():
            first = len(self.sent) * BURST
            frames = b"".join(HEAD + NUMBER.pack(number) for number in range(first, first + BURST))
            self.sent.append(time.time_ns())
            with contextlib.suppress(OSError, KeyError), self.lock:  # it has ended, and the next one is there soon
                write_all(self.sender().lan_in, frames)
            due = max(due + EVERY_S, time.monotonic() - EVERY_S)
            time.sleep(max(0, due - time.monotonic()))

    def next(self):
        """The number of the first packet that was not sent yet."""
        return len(self.sent) * BURST

    def read(self):
        """Takes in what has come out since."""
        with self.output.open("rb") as file:
            file.seek(self.place)
            data = file.read()
        if self.place == 0:
            if len(data) < 24:
                return
            nanoseconds = data[:4] == b"\x4d\x3c\xb2\xa1"
            self.scale = 1 if nanoseconds else 1000
            self.place = at = 24
            base = 0
        else:
            at, base = 0, self.place
        while at + 16 <= len(data):
            seconds, fraction, length, _ = struct.unpack_from("<4I", data, at)
            if at + 16 + length > len(data):
                break
            (number,) = NUMBER.unpack_from(data, at + 16 + len(EMPTY) - NUMBER.size)
            if number in self.arrived:
                self.duplicates += 1
            self.arrived[number] = seconds * 1_000_000_000 + fraction * self.scale
            at += 16 + length
        self.place = base + at

    def starts_anew(self):
        """The receiving member, and with it its output, has been started again."""
        self.place = 0

    def has(self, burst):
        return all(number in self.arrived for number in range(burst * BURST, (burst + 1) * BURST))

    def wait_until_steady(self, seconds, *processes):
        """Until some bursts in a row, all of them sent from now on, have come out whole. Returns the number of the first
        packet after them."""
        start = len(self.sent)

        def steady():
            self.read()
            for end in range(len(self.sent), start + STEADY_BURSTS - 1, -1):
                if all(self.has(burst) for burst in range(end - STEADY_BURSTS, end)):
                    return end * BURST

        return wait_for(steady, "traffic to flow again", seconds, *processes)

    def usual(self, before):
        """What packets before this one usually took."""
        bursts = range(max(self.forgotten, before // BURST - 60), before // BURST)
        took = [self.arrived[b * BURST] - self.sent[b] for b in bursts if b * BURST in self.arrived]
        return statistics.median(took)

    def outcome(self, first, last, usual):
        """Of the packets from `first` to `last`: how many are lost, and the longest time, in ms, that it took at any moment
        until a packet sent then or later had got through, less what it usually takes."""
        deadline = time.monotonic() + WAITS_S
        missing = set(range(first, last)) - self.arrived.keys()
        while missing and time.monotonic() < deadline:
            time.sleep(0.02)
            self.read()
            missing -= self.arrived.keys()
        good, stall = None, 0
        for number in range(last - 1, first - 1, -1):
            at = self.arrived.get(number)
            good = at if good is None or (at is not None and at < good) else good
            if good is not None:
                stall = max(stall, good - self.sent[number // BURST])
        return max(0, stall - usual) / 1e6, len(missing)

    def forget(self, before):
        """What was before this packet is of no interest any more."""
        keep = max(0, before // BURST - 100)
        for number in range(self.forgotten * BURST, keep * BURST):
            self.arrived.pop(number, None)
        self.forgotten = max(self.forgotten, keep)


def write_all(pipe, data):
    while data:
        data = data[os.write(pipe, data):]
