"""GDOI's messages, decrypted and verified by hand with the `cryptography` package: every HASH of a PULL and of an
acknowledgement, every SIG of a PUSH. KEKs that are not given are learned from the messages.
"""

import dataclasses
import hashlib
import hmac

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import load_der_public_key

from gdoi_payloads import (HASH, HEADER_LEN, KD, KEK_PACKET, NONCE, SA, SIG, Header, Malformed, chain, describe,
                           key_download, security_association)

MAIN_MODE, PULL, PUSH, PUSH_ACK = 2, 32, 33, 35
KE = 4
ENCRYPTED = 1
RSA, ECDSA_256, ECDSA_384 = 1, 4, 5
# SIG_HASH_ALGORITHM (RFC 6407 section 5.3.5).
SIGNATURE_HASHES = {2: hashes.SHA1(), 3: hashes.SHA256(), 4: hashes.SHA384(), 5: hashes.SHA512()}
# KEK_ALGORITHM_KEY of a key packet, SIG_ALGORITHM_KEY.
ALGORITHM_KEY, SIGNATURE_KEY = 1, 2
# RFC 8263 section 3.2: the prf's block size, which L must be.
ACK_BITS = {"sha256": 512, "sha512": 1024}


@dataclasses.dataclass
class Decoded:
    """A message: what it holds, and whether its HASH or SIG is right (None: there is none, or no key for it)."""

    header: Header
    payloads: list  # (name, what it says)
    verified: bool | None


def prf(name, key, *parts):
    return hmac.new(key, b"".join(parts), name).digest()


def decrypt(key, iv, text):
    decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    return decryptor.update(text) + decryptor.finalize()


