"""Prints GDOI messages and whether each HASH and SIG is right, without any code of the project.

    gdoi_decode.py [--reference] recording.pcap recording.keys.json     a recording and its keys
    gdoi_decode.py exchange.json                                        what the library's example `exchange` prints
"""

import argparse
import json
import pathlib
import struct

from gdoi_messages import Decoder

NAMES = {2: "main mode", 32: "GROUPKEY-PULL", 33: "GROUPKEY-PUSH", 35: "GROUPKEY-PUSH-ACK"}
# Phase 1's attribute 2, hash algorithm (RFC 2409 appendix A, RFC 4868).
HASHES = {2: "sha1", 4: "sha256", 5: "sha384", 6: "sha512"}


def datagrams(capture):
    """The UDP payloads of a classic pcap file of IPv4 over Ethernet."""
    octets = capture.read_bytes()
    order = {b"\xd4\xc3\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">"}[octets[:4]]
    at, found = 24, []
    while at < len(octets):
        _, _, captured, _ = struct.unpack(order + "IIII", octets[at:at + 16])
        frame = octets[at + 16:at + 16 + captured]
        at += 16 + captured
        ip = frame[14:]
        if frame[12:14] == b"\x08\x00" and ip[9] == 17:
            udp = ip[(ip[0] & 15) * 4:]
            found.append(udp[8:int.from_bytes(udp[4:6], "big")])
    return found


def octets_of(entry):
    return {name: bytes.fromhex(value) for name, value in entry.items()}


def decode_recording(capture, keys, reference=False):
    """Every message of a recording."""
    recorded = json.loads(keys.read_text())
    phase1 = recorded["phase1"][0]
    decoder = Decoder(hash_name=HASHES[phase1["attrs"]["2"]], enc_key=bytes.fromhex(phase1["enc_key"]),
                      skeyid_a=bytes.fromhex(phase1.get("skeyid_a", "")), keks=map(octets_of, recorded["kek"]),
                      reference=reference)
    return [decoder.decode(datagram) for datagram in datagrams(capture)]


def decode_exchange(run):
    """Every message of one run of the library's example."""
    decoder = Decoder(hash_name=run["hash"], enc_key=bytes.fromhex(run["enc_key"]),
                      skeyid_a=bytes.fromhex(run["skeyid_a"]), phase1_iv=bytes.fromhex(run["phase1_iv"]),
                      keks=map(octets_of, run["kek"]), reference=run["compat"] == "reference")
    messages = [decoder.decode(bytes.fromhex(datagram)) for datagram in run["pull"] + run["push"]]
    return messages + [decoder.decode(bytes.fromhex(ack["datagram"]), ack["prf"]) for ack in run["ack"]]


def text(value):
    if isinstance(value, bytes):
        return value.hex() or "-"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(text, value)) + "]"
    return str(value)


def show(message):
    state = {True: "verified", False: "WRONG", None: "not verified"}[message.verified]
    header = message.header
    print(f"{NAMES[header.exchange]} {header.cookies.hex()} message ID {header.message_id:#010x}: {state}")
    for name, value in message.payloads:
        print(f"    {name}: {text(value)}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--reference", action="store_true", help="the layout of the C reference implementation")
    arguments.add_argument("files", nargs="+", type=pathlib.Path)
    given = arguments.parse_args()
    if len(given.files) == 2:
        messages = decode_recording(*given.files, given.reference)
    else:
        messages = [message for run in json.loads(given.files[0].read_text()) for message in decode_exchange(run)]
    for message in messages:
        show(message)
    return int(any(message.verified is False for message in messages))


if __name__ == "__main__":
    raise SystemExit(main())
