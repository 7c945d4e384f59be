"""The way between a member and its key server: a relay of UDP datagrams that can be cut, lose, double, hold back and replay
them. It sees no more than a router would: the header of an ISAKMP message, not what is inside."""

import select
import socket
import threading

INFORMATIONAL, PUSH = 5, 33


def exchange(datagram):
    """The exchange type of an ISAKMP message (RFC 2408 section 3.1)."""
    return datagram[18] if len(datagram) > 18 else None


class Link:
    """A relay at an address that the member takes for its key server's. All attributes may be set at any time."""

    def __init__(self, listen, key_server):
        self.address = listen
        host, port = listen.rsplit(":", 1)
        ks_host, ks_port = key_server.rsplit(":", 1)
        self.to_member = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.to_member.bind((host, int(port)))
        self.to_ks = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.to_ks.bind((host, int(port) + 1))
        self.ks = (ks_host, int(ks_port))
        self.member = None
        self.is_cut = False
        self.rekeys_to_lose = 0
        self.loses_rekeys_until_asked = False
        self.lost = 0
        self.copies = 1
        self.holds_rekeys = False
        self.held = []
        self.passed = []  # rekeys that got through
        self.lock = threading.Lock()
        self.waker, self.woken = socket.socketpair()
        self.thread = threading.Thread(target=self.relay, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.waker.close()
        self.thread.join(timeout=10)
        for each in (self.to_member, self.to_ks, self.woken):
            each.close()

    def relay(self):
        while True:
            ready, _, _ = select.select([self.to_member, self.to_ks, self.woken], [], [])
            if self.woken in ready:
                return
            with self.lock:
                for each in ready:
                    try:
                        datagram, source = each.recvfrom(65_536)
                    except OSError:  # an ICMP error about one that was sent before: the key server is away
                        continue
                    (self.from_member if each is self.to_member else self.from_ks)(datagram, source)

    def from_member(self, datagram, source):
        self.member = source
        if exchange(datagram) == INFORMATIONAL:
            self.loses_rekeys_until_asked = False
        if not self.is_cut:
            self.send(self.to_ks, datagram, self.ks)

    def from_ks(self, datagram, _):
        if self.is_cut or self.member is None:
            return
        if exchange(datagram) != PUSH:
            self.send(self.to_member, datagram, self.member)
        elif self.rekeys_to_lose or self.loses_rekeys_until_asked:
            self.rekeys_to_lose = max(0, self.rekeys_to_lose - 1)
            self.lost += 1
        elif self.holds_rekeys:
            self.held.append(datagram)
        else:
            self.deliver(datagram)

    def deliver(self, datagram):
        self.passed.append(datagram)
        for _ in range(self.copies):
            self.send(self.to_member, datagram, self.member)

    def release(self):
        """What was held back arrives, the latest first."""
        with self.lock:
            self.holds_rekeys = False
            while self.held:
                self.deliver(self.held.pop())

    def replay(self):
        """All rekeys that ever got through come once more."""
        with self.lock:
            for datagram in self.passed:
                self.send(self.to_member, datagram, self.member)

    @staticmethod
    def send(sender, datagram, to):
        try:
            sender.sendto(datagram, to)
        except OSError:  # likewise
            pass
