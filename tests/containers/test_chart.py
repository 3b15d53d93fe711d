"""The chart names only values and settings that there are. `make containers` renders and validates it."""

import re
from pathlib import Path
from typing import Any

import yaml

from service.settings import ENV_PREFIX, Settings

VALUE = re.compile(r"\.Values((?:\.\w+)+)")
VARIABLE = re.compile(rf"{ENV_PREFIX}\w+")


def chart_text(root: Path) -> str:
    return "\n".join(path.read_text() for path in (root / "docker/helm/lumiere/templates").iterdir())


def paths(values: Any, prefix: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Every path in a tree of values, that of each branch included."""
    if not isinstance(values, dict):
        return {prefix}
    return {prefix}.union(*(paths(inner, (*prefix, name)) for name, inner in values.items()))


def test_every_value_is_known_and_used(root: Path) -> None:
    known = paths(yaml.safe_load((root / "docker/helm/lumiere/values.yaml").read_text()))
    used = {tuple(path.strip(".").split(".")) for path in VALUE.findall(chart_text(root))}
    assert used <= known
    unused = {
        path for path in known if not any(path == each[: len(path)] or each == path[: len(each)] for each in used)
    }
    assert not unused


def test_every_variable_is_a_setting(root: Path) -> None:
    fields = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields}
    assert set(VARIABLE.findall(chart_text(root))) <= fields


def test_a_worker_has_time_to_drain(root: Path) -> None:
    template = (root / "docker/helm/lumiere/templates/worker.yaml").read_text()
    assert "terminationGracePeriodSeconds: {{ add .Values.worker.drainSeconds 30 }}" in template
    compose = yaml.safe_load((root / "docker/compose.yaml").read_text())
    worker = compose["services"]["worker"]
    drain = float(worker["environment"]["LUMIERE_DRAIN_SECONDS"])
    assert float(worker["stop_grace_period"].removesuffix("s")) >= drain + 20
