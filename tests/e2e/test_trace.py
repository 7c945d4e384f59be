"""`getvpnctl trace` and `getvpnctl capture` at a member with traffic: what they tell is what scapy and tshark see."""

import json
import stat
import subprocess

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether

from member import BINARIES, Member, configuration, wait_for, write_frames
from oracle import ETHERNET, OracleSa, group

SA = OracleSa(0x5000)
OTHER = OracleSa(0x5001, net=2, mode="transport")
UNKNOWN = OracleSa(0x5002, net=3)
CLEAR = IP(**SA.addresses(4)) / UDP(sport=7, dport=8) / b"in the clear"
FORGED = SA.forge(CLEAR, sequence=77)
FOREIGN = IP(src="192.0.2.1", dst="192.0.2.2") / UDP() / b"not ours"


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    """A member that hears good packets, forged ones, ones of an SA that it has not, and cleartext, over and over."""
    work = tmp_path_factory.mktemp("trace")
    arp = Ether(src="02:00:00:00:00:01", dst="ff:ff:ff:ff:ff:ff") / ARP()
    write_frames(work / "lan-in.pcap", [ETHERNET / CLEAR, ETHERNET / FOREIGN, arp])
    write_frames(work / "wan-in.pcap", [SA.seal(CLEAR, sequence=5), FORGED, UNKNOWN.seal(IP(**UNKNOWN.addresses(4))),
                                        OTHER.seal(IP(**OTHER.addresses(4)) / UDP()), ETHERNET / CLEAR])
    config = configuration(["net_pcap0,rx_pcap=lan-in.pcap,infinite_rx=1", "net_pcap1,rx_pcap=wan-in.pcap,infinite_rx=1"],
                           [group("main", SA), group("other", OTHER)])
    with Member(work, config) as member:
        member.wait_until_it_answers()
        member.wait_until(lambda: member.ctl("counters")["drops"]["authentication"], "traffic")
        yield member


def ctl(member, *arguments, json_too=True):
    command = [BINARIES / "getvpnctl", "--socket", "gm.sock", *(["--json"] if json_too else []), *arguments]
    return subprocess.run(command, cwd=member.work, capture_output=True, text=True, timeout=30)


def traced(member, *arguments):
    """The packets of a trace, each with its steps as a dictionary."""
    done = ctl(member, "trace", *arguments)
    assert done.returncode == 0, done.stderr
    pages = [json.loads(line) for line in done.stdout.splitlines()]
    assert not pages[-1]["running"] and pages[-1]["ended"], pages[-1]
    packets = [packet for page in pages for packet in page["packets"]]
    return [packet | {"steps": {step["step"]: step["says"] for step in packet["steps"]}} for packet in packets]


def test_a_packet_is_followed_to_the_wan(busy):
    packets = traced(busy, "--count", "3", "--host", "10.1.0.1", "--direction", "out")
    assert len(packets) == 3
    for packet in packets:
        assert (packet["link"], packet["direction"], packet["outcome"], packet["worker"]) == ("site", "out", "encrypted", 0)
        steps = packet["steps"]
        assert list(steps) == ["received", "parsed", "policy", "sa", "sealed", "sent"]
        assert steps["received"] == f"on site LAN (net_pcap0), {len(ETHERNET / CLEAR)} octets"
        assert steps["parsed"] == f"IPv4 10.1.0.1 > 10.1.0.2 UDP 7 > 8, {len(CLEAR)} octets"
        assert steps["policy"] == "rule 1: group main protects it"
        assert steps["sa"].startswith("SA 0x00005000 of group main, aes-128-gcm, tunnel mode, sequence number ")
        assert "sender ID 0, counter " in steps["sa"]
        assert steps["sent"].startswith("on site WAN (net_pcap1)")
    numbers = [packet["steps"]["sa"] for packet in packets]
    assert len(set(numbers)) == 3, "each has a sequence number of its own"


def test_a_packet_is_followed_to_the_lan(busy):
    [packet] = traced(busy, "--count", "1", "--spi", "0x5001", "--direction", "in")
    steps = packet["steps"]
    assert list(steps) == ["received", "parsed", "sa", "replay", "opened", "inside", "selectors", "sent"]
    assert "10.2.0.1 > 10.2.0.2 ESP" in steps["parsed"]
    assert steps["sa"].startswith("SA 0x00005001 of group other, aes-128-gcm, transport mode, sequence number 1, sender ID 7")
    assert "UDP" in steps["inside"] and packet["outcome"] == "decrypted"


