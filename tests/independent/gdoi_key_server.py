"""A key server of another make, for one group with pre-shared keys: registrations, rekeys to each member, answers to
INVALID-SPI. By hand from RFC 6407, without any code of the project.
"""

import os
import socket
import struct
import threading

from gdoi_build import (ID_IPV4, INVALID_SPI, RekeySa, TrafficSa, identity, key_download, payloads, security_association,
                        sender_ids)
from gdoi_messages import ACK_BITS, MAIN_MODE, PULL, PUSH_ACK, prf
from gdoi_payloads import (DELETE, GAP, HASH, HEADER_LEN, ID, KD, NONCE, NOTIFY, SA, SEQ, Cursor, Header, Malformed,
                           attributes, chain)
from gdoi_session import INFORMATIONAL, Responder, content


class KeyServer(threading.Thread):
    """Serves until it is closed. `asked`, `acknowledged` and `failures` say what came."""

    def __init__(self, address, *, psk, group, sas):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(0.1)
        self.socket.bind(address)
        self.address = socket.inet_aton(address[0])
        self.psk, self.group = psk, group
        self.sas = {sa.spi: sa for sa in sas}
        self.kek = RekeySa(self.address)
        self.responders = {}  # initiator's cookie -> Responder
        self.pulls = {}  # message ID -> (Ni, Nr)
        self.answers = {}  # datagram -> what was answered: it may come again
        self.members = set()
        self.next_sender_id = 1
        self.registrations, self.asked, self.acknowledged, self.failures = 0, [], [], []
        self.closing = threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.closing.set()
        self.join()
        self.socket.close()

    def run(self):
        while not self.closing.is_set():
            try:
                octets, sender = self.socket.recvfrom(65_535)
            except TimeoutError:
                continue
            try:
                if octets not in self.answers:
                    self.answers[octets] = self._answer(octets, sender)
                if self.answers[octets]:
                    self.socket.sendto(self.answers[octets], sender)
            except (Malformed, KeyError, ValueError) as error:
                self.failures.append(repr(error))

    def rekey(self, *, deleted=()):
        """A PUSH of all SAs to each member."""
        gone = [(DELETE, struct.pack(">IBBH", 2, 1, 4, len(deleted)) + b"".join(deleted))] if deleted else []
        policy = security_association(None, self.sas.values())
        keys = key_download([sa.packet() for sa in self.sas.values()])
        number = struct.pack(">I", self.kek.sequence + 1)
        push = self.kek.push((SEQ, number), *gone, (SA, policy), (KD, keys))
        for member in self.members:
            self.socket.sendto(push, member)
        return self.kek.sequence

    def roll_kek(self):
        """A PUSH under the present Rekey SA that brings another one."""
        old, self.kek = self.kek, RekeySa(self.address)
        policy = security_association(self.kek, self.sas.values())
        keys = key_download([*(sa.packet() for sa in self.sas.values()), self.kek.packet()])
        push = old.push((SEQ, struct.pack(">I", old.sequence + 1)), (SA, policy), (KD, keys))
        for member in self.members:
            self.socket.sendto(push, member)

    def add(self, sa):
        self.sas[sa.spi] = sa

    def _answer(self, octets, sender):
        header = Header.read(octets)
        if header.exchange == PUSH_ACK:
            return self._acknowledged(octets)
        if header.exchange == MAIN_MODE:
            new = Responder(self.psk, identity(ID_IPV4, self.address))
            return self.responders.setdefault(octets[:8], new).answer(octets)
        session = self.responders[octets[:8]].session
        if header.exchange == PULL:
            return self._pull(session, octets, sender)
        if header.exchange == INFORMATIONAL:
            return self._informational(session, octets)
        raise Malformed(f"exchange {header.exchange}")

    def _pull(self, session, octets, sender):
        message_id = octets[20:24]
        if message_id not in self.pulls:
            found = session.open_hashed(octets, [])
            if content(found, ID)[4:] != self.group.to_bytes(4, "big"):
                raise Malformed("another group")
            nonces = content(found, NONCE), os.urandom(16)
            self.pulls[message_id] = (nonces, list(self.sas.values()))
            policy = security_association(self.kek, self.sas.values())
            return session.seal_hashed(PULL, message_id, nonces[:1], (NONCE, nonces[1]), (SA, policy))
        nonces, sas = self.pulls[message_id]
        found = session.open_hashed(octets, nonces)
        wanted = [dict(attributes(Cursor(payload.content))).get(3) for payload in found if payload.type == GAP]
        packets = [sa.packet() for sa in sas] + [self.kek.packet()]
        for count in wanted:
            packets.append(sender_ids(*self._sender_ids(int.from_bytes(count, "big"))))
        self.members.add(sender)
        self.registrations += 1
        return session.seal_hashed(PULL, message_id, nonces, (SEQ, struct.pack(">I", self.kek.sequence)),
                                   (KD, key_download(packets)))

    def _sender_ids(self, count):
        first, self.next_sender_id = self.next_sender_id, self.next_sender_id + count
        return range(first, self.next_sender_id)

    def _informational(self, session, octets):
        for payload in session.open_hashed(octets, []):
            if payload.type == NOTIFY and payload.content[6:8] == INVALID_SPI.to_bytes(2, "big"):
                spi = payload.content[8:]
                self.asked.append(spi)
                if spi in self.sas:
                    self.rekey()

    def _acknowledged(self, octets):
        found, _ = chain(octets[16], octets[HEADER_LEN:])
        ack_key = prf("sha256", self.kek.key, b"GROUPKEY-PUSH ACK\x00", octets[:16], struct.pack(">H", ACK_BITS["sha256"]))
        if octets[:16] != self.kek.spi:
            return
        if content(found, HASH) != prf("sha256", ack_key, payloads(*((p.type, p.content) for p in found[1:]))[1]):
            raise Malformed("an acknowledgement's HASH is wrong")
        self.acknowledged.append(int.from_bytes(content(found, SEQ), "big"))


def traffic_sa(number, lifetime=3600):
    """An SA with new keys."""
    return TrafficSa(struct.pack(">I", number), lifetime)
