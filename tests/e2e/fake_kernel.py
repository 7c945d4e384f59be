#!/usr/bin/env -S python3 -I -S
"""Plays the kernel under a prepared root, for test_hugepages.py: called with each file that a script has written, and what."""

import os
import pathlib
import sys

root = pathlib.Path(os.environ["GETVPN_ROOT"])
written, value = sys.argv[1:]
file = root / written.lstrip("/")
pci = root / "sys/bus/pci"


def bind(address, driver):
    link = pci / "devices" / address / "driver"
    link.unlink(missing_ok=True)
    link.symlink_to(f"../../drivers/{driver}")


match file.name:
    case "nr_hugepages":
        can = file.with_name("can")  # a node whose memory is in pieces
        there = min(int(value), int(can.read_text()) if can.exists() else int(value))
        before = file.with_name("before")
        had = int(before.read_text())
        free = file.with_name("free_hugepages")
        free.write_text(f"{int(free.read_text()) + there - had}\n")
        for each in (file, before):
            each.write_text(f"{there}\n")
    case "unbind":
        (pci / "devices" / value / "driver").unlink()
    case "drivers_probe":
        device = pci / "devices" / value
        wanted = (device / "driver_override").read_text().strip()
        if (pci / "drivers" / wanted).is_dir() and not (device / "stubborn").exists():
            bind(value, wanted)
