"""IKEv1 main mode with a pre-shared key, both roles, and what is said over it, by hand from RFC 2409 and RFC 6407, without any
code of the project. One suite: AES-256-CBC, SHA2-256, group 19.
"""

import hashlib
import os

from cryptography.hazmat.primitives.asymmetric import ec

from gdoi_build import TRANSFORM, datagram, encrypt, payloads
from gdoi_messages import ENCRYPTED, KE, MAIN_MODE, decrypt, prf
from gdoi_payloads import HASH, HEADER_LEN, ID, NONCE, SA, Cursor, Header, Malformed, attributes, chain, numbers

INFORMATIONAL = 5


class KeyExchange:
    """Group 19 (RFC 5903): public values are x and y, the secret is x."""

    def __init__(self):
        self.private = ec.generate_private_key(ec.SECP256R1())
        point = self.private.public_key().public_numbers()
        self.public = point.x.to_bytes(32, "big") + point.y.to_bytes(32, "big")

    def secret(self, public):
        x, y = (int.from_bytes(half, "big") for half in (public[:32], public[32:]))
        return self.private.exchange(ec.ECDH(), ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key())


class Session:
    """A phase 1 (RFC 2409 section 5), from the moment at which its keys are known."""

    def __init__(self, *, psk, cookies, offer, publics, nonces, secret):
        self.cookies, self.offer, self.publics = cookies, offer, publics
        self.skeyid = prf("sha256", psk, *nonces)
        d = prf("sha256", self.skeyid, secret, cookies, b"\0")
        a = prf("sha256", self.skeyid, d, secret, cookies, b"\1")
        e = prf("sha256", self.skeyid, a, secret, cookies, b"\2")
        self.skeyid_a, self.key = a, e
        self.iv = hashlib.sha256(b"".join(publics)).digest()[:16]
        self.ivs = {}

    def proof(self, initiator, identity):
        """HASH_I or HASH_R."""
        publics, cookies = self.publics, [self.cookies[:8], self.cookies[8:]]
        order = 1 if initiator else -1
        return prf("sha256", self.skeyid, *publics[::order], *cookies[::order], self.offer, identity)

    def seal(self, exchange, parts, message_id=bytes(4)):
        first, clear = payloads(*parts)
        body = encrypt(self.key, self._iv(message_id), clear)
        self._advance(message_id, body)
        return datagram(self.cookies, first, exchange, body, message_id=message_id, flags=ENCRYPTED)

    def open(self, octets):
        """The payloads, and the octets that a HASH in front covers."""
        header, body = Header.read(octets), octets[HEADER_LEN:]
        message_id = header.message_id.to_bytes(4, "big")
        clear = decrypt(self.key, self._iv(message_id), body)
        found, end = chain(header.next_payload, clear)
        self._advance(message_id, body)
        return found, clear[found[0].end:end]

    def seal_hashed(self, exchange, message_id, nonces, *parts):
        """HASH over the message ID, the nonces so far and what follows."""
        proof = prf("sha256", self.skeyid_a, message_id, *nonces, payloads(*parts)[1])
        return self.seal(exchange, [(HASH, proof), *parts], message_id)

    def open_hashed(self, octets, nonces):
        found, covered = self.open(octets)
        if found[0].type != HASH or found[0].content != prf("sha256", self.skeyid_a, octets[20:24], *nonces, covered):
            raise Malformed("the HASH is wrong")
        return found[1:]

    def _iv(self, message_id):
        if message_id == bytes(4):
            return self.iv
        return self.ivs.get(message_id) or hashlib.sha256(self.iv + message_id).digest()[:16]

    def _advance(self, message_id, body):
        if message_id == bytes(4):
            self.iv = body[-16:]
        else:
            self.ivs[message_id] = body[-16:]


def content(found, kind):
    """The content of the one payload of a type."""
    (value,) = [payload.content for payload in found if payload.type == kind]
    return value


def initiate(exchange, psk, identity, offer):
    """Main mode as initiator; `exchange` sends a datagram and gives the answer. Returns the session and who answered."""
    cookies = os.urandom(8) + bytes(8)
    answer = exchange(datagram(cookies, *first_and(MAIN_MODE, (SA, offer))))
    cookies = answer[:16]
    own, nonce = KeyExchange(), os.urandom(32)
    answer = exchange(datagram(cookies, *first_and(MAIN_MODE, (KE, own.public), (NONCE, nonce))))
    found, _ = chain(answer[16], answer[HEADER_LEN:])
    theirs = content(found, KE)
    session = Session(psk=psk, cookies=cookies, offer=offer, publics=[own.public, theirs],
                      nonces=[nonce, content(found, NONCE)], secret=own.secret(theirs))
    answer = exchange(session.seal(MAIN_MODE, [(ID, identity), (HASH, session.proof(True, identity))]))
    found, _ = session.open(answer)
    if content(found, HASH) != session.proof(False, content(found, ID)):
        raise Malformed("HASH_R is wrong")
    return session, content(found, ID)


class Responder:
    """Main mode as responder, for one initiator."""

    def __init__(self, psk, identity):
        self.psk, self.identity = psk, identity
        self.session = self.initiator = None

    def answer(self, octets):
        """The answer to message 1, 3 or 5; the session is complete once `initiator` is known."""
        if self.session:
            found, _ = self.session.open(octets)
            if content(found, HASH) != self.session.proof(True, content(found, ID)):
                raise Malformed("HASH_I is wrong")
            self.initiator = content(found, ID)
            return self.session.seal(MAIN_MODE, [(ID, self.identity), (HASH, self.session.proof(False, self.identity))])
        found, _ = chain(octets[16], octets[HEADER_LEN:])
        if octets[8:16] == bytes(8):
            self.cookies, self.offer = octets[:8] + os.urandom(8), content(found, SA)
            return datagram(self.cookies, *first_and(MAIN_MODE, (SA, chosen(self.offer))))
        own, nonce, theirs = KeyExchange(), os.urandom(32), content(found, KE)
        self.session = Session(psk=self.psk, cookies=self.cookies, offer=self.offer, publics=[theirs, own.public],
                               nonces=[content(found, NONCE), nonce], secret=own.secret(theirs))
        return datagram(self.cookies, *first_and(MAIN_MODE, (KE, own.public), (NONCE, nonce)))


def first_and(exchange, *parts):
    first, body = payloads(*parts)
    return first, exchange, body


def chosen(offer):
    """An SA payload with the one transform of an offer that this peer knows."""
    (proposal,), _ = chain(2, offer[8:])
    transforms, _ = chain(TRANSFORM, proposal.content[4 + proposal.content[2]:])
    for transform in transforms:
        cursor = Cursor(transform.content)
        cursor.take(4)
        found = numbers(attributes(cursor))
        if [found.get(kind) for kind in (1, 14, 2, 3, 4)] == [7, 256, 4, 1, 19]:
            only = payloads((TRANSFORM, transform.content))[1]
            return offer[:8] + payloads((2, proposal.content[:3] + b"\1" + proposal.content[4:4 + proposal.content[2]] + only))[1]
    raise Malformed("no transform that this peer knows")
