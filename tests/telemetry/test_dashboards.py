"""The Grafana board and the alert rules name only metrics that there are."""

import json
import re
from pathlib import Path

import yaml
from prometheus_client import CollectorRegistry

from service.telemetry.http_metrics import HttpMetrics
from service.telemetry.job_metrics import JobCollector, JobSystem, ModelQueue
from workers.metrics import WorkerMetrics

METRIC = re.compile(r"\blumiere_\w+")


async def nothing(*_: object) -> None:
    """An application that is never called."""


def known_metrics() -> dict[str, set[str]]:
    """Every name that can be scraped, with its labels."""
    of_gateway, worker = CollectorRegistry(), WorkerMetrics()
    http = HttpMetrics(nothing, of_gateway)
    http.requests.labels("/", "GET", 200).inc()
    http.seconds.labels("/", "GET").observe(1)
    worker.attempts.labels("t", "complete").inc()
    worker.wait.labels("t").observe(1)
    worker.run.labels("t", "complete").observe(1)
    worker.stages.labels("t", "denoise").observe(1)
    worker.state.labels("ready").set(1)
    worker.memory.labels("used").set(1)
    seen = JobSystem("lumiere", [ModelQueue("lumiere-mini", 0, 0, 0, 0, 0, 0)], 0, {"webhook delivered": 1})
    families = [*of_gateway.collect(), *worker.registry.collect(), *JobCollector(seen).collect()]
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


def test_the_board_shows_metrics_that_there_are(root: Path) -> None:
    board = json.loads((root / "docker/grafana/lumiere.json").read_text())
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    named = {name for expression in expressions for name in METRIC.findall(expression)}
    known = known_metrics()
    assert len(named) > 15
    assert named <= set(known)
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_the_alerts_watch_metrics_that_there_are(root: Path) -> None:
    rules = yaml.safe_load((root / "docker/prometheus/alerts.yaml").read_text())["groups"][0]["rules"]
    known = known_metrics()
    for rule in rules:
        named = METRIC.findall(rule["expr"])
        assert named and set(named) <= set(known), rule["alert"]
        for label in re.findall(r'(\w+)(?:=|!=|=~)"', rule["expr"]):
            assert any(label in known[name] for name in named), (rule["alert"], label)
        assert rule["labels"]["severity"] in ("page", "warn") and rule["annotations"]["summary"]