class Decoder:
    """Follows the messages of one member and its key server, in order."""

    def __init__(self, *, hash_name, enc_key, skeyid_a=None, phase1_iv=None, keks=(), reference=False):
        self.hash = hash_name
        self.enc_key = enc_key
        self.skeyid_a = skeyid_a
        self.iv = phase1_iv
        self.keks = {kek["spi"]: (kek["iv"], kek["key"]) for kek in keks}
        self.reference = reference
        self.publics = []  # of the key exchange
        self.ivs = {}  # by message ID
        self.nonces = {}  # by message ID
        self.learned = {}  # SPI of a Rekey SA -> its attributes and its public key

    def decode(self, datagram, ack_prf=None):
        header = Header.read(datagram)
        body = datagram[HEADER_LEN:]
        reader = {MAIN_MODE: self._main_mode, PULL: self._pull, PUSH: self._push}.get(header.exchange)
        if header.exchange == PUSH_ACK:
            return self._ack(header, body, ack_prf)
        if reader is None:
            raise Malformed(f"exchange {header.exchange}")
        return reader(header, body)

    def _main_mode(self, header, body):
        """Phase 1 is followed for its IV only: hash(g^xi | g^xr), then block by block (RFC 2409 appendix B)."""
        if not header.flags & ENCRYPTED:
            payloads, _ = chain(header.next_payload, body)
            self.publics += [payload.content for payload in payloads if payload.type == KE]
            return Decoded(header, [(payload.name, payload.content) for payload in payloads], None)
        iv = self.iv or hashlib.new(self.hash, b"".join(self.publics)).digest()[:16]
        self.iv = body[-16:]
        payloads, _ = chain(header.next_payload, decrypt(self.enc_key, iv, body))
        return Decoded(header, [(payload.name, payload.content) for payload in payloads], None)

    def _pull(self, header, body):
        """RFC 6407 section 3.2."""
        if header.flags != ENCRYPTED:
            raise Malformed("a PULL that is not encrypted")
        message_id = header.message_id.to_bytes(4, "big")
        iv = self.ivs.get(message_id) or hashlib.new(self.hash, self.iv + message_id).digest()[:16]
        self.ivs[message_id] = body[-16:]
        clear = decrypt(self.enc_key, iv, body)
        payloads, end = chain(header.next_payload, clear)
        if payloads[0].type != HASH:
            raise Malformed("a PULL that does not begin with its HASH")
        nonces = self.nonces.setdefault(message_id, [])
        verified = None
        if self.skeyid_a:
            covered = clear[payloads[0].end:end]
            verified = payloads[0].content == prf(self.hash, self.skeyid_a, message_id, *nonces, covered)
        nonces += [payload.content for payload in payloads if payload.type == NONCE]
        self._learn(payloads)
        return self._decoded(header, payloads, verified)

    def _push(self, header, body):
        """RFC 6407 section 4: SIG over 'rekey', the header before padding, and the payloads before SIG."""
        if header.flags != ENCRYPTED or header.message_id:
            raise Malformed("the header is not a PUSH's")
        iv, key = self.keks[header.cookies]
        clear = decrypt(key, iv, body)
        payloads, end = chain(header.next_payload, clear)
        signature = payloads[-1]
        if signature.type != SIG:
            raise Malformed("a PUSH that does not end with its SIG")
        message = b"rekey" + header.octets(HEADER_LEN + end) + clear[:signature.start]
        policy, public = self.learned[header.cookies]
        verified = self._signature_is_right(policy, public, message, signature.content)
        self._learn(payloads, header.cookies)
        return self._decoded(header, payloads, verified)

    def _signature_is_right(self, policy, public, message, signature):
        algorithm = policy[6]
        try:
            if algorithm == RSA and self.reference:
                assert isinstance(public, rsa.RSAPublicKey)
                return self._raw_rsa_is_right(public, SIGNATURE_HASHES[policy[5]], message, signature)
            if algorithm == RSA:
                public.verify(signature, message, padding.PKCS1v15(), SIGNATURE_HASHES[policy[5]])
            elif algorithm in (ECDSA_256, ECDSA_384):
                size, digest = {ECDSA_256: (32, hashes.SHA256()), ECDSA_384: (48, hashes.SHA384())}[algorithm]
                assert isinstance(public, ec.EllipticCurvePublicKey) and public.key_size == size * 8
                assert len(signature) == 2 * size  # RFC 4754: r and s, of fixed length
                r, s = (int.from_bytes(half, "big") for half in (signature[:size], signature[size:]))
                public.verify(encode_dss_signature(r, s), message, ec.ECDSA(digest))
            else:
                raise Malformed(f"signature algorithm {algorithm}")
        except InvalidSignature:
            return False
        return True

    @staticmethod
    def _raw_rsa_is_right(public, algorithm, message, signature):
        """PKCS#1 v1.5 block type 1 over the hash itself, without DigestInfo."""
        numbers = public.public_numbers()
        size = (numbers.n.bit_length() + 7) // 8
        digest = hashlib.new(algorithm.name, message).digest()
        expected = b"\x00\x01" + b"\xff" * (size - 3 - len(digest)) + b"\x00" + digest
        return pow(int.from_bytes(signature, "big"), numbers.e, numbers.n) == int.from_bytes(expected, "big")

    def _ack(self, header, body, name):
        """RFC 8263 section 3, with the prf that was asked for."""
        payloads, end = chain(header.next_payload, body)
        if header.flags or header.message_id or end != len(body):
            raise Malformed("not an acknowledgement")
        _, key = self.keks[header.cookies]
        ack_key = prf(name, key, b"GROUPKEY-PUSH ACK\x00", header.cookies, ACK_BITS[name].to_bytes(2, "big"))
        verified = payloads[0].content == prf(name, ack_key, body[payloads[0].end:])
        return self._decoded(header, payloads, verified)

    def _learn(self, payloads, under=None):
        """Policy and public key of Rekey SAs; keys that are recorded and sent must be the same."""
        for payload in payloads:
            if payload.type == SA:
                found = security_association(payload.content, self.reference)["sak"]
                if found:
                    _, public = self.learned.get(found["spi"], (None, None))
                    self.learned[found["spi"]] = (found["attributes"], public)
                    self.newest = found["spi"]
        for payload in payloads:
            if payload.type != KD:
                continue
            for kind, spi, packet in key_download(payload.content, self.reference):
                if kind != KEK_PACKET:
                    continue
                # On a rollover the reference implementation's key packet names the old Rekey SA.
                spi = self.newest if self.reference and spi == under else spi
                octets = dict(packet)
                keys = (octets[ALGORITHM_KEY][:16], octets[ALGORITHM_KEY][16:])
                if self.keks.setdefault(spi, keys) != keys:
                    raise Malformed(f"the KEK of {spi.hex()} is not the recorded one")
                self.learned[spi] = (self.learned[spi][0], load_der_public_key(octets[SIGNATURE_KEY]))

    def _decoded(self, header, payloads, verified):
        return Decoded(header, [(payload.name, describe(payload, self.reference)) for payload in payloads], verified)
