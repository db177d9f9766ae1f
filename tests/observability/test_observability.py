"""The alarms and the board of deploy/observability, by Debian's promtool and a real Prometheus that reads a real host.

Owns: the process of Prometheus, ended by its own pid. Never: a network beyond loopback.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bare_client import BareClient, Refused
from tiny_host import ROOT, TinyHost, running_host

RULES = ROOT / "deploy/observability"
TOOLS = ROOT / ".deps/prometheus"
pytestmark = pytest.mark.skipif(
    not (TOOLS / "promtool").exists(), reason="no Prometheus here: scripts/setup/prometheus.sh says why"
)
WITHIN = 60


def promtool(*words: str) -> str:
    done = subprocess.run([TOOLS / "promtool", *words], capture_output=True, text=True, cwd=RULES, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_and_the_configuration_are_read_and_every_alarm_is_raised_by_what_it_is_for() -> None:
    assert "14 rules found" in promtool("check", "rules", "alerts.yml")
    promtool("check", "config", "prometheus.yml")
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml")


class Prometheus:
    """What it was asked, and what it answered."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> list[dict[str, Any]]:
        asked = urllib.parse.urlencode({"query": expression})
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/query?{asked}", timeout=10) as answer:
                return list(json.load(answer)["data"]["result"])
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expression}: {error.read().decode()}") from error

    def number(self, expression: str) -> float:
        result = self.query(expression)
        return float(result[0]["value"][1]) if result else 0.0


def until(what: str, ready: Callable[[], bool]) -> None:
    """Wait for something that another process does."""
    end = time.monotonic() + WITHIN
    while not ready():
        assert time.monotonic() < end, f"{what}: not within {WITHIN} s"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def host() -> Iterator[TinyHost]:
    with running_host({"BLINDTUNE_METRICS__LISTEN": "127.0.0.1:0"}) as host:
        yield host


@pytest.fixture(scope="module")
def prometheus(host: TinyHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Reads the host each second."""
    found = re.search(r"metrics for Prometheus are at http://([\d.:]+)/metrics", host.log.read_text())
    assert found, host.log.read_text()
    folder = tmp_path_factory.mktemp("prometheus")
    config = (RULES / "prometheus.yml").read_text().replace("host:9464", found[1]).replace("15s", "1s")
    (folder / "prometheus.yml").write_text(config)
    (folder / "alerts.yml").write_text((RULES / "alerts.yml").read_text())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    words = [TOOLS / "prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*words, f"--web.listen-address={address}"], stdout=log, stderr=log)
    try:
        served = Prometheus(f"http://{address}")
        until("Prometheus starts", lambda: process.poll() is None and is_up(served))
        yield served
    finally:
        process.terminate()
        process.wait(30)


def is_up(prometheus: Prometheus) -> bool:
    try:
        return prometheus.number('up{job="blindtune"}') == 1
    except OSError:
        return False


def train(host: TinyHost, steps: int) -> None:
    """A few steps of a job, and a call that is refused."""
    client = BareClient(host.url, host.key("clinic"))
    job = str(client.job()["id"])
    for step in range(steps):
        client.step(job, 2 * step + 1)
    with pytest.raises(Refused, match="404"):
        client.call("GET", "/v1/files/file-of-nobody")


def test_a_real_prometheus_counts_the_steps_of_a_real_host(host: TinyHost, prometheus: Prometheus) -> None:
    forwards = 'blindtune_step_phase_duration_seconds_count{kind="forward",phase="commit"}'
    before = prometheus.number(forwards)
    train(host, 4)
    until("four steps", lambda: prometheus.number(forwards) == before + 4)
    assert prometheus.number('blindtune_refusals_total{code="not_found"}') >= 1
    assert prometheus.number("blindtune_device_busy_seconds_total") > 0


def expressions() -> list[str]:
    """All that alarms and the board ask for."""
    board = json.loads((RULES / "grafana.json").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return [text.replace("$__rate_interval", "1m").replace("$instance", ".*") for text in asked]


def test_every_panel_of_the_board_has_something_to_show(host: TinyHost, prometheus: Prometheus) -> None:
    train(host, 2)
    asked = expressions()
    assert len(asked) > 20
    refused = [text for text in asked if "refusals" in text]
    # Whatever has two readings has a rate; what was refused is shown once it was refused between two of them.
    for text in asked:
        if text not in refused:
            until(text, lambda text=text: bool(prometheus.query(text)))
    seen = prometheus.number('blindtune_refusals_total{code="not_found"}')
    assert seen >= 1
    train(host, 1)
    until(refused[0], lambda: any(line["metric"]["code"] == "not_found" for line in prometheus.query(refused[0])))


def test_no_alarm_is_raised_by_a_quiet_host_and_the_first_when_it_is_gone(
    host: TinyHost, prometheus: Prometheus
) -> None:
    read = prometheus.query('ALERTS{alertstate="firing"}')
    assert not read
    host.stop()
    until("the alarm waits for its minute", lambda: bool(prometheus.query('ALERTS{alertname="BlindtuneDown"}')))
