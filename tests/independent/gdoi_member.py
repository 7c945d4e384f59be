"""A group member of another make: registers, follows rekeys and acknowledges them, asks for an SPI. By hand from RFC 6407 and
RFC 8263, without any code of the project; each HASH and SIG that it is sent is verified.
"""

import os
import socket
import struct

from gdoi_build import ID_FQDN, ID_GROUP, ID_IPV4, attributes, datagram, identity, invalid_spi, payloads, phase1_offer
from gdoi_messages import ACK_BITS, PULL, PUSH, PUSH_ACK, Decoder, prf
from gdoi_payloads import GAP, HASH, ID, NONCE, NOTIFY, SEQ, SID_PACKET, TEK_PACKET, Header, Malformed
from gdoi_session import INFORMATIONAL, content, initiate

SENDER_ID_REQUEST = 3


class Member:
    """One member with one group, on a socket of its own."""

    def __init__(self, address, key_server, *, psk, name, group):
        self.address, self.key_server = address[0], key_server
        self.psk, self.name, self.group = psk, name, group
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(5)
        self.socket.bind(address)
        self.sas = {}  # SPI -> (attributes, KEYMAT)
        self.sender_ids = []
        self.last = {}  # SPI of a Rekey SA -> number of its last PUSH

    def close(self):
        self.socket.close()

    def exchange(self, octets):
        """Sends a datagram and gives what comes back of the same exchange."""
        self.socket.sendto(octets, self.key_server)
        while True:
            answer, sender = self.socket.recvfrom(65_535)
            if sender == self.key_server and Header.read(answer).exchange == Header.read(octets).exchange:
                return answer

    def register(self):
        """Phase 1 and a PULL."""
        self.session, _ = initiate(self.exchange, self.psk, identity(ID_FQDN, self.name.encode()), phase1_offer())
        session = self.session
        self.decoder = Decoder(hash_name="sha256", enc_key=session.key, skeyid_a=session.skeyid_a, phase1_iv=session.iv)
        message_id, nonce = os.urandom(4), os.urandom(16)
        group = identity(ID_GROUP, self.group.to_bytes(4, "big"))
        ask = session.seal_hashed(PULL, message_id, [], (NONCE, nonce), (ID, group))
        self._read(ask)
        answer = self.exchange(ask)
        offered = dict(self._read(answer).payloads)
        theirs = content(session.open_hashed(answer, [nonce]), NONCE)
        wants = session.seal_hashed(PULL, message_id, [nonce, theirs], (GAP, attributes({SENDER_ID_REQUEST: 1})))
        self._read(wants)
        given = dict(self._read(self.exchange(wants)).payloads)
        self._take(offered["SA"], given["KD"])
        if offered["SA"]["sak"]:
            self.last[offered["SA"]["sak"]["spi"]] = given.get("SEQ", 0)

    def follow(self):
        """Waits for a PUSH that is new, carries it out and acknowledges it. Returns its number."""
        while True:
            octets, _ = self.socket.recvfrom(65_535)
            if Header.read(octets).exchange != PUSH:
                continue
            rekey, spi = dict(self._read(octets).payloads), octets[:16]
            if rekey["SEQ"] > self.last[spi]:
                break
        self.last[spi] = rekey["SEQ"]
        if "SA" in rekey:
            self._take(rekey["SA"], rekey["KD"])
            if rekey["SA"]["sak"]:
                self.last.setdefault(rekey["SA"]["sak"]["spi"], 0)
        self.socket.sendto(self._acknowledgement(spi, rekey["SEQ"]), self.key_server)
        return rekey["SEQ"]

    def ask(self, spi):
        """INVALID-SPI over the phase 1."""
        self.socket.sendto(self.session.seal_hashed(INFORMATIONAL, os.urandom(4), [], (NOTIFY, invalid_spi(spi))),
                           self.key_server)

    def _read(self, octets):
        message = self.decoder.decode(octets)
        if message.verified is not True:
            raise Malformed(f"exchange {message.header.exchange}: not verified")
        return message

    def _take(self, policy, packets):
        for kind, spi, found in packets:
            if kind == SID_PACKET:
                self.sender_ids += [int.from_bytes(octets, "big") for attribute, octets in found if attribute == 2]
            elif kind == TEK_PACKET:
                (sat,) = [sat for sat in policy["sats"] if sat.get("spi") == spi and sat["security_protocol"] == 1][:1]
                self.sas[spi] = (sat["transform"], sat["attributes"], dict(found)[1])

    def _acknowledgement(self, spi, sequence):
        """RFC 8263 section 3: HASH, SEQ, ID in the clear."""
        _, key = self.decoder.keks[spi]
        ack_key = prf("sha256", key, b"GROUPKEY-PUSH ACK\x00", spi, struct.pack(">H", ACK_BITS["sha256"]))
        covered = (SEQ, sequence.to_bytes(4, "big")), (ID, identity(ID_IPV4, socket.inet_aton(self.address)))
        proof = prf("sha256", ack_key, payloads(*covered)[1])
        first, body = payloads((HASH, proof), *covered)
        return datagram(spi, first, PUSH_ACK, body)
