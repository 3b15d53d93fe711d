"""Two gateways, two workers, one Redis and an S3 server, started once for all tests of this folder."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.redis_server import RedisServer
from tests.scaleout.deployment import Deployment, S3Server


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = S3Server(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def deployment(s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with tempfile.TemporaryDirectory(prefix="lumiere-") as folder:  # short: a socket path has 107 characters at most
        redis_server = RedisServer(Path(folder))
        redis_server.start()
        deployment = Deployment(tmp_path_factory.mktemp("deployment"), redis_server.url, s3.settings())
        try:
            deployment.start()
            yield deployment
        finally:
            deployment.stop()
            redis_server.stop()
            for part in (*deployment.gateways, *deployment.workers):
                print(part.log.read_text()[-1500:])