@pytest.mark.parametrize("reason, step, says", [
    ("authentication", "opened", "authentication failed"),
    ("unknown_spi", "sa", "no SA has SPI 0x00005002"),
    ("cleartext", "policy", "rule 1: group main takes it only when it comes encrypted"),
])
def test_what_is_dropped_says_where_and_why_with_a_filter_of_its_reason_and_without(busy, reason, step, says):
    which = {"authentication": ["--spi", "0x5000"], "unknown_spi": ["--spi", "0x5002"], "cleartext": ["--direction", "in"]}
    by_reason = traced(busy, "--count", "2", "--drop", reason)
    others = traced(busy, "--count", "40", "--link", "site", *which[reason])
    found = [packet for packet in others if packet["drop"] == reason]
    assert len(by_reason) == 2 and found
    for packet in by_reason + found:
        assert (packet["outcome"], packet["drop"]) == ("dropped", reason)
        steps = packet["steps"]
        assert list(steps)[-1] == "dropped" and steps["dropped"].startswith(f"{reason} \u2013 ")
        assert "sent" not in steps and "inside" not in steps
    assert found[0]["steps"][step].startswith(says), found[0]
    if reason != "cleartext":
        assert by_reason[0]["steps"] == found[0]["steps"]
    else:
        assert by_reason[0]["steps"]["policy"] == "rule 1: group main"


