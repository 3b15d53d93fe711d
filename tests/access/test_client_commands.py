"""`lumiere jobs` and `lumiere usage` with an API key, against a gateway on loopback."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import redis
from typer.testing import CliRunner, Result

from service.access.keys import ApiKeys
from service.api.app import create_app
from service.cli.main import app as commands
from service.settings import Settings
from tests.api.gateway import Bench, listening

Run = Callable[..., Result]


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    with listening(create_app(settings)) as address:
        yield address


@pytest.fixture
async def token(keys: ApiKeys) -> str:
    return (await keys.create(name="alice"))[1]


@pytest.fixture
def lumiere(url: str, token: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("LUMIERE_URL", url)
    monkeypatch.setenv("LUMIERE_API_KEY", token)
    return lambda *words: CliRunner().invoke(commands, list(words))


@pytest.fixture
def video(url: str, token: str) -> str:
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False) as client:
        answer = client.post("/v1/text-to-video", json={"prompt": "a ball", "num_frames": 16})
        return str(answer.json()["id"])


def test_jobs_are_listed_watched_downloaded_and_deleted(
    lumiere: Run, video: str, bench: Bench, tmp_path: Path, redis_url: str
) -> None:
    assert video in lumiere("jobs", "ls").stdout
    assert json.loads(lumiere("jobs", "ls", "--status", "completed", "--json").stdout) == []
    assert lumiere("jobs", "download", video, "-o", str(tmp_path / "early.mp4")).exit_code == 1
    bench.complete(bench.claim(video), b"film")
    events = [json.loads(line) for line in lumiere("jobs", "watch", video, "--json").stdout.splitlines()]
    assert (events[-1]["event"], events[-1]["status"]) == ("state", "completed")
    saved = json.loads(lumiere("jobs", "download", video, "-o", str(tmp_path / "v.mp4"), "--json").stdout)
    assert saved["bytes"] == 4 and (tmp_path / "v.mp4").read_bytes() == b"film"
    usage = json.loads(lumiere("usage", "--json").stdout)
    assert usage["total"]["completed"] == 1
    assert "total" in lumiere("usage").stdout
    assert json.loads(lumiere("jobs", "delete", video, "--json").stdout)["deleted"] is True
    assert lumiere("jobs", "show", video).exit_code == 1
    with redis.Redis.from_url(redis_url) as client:
        assert not client.exists(f"lumiere:job:{video}")


def test_without_a_key_it_is_told_in_one_line(
    lumiere: Run, video: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("LUMIERE_API_KEY")
    refused = lumiere("jobs", "show", video)
    assert refused.exit_code == 1
    assert "invalid_api_key" in refused.stderr and len(refused.stderr.splitlines()) == 1


def test_the_shell_completes_commands() -> None:
    environment = {"_LUMIERE_COMPLETE": "complete_bash", "COMP_WORDS": "lumiere jo", "COMP_CWORD": "1"}
    assert CliRunner().invoke(commands, [], env=environment, prog_name="lumiere").stdout.split() == ["jobs"]
