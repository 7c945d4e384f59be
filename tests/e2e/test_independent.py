"""An independent decoder (tests/independent) opens the recordings of other makes and what our library sends: every HASH and SIG
is verified there, by code that shares nothing with the library.
"""

import json
import os
import pathlib
import subprocess

import pytest

from gdoi_decode import datagrams, decode_exchange, decode_recording
from gdoi_messages import MAIN_MODE, PULL, PUSH, PUSH_ACK
from gdoi_payloads import KEK_PACKET, SID_PACKET, TEK_PACKET

BINARIES = pathlib.Path(os.environ.get("GETVPN_BIN", "target/release")).resolve()
CAPTURES = pathlib.Path(__file__).resolve().parents[2] / "control/gdoi/tests/captures"
LAYOUTS = ("standard", "reference")
TEN_ONE, TEN_TWO = "0a010000ffff0000", "0a020000ffff0000"


def recording(name, reference=False):
    return decode_recording(CAPTURES / f"{name}.pcap", CAPTURES / f"{name}.keys.json", reference)


def of(messages, exchange):
    return [message for message in messages if message.header.exchange == exchange]


def said(message, name):
    """What the one payload of this name says."""
    (value,) = [value for found, value in message.payloads if found == name]
    return value


@pytest.fixture(scope="module", params=LAYOUTS)
def runs(request):
    """What the library's example prints: one registration with rekeys for each kind of signature."""
    done = subprocess.run([BINARIES / "examples/exchange", request.param], check=True, capture_output=True, timeout=60)
    return json.loads(done.stdout)


def test_every_hash_and_signature_of_the_reference_implementation_verifies():
    messages = recording("gdoid-aes-rekey", reference=True)
    pull, push = of(messages, PULL), of(messages, PUSH)
    assert [len(of(messages, MAIN_MODE)), len(pull), len(push)] == [6, 4, 9]
    assert all(message.verified is True for message in pull + push)
    assert [said(message, "SEQ") for message in push] == list(range(1, 10))
    assert said(pull[0], "ID") == bytes([11, 0, 0, 0]) + (1234).to_bytes(4, "little")
    # The fifth PUSH brings the second Rekey SA, under which the others come.
    assert said(push[4], "SA")["sak"]["spi"] == push[5].header.cookies != push[4].header.cookies
    assert len(said(push[8], "D")[2]) == 16


def test_the_go_peer_s_messages_decrypt():
    messages = recording("go-modp14")
    pull = of(messages, PULL)
    # SKEYID_a was not recorded, so that no HASH can be verified.
    assert len(pull) == 4 and all(message.verified is None for message in messages)
    assert said(pull[0], "ID") == bytes([11, 0, 0, 0]) + (1234).to_bytes(4, "big")
    assert [sat["security_protocol"] for sat in said(pull[1], "SA")["sats"]] == [3, 3]
    assert [len(packet[1]) for packet in said(pull[3], "KD")] == [4, 4]


def test_every_hash_and_signature_that_we_send_verifies(runs):
    signatures = set()
    for run in runs:
        messages = decode_exchange(run)
        assert [len(of(messages, exchange)) for exchange in (PULL, PUSH, PUSH_ACK)] == [4, 3, 6]
        assert all(message.verified is True for message in messages)
        policy = said(of(messages, PULL)[1], "SA")["sak"]["attributes"]
        signatures.add((policy[6], policy.get(5)))
    # RSA with SHA-256, SHA-1 and SHA-512, and ECDSA, whose hash is implied.
    assert signatures == {(1, 3), (1, 2), (1, 5), (4, None), (5, None)}


