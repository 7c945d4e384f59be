"""getvpnctl as a program: what --watch does on a terminal and off it, colours, completions, manual pages, exit codes."""

import json
import os
import pty
import re
import socket
import subprocess

import pytest

from member import BINARIES, Member, configuration, wait_for
from oracle import OracleSa, group

COLOUR = "\x1b["


@pytest.fixture(scope="module")
def member(tmp_path_factory):
    config = configuration(["net_null0", "net_null1"], [group("main", OracleSa(0x5000))])
    with Member(tmp_path_factory.mktemp("member"), config) as member:
        member.wait_until_it_answers()
        yield member


def command(*arguments):
    return [BINARIES / "getvpnctl", "--socket", "gm.sock", *arguments]


def run(member, *arguments, **environment):
    return subprocess.run(command(*arguments), cwd=member.work, capture_output=True, text=True, timeout=10,
                          env={**os.environ, **environment})


def on_terminal(member, *arguments, until=None, **environment):
    """What it writes to a terminal, until it ends or has written so much."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command(*arguments), cwd=member.work, stdin=theirs, stdout=theirs, stderr=theirs,
                               env={**os.environ, "TERM": "xterm", **environment})
    os.close(theirs)
    text = b""
    try:
        while chunk := os.read(ours, 65536):
            text += chunk
            if until and until(text.decode(errors="replace")):
                process.terminate()  # who starts the tests in the background has them ignore SIGINT
                break
    except OSError:  # the terminal's other end is closed
        pass
    process.wait(timeout=10)
    os.close(ours)
    return text.decode()


def test_colours_are_for_terminals_and_not_for_who_wants_none(member):
    assert COLOUR not in run(member, "status").stdout
    assert re.search(r"\x1b\[(38;5;)?\d+m.*manual", on_terminal(member, "status", NO_COLOR=""))
    plain = on_terminal(member, "status", NO_COLOR="1")
    assert "manual" in plain and COLOUR not in plain


def test_watch_redraws_a_terminal(member):
    text = on_terminal(member, "--watch", "0.1", "status", until=lambda text: text.count("getvpn-gm") >= 3)
    assert text.count("\x1b[H") >= 3
    assert "every 0.1 s, 20" in text


def test_watch_appends_elsewhere_behind_the_time(member):
    with subprocess.Popen(command("status", "--watch", "0.1"), cwd=member.work, stdout=subprocess.PIPE, text=True) as watch:
        stamps = []
        for line in watch.stdout:
            assert COLOUR not in line
            stamps += re.findall(r"^--- (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z)$", line)
            if len(stamps) == 3:
                break
        watch.kill()
    assert stamps == sorted(set(stamps))


def test_watch_with_json_is_a_reply_a_line(member):
    with subprocess.Popen(command("--json", "--watch", "0.1", "status"), cwd=member.work, stdout=subprocess.PIPE,
                          text=True) as watch:
        for _ in range(3):
            assert json.loads(watch.stdout.readline())["role"] == "gm"
        watch.kill()


def test_watch_outlives_a_daemon_that_goes_and_comes_back(tmp_path):
    config = configuration(["net_null0", "net_null1"], [group("main", OracleSa(0x5000))])
    with Member(tmp_path, config) as first:
        first.wait_until_it_answers()
        with open(tmp_path / "watch.log", "w", encoding="utf-8") as log:
            watch = subprocess.Popen(command("--json", "--watch", "0.1", "status"), cwd=tmp_path, stdout=log, stderr=log)
        shown = lambda: (tmp_path / "watch.log").read_text()
        first.wait_until(lambda: '"role":"gm"' in shown(), "the first reply")
        first.end()
    wait_for(lambda: "no such socket" in shown(), "that it says so", 10)
    before = shown().count('"role":"gm"')
    with Member(tmp_path, config) as second:
        second.wait_until(lambda: shown().count('"role":"gm"') > before, "replies again")
        assert watch.poll() is None
    watch.kill()
    watch.wait()


def test_what_changes_something_is_not_repeated(member):
    refused = run(member, "--watch", "1", "sa", "delete", "0x5000")
    assert refused.returncode == 2
    assert "sa delete" in refused.stderr
    assert run(member, "--watch", "0", "status").returncode == 2


def test_exit_codes_are_those_of_the_help(member):
    told = dict(re.findall(r"^  (\d)  (.+)$", run(member, "--help").stdout, re.MULTILINE))
    assert list(told) == ["0", "1", "2", "3"]
    assert run(member, "status").returncode == 0
    assert run(member, "sa", "show", "0x999").returncode == 1
    assert run(member, "sa", "shw", "0x999").returncode == 2
    assert subprocess.run([BINARIES / "getvpnctl", "--socket", "none.sock", "status"], cwd=member.work,
                          capture_output=True, check=False).returncode == 3
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(member.work / "mute.sock"))
        mute.listen()
        asked = subprocess.run([BINARIES / "getvpnctl", "--socket", "mute.sock", "--timeout", "1", "status"], cwd=member.work,
                               capture_output=True, text=True, check=False)
        assert asked.returncode == 3 and "no answer within" in asked.stderr


def commands_in_help(*path):
    help_text = subprocess.run([BINARIES / "getvpnctl", *path, "--help"], capture_output=True, text=True, check=True).stdout
    section = re.search(r"^Commands:\n(.*?)\n\n", help_text, re.MULTILINE | re.DOTALL)
    return [name for name in re.findall(r"^  ([a-z-]+)", section[1], re.MULTILINE) if name != "help"] if section else []


def test_every_command_has_a_manual_page_that_man_takes(tmp_path):
    subprocess.run([BINARIES / "getvpnctl", "man", tmp_path / "man"], check=True)
    pages = {page.name for page in (tmp_path / "man").iterdir()}
    expected = {"getvpnctl.1"}
    for name in commands_in_help():
        expected |= {f"getvpnctl-{name}.1"} | {f"getvpnctl-{name}-{sub}.1" for sub in commands_in_help(name)}
    assert pages == expected
    top = (tmp_path / "man/getvpnctl.1").read_text()
    assert '.SH "EXIT STATUS"' in top and "could not be reached" in top
    for daemon in ("getvpn-gm", "getvpn-ks"):
        subprocess.run([BINARIES / daemon, "--man", tmp_path / "man"], check=True)
        page = (tmp_path / f"man/{daemon}.8").read_text()
        assert '.SH "EXIT STATUS"' in page and "\\-\\-check" in page


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_know_every_command(shell, tmp_path):
    script = subprocess.run([BINARIES / "getvpnctl", "completions", shell], capture_output=True, text=True, check=True).stdout
    for name in commands_in_help():
        assert name in script, name
    for daemon in ("getvpn-gm", "getvpn-ks"):
        of_daemon = subprocess.run([BINARIES / daemon, "--completions", shell], capture_output=True, text=True, check=True)
        assert "log-format" in of_daemon.stdout
    if shell == "bash":
        (tmp_path / "getvpnctl").write_text(script)
        asks = f'. {tmp_path}/getvpnctl; COMP_WORDS=(getvpnctl sa sh); COMP_CWORD=2; _getvpnctl getvpnctl sh sa; echo "${{COMPREPLY[@]}}"'
        assert subprocess.run(["bash", "-c", asks], capture_output=True, text=True, check=True).stdout.split() == ["show"]
