"""Fetches the daemons' metrics, and runs a Prometheus that scrapes them."""

import http.client
import json
import re
import subprocess
import urllib.parse

from keyserver import Process

SAMPLE = re.compile(r"([a-z_][a-z0-9_]*)(?:\{(.*)\})? (\S+)")
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


def fetch(address, path="/metrics", method="GET"):
    """Status and text of an answer."""
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def page(address):
    status, text = fetch(address)
    assert status == 200, text
    return text


def samples(text):
    """The samples of a page: for each metric, its values by their labels as a frozenset of pairs."""
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, labels, value = SAMPLE.fullmatch(line).groups()
            found.setdefault(name, {})[frozenset(LABEL.findall(labels or ""))] = float(value)
    return found


def total(found, name, **labels):
    """The sum of a metric's samples that have these labels; there must be some."""
    matching = [value for key, value in found[name].items() if set(labels.items()) <= key]
    assert matching, (name, labels)
    return sum(matching)


def families(text):
    """What a page says of each family: its kind, what it means, and the labels that it has."""
    found, name = {}, None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            _, _, name, meaning = line.split(" ", 3)
            found[name] = {"meaning": meaning, "labels": []}
        elif line.startswith("# TYPE "):
            found[name]["kind"] = line.split(" ")[3]
        else:
            labels = [label for label, _ in LABEL.findall(SAMPLE.fullmatch(line).group(2) or "") if label != "le"]
            found[name]["labels"] = list(dict.fromkeys(found[name]["labels"] + labels))
    return found


class Prometheus(Process):
    """A Prometheus that scrapes these addresses twice a second, and evaluates these rules as often."""

    def __init__(self, work, address, targets, rules):
        self.address = address
        jobs = [{"job_name": job, "static_configs": [{"targets": own}]} for job, own in targets.items()]
        config = {"global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"}, "rule_files": [str(rules)],
                  "scrape_configs": jobs}
        work.mkdir()
        (work / "prometheus.yml").write_text(json.dumps(config))  # which is YAML
        super().__init__(work, "prometheus", ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb",
                                              f"--web.listen-address={address}", "--log.level=warn"])

    def api(self, path, **arguments):
        status, text = fetch(self.address, f"/api/v1/{path}?{urllib.parse.urlencode(arguments)}")
        answer = json.loads(text)
        assert (status, answer["status"]) == (200, "success"), (arguments, text)
        return answer["data"]

    def query(self, expression):
        return self.api("query", query=expression)["result"]

    def rules(self):
        return {rule["name"]: rule for group in self.api("rules")["groups"] for rule in group["rules"]}

    def wait_until_it_has_scraped(self, targets, times=3):
        def scraped():
            try:
                counts = self.query(f"count_over_time(up[1m]) >= {times} and up == 1")
            except (OSError, ValueError):  # not up yet
                return False
            return len(counts) == targets

        return self.wait_for(scraped, f"{times} scrapes of each of {targets} daemons", 40)


def promtool(*arguments, text=None):
    done = subprocess.run(["promtool", *map(str, arguments)], input=text, capture_output=True, timeout=60, text=True)
    return done.returncode, done.stdout + done.stderr
