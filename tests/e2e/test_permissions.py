"""Who may do what at a control socket: users and groups of their own, each a process that is theirs."""

import os
import pathlib
import shutil
import stat
import subprocess
import tempfile

import pytest

from member import BINARIES, Member, configuration
from oracle import OracleSa, group

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become other users")

OPERATORS, DAEMON, OPERATOR, STRANGER = 54321, 54322, 54323, 54324
ROOT = {}


@pytest.fixture
def work():
    """A directory that other users can look into, which those of pytest are not."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="getvpn-permissions-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def gm_toml(**control):
    return configuration(["net_null0", "net_null1"], [group("main", OracleSa(0x5000))], control=control)


def user(number, *groups):
    return {"user": number, "group": number, "extra_groups": list(groups)}


def ctl(work, who, *command):
    return subprocess.run([BINARIES / "getvpnctl", "--socket", work / "gm.sock", *command], cwd="/", capture_output=True,
                          text=True, timeout=10, **who)


def test_a_group_reads_and_changes_nothing_and_others_do_not_even_connect(work):
    with Member(work, gm_toml(read_group=str(OPERATORS))) as member:
        member.wait_until_it_answers()
        assert stat.S_IMODE((work / "gm.sock").stat().st_mode) == 0o660
        assert (work / "gm.sock").stat().st_gid == OPERATORS
        operator = user(OPERATOR, OPERATORS)
        for reading in (["status"], ["counters"], ["sa", "list"], ["sa", "show", "0x5000"], ["sync"]):
            assert ctl(work, operator, *reading).returncode == 0, reading
        refused = ctl(work, operator, "--json", "sa", "delete", "0x5000")
        assert refused.returncode == 1
        assert '"code":"forbidden"' in refused.stdout
        assert f"only root may ask for it, and this is user {OPERATOR}" in refused.stderr
        assert [sa["spi"] for sa in member.ctl("sa", "list")["sas"]] == ["0x00005000"]

        stranger = ctl(work, user(STRANGER), "status")
        assert stranger.returncode == 3 and "permission denied" in stranger.stderr

        assert ctl(work, ROOT, "sa", "delete", "0x5000").returncode == 0
        assert member.ctl("sa", "list")["sas"] == []


def test_a_socket_for_everybody_is_still_only_to_read(work):
    with Member(work, gm_toml(socket_mode="0666")) as member:
        member.wait_until_it_answers()
        assert ctl(work, user(STRANGER), "status").returncode == 0
        assert ctl(work, user(STRANGER), "sa", "delete", "0x5000").returncode == 1


def test_the_user_that_the_daemon_runs_as_changes_things_too(work):
    (work / "gm.toml").write_text(gm_toml(read_group=str(OPERATORS)))
    (work / "gm.toml").chmod(0o600)
    for path in (work, work / "gm.toml"):
        os.chown(path, DAEMON, DAEMON)
    with open(work / "gm.log", "wb") as log:
        daemon = subprocess.Popen([BINARIES / "getvpn-gm", "--config", "gm.toml"], cwd=work, stdout=log, stderr=log,
                                  env={**os.environ, "RUNTIME_DIRECTORY": str(work)}, **user(DAEMON, OPERATORS))
    member = Member.__new__(Member)
    member.work, member.process, member.log = work, daemon, work / "gm.log"
    with member:
        member.wait_until_it_answers()
        refused = ctl(work, user(OPERATOR, OPERATORS), "sa", "delete", "0x5000")
        assert refused.returncode == 1 and f"only root and user {DAEMON}, which this daemon runs as" in refused.stderr
        assert ctl(work, user(DAEMON), "sa", "delete", "0x5000").returncode == 0


def test_a_group_that_is_none_is_refused_with_the_remedy(work):
    (work / "gm.toml").write_text(gm_toml(read_group="nonsuch"))
    checked = subprocess.run([BINARIES / "getvpn-gm", "--config", work / "gm.toml", "--check"], capture_output=True, text=True,
                             check=False)
    assert checked.returncode == 2
    assert "control.read_group" in checked.stderr and "groupadd --system nonsuch" in checked.stderr
