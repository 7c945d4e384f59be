"""strongSwan completes main mode with our phase 1, in both roles; over it each understands the other's protected messages.

What charon cannot do: it answers every offer under the IPsec DOI, also one under GDOI's; and on another port than 500 it
takes what comes without the Non-ESP marker of NAT traversal for ESP, so that it does not serve GDOI's port. GROUPKEY-PULL
is unknown to it.
"""

import os

import pytest

from charon import CHARON, Charon

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="network namespaces need root"),
    pytest.mark.skipif(not CHARON.exists() and not os.environ.get("CI"), reason="strongSwan is not installed"),
]

PSK = "a secret that both know"

# Our suite, charon's name for it, what authenticates.
CASES = [
    ("aes128-sha1-modp2048", "aes128-sha1-modp2048", {"psk": PSK}),
    ("aes256-sha256-modp2048", "aes256-sha256-modp2048", {"psk": PSK}),
    ("aes128-sha256-ecp256", "aes128-sha256-ecp256", {"psk": PSK}),
    ("aes256-sha1-ecp256", "aes256-sha1-ecp256", {"psk": PSK}),
    ("aes192-sha512-modp3072", "aes192-sha512-modp3072", {"psk": PSK}),
    ("aes256-sha384-ecp384", "aes256-sha384-ecp384", {"psk": PSK}),
    ("aes256-sha256-ecp256", "aes256-sha256-ecp256", {"key": "rsa"}),
    ("aes128-sha1-modp2048", "aes128-sha1-modp2048", {"key": "rsa"}),
    ("aes128-sha256-ecp256", "aes128-sha256-ecp256", {"key": "p256"}),
    ("aes256-sha384-ecp384", "aes256-sha384-ecp384", {"key": "p384"}),
    ("aes256-sha512-modp2048", "aes256-sha512-modp2048", {"key": "p256"}),
]


def name(value):
    return "-".join(value) if isinstance(value, dict) else str(value)


@pytest.mark.parametrize(("suite", "proposal", "credentials"), CASES, ids=name)
def test_charon_answers_our_main_mode(tmp_path, suite, proposal, credentials):
    with Charon(tmp_path, proposal=proposal, **credentials) as charon:
        ours = charon.driver("initiate", suite=suite, doi="ipsec", **credentials)
        assert_established(charon, ours, suite)


@pytest.mark.parametrize(("suite", "proposal", "credentials"), CASES, ids=name)
def test_we_answer_charons_main_mode(tmp_path, suite, proposal, credentials):
    with Charon(tmp_path, proposal=proposal, **credentials) as charon:
        ours = charon.driver("respond", suite=suite, doi="ipsec", **credentials)
        assert ours.stdout.readline().startswith("bound")
        charon.swanctl("--initiate", "--ike", "peer", "--timeout", "10")
        assert_established(charon, ours, suite)


def assert_established(charon, ours, suite):
    """Both say so; charon answers R-U-THERE, whose HASH(1) and IV are thus right, and believes our Delete."""
    output, _ = ours.communicate(timeout=60)
    assert ours.returncode == 0, output + charon.log()
    assert f"established: {suite}, " in output
    assert "with ks1.example.net" in output
    assert "peer supports DPD: true" in output
    assert "said: RUThereAck(1234)" in output
    charon.wait_for("IKE_SA peer[1] established between 10.98.0.1[ks1.example.net]...10.98.0.2[gm1.example.net]")
    charon.wait_for("received DELETE for IKE_SA peer[1]")


def test_charon_answers_the_gdoi_doi_under_the_ipsec_doi_which_we_refuse(tmp_path):
    with Charon(tmp_path, proposal="aes256-sha256-ecp256", psk=PSK) as charon:
        ours = charon.driver("initiate", suite="aes256-sha256-ecp256", psk=PSK, tries=2)
        output, _ = ours.communicate(timeout=60)
        assert ours.returncode != 0
        assert "failed: the responder chose what was not offered: another domain of interpretation" in output


def test_charon_does_not_serve_the_port_of_gdoi(tmp_path):
    with Charon(tmp_path, proposal="aes256-sha256-ecp256", psk=PSK, port=848) as charon:
        ours = charon.driver("initiate", suite="aes256-sha256-ecp256", psk=PSK, doi="ipsec", peer_port=848, tries=2)
        output, _ = ours.communicate(timeout=60)
        assert ours.returncode != 0
        assert "failed: no answer after 2 tries" in output, output + charon.log()


def test_different_pre_shared_keys_are_named_by_the_side_that_finds_out(tmp_path):
    with Charon(tmp_path, proposal="aes256-sha256-ecp256", psk="another secret") as charon:
        ours = charon.driver("respond", suite="aes256-sha256-ecp256", doi="ipsec", psk=PSK)
        assert ours.stdout.readline().startswith("bound")
        charon.swanctl("--initiate", "--ike", "peer", "--timeout", "10", check=False)
        output, _ = ours.communicate(timeout=90)
        assert "refused: authentication failed: message 5 does not decrypt; the pre-shared keys differ?" in output
        assert ours.returncode != 0


def test_different_pre_shared_keys_end_our_main_mode_with_charons_silence(tmp_path):
    with Charon(tmp_path, proposal="aes256-sha256-ecp256", psk="another secret") as charon:
        ours = charon.driver("initiate", suite="aes256-sha256-ecp256", doi="ipsec", psk=PSK, tries=2)
        output, _ = ours.communicate(timeout=90)
        assert ours.returncode != 0
        assert "failed: no answer after 2 tries" in output, output
