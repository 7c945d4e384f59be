"""Phase 1 with certificates between the real daemons: a chain with a CA in between, revocation lists, and all that is
wrong with a certificate: refused, counted, and named in the log of the side that can act; the other one gets a hint."""

import signal

import pytest

from keyserver import ADDRESSES, GROUP, NETWORK, KeyServer, carried, ks_configuration, members
from pki import LONG_AGO, Pki

KS_NAME, OTHER_KS = "ks.example.net", f"{NETWORK}.1:18850"
# A registration that leads to nothing is given up after 2 s instead of 20.
SOON = {"recovery": {"give_up_s": 2}}


def server(credentials, trust, **more):
    return {"local_id": KS_NAME, **credentials, **trust, "phase1": ["aes256-sha256-ecp256"], **more}


def member(credentials, trust, **more):
    return {"key_server_ids": [KS_NAME], **credentials, **trust, **SOON, **more}


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_members_with_certificates_register_and_understand_each_other(tmp_path, kind):
    pki = Pki(tmp_path, kind)
    ks = pki.issue("ks", KS_NAME)
    own = {name: pki.issue(name, f"{name}.example.net") for name in "ab"}
    trust = pki.trust()
    peers = [{"subject": "CN=a.example.net"}, {"subject": "b.example.net"}]  # by the subject, and by a subjectAltName
    config = ks_configuration(server=server(ks, trust), peers=peers)
    options = {name: {"groups": [member(own[name], trust)]} for name in "ab"}
    with KeyServer(tmp_path / "ks", config) as ks, members(tmp_path, "a", "b", **options) as (a, b):
        for each in (a, b):
            each.wait_until_it_has(lambda spis: len(spis) == 1)
        carried(a, b)
        listed = ks.ctl("member", "list", "finance")["members"]
        assert {each["name"] for each in listed} == {"CN=a.example.net", "b.example.net"}
        assert not any(ks.ctl("counters")["drops"].values())


def failures(each):
    """Why each group's registration failed, by its name, as the member's log says; `status` says it too."""
    told = {event["group"]: event["why"] for event in each.events("registration_failed")}
    shown = {group["name"]: group["failed"]["why"] for group in each.ctl("status")["groups"] if "failed" in group}
    assert all(told[name] in why for name, why in shown.items() if name in told)
    return told


def test_a_key_server_refuses_wrong_certificates_and_says_why(tmp_path):
    pki, strangers, namesakes = Pki(tmp_path), Pki(tmp_path / "other", owner="Other"), Pki(tmp_path / "same")
    ks = pki.issue("ks", KS_NAME)
    cases = {
        "expired": (pki.issue("expired", "expired.example.net", validity=LONG_AGO), "expired"),
        "revoked": (pki.issue("revoked", "revoked.example.net"), "revoked"),
        "stranger": (strangers.issue("stranger", "stranger.example.net"), "to a trust anchor"),
        "namesake": (namesakes.issue("namesake", "namesake.example.net"), "is not signed by the key of its issuer"),
        "unknown": (pki.issue("unknown", "unknown.example.net"), "is not configured as a peer"),
    }
    believed = {"trust_anchors": pki.root.certificate()}
    pki.issuing.revoke("revoked")
    peers = [{"subject": f"{name}.example.net"} for name in cases if name != "unknown"]
    config = ks_configuration(server=server(ks, pki.trust()), peers=peers)
    groups = [member(own, believed, name=name, id=GROUP["id"] + n, local_id=f"{name}.example.net")
              for n, (name, (own, _)) in enumerate(cases.items())]
    with KeyServer(tmp_path / "ks", config) as ks, members(tmp_path, "b", b={"groups": groups}) as (b,):
        b.wait_until(lambda: len(failures(b)) == len(cases), "all to be refused")
        said = [event["why"] for event in ks.events("message_refused")]
        for name, (_, reason) in cases.items():
            assert any(f"{name}.example.net" in why and reason in why for why in said), (name, said)
            hint = "INVALID-ID-INFORMATION" if name == "unknown" else "INVALID-CERTIFICATE"
            assert hint in failures(b)[name], failures(b)
        drops = ks.ctl("counters")["drops"]
        assert drops["certificate"] >= 4 and drops["identity"] >= 1, drops
        assert not b.spis()


