"""Styles from a picture: a job makes one, its owner uses it by name, and it outlives the job."""

import hashlib
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.jobs.contract import JobResult, StyleOptions, StylizeOptions, TextToVideoOptions
from service.jobs.record import JobRecords
from service.jobs.retention import sweep
from service.settings import Settings
from service.storage import output_key
from service.styles.records import StyleRecords
from tests.api.gateway import CARD, MODEL, Bench, write_card
from tests.api.media import data_url, picture
from tests.api.test_tasks import TASKS, spec_of, uploads


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    card = {**CARD, "tasks": TASKS}
    model = write_card(tmp_path / "model", card)
    shipped = model / "styles/melting-gold/weights.safetensors"
    shipped.parent.mkdir(parents=True)
    shipped.touch()
    return Settings(redis_url=redis_url, data_dir=tmp_path / "data", model_dirs=[model])


async def create(client: httpx.AsyncClient, name: str = "mine", content: bytes = b"", **fields: str) -> httpx.Response:
    files = {"image": ("style.png", content or picture())}
    return await client.post("/v1/styles", data={"name": name, **fields}, files=files)


def learn(bench: Bench, style: dict[str, Any], weights: bytes = b"weights", attempt: int = 1) -> str:
    """What a worker does for the style's job; the key of the weights."""
    job = bench.claim(style["job"], attempt)
    key = output_key(job.spec.task, job.id, job.attempt)
    bench.storage.put_file(io.BytesIO(weights), key)
    facts = {"width": 128, "height": 128, "num_frames": 1, "fps": 16, "duration_seconds": 0.1}
    result = JobResult(path=key, bytes=len(weights), sha256=hashlib.sha256(weights).hexdigest(), **facts)
    assert bench.attempts.complete(job, result)
    return key


async def stored_styles(bench: Bench) -> list[str]:
    return [stored.key async for stored in bench.storage.objects("styles")]


async def test_a_style_is_learned_and_used(client: httpx.AsyncClient, bench: Bench) -> None:
    answer = await create(client, prompt="a cat")
    style = answer.json()
    assert (answer.status_code, style["status"], style["progress"]) == (202, "queued", 0), answer.text
    assert answer.headers["Location"] == style["urls"]["self"] == f"/v1/styles/{style['id']}"
    spec = spec_of(bench, {"id": style["job"]})
    assert isinstance(spec.options, StyleOptions)
    assert (spec.task, spec.options.style_id, spec.options.shows) == ("style", style["id"], "a cat")
    assert spec.options.image.sha256 == hashlib.sha256(picture()).hexdigest()
    early = await client.post("/v1/text-to-video", json={"prompt": "a ball", "style": "mine"})
    assert (early.status_code, early.json()["code"]) == (409, "style_not_ready")
    assert (await client.get(f"/v1/videos/{style['job']}")).json()["task"] == "style"

    key = learn(bench, style)

    done = (await client.get(f"/v1/styles/{style['id']}")).json()
    assert (done["status"], done["progress"], done["bytes"]) == ("completed", 100, 7)
    assert (await client.get("/v1/styles/mine")).json() == done
    assert (await client.get("/v1/styles")).json()["data"] == [done]
    for name in ("mine", style["id"]):
        video = (
            await client.post("/v1/text-to-video", json={"prompt": "a ball", "style": name, "style_strength": 0.5})
        ).json()
        options = spec_of(bench, video).options
        assert isinstance(options, TextToVideoOptions) and options.style_weights is not None
        assert (options.style, options.style_strength, options.style_weights.key) == ("mine", 0.5, key)
        assert options.style_weights.sha256 == hashlib.sha256(b"weights").hexdigest()
    stylized = (await client.post("/v1/stylize", json={"prompt": "a ball", "style": "mine"})).json()
    options = spec_of(bench, stylized).options
    assert isinstance(options, StylizeOptions) and options.style_weights is not None


async def test_shipped_styles_are_named_freely_and_bring_no_weights(client: httpx.AsyncClient, bench: Bench) -> None:
    (model,) = (await client.get("/v1/models")).json()["data"]
    assert model["styles"] == ["melting-gold"]
    video = (await client.post("/v1/text-to-video", json={"prompt": "a ball", "style": "Melting gold"})).json()

    options = spec_of(bench, video).options
    assert isinstance(options, TextToVideoOptions)
    assert (options.style, options.style_weights) == ("melting-gold", None)
    taken = await create(client, "melting-gold")
    assert (taken.status_code, taken.json()["code"]) == (409, "style_name_taken")


async def test_the_same_picture_is_learned_once(client: httpx.AsyncClient, bench: Bench) -> None:
    style = (await create(client)).json()
    repeated = (await create(client)).json()
    assert (repeated["id"], repeated["job"]) == (style["id"], style["job"])
    key = learn(bench, style)
    before = await uploads(bench)

    twin = (await create(client, "yours")).json()

    assert (twin["status"], twin["job"]) == ("completed", None)
    assert twin["id"] != style["id"] and await uploads(bench) == before
    other = await create(client, "mine", picture("JPEG"))
    assert (other.status_code, other.json()["code"]) == (409, "style_name_taken")
    assert await uploads(bench) == before
    assert (await client.delete("/v1/styles/mine")).json()["deleted"]
    assert await stored_styles(bench) == [key], "the twin stands on them"
    await client.delete(f"/v1/styles/{twin['id']}")
    assert await stored_styles(bench) == []
    assert (await client.get("/v1/styles/mine")).status_code == 404


