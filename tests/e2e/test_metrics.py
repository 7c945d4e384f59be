"""What both daemons show to Prometheus, read by promtool and by a Prometheus that scrapes them: names, numbers, the
dashboard, the alert rules. One scene for all of it: a key server and two members with certificates, and traffic."""

import contextlib
import json
import os
import pathlib
import re
import socket
import time

import pytest

from keyserver import ADDRESSES, NETWORK, KeyServer, carried, ks_configuration, members, settled
from member import configuration, run_refused, wait_for
from pki import Pki
from prometheus import Prometheus, families, fetch, page, promtool, samples, total

DOCS = pathlib.Path(__file__).parents[2] / "docs"
AT_KS, AT_PROMETHEUS = f"{NETWORK}.1:19849", f"{NETWORK}.9:19090"
AT = {name: f"{address}:19848" for name, address in ADDRESSES.items()}
RULES = DOCS / "prometheus" / "alerts.yml"
# What Grafana puts into the dashboard's queries.
VARIABLES = {"$__rate_interval": "10s", "$__range": "1m", "$member": ".*", "$key_server": ".*"}
SELECTOR = re.compile(r"\b((?:getvpn|process)_[a-z0-9_]+)(\{[^}]*\})?")


class Scene:
    pass


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    work = tmp_path_factory.mktemp("metrics")
    pki, scene = Pki(work), Scene()
    own = {name: pki.issue(name, f"{name}.example.net") for name in ("ks", "a", "b")}
    trust = pki.trust()
    config = ks_configuration(server={"local_id": "ks.example.net", **own["ks"], **trust}, metrics={"listen": AT_KS},
                              peers=[{"subject": f"{name}.example.net"} for name in "ab"])
    group = {"key_server_ids": ["ks.example.net"], **trust}
    options = {name: {"groups": [{**group, **own[name]}], "metrics": {"listen": AT[name]}} for name in "ab"}
    targets = {"getvpn-gm": list(AT.values()), "getvpn-ks": [AT_KS]}
    with (KeyServer(work / "ks", config) as scene.ks, members(work, "a", "b", **options) as (scene.a, scene.b),
          Prometheus(work / "prometheus", AT_PROMETHEUS, targets, RULES) as scene.prometheus):
        for each in (scene.a, scene.b):
            each.wait_until_it_has(lambda spis: len(spis) == 1)
        scene.prometheus.wait_until_it_has_scraped(3, times=1)
        carried(scene.a, scene.b)
        (spi,) = scene.b.spis()
        scene.b.ctl("sa", "delete", spi)
        carried(scene.a, scene.b)
        scene.prometheus.wait_until_it_has_scraped(3)
        yield scene


def test_promtool_has_nothing_to_say_against_either_page(scene):
    for address in (AT["a"], AT["b"], AT_KS):
        assert promtool("check", "metrics", text=page(address)) == (0, "")
    # It would say so.
    status, said = promtool("check", "metrics", text="# TYPE packets counter\npackets 1\n")
    assert status != 0 and "_total" in said


def rows(name):
    """The rows of a page's tables, cell by cell."""
    lines = (DOCS / name).read_text().splitlines()
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]


