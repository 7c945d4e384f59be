"""No key is ever shown: not in logs of any format at the level that says most, not on the control socket, not in metrics.
What is looked for are the keys of a real run: the pre-shared one, those of a manual SA, and those in the key server's store.

A key counts as shown when eight octets of it in a row are found in any of the ways in which octets are written.
"""

import base64
import os
import secrets
import socket
import subprocess
import threading

import pytest

from keyserver import ADDRESSES, GROUP, NETWORK, SELECTORS, KeyServer, carried, ks_configuration, members
from member import BINARIES, Member, configuration, run_refused
from prometheus import page

IN_A_ROW = 8
# In the order in which they are tried; each makes of octets what a log might hold.
WRITTEN = {
    "raw": lambda octets: octets,
    "hex": lambda octets: octets.hex().encode(),
    "hex, capitals": lambda octets: octets.hex().upper().encode(),
    "hex, colons": lambda octets: octets.hex(":").encode(),
    "hex, spaces": lambda octets: octets.hex(" ").encode(),
    "decimal": lambda octets: ", ".join(map(str, octets)).encode(),
    "decimal, JSON": lambda octets: ",".join(map(str, octets)).encode(),
    "hexadecimal array": lambda octets: ", ".join(f"0x{octet:02x}" for octet in octets).encode(),
    "escaped": lambda octets: "".join(f"\\x{octet:02x}" for octet in octets).encode(),
    "escaped as Rust does": lambda octets: repr(octets)[2:-1].encode(),
}


