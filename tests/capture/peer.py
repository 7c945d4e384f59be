#!/usr/bin/env python3
"""A multicast sender and receiver for `record`: `peer.py send|receive GROUP COUNT`, on eth0."""

import ipaddress
import socket
import struct
import sys

PORT = 5007
LONGEST = 3000  # over the hosts' MTU: sent in fragments


def main():
    role, group, count = sys.argv[1], ipaddress.ip_address(sys.argv[2]), int(sys.argv[3])
    family = socket.AF_INET if group.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as udp:
        udp.settimeout(5)
        if role == "receive":
            receive(udp, group, count)
        else:
            send(udp, group, count)


def receive(udp, group, count):
    udp.bind(("", PORT))
    index = socket.if_nametoindex("eth0")
    if group.version == 4:
        udp.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group.packed + struct.pack("=4si", bytes(4), index))
    else:
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group.packed + struct.pack("=I", index))
    print("joined", flush=True)
    for _ in range(count):
        udp.recv(65535)


def send(udp, group, count):
    if group.version == 4:
        udp.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 8)
    else:
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 8)
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex("eth0"))
    for n in range(count):
        length = LONGEST if n == count - 1 else 20 + 97 * n
        udp.sendto((b"multicast %03d " % n).ljust(length, b"."), (str(group), PORT))


if __name__ == "__main__":
    main()