def test_people_get_lines_within_100_columns(busy):
    done = ctl(busy, "trace", "--count", "2", "--drop", "authentication", json_too=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("packet 1, ") and lines[0].endswith("link site, in, worker 0: dropped: authentication")
    assert any(line.startswith("  opened     authentication failed") for line in lines)
    assert all(len(line) <= 100 for line in lines)
    # How much was skipped, and went by beyond the budget, is told behind it if there is anything.
    end = next(number for number, line in enumerate(lines) if line.startswith("2 packets, "))
    assert all("to keep to the workers' budget" in line for line in lines[end + 1:]) and len(lines) <= end + 3, lines


def test_a_trace_in_vain_ends_in_time_and_wrong_words_are_named(busy):
    done = ctl(busy, "--timeout", "1", "trace", "--host", "10.9.9.9", json_too=False)
    first, *more = done.stdout.splitlines()
    assert (done.returncode, first) == (0, "0 packets, 0 packets matched: time is up")
    # How much goes by beyond the budget depends on the machine.
    assert all("others were not looked at, to keep to the workers' budget" in line for line in more), more
    # Where only drops are looked at nothing does.
    done = ctl(busy, "--timeout", "1", "trace", "--drop", "policy", json_too=False)
    assert (done.returncode, done.stdout) == (0, "0 packets, 0 packets matched: time is up\n")
    for arguments, text in [(["--link", "nowhere"], "there are: site"), (["--drop", "bad"], "replay_stale"),
                            (["--src", "10.0.0.0/40"], "0 to 32"), (["--src", "::1", "--host", "10.0.0.1"], "no packet has both")]:
        done = ctl(busy, "trace", *arguments)
        assert done.returncode == 1 and text in done.stderr, done.stderr


def test_one_probe_at_a_time_and_none_is_left_on_by_a_client_that_dies(busy):
    waiting = subprocess.Popen([BINARIES / "getvpnctl", "--socket", "gm.sock", "--timeout", "600", "trace", "--host", "10.9.9.9"],
                               cwd=busy.work, stdout=subprocess.DEVNULL)
    try:
        busy.wait_until(lambda: "begun by user" in busy.log.read_text().splitlines()[-1], "the trace")
        refused = ctl(busy, "trace", "--count", "1")
        assert refused.returncode == 1
        assert f"of user 0, process " in refused.stderr and "one probe at a time" in refused.stderr, refused.stderr
        assert json.loads(refused.stdout)["error"]["code"] == "busy"
    finally:
        waiting.kill()
        waiting.wait()
    done = wait_for(lambda: (t := ctl(busy, "trace", "--count", "1")).returncode == 0 and t, "the end of the other", 10, busy)
    assert json.loads(done.stdout.splitlines()[-1])["matched"] > 0
    assert "nobody reads it any more" in busy.log.read_text()


def captured(member, name, *arguments):
    done = ctl(member, "capture", "--out", name, *arguments)
    assert done.returncode == 0, done.stderr
    assert "in the clear" in " ".join(done.stderr.split())
    fields = ["frame.interface_name", "frame.comment", "frame.len", "ip.src", "esp.spi"]
    read = subprocess.run(["tshark", "-n", "-r", name, "-T", "json", "-x", *(f for field in fields for f in ("-j", field))],
                          cwd=member.work, check=True, capture_output=True, text=True, timeout=60)
    frames = []
    for packet in json.loads(read.stdout):
        layers = packet["_source"]["layers"]
        frames.append((bytes.fromhex(layers["frame_raw"][0])))
    rows = subprocess.run(["tshark", "-n", "-r", name, "-T", "fields", "-E", "separator=|",
                           *(f for field in fields for f in ("-e", field))],
                          cwd=member.work, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()
    return json.loads(done.stdout), [dict(zip(fields, row.split("|"))) | {"octets": octets}
                                     for row, octets in zip(rows, frames, strict=True)]


def test_a_capture_has_both_sides_and_scapy_opens_what_was_sealed(busy):
    summary, frames = captured(busy, "both.pcapng", "--direction", "out", "--packets", "60")
    assert summary["frames"] == len(frames) == 60
    lan = [f for f in frames if f["frame.interface_name"] == "site-lan"]
    wan = [f for f in frames if f["frame.interface_name"] == "site-wan"]
    assert len(lan) + len(wan) == 60 and lan and wan
    assert {f["octets"] for f in lan} >= {bytes(ETHERNET / CLEAR), bytes(ETHERNET / FOREIGN)}
    assert any(f["octets"][12:14] == b"\x08\x06" for f in lan) and any(f["octets"][12:14] == b"\x08\x06" for f in wan)
    sealed = [f for f in wan if f["esp.spi"]]
    assert sealed and all(SA.open(f["octets"]) == bytes(CLEAR) for f in sealed)
    assert not any(f["frame.comment"] for f in frames)
    assert stat.S_IMODE((busy.work / "both.pcapng").stat().st_mode) == 0o600


def test_a_capture_has_the_reasons_of_drops_as_comments(busy):
    _, frames = captured(busy, "in.pcapng", "--direction", "in", "--stage", "before", "--packets", "50")
    assert {f["frame.interface_name"] for f in frames} == {"site-wan"}
    by_comment = {f["octets"]: f["frame.comment"] for f in frames}
    assert by_comment[FORGED].startswith("dropped: authentication: "), by_comment
    assert by_comment[bytes(ETHERNET / CLEAR)].startswith("dropped: cleartext: ")
    assert any(comment.startswith("dropped: unknown_spi: ") for comment in by_comment.values())
    assert "" in by_comment.values(), "what got through has none"
    _, dropped = captured(busy, "drop.pcapng", "--drop", "authentication", "--packets", "3")
    # It was opened in place, so only its beginning is left.
    assert [f["octets"] for f in dropped] == [FORGED[:128]] * 3
    assert all(f["frame.comment"].startswith("dropped: authentication: ") for f in dropped)


def test_a_capture_is_bounded_and_touches_no_file_that_is_there(busy):
    _, frames = captured(busy, "lan.pcapng", "--side", "lan", "--stage", "after", "--packets", "7", "--snaplen", "20")
    assert len(frames) == 7 and all(len(f["octets"]) == 20 and int(f["frame.len"]) > 20 for f in frames)
    assert {f["frame.interface_name"] for f in frames} == {"site-lan"}
    summary, frames = captured(busy, "small.pcapng", "--octets", "500")
    assert 500 <= sum(len(f["octets"]) for f in frames) < 700 and "500 octets" in summary["ended"]
    summary, frames = captured(busy, "none.pcapng", "--seconds", "1", "--host", "10.9.9.9")
    assert frames == [] and summary["ended"] == "time is up"
    again = ctl(busy, "capture", "--out", "lan.pcapng")
    assert again.returncode == 1 and "lan.pcapng" in again.stderr and "choose another" in again.stderr
    wrong = ctl(busy, "capture", "--out", "wrong.pcapng", "--link", "nowhere")
    assert wrong.returncode == 1 and not (busy.work / "wrong.pcapng").exists()


def test_no_key_is_told(busy):
    told = ctl(busy, "trace", "--count", "5").stdout + ctl(busy, "trace", "--count", "5", json_too=False).stdout
    told += busy.log.read_text()
    _, frames = captured(busy, "keys.pcapng", "--packets", "100")
    for key in (SA.key, OTHER.key):
        assert key.hex() not in told and not any(key in f["octets"] for f in frames)