def test_a_members_metrics_are_what_getvpnctl_says(scene):
    metrics = {counter: metric for counter, metric, _, _ in (row for row in rows("counters.md") if len(row) == 4)}
    for each in (scene.a, scene.b):
        settled(scene.a, scene.b)

        def same():
            found, counters = samples(page(AT[each.name])), each.ctl("counters", "--per")
            (worker,) = counters["per"]
            here = {"link": worker["link"], "worker": str(worker["worker"])}
            numbers = {name: total(found, metric, **here) for name, metric in metrics.items()}
            dropped = "getvpn_gm_dropped_frames_total"
            drops = {reason: total(found, dropped, reason=reason, **here) for reason in worker["drops"]}
            same_now = numbers == {name: counters[name] for name in metrics} and drops == counters["drops"]
            return same_now and (found, counters, worker)

        found, counters, worker = wait_for(same, "the same numbers on the page and by getvpnctl", 10, each)
        assert counters["encrypted"] + counters["decrypted"] > 0
        assert total(found, "getvpn_gm_dropped_frames_total") == sum(worker["drops"].values())
        for port in counters["ports"]:
            where = {"link": port["link"], "side": port["side"], "device": port["device"]}
            assert total(found, "getvpn_gm_port_rx_missed_frames_total", **where) == port["rx_missed"]
            assert total(found, "getvpn_gm_port_tx_error_frames_total", **where) == port["tx_errors"]
        assert total(found, "getvpn_gm_buffers") >= total(found, "getvpn_gm_buffers_free") > 0

        (group,), (sa,) = each.ctl("sync")["groups"], each.ctl("sa", "list")["sas"]
        of_group = {"group": group["name"]}
        assert total(found, "getvpn_gm_group_state", state=group["state"], **of_group) == 1
        assert total(found, "getvpn_gm_group_state", **of_group) == 1
        assert total(found, "getvpn_gm_group_in_step", **of_group) == 1
        for name, n in group["counters"].items():
            assert total(found, f"getvpn_gm_{name}_total", **of_group) == n
        recovery = group["recovery"]
        assert total(found, "getvpn_gm_recoveries_total", outcome="recovered", **of_group) == recovery["recovered"]
        assert total(found, "getvpn_gm_recovery_seconds_count", **of_group) == recovery["recovered"]
        assert total(found, "getvpn_gm_invalid_spi_sent_total", **of_group) == recovery["invalid_spi_sent"]
        took = total(found, "getvpn_gm_recovery_seconds_sum", **of_group) * 1000
        assert took == pytest.approx(recovery["max_ms"] or 0, abs=0.002)
        carried_by_sa = total(found, "getvpn_gm_sa_packets_total", spi=sa["spi"])
        assert carried_by_sa == sa["packets"] > 0
        assert total(found, "getvpn_gm_sa_bytes_total", spi=sa["spi"]) == sa["bytes"]
        left = total(found, "getvpn_gm_group_sa_lifetime_left_seconds", **of_group)
        assert sa["lifetime_left_s"] - 2 <= left <= sa["lifetime_left_s"] + 30
        assert abs(total(found, "getvpn_gm_kek_lifetime_left_seconds") - group["kek"]["lifetime_left_s"]) < 30
        in_a_month = time.time() + 30 * 86400
        assert abs(total(found, "getvpn_gm_certificate_expiry_timestamp_seconds", **of_group) - in_a_month) < 3600
    assert recovery["recovered"] == 1, "b lost an SA"


def test_a_key_servers_metrics_are_what_getvpnctl_says(scene):
    def metric(name):
        for prefix, family, label in (("refused-", "registrations_refused", "reason"),
                                      ("ack-", "acknowledgements_refused", "reason"),
                                      ("invalid-spi-", "invalid_spi_by_outcome", "outcome")):
            if name.startswith(prefix):
                return f"getvpn_ks_{family}_total", {label: name.removeprefix(prefix).replace("-", "_")}
        gauges = {"phase1-half-open-now": "getvpn_ks_phase1s_half_open", "phase1-established-now": "getvpn_ks_phase1s"}
        return gauges.get(name, f"getvpn_ks_{name.replace('-', '_')}_total"), {}

    def same():
        found, counters = samples(page(AT_KS)), scene.ks.ctl("counters")
        shown = {name: total(found, *metric(name)[:1], **metric(name)[1]) for name in counters["key_server"]}
        refused = {reason: total(found, "getvpn_ks_refused_messages_total", reason=reason.replace("-", "_"))
                   for reason in counters["drops"]}
        return shown == counters["key_server"] and refused == counters["drops"] and found

    found = scene.ks.wait_for(same, "the same numbers on the page and by getvpnctl", 10)
    assert total(found, "getvpn_ks_registrations_total") == 2
    assert total(found, "getvpn_ks_invalid_spi_by_outcome_total", outcome="answered") >= 1
    (group,) = scene.ks.ctl("group", "list")["groups"]
    assert total(found, "getvpn_ks_members", group="finance") == group["members"] == 2
    assert total(found, "getvpn_ks_members", group="finance", state="silent") == group["silent"] == 0
    assert total(found, "getvpn_ks_sas", group="finance") == group["sas"]
    assert total(found, "getvpn_ks_sender_ids_left", group="finance") == group["sender_ids_left"]
    assert abs(total(found, "getvpn_ks_kek_lifetime_left_seconds", group="finance") - group["kek_left_s"]) < 30
    assert abs(total(found, "getvpn_ks_next_rekey_seconds", group="finance") - group["next_rekey_s"]) < 30
    assert total(found, "getvpn_ks_acknowledgement_seconds_count", group="finance") >= 1
    assert abs(total(found, "getvpn_ks_certificate_expiry_timestamp_seconds") - time.time() - 30 * 86400) < 3600
    status = scene.ks.ctl("status")
    assert total(found, "getvpn_ks_build_info", version=status["version"]) == 1
    assert abs(total(found, "getvpn_ks_uptime_seconds") - status["uptime_s"]) < 30
    assert abs(time.time() - total(found, "process_start_time_seconds") - status["uptime_s"]) < 30


