"""One download over TCP, both ends of it: `download.py serve ADDRESS PORT SECONDS MEGABYTES` sends for so long, and so much
at least, to the first that comes; `download.py get ADDRESS PORT` takes it. Each prints what it saw as JSON."""

import hashlib
import json
import random
import socket
import sys
import time

BLOCK = random.Random(1).randbytes(1_000_000)
PATIENCE_S = 60


def serve(address, port, seconds, megabytes):
    with socket.create_server((address, int(port))) as listening:
        listening.settimeout(PATIENCE_S)
        connection, _ = listening.accept()
        with connection:
            connection.settimeout(PATIENCE_S)
            digest, blocks, began = hashlib.sha256(), 0, time.monotonic()
            while blocks < float(megabytes) or time.monotonic() - began < float(seconds):
                block = blocks.to_bytes(8, "big") + BLOCK[8:]  # no two alike, so that one in another's place is seen
                digest.update(block)
                connection.sendall(block)
                blocks += 1
        return {"octets": blocks * len(BLOCK), "sha256": digest.hexdigest()}


def get(address, port):
    digest, octets, gaps, longest, longest_ended = hashlib.sha256(), 0, [], 0.0, None
    with socket.create_connection((address, int(port)), timeout=PATIENCE_S) as connection:
        began = last = time.monotonic()
        while received := connection.recv(1 << 18):
            now = time.monotonic()
            gaps.append(now - last)
            last = now
            if gaps[-1] > longest:
                longest, longest_ended = gaps[-1], time.time()
            digest.update(received)
            octets += len(received)
    stalls = sorted(round(1000 * gap, 1) for gap in gaps if gap > 0.05)
    return {"octets": octets, "sha256": digest.hexdigest(), "seconds": round(last - began, 2),
            "longest_ms": round(1000 * longest, 1), "longest_ended_unix_s": longest_ended, "stalls_ms": stalls}


if __name__ == "__main__":
    print(json.dumps({"serve": serve, "get": get}[sys.argv[1]](*sys.argv[2:])))