def test_what_we_send_says_what_the_key_server_meant(runs):
    for run in runs:
        reference = run["compat"] == "reference"
        messages = decode_exchange(run)
        _, offer, confirm, keys = of(messages, PULL)
        first, second = (bytes.fromhex(kek["spi"]) for kek in run["kek"])

        sa = said(offer, "SA")
        kek = sa["sak"]
        assert (kek["spi"], kek["protocol"]) == (first, 17)
        assert kek["source"] == (1, 848, bytes([192, 0, 2, 1])) and kek["destination"] == (1, 848, bytes([239, 10, 1, 1]))
        assert kek["attributes"] | {1: 0} == kek["attributes"] | {1: 0, 2: 3, 3: 128, 4: 86400, 9: 1}
        assert sa["gap"] == {1: 15, 2: 30}
        gcm, _, cbc, _, null, back = sa["sats"]
        assert gcm["attributes"] == {1: 1, 2: 3600, 4: 1, 6: 160 if reference else 128, 14: 4, 15: 3}
        assert cbc["attributes"] == {1: 1, 2: 3600, 4: 2, 6: 256, 5: 5, 15: 3}
        assert null["attributes"] == {1: 1, 2: 3600, 4: 1, 5: 2, 14: 4, 15: 3}
        assert [sat["transform"] for sat in (gcm, cbc, null)] == [20, 12, 11]
        assert [sat["spi"].hex() for sat in (gcm, cbc, null)] == ["00010001", "00010002", "00010003"]
        assert (null["protocol"], null["source"], null["destination"]) == (
            17, (4, 0, bytes.fromhex(TEN_ONE)), (4, 53, bytes.fromhex(TEN_TWO)))
        assert (back["protocol"], back["source"], back["destination"]) == (
            0, (4, 0, bytes.fromhex(TEN_TWO)), (4, 0, bytes.fromhex(TEN_ONE)))

        assert said(confirm, "GAP") == {3: 2}
        assert said(keys, "SEQ") == 7
        packets = said(keys, "KD")
        assert [kind for kind, _, _ in packets] == [TEK_PACKET] * 3 + [KEK_PACKET, SID_PACKET]
        lengths = [{kind: len(octets) for kind, octets in found} for _, _, found in packets[:3]]
        assert lengths == [{1: 20}, {1: 32, 2: 32}, {2: 20}]
        assert dict(packets[3][2])[2].hex() == run["signing_key"]
        assert [int.from_bytes(octets, "big") for _, octets in packets[4][2]] == [16, 4, 0x1234]

        rollover, following, last = of(messages, PUSH)
        assert [message.header.cookies for message in (rollover, following, last)] == [first, second, second]
        assert [said(message, "SEQ") for message in (rollover, following, last)] == [8, 1, 2]
        assert said(rollover, "SA")["sak"]["spi"] == second
        assert said(rollover, "KD")[-1][1] == (first if reference else second)
        assert said(rollover, "D") == (2, 1, [bytes.fromhex("00010001")])
        assert {sat["transform"] for sat in said(following, "SA")["sats"]} == {20, 249}
        assert [value for name, value in last.payloads if name == "D"] == [(2, 1, [bytes(4)]), (2, 0, [bytes(16)])]
        assert [said(ack, "SEQ") for ack in of(messages, PUSH_ACK)] == [8, 8, 1, 1, 2, 2]


def altered(run, kind, at, position):
    """The run with one bit of one datagram flipped."""
    changed = json.loads(json.dumps(run))
    message = changed[kind][at]
    octets = bytearray.fromhex(message["datagram"] if kind == "ack" else message)
    octets[position] ^= 1
    if kind == "ack":
        message["datagram"] = octets.hex()
    else:
        changed[kind][at] = octets.hex()
    return changed


# Each within a HASH or SIG, so that everything else still decodes.
@pytest.mark.parametrize(("kind", "at", "position"), [("pull", 3, 45), ("push", 1, -40), ("ack", 0, 40)])
def test_the_decoder_notices_an_altered_hash_or_signature(runs, kind, at, position):
    for run in runs:
        verified = [message.verified for message in decode_exchange(altered(run, kind, at, position))]
        assert verified.count(False) == 1 and len(verified) == 13


def test_recordings_hold_nothing_that_is_not_decoded():
    for name, count in (("gdoid-aes-rekey", 19), ("go-modp14", 10)):
        assert len(datagrams(CAPTURES / f"{name}.pcap")) == count
