"""Members that get their SAs from a key server: rules S1 to S8 of the synchronisation method between real processes."""

from keyserver import ADDRESSES, KS, PACKET, TEK, KeyServer, RacingKeyServer, carried, ks_configuration, members, settled
from member import wait_for


def test_sync_01_and_02_members_register_hold_the_same_sas_and_understand_each_other(tmp_path):
    with KeyServer(tmp_path) as ks, members(tmp_path, "a", "b") as (a, b):
        for member in (a, b):
            member.wait_until_it_has(lambda spis: len(spis) == 1)
            group = member.ctl("status")["groups"][0]
            assert (group["key_server"], group["sas"]) == (KS, 1)
        assert a.spis() == b.spis()
        carried(a, b)
        listed = ks.ctl("member", "list", "finance")
        assert len(listed["members"]) == 2
        for ended in (a.end(), b.end()):
            assert ended.status == 0
        ks.end()


def test_sync_03_a_kd_spi_that_the_policy_did_not_name_is_asked_for_at_once(tmp_path):
    with RacingKeyServer(tmp_path, "added") as ks, members(tmp_path, "a") as (a,):
        a.wait_until_it_has(lambda spis: len(spis) == 2)
        with members(tmp_path, "b") as (b,):
            b.wait_until_it_has(lambda spis: len(spis) == 3)
            assert a.wait_until_it_has(lambda spis: spis == b.spis())
            offered, keyed = ks.events("offered")[-1], ks.events("keyed")[-1]
            (raced,) = set(keyed["spis"]) - set(offered["spis"])
            # Again if the answer took long: the machine may be busy.
            asked = {(e["spi"], e["known"]) for e in ks.events("invalid_spi")}
            assert asked == {(raced, True)}, "asked for the SA that raced and for no other"


def test_sync_03_a_policy_whose_key_did_not_come_stays_pending_and_the_others_are_installed(tmp_path):
    with RacingKeyServer(tmp_path, "removed") as ks, members(tmp_path, "a") as (a,):
        a.wait_until_it_has(lambda spis: len(spis) == 2)
        with members(tmp_path, "b") as (b,):
            b.wait_until_it_has(lambda spis: len(spis) == 1)
            (gone,) = set(ks.events("offered")[-1]["spis"]) - set(ks.events("keyed")[-1]["spis"])
            assert gone not in b.spis()
            assert all(not e["known"] for e in ks.events("invalid_spi"))


def test_sync_04_and_08_an_sa_that_a_member_lost_comes_back_by_rekey(tmp_path):
    with KeyServer(tmp_path) as ks, members(tmp_path, "a", "b") as (a, b):
        for member in (a, b):
            member.wait_until_it_has(lambda spis: len(spis) == 1)
        carried(a, b)
        (spi,) = b.spis()
        registrations = len(b.events("registered"))
        b.ctl("sa", "delete", spi)
        carried(a, b)
        assert b.spis() == {spi}
        assert len(b.events("registered")) == registrations, "no registration was needed"
        assert b.events("spi_recovered")
        assert ks.process.poll() is None


def test_sync_08_packets_that_come_while_their_sa_is_missing_wait_for_it_and_none_is_lost(tmp_path):
    with KeyServer(tmp_path), members(tmp_path, "a", "b") as (a, b):
        for member in (a, b):
            member.wait_until_it_has(lambda spis: len(spis) == 1)
        carried(a, b)
        (spi,) = b.spis()
        waited = 0
        for _ in range(8):
            b.ctl("sa", "delete", spi)
            a.send(*[PACKET] * 64)
            wait_for(lambda: b.ctl("counters")["released"] > waited, "packets that waited to go on", 20, a, b)
            waited = b.ctl("counters")["released"]
            assert settled(a, b)[1] == {}, "nothing was dropped"
        parking = b.ctl("sync")["parking"]
        assert (parking["packets"], parking["max_packets"]) == (0, 1024)
        assert 0 < parking["most_packets"] <= waited


def test_sync_04_an_spi_that_the_key_server_does_not_know_gets_no_answer(tmp_path):
    with RacingKeyServer(tmp_path, "removed") as ks, members(tmp_path, "a") as (a,):
        a.wait_until_it_has(lambda spis: len(spis) == 2)
        with members(tmp_path, "b") as (b,):
            b.wait_until_it_has(lambda spis: len(spis) == 1)
            # A still sends with the SA that the key server no longer has.
            wait_for(lambda: a.send(PACKET) or any(not e["known"] for e in ks.events("invalid_spi")), "a question", 20, a, b, ks)
            assert not [e for e in ks.events("pushed") if e["member"].startswith(ADDRESSES["b"])]


def test_sync_05_without_an_answer_the_member_asks_again_and_then_registers_again(tmp_path):
    recovery = {"recovery": {"tries": 3, "first_retry_ms": 50}}
    with RacingKeyServer(tmp_path, "added", answer="no") as ks, members(tmp_path, "a") as (a,):
        a.wait_until_it_has(lambda spis: len(spis) == 2)
        with members(tmp_path, "b", b={"group": recovery}) as (b,):
            b.wait_until_it_has(lambda spis: len(spis) >= 2)
            ks.wait_for(lambda: len(ks.events("keyed")) >= 3, "another registration of B")
            raced = (set(ks.events("keyed")[1]["spis"]) - set(ks.events("offered")[1]["spis"])).pop()
            asked = [e for e in ks.events("invalid_spi") if e["spi"] == raced]
            assert len(asked) == 3
            b.wait_until_it_has(lambda spis: raced in spis)


def test_sync_06_a_rekey_adds_what_is_new_and_refreshes_what_is_there(tmp_path):
    with KeyServer(tmp_path) as ks, members(tmp_path, "a", "b") as (a, b):
        for member in (a, b):
            member.wait_until_it_has(lambda spis: len(spis) == 1)
        (first,) = a.spis()
        ks.ctl("rekey", "finance")
        for member in (a, b):
            member.wait_until_it_has(lambda spis: first in spis and len(spis) == 2)
        assert a.spis() == b.spis()
        carried(a, b)
        for member in (a, b):
            assert member.events("rekeyed")


def test_sync_07_an_sa_ends_with_its_life_on_both_sides(tmp_path):
    config = ks_configuration(teks=[{**TEK, "lifetime_s": 8}], rekey={"retransmits": 0})
    with KeyServer(tmp_path, config) as ks, members(tmp_path, "a", "b") as (a, b):
        for member in (a, b):
            member.wait_until_it_has(bool)
        (first,) = a.spis()
        for member in (a, b):
            member.wait_until_it_has(lambda spis: spis and first not in spis, "a successor alone")
        carried(a, b)
        assert ks.process.poll() is None


def test_a_key_server_that_comes_back_with_its_store_is_found_again_and_nothing_is_lost(tmp_path):
    with members(tmp_path, "a", "b") as (a, b):
        with KeyServer(tmp_path) as ks:
            for member in (a, b):
                member.wait_until_it_has(lambda spis: len(spis) == 1)
            (spi,) = a.spis()
            ks.kill()
        carried(a, b)
        with KeyServer(tmp_path) as ks:
            ks.wait_until_it_answers()
            assert len(ks.ctl("member", "list", "finance")["members"]) == 2
            b.ctl("sa", "delete", spi)
            carried(a, b)
            assert b.spis() == {spi}
