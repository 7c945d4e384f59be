"""Cause 14: the wall clock of a daemon is stepped by hours while it runs, forth and back. libfaketime lies to that daemon
alone; the machine's clock stays as it is."""

import contextlib
import datetime
import glob
import os
import time

from keyserver import KeyServer
from scene import Row, Scene

HOURS = 5
LIBRARY = "/usr/lib/*/faketime/libfaketimeMT.so.1"


@contextlib.contextmanager
def clock(file):
    """Who is started meanwhile takes the time from this file: how much it is off."""
    libraries = glob.glob(LIBRARY)
    assert libraries, f"{LIBRARY} is missing: the Debian package faketime has it"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("+0\n")
    lies = {"LD_PRELOAD": libraries[0], "FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    os.environ.update(lies)
    yield
    for name in lies:
        del os.environ[name]


def key_server(work, rounds):
    file = work / "clock"

    def start():
        with clock(file):
            return KeyServer(work, config=None)

    with contextlib.ExitStack() as stack:
        s = Scene(work, stack, key_server=start)
        yield from stepped(s, lambda: s.ks, file, rounds)


def member(work, rounds):
    file = work / "clock"

    class WithItsOwnClock(Scene):
        def start(self, name):
            with clock(file) if name == "b" else contextlib.nullcontext():
                return super().start(name)

    with contextlib.ExitStack() as stack:
        s = WithItsOwnClock(work, stack)
        yield from stepped(s, lambda: s.b, file, rounds)


def stepped(s, whose, file, rounds):
    """The clock is stepped; then there is a rekey, and an SA is lost."""
    for n in range(rounds):
        hours = HOURS * (1, 0, -1, 0)[n % 4]
        with s.round() as result:
            file.write_text(f"{hours:+}h\n")
            registrations = wait_until_it_shows(s, whose(), hours)
            spi = s.rekey()
            s.wait_until_all_use(spi)
            s.b.ctl("sa", "delete", spi)
            s.b.wait_until_it_has(lambda spis: spi in spis)
        result.registrations -= registrations
        for each in (s.a, s.b):
            each.wait_until_it_has(lambda spis: spis == {spi}, "the old SA to end")
        yield result


def wait_until_it_shows(s, process, hours):
    """Until the daemon's own log has the stepped time. What makes it write is a registration that nobody needs: how many of
    them it took is returned."""
    count = 0

    def shows():
        nonlocal count
        registered = len(s.b.events("registered"))
        s.b.ctl("resync", "finance")
        s.b.wait_until(lambda: len(s.b.events("registered")) > registered, "a registration")
        count += 1
        stamp = datetime.datetime.fromisoformat(process.events()[-1]["timestamp"])
        off = stamp - datetime.datetime.now(datetime.timezone.utc)
        return abs(off - datetime.timedelta(hours=hours)) < datetime.timedelta(minutes=10) or time.sleep(0.2)

    s.wait_for(shows, f"a clock that is {hours} h off")
    return count


BOUND = "one round trip: lifetimes run by a clock that nobody steps"
ROWS = [
    Row("14 key server", f"the key server's clock is stepped by {HOURS} h; then an SA is lost", "the next packet", BOUND,
        key_server, 4),
    Row("14 member", f"a member's clock is stepped by {HOURS} h; then an SA is lost", "the next packet", BOUND, member, 4),
]
