"""The Redis users of docker/redis/users.acl may do all that a gateway and a worker do, and no more than they should."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from service.jobs import keys
from tests.redis_server import RedisServer
from tests.scaleout.deployment import Deployment, wait_for

PASSWORD = "CHANGE-ME"


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[RedisServer]:
    """With the users of the example; the default one is on, as the tests' own."""
    with tempfile.TemporaryDirectory(prefix="lumiere-") as folder:
        server = RedisServer(Path(folder))
        server.start()
        with redis.Redis.from_url(server.url) as client:
            for line in (root / "docker/redis/users.acl").read_text().splitlines()[1:]:
                client.execute_command("ACL", "SETUSER", *line.split()[1:])
        yield server
        server.stop()


def url_of(server: RedisServer, user: str) -> str:
    return f"unix://{user}:{PASSWORD}@{server.socket}"


def test_a_gateway_and_a_worker_with_their_own_users(server: RedisServer, tmp_path: Path) -> None:
    gateway_url, worker_url = url_of(server, "gateway"), url_of(server, "worker")
    deployment = Deployment(tmp_path, gateway_url, {}, parts=1, worker_redis_url=worker_url)
    http = deployment.gateways[0].http
    try:
        deployment.start()
        jobs = [http.post("/v1/text-to-video", json={"prompt": "{}"}).json()["id"] for _ in range(2)]
        slow = http.post("/v1/text-to-video", json={"prompt": '{"step_seconds": 0.1}', "num_inference_steps": 500})
        states = [http.get(f"/v1/videos/{job}/events").text for job in jobs]
        http.post(f"/v1/videos/{slow.json()['id']}/cancel")
        wait_for(lambda: http.get(slow.headers["location"]).json()["status"] == "cancelled", "the cancellation")
        routes = [http.get(path).status_code for path in ("/readyz", "/metrics", "/v1/videos", "/v1/usage")]
    finally:
        deployment.stop()
        logs = "".join(part.log.read_text() for part in (*deployment.gateways, *deployment.workers))
    assert all('"completed"' in events for events in states), logs
    assert routes == [200] * 4, logs
    assert "NOPERM" not in logs and "No permissions" not in logs


@pytest.mark.parametrize("user", ["gateway", "worker"])
@pytest.mark.parametrize(
    "command",
    [
        ("FLUSHALL",),
        ("CONFIG", "GET", "*"),
        ("KEYS", "*"),
        ("ACL", "LIST"),
        ("SHUTDOWN",),
        ("GET", "somebody:else"),
        ("SET", "somebody:else", "1"),
        ("PUBLISH", "somebody-else", "1"),
    ],
    ids=" ".join,
)
def test_what_no_part_may_do(server: RedisServer, user: str, command: tuple[Any, ...]) -> None:
    with redis.Redis.from_url(url_of(server, user)) as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command)


@pytest.mark.parametrize("key", [keys.api_key("abc"), keys.API_KEYS, keys.webhook("abc"), keys.WEBHOOKS])
def test_a_worker_reads_neither_api_keys_nor_secrets_of_webhooks(server: RedisServer, key: str) -> None:
    with redis.Redis.from_url(url_of(server, "worker")) as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.hgetall(key)
