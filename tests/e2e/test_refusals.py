"""Who may not register is refused, and both sides say why: the key server in its log and counters, the member in its log
and in `status`, with what the key server hinted."""

import pytest

from keyserver import ADDRESSES, GROUP, KeyServer, ks_configuration, members

# A registration that leads to nothing is given up after 2 s instead of 20.
SOON = {"recovery": {"give_up_s": 2}}
OTHER = {"name": "sales", "id": 99}


def refused(member):
    """Why the member's registration failed, as its log, `status` and `sync` say alike."""
    why = member.wait_until(lambda: member.events("registration_failed"), "a failed registration")[0]["why"]
    status = member.ctl("status")["groups"][0]
    assert status["failed"]["why"].endswith(why), status
    assert member.ctl("sync")["groups"][0]["failed"]["why"] == status["failed"]["why"]
    assert not member.spis()
    return why


def last_refused(key_server, reason):
    """Whose the last message was that the key server refused for a reason, as `drops` says it."""
    reply = key_server.ctl("drops")
    [drop] = [drop for drop in reply["drops"] if drop["reason"] == reason]
    assert reply["role"] == "ks" and drop["count"] >= 1 and drop["advice"]
    return drop["last"]


@pytest.mark.parametrize(("options", "server_says", "counted", "hint"), [
    ({"psk": "another key"}, "pre-shared keys differ", "pre-shared-key", "AUTHENTICATION-FAILED"),
    ({"group": {"phase1": ["aes128-sha256-modp2048"]}}, "no proposal chosen", "no-proposal", "NO-PROPOSAL-CHOSEN"),
], ids=["wrong key", "no common proposal"])
def test_a_phase_1_that_is_refused_is_named_counted_and_hinted(tmp_path, options, server_says, counted, hint):
    options["group"] = {**options.get("group", {}), **SOON}
    with KeyServer(tmp_path) as ks, members(tmp_path, "b", b=options) as (b,):
        why = refused(b)
        assert "no answer after" in why and hint in why, why
        said = ks.wait_for(lambda: ks.events("message_refused"), "the key server's log")
        assert server_says in said[0]["why"] and said[0]["peer"].startswith(f"{ADDRESSES['b']}:")
        assert ks.ctl("counters")["drops"][counted] >= 1
        assert last_refused(ks, counted)["peer"].startswith(f"{ADDRESSES['b']}:")
        assert not ks.ctl("member", "list", "finance")["members"]


@pytest.mark.parametrize(("group", "server_says", "counted", "named"), [
    ({"id": 98}, "there is no such group", "refused-unknown-group", "98"),
    (OTHER, "groups do not include this one", "refused-not-its-group", "sales"),
], ids=["no such group", "a group of others"])
def test_a_member_outside_its_groups_gets_an_authenticated_refusal_and_both_logs_say_why(tmp_path, group, server_says, counted,
                                                                                         named):
    peers = [{"address": ADDRESSES["b"]}, {"address": ADDRESSES["a"], "groups": [GROUP["name"], OTHER["name"]]}]
    config = ks_configuration(peers=peers, more_groups=[OTHER])
    with KeyServer(tmp_path, config) as ks, members(tmp_path, "b", b={"group": group}) as (b,):
        assert "the key server refuses: INVALID-ID-INFORMATION" in refused(b)
        sync = b.ctl("sync")["groups"][0]
        assert sync["phase1"] and sync["counters"]["phase_1_established"] == 1, "the refusal came over phase 1"
        assert sync["counters"].get("hints_in_the_clear", 0) == 0
        (said, *_) = ks.events("registration_refused")
        assert (said["group"], said["peer"]) == (named, f"{ADDRESSES['b']}:18849")
        assert server_says in said["reason"] and f"group {named}: registration of b.example.net" in said["message"]
        assert ks.ctl("counters")["key_server"][counted] >= 1
        assert last_refused(ks, counted)["peer"] == f"{ADDRESSES['b']}:18849"


def test_the_same_member_is_let_into_the_group_that_it_may_join(tmp_path):
    peers = [{"address": ADDRESSES["b"], "groups": [OTHER["name"]]}]
    config = ks_configuration(peers=peers, more_groups=[OTHER])
    with KeyServer(tmp_path, config) as ks, members(tmp_path, "b", b={"groups": [
            {"psk_file": "gm.psk", **SOON}, {"psk_file": "gm.psk", **OTHER}]}) as (b,):
        b.wait_until_it_has(lambda spis: len(spis) == 1)
        states = {group["name"]: group for group in b.ctl("status")["groups"]}
        assert states["sales"]["state"] == "in-step" and "failed" not in states["sales"]
        b.wait_until(lambda: b.events("registration_failed"), "the refusal")
        assert "INVALID-ID-INFORMATION" in b.ctl("status")["groups"][0]["failed"]["why"]
        assert ks.events("registration_refused")[0]["group"] == "finance"