async def test_what_was_learned_for_other_weights_is_learned_again(client: httpx.AsyncClient, bench: Bench) -> None:
    bench.attempts.tell_weights({MODEL: "first"})
    learn(bench, (await create(client)).json())
    assert (await create(client, "twin")).json()["status"] == "completed"

    bench.attempts.tell_weights({MODEL: "second"})

    assert (await create(client, "again")).json()["status"] == "queued"
    stale = await create(client)
    assert (stale.status_code, stale.json()["code"]) == (409, "style_name_taken")


async def test_a_deleted_style_cancels_its_job_and_does_not_come_back(client: httpx.AsyncClient, bench: Bench) -> None:
    style = (await create(client)).json()
    job = bench.claim(style["job"])

    await client.delete("/v1/styles/mine")

    assert bench.step(job, 1).value == "cancel"
    key = output_key("style", job.id, 1)
    facts = {"width": 128, "height": 128, "num_frames": 1, "fps": 16, "duration_seconds": 0.1}
    bench.attempts.complete(job, JobResult(path=key, bytes=1, sha256="0" * 64, **facts))  # it was done before it heard
    assert (await client.get(f"/v1/styles/{style['id']}")).status_code == 404
    assert (await client.get("/v1/styles")).json()["data"] == []


async def test_a_failed_style_makes_room_for_another(client: httpx.AsyncClient, bench: Bench) -> None:
    style = (await create(client)).json()
    bench.fail(bench.claim(style["job"]))

    failed = (await client.get("/v1/styles/mine")).json()
    assert (failed["status"], failed["error"]["code"]) == ("failed", "out_of_memory")
    again = (await create(client, "mine", picture("WEBP"))).json()

    assert again["status"] == "queued" and again["id"] != style["id"]


async def test_a_style_outlives_its_job(client: httpx.AsyncClient, bench: Bench, app: Any) -> None:
    style = (await create(client)).json()
    key = learn(bench, style)
    listed = (await client.get("/v1/videos")).json()["data"]
    assert listed == [], "it is no video"
    content = await client.get(f"/v1/videos/{style['job']}/content")
    assert (content.content, content.headers["content-type"]) == (b"weights", "application/safetensors")

    assert (await client.delete(f"/v1/videos/{style['job']}")).status_code == 200

    assert (await client.get("/v1/styles/mine")).json()["status"] == "completed"
    assert await stored_styles(bench) == [key]
    records: JobRecords = app.state.resources.records
    bench.storage.put_file(io.BytesIO(b"lost"), "styles/video_x/a1.safetensors")
    await sweep(records, bench.storage, datetime.now(UTC) + timedelta(days=30))
    assert await stored_styles(bench) == [key]


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"image": data_url(picture())}, "missing_field", "name"),
        ({"name": "a/b", "image": data_url(picture())}, "invalid_field", "name"),
        ({"name": "x"}, "missing_field", "image"),
        ({"name": "x", "image": "file_" + "a" * 26}, "file_not_found", "image"),
        ({"name": "x", "image": data_url(picture()), "model": "no"}, "unknown_model", "model"),
        ({"name": "x", "image": data_url(picture()), "steps": 3}, "unknown_field", "steps"),
    ],
)
async def test_what_cannot_be_is_named(client: httpx.AsyncClient, body: dict[str, Any], code: str, param: str) -> None:
    answer = (await client.post("/v1/styles", json=body)).json()

    assert (answer["code"], answer["param"]) == (code, param), answer
    assert (await client.get("/v1/styles")).json()["data"] == []


async def test_unknown_styles_are_refused(client: httpx.AsyncClient) -> None:
    by_id = await client.post("/v1/text-to-video", json={"prompt": "a", "style": "style_" + "a" * 26})
    assert (by_id.status_code, by_id.json()["code"]) == (404, "style_not_found")
    by_name = (await client.post("/v1/text-to-video", json={"prompt": "a", "style": "oil"})).json()
    assert (by_name["code"], by_name["param"]) == ("invalid_field", "style")
    assert "melting-gold" in by_name["detail"]


async def test_styles_of_others_are_as_if_they_were_not_there(client: httpx.AsyncClient, app: Any) -> None:
    redis = app.state.resources.records.redis
    one, other = StyleRecords(redis, "one"), StyleRecords(redis, "other")
    style, _ = await one.claim(name="mine", model="m", prompt="", content="c")

    assert await one.named("mine") == await one.named(style.id) == style
    assert await other.named("mine") is None and await other.named(style.id) is None
    assert await other.list() == []
    theirs, fresh = await other.claim(name="mine", model="m", prompt="", content="c")
    assert fresh and theirs.id != style.id
    assert len(await StyleRecords(redis).list()) == 2
