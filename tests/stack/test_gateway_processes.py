"""Several processes of one gateway answer on one address as one."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.stack.serve import free_port
from tests.api.gateway import write_card
from tests.redis_server import RedisServer
from tests.stack.live import LUMIERE

PROCESSES = 2


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[tuple[str, psutil.Process]]:
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="lumiere-") as folder:
        server = RedisServer(Path(folder))
        server.start()
        environment = {
            **os.environ,
            "LUMIERE_REDIS_URL": server.url,
            "LUMIERE_PORT": str(port),
            "LUMIERE_DATA_DIR": str(tmp_path / "data"),
            "LUMIERE_MODEL_DIRS": str(write_card(tmp_path / "model")),
            "TMPDIR": str(tmp_path),
        }
        log = (tmp_path / "log").open("wb")
        command = [str(LUMIERE), "gateway", "--processes", str(PROCESSES)]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(30)
            log.close()
            server.stop()


def test_processes_of_a_gateway_are_one(gateway: tuple[str, psutil.Process]) -> None:
    url, process = gateway
    deadline = time.monotonic() + 60
    while not answers(url):
        assert process.is_running() and time.monotonic() < deadline, "the gateway did not start"
        time.sleep(0.1)

    made = [httpx.post(f"{url}/v1/text-to-video", json={"prompt": "a ball"}, trust_env=False) for _ in range(30)]
    assert [answer.status_code for answer in made] == [202] * 30
    listed = httpx.get(f"{url}/v1/videos?limit=100", trust_env=False).json()["data"]
    assert {video["id"] for video in listed} == {answer.json()["id"] for answer in made}
    assert sum(serves(child) for child in process.children()) == PROCESSES
    for _ in range(5):  # whichever of them answers
        assert accepted(url) == 30


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/livez", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def serves(process: psutil.Process) -> bool:
    return any(connection.status == psutil.CONN_LISTEN for connection in process.net_connections())


def accepted(url: str) -> float:
    text = httpx.get(f"{url}/metrics", trust_env=False).text
    labels = {"route": "/v1/text-to-video", "method": "POST", "status": "202"}
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "lumiere_http_requests_total" and sample.labels == labels
    )
