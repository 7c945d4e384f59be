"""The demo's capture holds what its README says, and a member carries all of it."""

import pathlib
import re
import subprocess

from member import read_frames

CAPTURE = pathlib.Path(__file__).resolve().parent.parent / "capture"


def test_the_readme_says_what_the_capture_holds():
    counted = subprocess.run([CAPTURE / "contents"], check=True, capture_output=True, text=True, timeout=60).stdout
    assert counted in (CAPTURE / "README.md").read_text()
    counts = {what.strip(): int(n) for what, n in re.findall(r"^(.+?)\s+(\d+)$", counted, re.MULTILINE)}
    assert all(n > 0 for what, n in counts.items() if not what.startswith("frames longer"))
    assert counts["frames longer than 1514 octets"] == 0
    assert counts["all frames"] == len(read_frames(CAPTURE / "lan.pcap"))


def test_the_capture_is_small_enough_for_a_repository():
    assert (CAPTURE / "lan.pcap").stat().st_size <= 3_000_000
