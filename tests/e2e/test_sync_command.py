"""`getvpnctl sync`: what an operator sees of members that fall out of step, at the member and at the key server."""

import json
import re
import subprocess
import time

from keyserver import KeyServer, RacingKeyServer, carried, members, settled
from member import BINARIES, wait_for


def human(work, socket):
    asked = subprocess.run([BINARIES / "getvpnctl", "--socket", socket, "sync"], cwd=work, capture_output=True, timeout=10,
                           text=True)
    assert asked.returncode == 0, asked.stderr
    assert max(map(len, asked.stdout.splitlines())) <= 100, asked.stdout
    return asked.stdout


def test_both_sides_show_that_an_sa_was_missing_and_how_that_ended(tmp_path):
    with KeyServer(tmp_path) as ks, members(tmp_path, "a", "b") as (a, b):
        for member in (a, b):
            member.wait_until_it_has(lambda spis: len(spis) == 1)
        carried(a, b)
        (spi,) = b.spis()
        began = time.time()
        b.ctl("sa", "delete", spi)
        carried(a, b)

        at_member = b.ctl("sync")
        assert at_member["role"] == "gm"
        (group,) = at_member["groups"]
        assert (group["state"], group["asking"]) == ("in-step", [])
        (asked,) = group["asked"]
        assert (asked["spi"], asked["why"], asked["outcome"]) == (spi, "packets", "recovered")
        assert asked["tries"] >= 1
        recovery = group["recovery"]
        assert recovery["recovered"] == 1
        assert 0 < recovery["p50_ms"] <= recovery["p99_ms"]
        assert recovery["max_ms"] > 0
        assert set(recovery["suppressed"]) == {"already_asked", "remembered", "no_budget"}
        assert at_member["parking"]["max_packets"] > 0

        def acknowledged():
            (group,) = ks.ctl("sync")["groups"]
            (it,) = [member for member in group["members"] if "b.example.net" in member["name"]]
            return it["last_acknowledged"] and ks.ctl("sync")

        at_server = ks.wait_for(acknowledged, "the acknowledgement of the rekey that answered")
        assert at_server["role"] == "ks"
        (group,) = at_server["groups"]
        by_name = {member["name"].split(".")[0]: member for member in group["members"]}
        it, other = by_name["b"], by_name["a"]
        assert (it["last_invalid_spi"]["spi"], it["last_invalid_spi"]["outcome"]) == (spi, "answered")
        assert began - 2 <= it["last_invalid_spi"]["unix_s"] <= time.time()
        assert it["invalid_spi"]["answered"] == recovery["invalid_spi_sent"]
        assert (it["state"], it["missed"], it["marks"]) == ("in-step", 0, True)
        assert (other["last_invalid_spi"], set(other["invalid_spi"].values())) == (None, {0})
        assert at_server["invalid_spi"]["answered"] == it["invalid_spi"]["answered"]
        assert at_server["limits"] == {"member_per_s": 10, "server_per_s": 2000}

        assert re.search(rf"{spi} +packets +\d+ +[\d.]+ ms +\d+ s ago +recovered", human(b.work, "gm.sock"))
        assert f"{spi}, " in human(tmp_path, "ks.sock")


def test_an_episode_is_one_line_that_says_what_since_when_how_and_how_long(tmp_path):
    with KeyServer(tmp_path), members(tmp_path, "a", "b") as (a, b):
        for member in (a, b):
            member.wait_until_it_has(lambda spis: len(spis) == 1)
        carried(a, b)
        (spi,) = b.spis()
        began = time.time()
        b.ctl("sa", "delete", spi)
        carried(a, b, frames=256)
        settled(a, b)
        (line,) = b.events("spi_recovered")
        assert (line["spi"], line["cause"], line["outcome"]) == (spi, "packets", "recovered")
        assert began * 1000 - 100 <= line["since_unix_ms"] <= time.time() * 1000
        assert line["after_ms"] < 10_000
        assert line["tries"] >= 1
        assert "missing because of packets" in json.dumps(line)
        assert not b.events("spi_not_recovered")


def test_an_spi_that_is_asked_for_in_vain_is_shown_with_its_tries_and_the_registration_after_them(tmp_path):
    recovery = {"recovery": {"tries": 3, "first_retry_ms": 50}}
    with RacingKeyServer(tmp_path, "added", answer="no") as ks, members(tmp_path, "a") as (a,):
        a.wait_until_it_has(lambda spis: len(spis) == 2)
        with members(tmp_path, "b", b={"group": recovery}) as (b,):
            wait_for(lambda: b.ctl("sync")["groups"][0]["recovery"]["registrations"], "a registration after asking in vain",
                     20, b, ks)
            (group,) = b.ctl("sync")["groups"]
            assert group["recovery"]["invalid_spi_sent"] >= 3
            # The registration may have raced again, so that another SPI is asked for by now.
            asked = [each for each in group["asking"] + group["asked"] if each["tries"] == 3]
            assert asked and asked[0]["why"] == "keys-without-policy", group
