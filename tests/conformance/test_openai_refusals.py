"""What OpenAI's Python client makes of refusals, and its other habits, on a gateway that asks for keys."""

import asyncio
import io
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from service.access.keys import ApiKeys
from service.access.scopes import Scope
from service.api.app import create_app
from service.jobs import keys as redis_keys
from service.jobs.connection import connect
from service.jobs.contract import ErrorCode
from service.settings import Settings
from tests.api.conftest import bench, quiet_log, redis_url, shared_redis
from tests.api.gateway import CARD, Bench, listening, write_card
from tests.api.media import data_url, picture

__all__ = ["bench", "quiet_log", "redis_url", "shared_redis"]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
ABSENT = "video_" + 26 * "a"
ClientOf = Callable[..., openai.OpenAI]


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    card = write_card(tmp_path / "model", {**CARD, "tasks": ["text-to-video", "image-to-video", "stylize"]})
    return Settings(
        redis_url=redis_url, data_dir=tmp_path / "data", model_dirs=[card], auth="keys", key_requests_per_minute=1000
    )


@pytest.fixture
def client_of(settings: Settings) -> Iterator[ClientOf]:
    """`client_of(**options of ApiKeys.create)`: a client with a fresh key; `client_of(token=...)`: with that token."""

    async def new_key(options: dict[str, Any]) -> str:
        assert settings.redis_url is not None
        redis = connect(settings.redis_url)
        _, token = await ApiKeys(redis).create(**options)
        await redis.aclose()
        return token

    with listening(create_app(settings)) as url:

        def make(token: str | None = None, retries: int = 0, **options: Any) -> openai.OpenAI:
            api_key = asyncio.run(new_key(options)) if token is None else token
            return openai.OpenAI(base_url=f"{url}/v1", api_key=api_key, max_retries=retries)

        yield make


@pytest.fixture
def client(client_of: ClientOf) -> openai.OpenAI:
    return client_of()


def refusal_of(call: Callable[[], object], kind: type[openai.APIStatusError]) -> tuple[str | None, str | None]:
    """Code and parameter of a refusal, which is of this very kind and has all that a client may read."""
    with pytest.raises(kind) as refused:
        call()
    error = refused.value
    assert type(error) is kind
    assert error.message and error.type and error.code and error.request_id
    assert error.response.headers["x-request-id"] == error.request_id
    return error.code, error.param


@pytest.mark.parametrize("token", ["none", "lum_" + 40 * "x"])
def test_without_a_key(client_of: ClientOf, token: str) -> None:
    stranger = client_of(token=token)
    for call in (
        lambda: stranger.videos.create(prompt="a ball"),
        lambda: stranger.videos.retrieve(ABSENT),
        stranger.models.list,
    ):
        assert refusal_of(call, openai.AuthenticationError) == ("invalid_api_key", "Authorization")


def test_a_key_that_may_not(client_of: ClientOf) -> None:
    reader = client_of(scopes=[Scope.VIDEOS_READ])
    assert refusal_of(lambda: reader.videos.create(prompt="a"), openai.PermissionDeniedError)[0] == "missing_scope"
    assert list(reader.videos.list()) == []
    hurry = partial(client_of().videos.create, prompt="a", extra_body={"priority": "high"})
    assert refusal_of(hurry, openai.PermissionDeniedError) == ("missing_scope", "priority")


def test_quotas_and_what_is_left_of_them(client_of: ClientOf) -> None:
    client = client_of(requests_per_minute=2)
    first = client.videos.with_raw_response.create(prompt="a")
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    client.videos.create(prompt="a")
    with pytest.raises(openai.RateLimitError) as refused:
        client.videos.create(prompt="a")
    assert (refused.value.code, refused.value.type) == ("quota_exceeded", "rate_limit_error")
    assert 0 < int(refused.value.response.headers["retry-after"]) <= 120
    assert refused.value.response.headers["x-ratelimit-remaining-requests"] == "0"


def test_others_see_nothing(client_of: ClientOf, bench: Bench) -> None:
    mine, other = client_of(owner="me"), client_of(owner="somebody")
    video = mine.videos.create(prompt="a ball")
    bench.complete(bench.claim(video.id), b"film")
    for call in (
        lambda: other.videos.retrieve(video.id),
        lambda: other.videos.download_content(video.id),
        lambda: other.videos.remix(video.id, prompt="b"),
        lambda: other.videos.delete(video.id),
    ):
        assert refusal_of(call, openai.NotFoundError) == ("video_not_found", "video_id")
    assert list(other.videos.list()) == []
    assert mine.videos.download_content(video.id).read() == b"film"