def test_only_metrics_are_served_and_no_client_holds_the_member_up(scene):
    for status, method, path in ((404, "GET", "/"), (404, "GET", "/metrics/"), (405, "POST", "/metrics"), (200, "HEAD", "/metrics")):
        assert fetch(AT["a"], path, method)[0] == status, (path, method)
    host, port = AT["a"].split(":")
    with contextlib.ExitStack() as stack:
        for n in range(100):
            stalled = stack.enter_context(socket.create_connection((host, int(port)), timeout=5))
            stalled.sendall([b"", b"GET /metrics HTTP/1.1\r\n", b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"][n % 3])
        carried(scene.a, scene.b)
        assert fetch(AT["a"])[0] == 200


def test_the_page_on_metrics_is_what_is_shown(scene):
    """`UPDATE=1 pytest` writes it anew."""
    text = ["# Metrics", "", "What `[metrics]` serves to Prometheus. Made by tests/e2e/test_metrics.py from what real daemons show;",
            "do not edit. Counters begin at 0 with the process; [counters.md](counters.md) has the drop reasons."]
    for title, pages in (("A group member", (AT["a"], AT["b"])), ("A key server", (AT_KS,))):
        text += ["", f"## {title}", "", "| metric | kind | labels | meaning |", "|---|---|---|---|"]
        shown = {}
        for address in pages:
            shown |= families(page(address))
        for name, family in shown.items():
            labels = ", ".join(f"`{label}`" for label in family["labels"])
            text.append(f"| `{name}` | {family['kind']} | {labels} | {family['meaning']} |")
    text = "\n".join(text) + "\n"
    written = DOCS / "metrics.md"
    if "UPDATE" in os.environ:
        written.write_text(text)
    assert written.read_text() == text, "docs/metrics.md is out of date: UPDATE=1 pytest tests/e2e/test_metrics.py"


def dashboard_expressions():
    dashboard = json.loads((DOCS / "grafana" / "getvpn.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"]
            for variable, value in VARIABLES.items():
                expression = expression.replace(variable, value)
            yield panel["title"], expression


def test_every_query_of_the_dashboard_shows_something(scene):
    expressions = list(dashboard_expressions())
    assert len(expressions) > 50
    for title, expression in expressions:
        assert "$" not in expression, (title, expression)
        # What happens never in a healthy group would be left out.
        assert scene.prometheus.query(expression.removesuffix(" > 0")), (title, expression)


def test_every_alert_is_evaluated_on_series_that_exist_and_none_fires(scene):
    def evaluated():
        found = scene.prometheus.rules()
        return all(rule["health"] != "unknown" for rule in found.values()) and found

    found = scene.prometheus.wait_for(evaluated, "the evaluation of all rules", 20)
    assert len(found) > 25
    for name, rule in found.items():
        assert (rule["health"], rule.get("lastError")) == ("ok", None), rule
        assert rule["state"] != "firing", rule  # pending: the first packets came before the SA was active
        assert {"summary", "description"} == set(rule["annotations"]), name
        assert rule["labels"]["severity"] in ("page", "ticket"), name
        selectors = [name + labels for name, labels in SELECTOR.findall(rule["query"])]
        assert selectors or "up{" in rule["query"] or "__name__" in rule["query"], rule["query"]
        for selector in selectors:
            assert scene.prometheus.query(selector), (name, selector)


def test_promtool_checks_rules_and_their_tests_and_the_example():
    own = DOCS / "prometheus"
    for what, file in (("check rules", "alerts.yml"), ("test rules", "alerts_test.yml"), ("check config", "prometheus.yml")):
        status, said = promtool(*what.split(), own / file)
        assert status == 0, said


def test_an_address_that_is_taken_ends_the_start(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config = configuration(["net_null0", "net_null1"], metrics={"listen": f"127.0.0.1:{port}"})
        ended = run_refused(tmp_path, config)
    assert ended.status == 2
    assert f"[metrics] listen 127.0.0.1:{port}: Address already in use" in ended.output, ended.output


def test_a_key_server_that_is_gone_is_noticed(scene):
    """The last one: it takes the key server away."""
    scene.ks.kill()

    def noticed():
        return scene.prometheus.rules()["GetvpnKeyServerDown"]["state"] in ("pending", "firing")

    scene.prometheus.wait_for(noticed, "the alert that the key server is down", 20)
