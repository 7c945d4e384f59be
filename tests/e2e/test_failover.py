"""Two key servers, each with keys of its own: the member goes on while the one that it is registered with is gone, and
turns to the other one before its SAs end. And one key server with several addresses."""

import os
import subprocess

from keyserver import ADDRESSES, GROUP, KS, NETWORK, TEK, KeyServer, Traffic, carried, ks_configuration, members, settled
from member import BINARIES

OTHER, SIXTH = f"{NETWORK}.9:18849", f"[::1]:{20_000 + os.getpid() % 10_000}"


def group_of(member):
    return member.ctl("status")["groups"][0]


def test_a_member_goes_on_without_its_key_server_and_turns_to_the_next_before_its_sas_end(tmp_path):
    # The members turn to the other one from 10 s before the end of their SAs, not at the same moment; what each has from
    # it then waits for ATD, so that neither sends with it before the other one has it.
    tek = {**TEK, "lifetime_s": 40}
    delays = {"activation_delay_s": 4, "deactivation_delay_s": 6}
    first_config = ks_configuration(teks=[tek], rekey={"retransmits": 0}, group=delays)
    other_config = ks_configuration(server={"listen": [OTHER]}, rekey={"retransmits": 0}, group=delays)
    options = {name: {"key_servers": [KS, OTHER], "group": {"recovery": {"give_up_s": 1}}} for name in "ab"}
    with (KeyServer(tmp_path / "first", first_config) as first, KeyServer(tmp_path / "other", other_config) as other,
          members(tmp_path, "a", "b", **options) as (a, b)):
        for member in (a, b):
            member.wait_until_it_has(lambda spis: len(spis) == 1)
            assert group_of(member)["key_server"] == KS
        carried(a, b)
        first.kill()
        (old,) = a.spis()
        before = settled(a, b)
        with Traffic(a):
            for member in (a, b):
                member.wait_until_it_has(lambda spis: spis - {old}, "the SA of the other key server", 45)
                assert old in member.spis(), "the old one lives on meanwhile"
                group = group_of(member)
                assert (group["key_server"], group["state"]) == (OTHER, "in-step") and "failed" not in group
                (moved,) = member.events("failover")
                assert (moved["before"], moved["key_server"]) == (KS, OTHER)
                (failed,) = member.events("registration_failed")
                assert failed["key_server"] == KS
            assert a.spis() == b.spis()
            for member in (a, b):
                member.wait_until_it_has(lambda spis: old not in spis, "the old SA to end", 20)
        after = settled(a, b)
        assert after[0] > before[0] + 100 and after[1] == before[1], "nothing was lost on the way from one to the other"
        assert len(other.ctl("member", "list", "finance")["members"]) == 2


def test_a_member_that_starts_while_its_first_key_server_is_away_says_so_and_uses_the_next(tmp_path):
    options = {"key_servers": [KS, OTHER], "group": {"recovery": {"give_up_s": 2}}}
    with KeyServer(tmp_path / "other", ks_configuration(server={"listen": [OTHER]})), members(tmp_path, "b", b=options) as (b,):
        assert (group_of(b)["state"], group_of(b)["key_server"]) == ("registering", KS)
        b.wait_until(lambda: b.events("registration_failed"), "the first key server to be given up")
        b.wait_until_it_has(lambda spis: len(spis) == 1)
        assert (group_of(b)["state"], group_of(b)["key_server"]) == ("in-step", OTHER)
        failed = b.ctl("sync")["groups"][0]["failed"]["why"]
        assert failed.startswith(f"{KS}: phase 1: no answer after"), failed


def test_a_key_server_answers_from_each_address_that_it_listens_on(tmp_path):
    config = ks_configuration(server={"listen": [KS, OTHER, SIXTH]}, peers=[{"address": f"{NETWORK}.0/24"}, {"address": "::1"}])
    own = f"[::1]:{30_000 + os.getpid() % 10_000}"
    options = {"a": {"key_servers": [OTHER]}, "b": {"key_servers": [SIXTH], "listen": own}}
    with KeyServer(tmp_path, config) as ks, members(tmp_path, "a", "b", **options) as (a, b):
        for member, address in ((a, OTHER), (b, SIXTH)):
            member.wait_until_it_has(lambda spis: len(spis) == 1)
            assert group_of(member)["key_server"] == address
        listed = {member["address"] for member in ks.ctl("member", "list", "finance")["members"]}
        assert listed == {f"{ADDRESSES['a']}:18849", own}
        known = a.spis()
        ks.ctl("rekey", "finance")
        for member in (a, b):
            member.wait_until_it_has(lambda spis: len(spis - known) == 1)
        ks.wait_for(lambda: ks.events("rekey_ended") and ks.events("rekey_ended")[-1]["acknowledged"] == 2, "both to acknowledge")
        carried(a, b)
        b.ctl("sa", "delete", *(b.spis() - known))
        carried(a, b)
        assert b.events("spi_recovered")


def test_a_wildcard_is_refused_by_check_with_its_place(tmp_path):
    (tmp_path / "ks.toml").write_text(ks_configuration(server={"listen": [KS, "0.0.0.0:848"]}))
    checked = subprocess.run([BINARIES / "getvpn-ks", "--config", "ks.toml", "--check"], cwd=tmp_path, capture_output=True,
                             text=True, timeout=10)
    assert checked.returncode == 2
    place = f"ks.toml:2:{len(f'listen = [{chr(34)}{KS}{chr(34)}, ') + 1}"
    assert f"{place}: server.listen: 0.0.0.0:848 is every address; name each one" in checked.stderr, checked.stderr
    assert GROUP["name"] not in checked.stderr