def test_what_there_is_not(client: openai.OpenAI) -> None:
    for call, code in (
        (lambda: client.videos.retrieve("video_1"), "video_not_found"),
        (lambda: client.videos.download_content(ABSENT, variant="thumbnail"), "video_not_found"),
        (lambda: client.videos.get_character("char_1"), "not_found"),
        (lambda: client.models.retrieve("sora-2"), "model_not_found"),
        (lambda: client.files.retrieve("file_1"), "file_not_found"),
        (lambda: client.webhooks.retrieve("we_1"), "webhook_not_found"),
        (lambda: client.images.generate(prompt="a ball"), "not_found"),
    ):
        assert refusal_of(call, openai.NotFoundError)[0] == code


@pytest.mark.parametrize(
    ("call", "param"),
    [
        (lambda client: client.videos.list(limit=0), "limit"),
        (lambda client: client.videos.list(limit=101), "limit"),
        (lambda client: client.videos.list(order="up"), "order"),
        (lambda client: client.videos.download_content(client.videos.create(prompt="a").id, variant="gif"), "variant"),
        (lambda client: client.videos.create(prompt=""), "prompt"),
        (lambda client: client.post("/videos", body={}, cast_to=object), "prompt"),
        (lambda client: client.post("/videos", body={"prompt": "a", "seed": "7"}, cast_to=object), "seed"),
        (lambda client: client.videos.create(prompt="a", extra_body={"seed": -1}), "seed"),
        (lambda client: client.videos.create(prompt="a", extra_body={"nested": {"a": [1]}}), "nested"),
        (lambda client: client.videos.create(prompt="a", input_reference=("a.png", b"no")), "input_reference"),
        (lambda client: client.videos.remix(client.videos.create(prompt="a").id, prompt=""), "prompt"),
        (lambda client: client.videos.edit(prompt="a", video=("a.mp4", picture())), "video"),
        (lambda client: client.files.create(file=("a.jsonl", b"{}"), purpose="batch"), "file"),
        (lambda client: client.files.list(limit=0), "limit"),
        (lambda client: client.webhooks.list(limit=0), "limit"),
    ],
)
def test_bad_requests_name_the_parameter(client: openai.OpenAI, call: Callable[[Any], object], param: str) -> None:
    assert refusal_of(lambda: call(client), openai.BadRequestError)[1] == param


def test_conflicts_are_not_repeated(client_of: ClientOf) -> None:
    client = client_of(retries=2)
    video = client.videos.create(prompt="a ball")
    for call in (
        lambda: client.videos.download_content(video.id),
        lambda: client.videos.remix(video.id, prompt="b"),
    ):
        with pytest.raises(openai.ConflictError) as refused:
            call()
        assert refused.value.code == "video_not_ready"
        assert refused.value.response.request.headers["x-stainless-retry-count"] == "0"


def test_a_service_that_is_full_is_asked_again(client_of: ClientOf, bench: Bench) -> None:
    client = client_of(retries=1)
    bench.redis.set(redis_keys.FULL, 1)
    with pytest.raises(openai.InternalServerError) as refused:
        client.with_options(max_retries=0).videos.create(prompt="a ball")
    assert (refused.value.status_code, refused.value.code) == (503, "redis_unavailable")
    assert int(refused.value.response.headers["retry-after"]) > 0
    bench.redis.pexpire(redis_keys.FULL, 200)
    assert client.videos.create(prompt="a ball").status == "queued"


def test_the_repeat_of_a_refused_request_is_no_older_one(client_of: ClientOf, bench: Bench) -> None:
    client = client_of(retries=3)
    older = client.videos.create(prompt="a ball")
    bench.redis.set(redis_keys.FULL, 1, px=200)
    raw = client.videos.with_raw_response.create(prompt="a ball")

    assert raw.http_request.headers["x-stainless-retry-count"] != "0"
    assert raw.parse().id != older.id


