"""Calls that leave Redis together: each is answered with its own reply or error."""

import asyncio

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from service.jobs import connection
from service.jobs.batches import LARGEST_GROUP, GroupedScript
from service.jobs.connection import RedisUnavailable, connect

ECHO = """
redis.call('INCR', 'calls')
if ARGV[1] == 'defect' then return redis.error_reply('ERR defect') end
if ARGV[1] == 'full' then return redis.error_reply('OOM no room') end
return ARGV[1]
"""


@pytest.fixture
async def client(redis_url: str):
    client = connect(redis_url)
    yield client
    await client.aclose()


async def test_each_call_gets_its_own_reply(client: Redis) -> None:
    echo = GroupedScript(client, ECHO)
    words = [str(number) for number in range(3 * LARGEST_GROUP)]

    assert await asyncio.gather(*(echo([word]) for word in words)) == words
    assert await client.get("calls") == str(len(words))


async def test_an_error_is_that_of_its_call_alone(client: Redis) -> None:
    echo = GroupedScript(client, ECHO)

    first, defect, full, last = await asyncio.gather(
        *(echo([word]) for word in ("a", "defect", "full", "b")), return_exceptions=True
    )

    assert (first, last) == ("a", "b")
    assert isinstance(defect, ResponseError) and not isinstance(defect, RedisUnavailable)
    assert isinstance(full, RedisUnavailable)


async def test_a_redis_that_has_forgotten_the_script_runs_each_call_once(client: Redis) -> None:
    echo = GroupedScript(client, ECHO)
    assert await echo(["a"]) == "a"
    await client.script_flush()

    assert await asyncio.gather(echo(["b"]), echo(["c"])) == ["b", "c"]
    assert await client.get("calls") == "3"


async def test_callers_that_leave_do_not_disturb_the_others(client: Redis) -> None:
    echo = GroupedScript(client, ECHO)
    gone = asyncio.create_task(echo(["a"]))
    stays = asyncio.create_task(echo(["b"]))
    await asyncio.sleep(0)
    gone.cancel()

    assert await stays == "b"
    assert await echo(["c"]) == "c"


async def test_a_hung_redis_is_told_to_all_who_wait(client: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "DEADLINE_SECONDS", 0.2)
    echo = GroupedScript(client, ECHO)
    assert await echo(["a"]) == "a"
    await client.client_pause(1000)
    started = asyncio.get_running_loop().time()
    first = asyncio.create_task(echo(["b"]))
    await asyncio.sleep(0.05)
    answers = await asyncio.gather(first, echo(["c"]), echo(["d"]), return_exceptions=True)

    assert all(isinstance(answer, RedisUnavailable) for answer in answers)
    assert asyncio.get_running_loop().time() - started < 0.5
