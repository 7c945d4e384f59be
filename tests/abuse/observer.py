"""Someone who sits between a member and its key server, hears everything and speaks in the name of either."""

import contextlib
import random
import struct
import time

from network import INFORMATIONAL, PUSH, Link, exchange

MAIN_MODE, ACK = 2, 35
INVALID_COOKIE = 4
ENCRYPTED = 1
HEADER = 28
# What a receiver's socket buffer surely takes in a millisecond.
AT_ONCE = 20


class Observer(Link):
    """All attributes may be set at any time; `loses_only` is an exchange type, or None for all of them."""

    def __init__(self, listen, key_server, seed=1):
        super().__init__(listen, key_server)
        self.heard = []
        self.loss, self.loses_only, self.lost_datagrams = 0.0, None, 0
        self.dice = random.Random(seed)

    def from_member(self, datagram, source):
        self.heard.append(datagram)
        if self.loses(datagram):
            self.member = source
        else:
            super().from_member(datagram, source)

    def from_ks(self, datagram, source):
        self.heard.append(datagram)
        if not self.loses(datagram):
            super().from_ks(datagram, source)

    def loses(self, datagram):
        lost = self.loses_only in (None, exchange(datagram)) and self.dice.random() < self.loss
        self.lost_datagrams += lost
        return lost

    def last(self, kind):
        """The last message of an exchange type that passed."""
        return next((datagram for datagram in reversed(self.heard) if exchange(datagram) == kind), None)

    def cookies(self):
        """Those of the phase 1 that was made last."""
        return next(datagram[:16] for datagram in reversed(self.heard)
                    if exchange(datagram) == MAIN_MODE and datagram[8:16] != bytes(8))

    def as_key_server(self, datagrams):
        return self.pour(self.to_member, self.member, datagrams)

    def as_member(self, datagrams):
        return self.pour(self.to_ks, self.ks, datagrams)

    def pour(self, sender, to, datagrams):
        """Sends them all, as fast as the other side surely takes them. How many there were."""
        sent = 0
        for datagram in datagrams:
            with contextlib.suppress(OSError):
                sender.sendto(datagram, to)
            sent += 1
            if sent % AT_ONCE == 0:
                time.sleep(0.001)
        return sent


def invalid_cookie(cookies):
    """An unprotected notification that a cookie is invalid (RFC 2408 section 3.14)."""
    notify = struct.pack(">BBHIBBH", 0, 0, 12 + 16, 2, 1, 16, INVALID_COOKIE) + cookies
    return cookies + struct.pack(">BBBBII", 11, 0x10, INFORMATIONAL, 0, 0, HEADER + len(notify)) + notify


def garbage(like, dice):
    """The header of a message with random octets behind it."""
    return like[:HEADER] + dice.randbytes(len(like) - HEADER)


def altered(like, dice):
    """A message with one octet changed, behind its header."""
    at = dice.randrange(HEADER, len(like))
    return like[:at] + bytes([like[at] ^ dice.randrange(1, 256)]) + like[at + 1:]


__all__ = ["ACK", "ENCRYPTED", "INFORMATIONAL", "PUSH", "Observer", "altered", "garbage", "invalid_cookie"]
