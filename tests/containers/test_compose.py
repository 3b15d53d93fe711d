"""The compose files name settings that there are, and parts that fit together."""

from pathlib import Path
from typing import Any

import yaml

from service.settings import ENV_PREFIX, Settings

FIELDS = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields}


def services(root: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((root / "docker" / name).read_text())["services"]
    return found


def test_every_variable_is_a_setting(root: Path) -> None:
    for name in ("compose.yaml", "compose.s3.yaml"):
        for service in services(root, name).values():
            ours = {variable for variable in service.get("environment", {}) if variable.startswith(ENV_PREFIX)}
            assert ours <= FIELDS


def test_gateway_and_worker_find_the_bucket_of_the_store(root: Path) -> None:
    base, laid_on = services(root, "compose.yaml"), services(root, "compose.s3.yaml")
    store = laid_on["store"]
    for part in ("gateway", "worker"):
        environment = {**base[part]["environment"], **laid_on[part]["environment"]}
        chosen = {name.removeprefix(ENV_PREFIX).lower(): value for name, value in environment.items()}
        settings = Settings(**{name: chosen[name] for name in ("storage_url", "storage_endpoint", "redis_url")})
        bucket = str(settings.storage_url).removeprefix("s3://")
        assert store["volumes"] == [f"bucket:/data/{bucket}"] and store["command"][-1] == "/data"
        assert str(settings.storage_endpoint).removeprefix("http://") == "store" + store["command"][1]
        keys = store["environment"]
        assert environment["AWS_ACCESS_KEY_ID"] == keys["ROOT_ACCESS_KEY_ID"]
        assert environment["AWS_SECRET_ACCESS_KEY"] == keys["ROOT_SECRET_ACCESS_KEY"]
        assert environment["AWS_REGION"] == store["command"][3]
        assert laid_on[part]["depends_on"]["store"]["condition"] == "service_healthy"
    assert store["environment"]["ROOT_SECRET_ACCESS_KEY"].startswith("${STORE_SECRET:?"), "there is no default secret"
    assert "ports" not in store
