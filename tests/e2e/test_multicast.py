"""Rekeys by multicast, over IPv4 and over IPv6, from the real key server to members in network namespaces of their own. The
members' WANs are joined by shared memory, as elsewhere."""

import contextlib
import os
import time

import pytest

from bridge import FAMILIES, Net
from keyserver import PACKET, TEK, KeyServer, RegisteringMember, Traffic, ks_configuration, settled

needs_root = pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="network namespaces need root")


@pytest.fixture(scope="module", params=FAMILIES)
def site(request, tmp_path_factory):
    """A key server and two members that are registered with it, the second one last so that it takes what the first sends."""
    work = tmp_path_factory.mktemp("multicast")
    with contextlib.ExitStack() as stack:
        net = Net(stack, request.param)
        config = ks_configuration(
            server={"listen": [net.listen("ks")]}, teks=[{**TEK, "lifetime_s": 20}],
            peers=[{"address": net.addresses[name]} for name in "ab"],
            rekey={"transport": "multicast", "address": net.group, "retransmits": 1, "interval_s": 1},
            group={"activation_delay_s": 4, "deactivation_delay_s": 5})
        ks = stack.enter_context(KeyServer(work, config, net.netns("ks")))
        started = {}
        for name in "ba":
            started[name] = stack.enter_context(RegisteringMember(
                work, name, key_servers=[net.listen("ks")], listen=net.listen(name), netns=net.netns(name)))
            started[name].wait_until_it_answers()
        a, b = started["a"], started["b"]
        for member in (a, b):
            member.wait_until_it_has(bool)
        b.wait_until(lambda: a.send(PACKET) or b.ctl("counters")["decrypted"], "traffic from A to B")
        yield net, ks, a, b
        for member in (a, b):
            assert member.end().status == 0
        ks.end()


def newest(member):
    return member.events("rekeyed")[-1]["seq"]


@needs_root
def test_traffic_goes_on_across_on_demand_and_scheduled_rekeys_and_a_kek_rollover(site):
    net, ks, a, b = site
    for member in (a, b):
        assert member.events("multicast_joined")[0]["group"] == net.group
    before = settled(a, b)
    with Traffic(a) as traffic:
        for what, again in (("on demand", ["rekey", "finance"]), ("on demand", ["rekey", "finance", "--kek"]), ("scheduled", None)):
            known, keks = a.spis() | b.spis(), len(b.events("kek_installed"))
            if again:
                ks.ctl(*again)
            for member in (a, b):
                member.wait_until_it_has(lambda spis: spis - known, f"a new SA, {what}", 50)
            assert (len(b.events("kek_installed")) > keks) == (again is not None and "--kek" in again)
            assert ks.events("rekey_begun")[-1]["why"] == what
            ks.wait_for(lambda: ks.events("rekey_ended")[-1]["acknowledged"] >= 2, "both to acknowledge")
            time.sleep(4.2)  # beyond ATD: A seals with the new one
    # The device takes frames by 32, so the last ones wait for more.
    b.wait_until(lambda: a.ctl("counters")["encrypted"] - before[0] > traffic.sent - 32, "all that was sent to be sealed")
    after = settled(a, b)
    assert after[1] == before[1], "nothing was lost on the way"
    for member in (a, b):
        assert len(member.events("registered")) == 1
        assert not member.events("spi_recovered")


@needs_root
def test_a_lost_multicast_rekey_heals_by_its_retransmission(site):
    net, ks, a, b = site
    known = a.spis() | b.spis()
    with net.without_multicast_to("b"):
        ks.ctl("rekey", "finance")
        a.wait_until_it_has(lambda spis: spis - known, "the new SA")
        assert not b.spis() - known, "it was lost"
    b.wait_until_it_has(lambda spis: spis == a.spis(), "the retransmission")
    assert len(b.events("registered")) == 1
    assert not b.events("spi_recovered") and not ks.events("invalid_spi_answered")


@needs_root
def test_a_multicast_rekey_that_is_lost_for_good_heals_by_invalid_spi(site):
    net, ks, a, b = site
    known = a.spis() | b.spis()
    with net.without_multicast_to("b"):
        ks.ctl("rekey", "finance")
        a.wait_until_it_has(lambda spis: spis - known, "the new SA")
        # Packets with the new SA make B ask, and the answer is B's alone.
        b.wait_until(lambda: a.send(PACKET) or b.spis() - known, "the answer to INVALID-SPI")
    assert a.spis() - known == b.spis() - known
    assert len(b.events("registered")) == 1
    (recovered,) = [int(event["spi"], 16) for event in b.events("spi_recovered")]
    assert recovered in {int(str(spi), 16) for spi in b.spis()}
    assert ks.events("invalid_spi_answered")
