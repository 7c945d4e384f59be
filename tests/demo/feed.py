"""Gives a member a capture as traffic that takes its time: through a pipe, at an even rate."""

import os
import threading
import time

from capture import HEADER, RECORD, Capture

INTERVAL_S = 0.004

# A worker that waits for a pipe does not look at what the control thread has decided since. A first burst of frames that
# policy has no say in (ethertype 0x88b5, for experiments) brings it up to date.
BURST = 32
FIRST = bytes.fromhex("ffffffffffff 020000000101 88b5").ljust(60, b"\0")


class Feed:
    """A pipe that a member reads as a capture file. As a context manager it ends its thread, whatever happened."""

    def __init__(self, source, pipe, times, seconds):
        self.source, self.times = source, times
        self.frames = BURST + times * sum(1 for _ in Capture(source))
        self.pipe, self.seconds = pipe, seconds
        self.may_begin, self.ended = threading.Event(), threading.Event()
        os.mkfifo(pipe, mode=0o600)
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.may_begin.set()
        # Opening it from both sides lets a thread go that still waits for a reader.
        os.close(os.open(self.pipe, os.O_RDWR | os.O_NONBLOCK))
        self.thread.join(timeout=5)

    def sent(self):
        """The frames, in their order."""
        yield from [FIRST] * BURST
        for _ in range(self.times):
            yield from Capture(self.source)

    def begin(self):
        self.may_begin.set()

    def run(self):
        content = self.source.read_bytes()
        try:
            with self.pipe.open("wb", buffering=0) as pipe:
                pipe.write(content[:HEADER])
                self.may_begin.wait()
                pipe.write((RECORD.pack(0, 0, len(FIRST), len(FIRST)) + FIRST) * BURST)
                self.feed(pipe, memoryview(content)[HEADER:])
        except BrokenPipeError:
            pass  # the member has ended; whoever watches it says why

    def feed(self, pipe, records):
        total, began, sent = self.times * len(records), time.monotonic(), 0
        while sent < total and not self.ended.is_set():
            due = min(total, int(total * (time.monotonic() - began) / self.seconds))
            while sent < due:
                at = sent % len(records)
                sent += pipe.write(records[at:min(len(records), at + due - sent)])
            time.sleep(INTERVAL_S)