def shown(text, keys):
    """Which keys are in a text, and how."""
    found = set()
    for name, key in keys.items():
        for start in range(max(1, len(key) - IN_A_ROW + 1)):
            window = key[start:start + IN_A_ROW]
            found.update((name, way) for way, write in WRITTEN.items() if write(window) in text)
        # Three octets are four characters: whatever stands before, one of these begins where a group of them does.
        for start in range(3):
            groups = key[start:start + (len(key) - start) // 3 * 3]
            for alphabet in (base64.standard_b64encode, base64.urlsafe_b64encode):
                encoded = alphabet(groups)
                found.update((name, "base64") for at in range(0, len(encoded) - 11, 4) if encoded[at:at + 12] in text)
    return found


def test_a_key_that_is_shown_is_found_however_it_is_written():
    key = secrets.token_bytes(20)
    for way, write in WRITTEN.items():
        assert ("k", way) in shown(b"before " + write(key) + b" after", {"k": key}), way
        assert ("k", way) in shown(b"before " + write(key[5:15]) + b" after", {"k": key}), way
    for before in range(3):
        assert shown(b"x" + base64.b64encode(b"z" * before + key), {"k": key}) == {("k", "base64")}
    assert not shown(secrets.token_bytes(100_000) + secrets.token_hex(100_000).encode(), {"k": key})


class Journal:
    """Takes what the daemons write to the journal, in the place of systemd's."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(0.2)
        self.entries, self.stopping = [], False
        self.thread = threading.Thread(target=self.take)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.thread.join()
        self.socket.close()

    def take(self):
        while not self.stopping:
            try:
                message, handed, _, _ = socket.recv_fds(self.socket, 1 << 20, 1)
            except TimeoutError:
                continue
            for file in handed:  # what is too long for a datagram comes in memory
                message += os.pread(file, os.fstat(file).st_size, 0)
                os.close(file)
            self.entries.append(message)

    def text(self):
        return b"\n".join(self.entries)


def own_journal(journal, log):
    """A command before a daemon's own that gives it a journal of its own, where its log goes as systemd says; root only."""
    log.parent.mkdir(exist_ok=True)
    log.touch()
    stream = f"{log.stat().st_dev}:{log.stat().st_ino}"
    script = f"mount -t tmpfs none /run && mkdir -p /run/systemd/journal && mount --bind {journal} /run/systemd/journal"
    return ["unshare", "--mount", "env", f"JOURNAL_STREAM={stream}", "sh", "-c", f'{script} && exec "$@"', "sh"]


def replies(ks, a, b):
    """All that the daemons reply, for people and for programs, and their metrics."""
    spi = min(b.spis() - {"0x00010001"})
    reads = [["status"], ["counters"], ["counters", "--per"], ["sa", "list"], ["sync"], ["unknown-spi"], ["drops", "--all"]]
    at_member = [["runtime"], ["sa", "show", spi], ["sa", "show", "0x00010001"], ["spi", spi], ["policy", "10.1.0.1", "10.2.0.1"]]
    at_ks = [["group", "list"], ["member", "list", GROUP["name"]], ["reload", "--dry-run"]]
    said = b""
    for each, socket_name, more in ((a, "gm.sock", at_member), (b, "gm.sock", at_member), (ks, "ks.sock", at_ks)):
        for command in (*reads, *more):
            for how in ([], ["--json"]):
                asked = subprocess.run([BINARIES / "getvpnctl", "--socket", socket_name, *how, *command], cwd=each.work,
                                       capture_output=True, timeout=10)
                said += asked.stdout + asked.stderr
    assert spi.encode() in said
    return said


@pytest.mark.parametrize("log_format", ["text", "json", "journald"])
def test_no_key_is_in_any_log_reply_or_metric(tmp_path, log_format):
    if log_format == "journald" and os.getuid() != 0:
        pytest.skip("a journal of its own needs root")
    psk, manual = secrets.token_bytes(24), secrets.token_bytes(20)
    # That it is the journal is for the daemons to find out.
    how = (*(() if log_format == "journald" else ("--log-format", log_format)), "--log-level", "trace")
    sas = [{"spi": 0x00010001, "transform": "aes-128-gcm", "key": manual.hex(), "mode": "tunnel", "direction": "in",
            "selectors": SELECTORS}]
    at, at_ks = {name: f"{address}:19848" for name, address in ADDRESSES.items()}, f"{NETWORK}.1:19849"
    options = {name: {"psk": "0x" + psk.hex(), "sas": sas, "metrics": {"listen": at[name]}, "log": how} for name in "ab"}
    journal_directory = tmp_path / "journal"
    journal_directory.mkdir()
    before = []
    if log_format == "journald":
        before = own_journal(journal_directory, tmp_path / "ks" / "ks.log")
        for name, each in options.items():
            each["before"] = own_journal(journal_directory, tmp_path / name / "gm.log")
    config = ks_configuration(metrics={"listen": at_ks})
    with (Journal(journal_directory / "socket") as journal,
          KeyServer(tmp_path / "ks", config, psk="0x" + psk.hex(), log=how, before=before) as ks):
        with members(tmp_path, "a", "b", **options) as (a, b):
            for each in (a, b):
                each.wait_until_it_has(lambda spis: len(spis) == 2)
            carried(a, b)
            (spi,) = b.spis() - {"0x00010001"}
            b.ctl("sa", "delete", spi)
            carried(a, b)
            ks.ctl("rekey", GROUP["name"], "--kek")
            b.wait_until_it_has(lambda spis: len(spis) > 2, "the SA of the rekey")
            said = replies(ks, a, b)
            metrics = "".join(page(address) for address in (*at.values(), at_ks)).encode()
            summaries = [each.end().work / "summary.json" for each in (a, b)]
        ks.end()
    logs = [log.read_bytes() for log in (a.log, b.log, ks.log)]
    texts = {"replies": said, "metrics": metrics, "logs": b"\n".join(logs), "journal": journal.text(),
             "summaries": b"".join(path.read_bytes() for path in summaries)}
    where, written = {"text": ("logs", lambda name: b'event="%s"' % name), "json": ("logs", lambda name: b'"event":"%s"' % name),
                      "journald": ("journal", lambda name: b"GETVPN_EVENT\n%s%s\n" % (len(name).to_bytes(8, "little"), name))
                      }[log_format]
    for event in (b"registered", b"rekeyed", b"member_registered", b"kek_made", b"stopped"):
        assert written(event) in texts[where], event
    assert log_format != "journald" or b"registered" not in texts["logs"]

    keys = {"pre-shared key": psk, "manual key": manual}
    stored = subprocess.run([BINARIES / "examples" / "keys-of-store", "ks-store"], cwd=ks.work, capture_output=True, check=True,
                            timeout=10, text=True).stdout.splitlines()
    for kind, key in (line.split(" ") for line in stored):
        if key := bytes.fromhex(key):  # a counter mode has no key for integrity
            # The first octets of a private key's file are the same for all.
            keys[f"{kind} {len(keys)}"] = key[36:68] if kind == "signing" else key
    assert {name.split()[0] for name in keys} == {"pre-shared", "manual", "tek", "kek", "signing"}
    for name, text in texts.items():
        assert shown(text, keys) == set(), name
        # The same search finds what is there.
        for key in keys.values():
            assert shown(text + b" key=" + key[2:14].hex().encode(), keys), name


def test_a_wrong_key_in_a_configuration_is_not_repeated(tmp_path):
    key = secrets.token_bytes(24)  # too long for the transform
    sas = [{"spi": 0x1000, "transform": "aes-128-gcm", "key": key.hex(), "mode": "tunnel", "direction": "in", "selectors": SELECTORS}]
    config = configuration(["net_null0", "net_null1"], [{"name": "finance", "sas": sas}])
    ended = run_refused(tmp_path, config, "--check")
    assert ended.status == 2 and "group.sa.key" in ended.output
    assert shown(ended.output.encode(), {"key": key}) == set()


@pytest.mark.skipif(os.getuid() != 0, reason="a machine without a journal is made with root's help")
def test_a_journal_that_is_asked_for_must_be_there(tmp_path):
    without = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /run && exec "$@"', "sh"]
    with Member(tmp_path, configuration(["net_null0", "net_null1"]), "--log-format", "journald", before=without) as member:
        ended = member.wait(20)
    assert ended.status == 2 and "--log-format journald: no journal takes log lines here" in ended.output, ended.output