def test_a_failed_video_ends_the_polling(client: openai.OpenAI, bench: Bench) -> None:
    failing, cancelled = (client.videos.create(prompt="a ball") for _ in range(2))
    bench.fail(bench.claim(failing.id), ErrorCode.OUT_OF_MEMORY)
    client.post(f"/videos/{cancelled.id}/cancel", cast_to=object)

    for video, code in ((failing, "out_of_memory"), (cancelled, "cancelled")):
        ended = client.videos.poll(video.id)
        assert ended.status == "failed"
        assert ended.error is not None and (ended.error.code, bool(ended.error.message)) == (code, True)
        no_content = partial(client.videos.download_content, video.id)
        assert refusal_of(no_content, openai.NotFoundError)[0] == "video_has_no_content"


def test_pages(client: openai.OpenAI) -> None:
    made = [client.videos.create(prompt=f"star {number}").id for number in range(5)]

    for order, expected in (("asc", made), ("desc", made[::-1])):
        for limit in (1, 2, 5, 100):
            pages = list(client.videos.list(limit=limit, order=order).iter_pages())
            assert [video.id for page in pages for video in page.data] == expected
            assert len(pages) == -(-5 // limit)
            assert [page.has_more for page in pages] == [True] * (len(pages) - 1) + [False]
    middle = client.videos.list(after=made[2], order="asc")
    assert [video.id for video in middle.data] == made[3:]
    assert (middle.last_id, client.videos.list(after=made[-1], order="asc").data) == (made[-1], [])


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_what_is_deleted_while_it_is_paged_through(client: openai.OpenAI, order: Any) -> None:
    for number in range(5):
        client.videos.create(prompt=f"star {number}")
        client.files.create(file=picture(), purpose="vision")
    videos = [client.videos.delete(video.id).id for video in client.videos.list(limit=2, order=order)]
    files = [client.files.delete(file.id).id for file in client.files.list(limit=2, order=order)]

    assert (len(set(videos)), len(set(files))) == (5, 5)
    assert client.videos.list().data == [] and client.files.list().data == []


@pytest.mark.parametrize("seconds", ["1", "4", "5", 4, "2.5"])
def test_lengths(client: openai.OpenAI, seconds: Any) -> None:
    assert client.videos.create(prompt="a ball", seconds=seconds, size="64x64").seconds == str(seconds)  # type: ignore[arg-type]


def test_forms_of_an_input(client: openai.OpenAI) -> None:
    png = picture()
    upload = client.files.create(file=png, purpose="vision")
    body = {"prompt": "a ball", "seed": None, "model": None}
    references: list[Any] = [
        {"image_url": data_url(png)},
        {"file_id": upload.id},
        data_url(png),
        upload.id,
    ]
    for reference in references:
        posted: Any = client.post("/videos", body={**body, "input_reference": reference}, cast_to=openai.types.Video)
        assert posted.task == "image-to-video"
    for file in (png, io.BytesIO(png), ("upload", png, "application/octet-stream")):
        sent: Any = client.videos.create(prompt="a ball", input_reference=file)
        assert sent.task == "image-to-video"


async def test_the_asynchronous_client(client: openai.OpenAI, bench: Bench) -> None:
    async with openai.AsyncOpenAI(base_url=client.base_url, api_key=client.api_key) as other:
        video = await other.videos.create(prompt="a ball")
        await asyncio.to_thread(lambda: bench.complete(bench.claim(video.id), b"film"))
        assert (await other.videos.poll(video.id)).status == "completed"
        async with other.videos.with_streaming_response.download_content(video.id) as content:
            assert b"".join([part async for part in content.iter_bytes()]) == b"film"
        assert [listed.id async for listed in other.videos.list(limit=1)] == [video.id]
        assert (await other.videos.delete(video.id)).deleted
        with pytest.raises(openai.NotFoundError):
            await other.videos.retrieve(video.id)


def test_parts_of_the_content(client: openai.OpenAI, bench: Bench) -> None:
    video = client.videos.create(prompt="a ball")
    bench.complete(bench.claim(video.id), b"0123456789")
    url, headers = f"{client.base_url}videos/{video.id}/content", {"Authorization": f"Bearer {client.api_key}"}

    with httpx2.Client(headers=headers, trust_env=False) as http:
        whole = http.get(url)
        part = http.get(url, headers={"Range": "bytes=2-4"})
        known = http.get(url, headers={"If-None-Match": whole.headers["etag"]})
    assert (whole.headers["content-type"], whole.content) == ("video/mp4", b"0123456789")
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
    assert known.status_code == 304