def test_a_key_server_reads_its_revocation_lists_again_on_sighup(tmp_path):
    pki = Pki(tmp_path)
    ks, own, trust = pki.issue("ks", KS_NAME), pki.issue("b", "b.example.net"), pki.trust()
    config = ks_configuration(server=server(ks, trust), peers=[{"subject": "b.example.net"}])
    with KeyServer(tmp_path / "ks", config) as ks:
        with members(tmp_path, "b", b={"groups": [member(own, trust)]}) as (b,):
            b.wait_until_it_has(bool)
            assert b.end().status == 0
        pki.issuing.revoke("b")
        assert pki.issuing.revocations() in trust["crls"]
        ks.process.send_signal(signal.SIGHUP)
        ks.wait_for(lambda: ks.events("reloaded"), "the configuration to be read again")
        with members(tmp_path, "b", b={"groups": [member(own, {"trust_anchors": pki.root.certificate()})]}) as (b,):
            b.wait_until(lambda: failures(b), "b to be refused")
            assert any("revoked" in event["why"] for event in ks.events("message_refused"))
            assert not b.spis()


def test_a_member_refuses_a_wrong_key_server_and_both_logs_say_why(tmp_path):
    pki, strangers = Pki(tmp_path), Pki(tmp_path / "other", owner="Other")
    ks, expired = pki.issue("ks", KS_NAME), pki.issue("old", KS_NAME, validity=LONG_AGO)
    own = pki.issue("b", "b.example.net")
    trust = pki.trust()
    pki.issuing.revoke("ks")
    revoked = {**trust, "crls": pki.issuing.revocations("revoked.crl")}
    cases = {
        "revoked": (member(own, revoked), "revoked", "INVALID-CERTIFICATE"),
        "stranger": (member(own, strangers.trust()), "to a trust anchor", "INVALID-CERTIFICATE"),
        "misnamed": (member(own, trust, key_server_ids=["ks9.example.net"]), "the peer is ks.example.net, not ks9",
                     "INVALID-ID-INFORMATION"),
        "expired": (member(own, trust, key_servers=[OTHER_KS]), "expired", "INVALID-CERTIFICATE"),
    }
    groups = [{**group, "name": name, "id": GROUP["id"] + n} for n, (name, (group, *_)) in enumerate(cases.items())]
    peers = [{"subject": "b.example.net"}]
    configs = [ks_configuration(server=server(ks, trust), peers=peers),
               ks_configuration(server=server(expired, trust, listen=[OTHER_KS]), peers=peers)]
    with (KeyServer(tmp_path / "ks", configs[0]) as good, KeyServer(tmp_path / "old", configs[1]) as old,
          members(tmp_path, "b", b={"groups": groups}) as (b,)):
        b.wait_until(lambda: len(failures(b)) == len(cases), "all to be refused")
        for name, (_, reason, _) in cases.items():
            assert reason in failures(b)[name], failures(b)
            (group,) = [group for group in b.ctl("sync")["groups"] if group["name"] == name]
            assert group["counters"]["phase_1_failed"] >= 1
        good.wait_for(lambda: len(good.events("hint")) >= 3, "what the member says of it")
        assert {event["notify"].split()[0] for event in good.events("hint")} == {"INVALID-CERTIFICATE", "INVALID-ID-INFORMATION"}
        assert good.ctl("counters")["key_server"]["hints"] >= 3
        old.wait_for(lambda: old.events("hint"), "what the member says of the other one")
        assert all(event["peer"] == f"{ADDRESSES['b']}:18849" for event in good.events("hint"))
        assert not b.spis()
