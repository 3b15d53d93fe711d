"""`POST /v1/text-to-video`: what is accepted becomes exactly one job, what is not is refused by name and limit."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service.api.app import create_app
from service.settings import Settings
from tests.api.gateway import CARD, Bench, write_card

OPENAI_FIELDS = {
    "id",
    "object",
    "status",
    "progress",
    "created_at",
    "completed_at",
    "expires_at",
    "model",
    "prompt",
    "seconds",
    "size",
    "remixed_from_video_id",
    "error",
}


async def submit(client: httpx.AsyncClient, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    return await client.post("/v1/text-to-video", json={"prompt": "a red ball", **fields}, headers=headers)


async def test_accepts_with_the_models_defaults(client: httpx.AsyncClient) -> None:
    answer = await submit(client)
    video = answer.json()

    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/videos/{video['id']}" == video["urls"]["self"]
    assert set(video) >= OPENAI_FIELDS
    assert (video["object"], video["status"], video["progress"]) == ("video", "queued", 0)
    assert (video["model"], video["size"], video["seconds"]) == ("lumiere-mini", "128x128", "5")
    assert (video["num_frames"], video["fps"]) == (80, 16)
    assert (video["num_inference_steps"], video["guidance_scale"]) == (20, 4.0)
    assert 0 <= video["seed"] < 2**32
    assert video["queue_position"] == 0
    assert video["error"] is None
    assert (await client.get(answer.headers["location"])).json() == video


async def test_keeps_every_field_as_asked(client: httpx.AsyncClient) -> None:
    asked = {
        "prompt": "ein Ritter 🐎 – नमस्ते",
        "negative_prompt": "rain",
        "seed": 2**32 - 1,
        "num_frames": 24,
        "fps": 10,
        "size": "64x64",
        "num_inference_steps": 3,
        "guidance_scale": 7,
        "guidance_rescale": 0.7,
        "guidance_interval": [0.1, 0.9],
        "scheduler": "UniPCMultistepScheduler",
        "model": "lumiere-mini",
    }
    video = (await submit(client, **asked)).json()

    assert asked == {field: video[field] for field in asked}
    assert video["seconds"] == "2.4"


async def test_draws_another_seed_each_time(client: httpx.AsyncClient) -> None:
    seeds = {(await submit(client)).json()["seed"] for _ in range(5)}

    assert len(seeds) == 5


async def test_explicit_null_means_the_default(client: httpx.AsyncClient) -> None:
    video = (await submit(client, seed=None, size=None, model=None)).json()

    assert video["size"] == "128x128"


async def test_a_number_without_a_fraction_is_an_integer(client: httpx.AsyncClient) -> None:
    body = b'{"prompt": "a ball", "seed": 7.0, "num_frames": 2.4e1, "guidance_scale": 3}'
    video = (await client.post("/v1/text-to-video", content=body, headers={"Content-Type": "application/json"})).json()

    assert (video["seed"], video["num_frames"], video["guidance_scale"]) == (7, 24, 3.0)


async def test_text_is_normalised(client: httpx.AsyncClient) -> None:
    video = (await submit(client, prompt="  cafe\u0301\u200d\n")).json()

    assert video["prompt"] == "café\u200d"


@pytest.mark.parametrize(
    ("field", "value", "limit"),
    [
        ("num_frames", 7, "from 8 to 80"),
        ("num_frames", 81, "from 8 to 80"),
        ("fps", 61, "from 8 to 60"),
        ("num_inference_steps", 0, "from 1 to 100"),
        ("num_inference_steps", 101, "from 1 to 100"),
        ("guidance_scale", 0.5, "from 1 to 20"),
        ("guidance_scale", 20.5, "from 1 to 20"),
        ("guidance_rescale", 1.5, "less than or equal to 1"),
        ("scheduler", "DDIMScheduler", "UniPCMultistepScheduler, FlowMatchHeunDiscreteScheduler"),
        ("scheduler", "os.system", "UniPCMultistepScheduler, FlowMatchHeunDiscreteScheduler"),
        ("size", "128x129", "64x64, 128x128, 256x256"),
        ("size", "big", "64x64, 128x128, 256x256"),
        ("num_frames", 10**30, "from 8 to 80"),
        ("num_frames", -(10**30), "from 8 to 80"),
        ("guidance_scale", 1e300, "from 1 to 20"),
        ("prompt", "x" * 1001, "1000 characters"),
        ("negative_prompt", "x" * 1001, "1000 characters"),
        ("prompt", "x" * 200_000, "1000 characters"),
        ("prompt", " \n", "must not be empty"),
        ("prompt", "a\x00b", "U+0000"),
        ("prompt", "a\x1b[31mb", "U+001B"),
        ("negative_prompt", "a\x85b", "U+0085"),
        ("seed", -1, "greater than or equal to 0"),
        ("seed", 2**32, "less than or equal to 4294967295"),
        ("seed", 2**64, "less than or equal to 4294967295"),
        ("seed", True, "valid integer"),
        ("seed", "7", "valid integer"),
        ("seed", 1.5, "valid integer"),
        ("num_frames", "16", "valid integer"),
        ("guidance_scale", "4", "valid number"),
        ("guidance_scale", False, "valid number"),
        ("prompt", 7, "valid string"),
        ("prompt", ["a"], "valid string"),
        ("prompt", None, "valid string"),
    ],
)
async def test_names_field_and_limit(client: httpx.AsyncClient, field: str, value: Any, limit: str) -> None:
    answer = await submit(client, **{field: value})
    problem = answer.json()

    assert answer.status_code == 422
    assert (problem["code"], problem["param"]) == ("invalid_field", field)
    assert limit in problem["detail"]
    assert problem["errors"][0]["param"] == field


@pytest.mark.parametrize(("value", "code"), [([0.0, 1.5], "invalid_field"), ([0.5], "missing_field")])
async def test_names_the_number_of_an_interval(client: httpx.AsyncClient, value: list[float], code: str) -> None:
    problem = (await submit(client, guidance_interval=value)).json()

    assert (problem["code"], problem["param"]) == (code, "guidance_interval.1")


async def test_an_interval_that_runs_backwards_is_a_conflict(client: httpx.AsyncClient) -> None:
    answer = await submit(client, guidance_interval=[0.9, 0.1])

    assert (answer.status_code, answer.json()["code"]) == (409, "fields_conflict")
    assert "must not be above the second" in answer.json()["detail"]


async def test_lists_every_bad_field(client: httpx.AsyncClient) -> None:
    problem = (await submit(client, fps=1, num_frames=1000, size="3x3")).json()

    assert {error["param"] for error in problem["errors"]} == {"fps", "num_frames", "size"}


async def test_names_missing_and_unknown_fields(client: httpx.AsyncClient) -> None:
    missing = (await client.post("/v1/text-to-video", json={"seed": 1})).json()
    unknown = (await submit(client, promt="typo")).json()

    assert (missing["code"], missing["param"]) == ("missing_field", "prompt")
    assert (unknown["code"], unknown["param"]) == ("unknown_field", "promt")


async def test_never_repeats_what_was_sent(client: httpx.AsyncClient) -> None:
    secret = "s3cret" * 20
    for fields in ({"seed": secret}, {secret: 1}, {"size": secret}, {"model": secret}, {"num_frames": [secret]}):
        answer = await submit(client, **fields)

        assert answer.status_code == 422
        assert secret not in answer.text
        assert len(answer.content) < 2000


async def test_refuses_a_model_that_is_not_here(client: httpx.AsyncClient) -> None:
    answer = await submit(client, model="sora-2")

    assert (answer.status_code, answer.json()["code"], answer.json()["param"]) == (422, "unknown_model", "model")


async def test_uses_the_limits_of_the_chosen_model(settings: Settings, tmp_path: Path) -> None:
    limits = {**CARD["limits"], "num_frames": [8, 200]}  # type: ignore[dict-item]
    long = write_card(tmp_path / "long", {**CARD, "id": "lumiere-long", "limits": limits})
    images = write_card(tmp_path / "images", {**CARD, "id": "images-only", "tasks": ["image-to-video"]})
    both = settings.model_copy(update={"model_dirs": [images, *settings.model_dirs, long]})
    app = create_app(both)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        default = await submit(client)
        short = await submit(client, num_frames=200)
        chosen = await submit(client, num_frames=200, model="lumiere-long")
        unable = await submit(client, model="images-only")

    assert default.json()["model"] == "lumiere-mini"
    assert short.status_code == 422
    assert (chosen.status_code, chosen.json()["model"]) == (202, "lumiere-long")
    assert (unable.status_code, unable.json()["param"]) == (422, "model")
    assert "text-to-video" in unable.json()["detail"]


async def test_one_idempotency_key_makes_one_job(client: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "order-66"}
    answers = await asyncio.gather(*(submit(client, headers=key) for _ in range(20)))
    videos = [answer.json() for answer in answers]
    replays = [answer.headers.get("idempotent-replayed") for answer in answers]

    assert {answer.status_code for answer in answers} == {202}
    assert len({video["id"] for video in videos}) == len({video["seed"] for video in videos}) == 1
    assert sorted(map(str, replays)) == ["None"] + ["true"] * 19
    assert len((await client.get("/v1/videos")).json()["data"]) == 1


async def test_an_idempotency_key_stays_with_its_request(client: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "order-66"}
    await submit(client, headers=key)
    other = await submit(client, headers=key, seed=1)
    same_key_elsewhere = await submit(client, headers={"Idempotency-Key": "order-67"}, seed=1)

    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert same_key_elsewhere.status_code == 202


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "schlüssel", "tab\t"])
async def test_refuses_a_malformed_idempotency_key(client: httpx.AsyncClient, key: str) -> None:
    answer = await submit(client, headers={"Idempotency-Key": key.encode("latin-1")})  # type: ignore[dict-item]

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_header")
    assert answer.json()["param"] == "Idempotency-Key"


async def test_a_full_queue_says_when_to_come_back(settings: Settings) -> None:
    app: FastAPI = create_app(settings.model_copy(update={"max_queued_jobs": 2}))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        answers = [await submit(client) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert answers[2].json()["code"] == "queue_full"
    assert answers[2].json()["retryable"] is True
    assert 1 <= int(answers[2].headers["retry-after"]) <= 120


async def test_the_job_in_the_record_is_the_one_asked_for(client: httpx.AsyncClient, bench: Bench) -> None:
    video = (await submit(client, prompt="a star", seed=5, size="64x64")).json()
    spec = bench.claim(video["id"]).spec

    assert (spec.prompt, spec.seed, spec.width, spec.height) == ("a star", 5, 64, 64)


async def test_poll_interval_follows_the_eta(client: httpx.AsyncClient, bench: Bench) -> None:
    created = await submit(client)
    path = created.headers["location"]
    job = bench.claim(created.json()["id"])
    bench.step(job, 1, eta_seconds=40)
    running = await client.get(path)
    bench.step(job, 19, eta_seconds=600)
    late = await client.get(path)
    bench.fail(job)
    ended = await client.get(path)

    assert created.headers["openai-poll-after-ms"] == "1000"
    assert 1900 <= int(running.headers["openai-poll-after-ms"]) <= 2000
    assert late.headers["openai-poll-after-ms"] == "5000"
    assert "openai-poll-after-ms" not in ended.headers


async def test_json_with_charset_is_json(client: httpx.AsyncClient) -> None:
    body = json.dumps({"prompt": "ä"}, ensure_ascii=False).encode()
    answer = await client.post(
        "/v1/text-to-video", content=body, headers={"Content-Type": 'application/json; charset="UTF-8"'}
    )

    assert answer.status_code == 202
