"""Making, finding, rotating and revoking keys."""

import time

import pytest
import redis
from pydantic import ValidationError

from service.access.keys import ApiKeys, NoSuchKey, hash_of
from service.access.scopes import DEFAULT_SCOPES, Scope


class Clock:
    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(keys: ApiKeys) -> Clock:
    keys.clock = Clock()
    return keys.clock


async def test_a_key_is_found_by_its_token_alone(keys: ApiKeys, redis_url: str) -> None:
    record, token = await keys.create(name="alice", owner="team-a")
    assert token.startswith(f"lum_{record.id}_")
    found = await keys.find(token)
    assert found == record
    assert (found.owner, found.scopes, found.expires_at) == ("team-a", DEFAULT_SCOPES, None)
    secret = token[len(f"lum_{record.id}_") :]
    for wrong in ("", "lum_", token[:-1], token[:-1] + ("A" if token[-1] != "A" else "B"), token.upper(), token + "A"):
        assert await keys.find(wrong) is None
    unknown = f"lum_{'a' * 12}_{secret}"
    assert await keys.find(unknown) is None
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        stored = client.get(f"lumiere:key:{record.id}")
    assert secret not in str(stored) and hash_of(secret) in str(stored)
    assert secret not in repr(record) and hash_of(secret) not in repr(record)


async def test_a_key_expires(keys: ApiKeys, clock: Clock) -> None:
    _, token = await keys.create(lifetime_seconds=60)
    assert await keys.find(token) is not None
    clock.now += 61
    assert await keys.find(token) is None


async def test_a_revoked_key_is_not_taken_and_stays_on_the_list(keys: ApiKeys) -> None:
    record, token = await keys.create()
    assert await keys.find(token) is not None
    revoked = await keys.revoke(record.id)
    assert revoked.revoked_at is not None
    assert await keys.find(token) is None
    assert (await keys.revoke(record.id)).revoked_at == revoked.revoked_at
    assert [listed.id for listed, _ in await keys.list()] == [record.id]
    with pytest.raises(NoSuchKey):
        await keys.revoke("a" * 12)
    with pytest.raises(NoSuchKey):
        await keys.rotate("../../etc")


async def test_another_gateway_hears_of_a_revocation_within_a_second(keys: ApiKeys, redis_url: str) -> None:
    record, token = await keys.create()
    other = ApiKeys(keys.redis)
    assert await other.find(token) is not None
    await keys.revoke(record.id)
    begun = time.monotonic()
    while await other.find(token) is not None:
        assert time.monotonic() - begun < 5
    assert time.monotonic() - begun < 1.5


async def test_rotation_keeps_the_key_and_lets_the_old_secret_go_on_for_a_while(keys: ApiKeys, clock: Clock) -> None:
    record, old = await keys.create(owner="team-a")
    rotated, new = await keys.rotate(record.id, overlap_seconds=3600)
    assert (rotated.id, rotated.owner) == (record.id, "team-a")
    assert old != new
    assert await keys.find(old) is not None and await keys.find(new) is not None
    clock.now += 3601
    assert await keys.find(old) is None and await keys.find(new) is not None
    _, newest = await keys.rotate(record.id)
    assert await keys.find(new) is None and await keys.find(newest) is not None


async def test_the_last_use_is_known(keys: ApiKeys, clock: Clock) -> None:
    _, used = await keys.create(name="used")
    await keys.create(name="unused")
    await keys.find(used)
    clock.now += 30
    await keys.find(used)
    listed = {record.name: at for record, at in await keys.list()}
    assert listed["unused"] is None
    assert listed["used"] == pytest.approx(clock.now - 30)
    clock.now += 31
    await keys.find(used)
    assert {record.name: at for record, at in await keys.list()}["used"] == pytest.approx(clock.now)


async def test_limits_have_limits(keys: ApiKeys) -> None:
    for wrong in ({"weight": 0}, {"weight": 1001}, {"active_jobs": -1}, {"requests_per_minute": -0.5}):
        with pytest.raises(ValidationError):
            await keys.create(**wrong)
    record, token = await keys.create(scopes=[Scope.FILES, Scope.FILES], weight=2.5)
    assert record.scopes == (Scope.FILES,)
    assert (await keys.find(token)) == record
