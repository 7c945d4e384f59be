"""`reload` at a member, and SIGHUP: what a changed gm.toml changes while packets pass, and what it does not."""

import signal
import subprocess

import pytest
from scapy.layers.inet import IP, UDP

from keyserver import KeyServer, members
from member import BINARIES, Member, configuration, write_frames
from oracle import ETHERNET, OracleSa, group

SA, OTHER = OracleSa(0x5000), OracleSa(0x5001, net=2)
VDEVS = ["net_pcap0,rx_pcap=lan-in.pcap,infinite_rx=1", "net_pcap1,tx_pcap=/dev/null"]


def gm_toml(*sas, **options):
    return configuration(VDEVS, [{**group("main", sas[0], without_sa="drop"), "sas": [sa for each in sas
                                  for sa in group("main", each)["sas"]]}], **options)


@pytest.fixture
def member(tmp_path):
    write_frames(tmp_path / "lan-in.pcap", [ETHERNET / IP(**sa.addresses(4)) / UDP() for sa in (SA, OTHER)] * 4)
    with Member(tmp_path, gm_toml(SA)) as member:
        member.wait_until_it_answers()
        member.wait_until(lambda: member.ctl("counters")["encrypted"], "traffic")
        yield member


def change(member, text, *arguments):
    (member.work / "gm.toml").write_text(text)
    return member.ctl("reload", *arguments)


def grows(member, read, what):
    """Whether a counter goes up from now on."""
    before = read(member.ctl("counters"))
    member.wait_until(lambda: read(member.ctl("counters")) > before, what)


def test_a_rule_is_tried_and_then_put_in_force_while_packets_pass(member):
    text = gm_toml(SA, policy=[{"action": "drop", "src": SA.addresses(4)["src"] + "/32", "dst": "0.0.0.0/0"}])
    reply = change(member, text, "--dry-run")
    assert reply["dry_run"] and "1 rules instead of 0" in reply["changes"][0]
    assert member.ctl("counters")["drops"]["policy"] == 0
    assert change(member, text)["changes"] == reply["changes"]
    grows(member, lambda counters: counters["drops"]["policy"], "packets that the new rule drops")
    assert change(member, text)["changes"] == [], "nothing is left to change"


def test_manual_sas_come_and_go(member):
    assert change(member, gm_toml(SA, OTHER))["changes"] == ["group main: 0 manual SAs are taken out, 1 are put in"]
    member.wait_until(lambda: {sa["spi"]: sa["packets"] for sa in member.ctl("sa", "list")["sas"]}.get("0x00005001"),
                      "packets with the new SA")
    before = member.ctl("sa", "show", "0x5000")["age_s"]
    assert change(member, gm_toml(OTHER))["changes"] == ["group main: 1 manual SAs are taken out, 0 are put in"]
    assert [sa["spi"] for sa in member.ctl("sa", "list")["sas"]] == ["0x00005001"]
    assert before >= 0


def test_a_wrong_file_changes_nothing_and_is_told_with_its_place(member):
    (member.work / "gm.toml").write_text(gm_toml(SA, policy=[{"action": "dorp"}]))
    for arguments in (["reload", "--dry-run"], ["reload"]):
        asked = subprocess.run([BINARIES / "getvpnctl", "--socket", "gm.sock", *arguments], cwd=member.work, text=True,
                               capture_output=True, timeout=10, check=False)
        assert asked.returncode == 1
        assert "nothing has changed" in asked.stderr and "gm.toml:" in asked.stderr and "policy.action" in asked.stderr
    assert len(member.ctl("sa", "list")["sas"]) == 1


def test_what_needs_a_restart_is_said_each_time_and_the_rest_is_done(member):
    text = gm_toml(SA, mtu=1400, workers={"buffers": 8192},
                   policy=[{"action": "bypass", "src": "192.0.2.0/24", "dst": "192.0.2.0/24"}])
    reply = change(member, text)
    assert reply["needs_restart"] == ["[workers] has changed", "[[link]] has changed"]
    assert len(reply["changes"]) == 1
    again = change(member, text)
    assert again["needs_restart"] == reply["needs_restart"] and again["changes"] == []
    assert member.ctl("status")["links"][0]["mtu"] == 1500


def test_sighup_reloads_and_sigterm_ends(member):
    (member.work / "gm.toml").write_text(gm_toml(SA, OTHER))
    member.process.send_signal(signal.SIGHUP)
    member.wait_until(lambda: len(member.ctl("sa", "list")["sas"]) == 2, "the SA of the new file")
    assert "the configuration has been read again" in member.log.read_text()
    assert member.end().status == 0


def test_a_group_with_other_settings_registers_again_and_keeps_its_sas_meanwhile(tmp_path):
    with KeyServer(tmp_path), members(tmp_path, "b") as (member,):
        member.wait_until_it_has(bool)
        before = member.spis()
        file = member.work / "gm.toml"
        text = file.read_text()
        key = next(line for line in text.splitlines() if line.startswith("psk_file"))
        file.write_text(text.replace(key, key + "\nsad_limit = 2048"))
        assert "registers again" in member.ctl("reload")["changes"][0]
        assert member.spis() == before
        member.wait_until(lambda: len(member.events("registered")) == 2, "another registration")
        assert member.spis() == before
