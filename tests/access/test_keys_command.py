"""`lumiere keys` against a real Redis, as programs and people use it."""

import json
import os
import re
from pathlib import Path

import pytest

from service.access.keys import ApiKeys
from tests.stack.live import run_lumiere


def lumiere(redis_url: str, *arguments: str, code: int = 0) -> str:
    done = run_lumiere("keys", *arguments, environment={**os.environ, "LUMIERE_REDIS_URL": redis_url})
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


async def test_the_life_of_a_key(redis_url: str, keys: ApiKeys) -> None:
    created = json.loads(
        lumiere(
            redis_url,
            *("create", "--name", "alice", "--owner", "team-a", "--scope", "videos:read", "--scope", "files"),
            *("--expires", "90d", "--weight", "2", "--active-jobs", "5", "--json"),
        )
    )
    record = await keys.find(created["token"])
    assert record is not None
    assert (record.name, record.owner, record.scopes) == ("alice", "team-a", ("videos:read", "files"))
    assert (record.weight, record.active_jobs, record.requests_per_minute) == (2.0, 5, None)
    assert record.expires_at == pytest.approx(record.created_at + 90 * 86_400)
    assert record.secret_hash not in str(created)

    listed = json.loads(lumiere(redis_url, "list", "--json"))
    assert [row["id"] for row in listed] == [record.id]
    assert listed[0]["last_used_at"] is not None
    assert "token" not in listed[0] and record.secret_hash not in str(listed)
    assert "alice" in lumiere(redis_url, "list")

    rotated = lumiere(redis_url, "rotate", record.id, "--overlap", "0s").strip()
    assert re.fullmatch(rf"lum_{record.id}_[\w-]{{43}}", rotated)
    fresh = ApiKeys(keys.redis)
    assert await fresh.find(created["token"]) is None and await fresh.find(rotated) is not None

    assert "revoked" in lumiere(redis_url, "revoke", record.id)
    assert await ApiKeys(keys.redis).find(rotated) is None


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["revoke", "a" * 12], 1, "lumiere keys list"),
        (["create", "--expires", "soon"], 2, "90d"),
        (["create", "--weight", "0"], 2, "--weight"),
        (["create", "--scope", "everything"], 2, "videos:read"),
    ],
)
def test_errors_are_one_line(redis_url: str, arguments: list[str], code: int, words: str) -> None:
    error = lumiere(redis_url, *arguments, code=code)
    assert len(error.splitlines()) == 1 and words in error


def test_without_a_service_it_says_where_it_has_looked(tmp_path: Path) -> None:
    failed = run_lumiere("keys", "list", environment={**os.environ, "LUMIERE_DATA_DIR": str(tmp_path / "none")})
    assert failed.returncode == 2
    assert str(tmp_path / "none") in failed.stderr and "LUMIERE_REDIS_URL" in failed.stderr
