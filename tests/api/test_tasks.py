"""The tasks that take images and videos in: by form, by data URL, by id; and what is refused."""

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.jobs.contract import CinemagraphOptions, ImageToVideoOptions, InpaintOptions, JobSpec
from service.settings import Settings
from service.storage import Storage
from tests.api.gateway import CARD, Bench, write_card
from tests.api.media import data_url, movie, picture

TASKS = ["text-to-video", "image-to-video", "inpaint", "cinemagraph", "stylize"]
BOX = {"x": 0.1, "y": 0.1, "width": 0.5, "height": 0.5}


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    card = {**CARD, "tasks": TASKS, "styles": ["watercolor", "sticker"]}
    model = write_card(tmp_path / "model", card)
    return Settings(redis_url=redis_url, data_dir=tmp_path / "data", model_dirs=[model], max_upload_bytes=200_000)


def spec_of(bench: Bench, video: dict[str, Any]) -> JobSpec:
    return JobSpec.read(bench.redis.hget(f"lumiere:job:{video['id']}", "spec"))  # type: ignore[arg-type]


async def uploads(bench: Bench) -> int:
    return len([stored async for stored in bench.storage.objects("uploads")])


@pytest.mark.parametrize(
    "fields",
    [
        {"guidance_interval": ["0.2", "0.8"]},
        {"guidance_interval[]": ["0.2", "0.8"]},
        {"guidance_interval[0]": "0.2", "guidance_interval[1]": "0.8"},
        {"guidance_interval": "[0.2, 0.8]"},
    ],
)
async def test_lists_of_numbers_in_forms(client: httpx.AsyncClient, fields: dict[str, Any]) -> None:
    answer = await client.post(
        "/v1/image-to-video", data={"prompt": "a ship", **fields}, files={"image": ("a.png", picture(), "image/png")}
    )

    assert answer.status_code == 202, answer.text
    assert answer.json()["guidance_interval"] == [0.2, 0.8]


async def test_an_image_sent_along_in_a_form(client: httpx.AsyncClient, bench: Bench) -> None:
    content = picture()
    answer = await client.post(
        "/v1/image-to-video",
        data={
            "prompt": "a ship",
            "seed": "7",
            "guidance_scale": "2.5",
            "num_frames": "16",
            "guidance_rescale": "0.5",
            "guidance_interval": "[0.2, 0.8]",
        },
        files={"image": ("../../cat.exe", content, "text/plain")},
    )

    assert answer.status_code == 202, answer.text
    video = answer.json()
    assert (video["task"], video["seed"], video["guidance_scale"], video["num_frames"]) == (
        "image-to-video",
        7,
        2.5,
        16,
    )
    assert (video["guidance_rescale"], video["guidance_interval"]) == (0.5, [0.2, 0.8])
    options = spec_of(bench, video).options
    assert isinstance(options, ImageToVideoOptions)
    (keyframe,) = options.keyframes
    assert (keyframe.frame, keyframe.image.media_type, keyframe.image.bytes) == (0, "image/png", len(content))
    chunks = [chunk async for chunk in bench.storage.stream(keyframe.image.key)]
    assert b"".join(chunks) == content
    assert video["options"] == {
        "keyframes": [{"image": keyframe.image.key.removeprefix("uploads/"), "frame": 0}],
        "resize": "cover",
    }


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("how", ["data URL", "object", "OpenAI's object", "base64"])
async def test_an_image_within_json(client: httpx.AsyncClient, bench: Bench, format: str, how: str) -> None:
    content = picture(format)
    url = data_url(content, "image/lie")
    plain = base64.b64encode(content).decode()
    image = {"data URL": url, "object": {"url": url}, "OpenAI's object": {"image_url": url}, "base64": plain}[how]
    answer = await client.post("/v1/image-to-video", json={"prompt": "a ship", "image": image})

    assert answer.status_code == 202, answer.text
    options = spec_of(bench, answer.json()).options
    assert isinstance(options, ImageToVideoOptions)
    assert options.keyframes[0].image.media_type == f"image/{format.lower()}"


async def test_keyframes_in_a_form(client: httpx.AsyncClient, bench: Bench) -> None:
    answer = await client.post(
        "/v1/image-to-video",
        data={"prompt": "a ship", "keyframes[0][frame]": "8", "keyframes[1][time]": "1.25", "resize": "contain"},
        files={
            "keyframes[0][image]": picture(color="red"),
            "keyframes[1][image]": picture(color="blue"),
            "last_image": picture("WEBP"),
        },
    )

    assert answer.status_code == 202, answer.text
    options = spec_of(bench, answer.json()).options
    assert isinstance(options, ImageToVideoOptions)
    assert sorted(keyframe.frame for keyframe in options.keyframes) == [-1, 8, 20]
    assert len({keyframe.image.sha256 for keyframe in options.keyframes}) == 3


BOXES = [{"x": 0, "y": 0, "width": 0.5, "height": 1}, {"x": 0.5, "y": 0.25, "width": 0.5, "height": 0.5}]


@pytest.mark.parametrize(
    "names",
    [
        [(place, name) for place in range(2) for name in BOXES[0]],
        [(place, name) for name in BOXES[0] for place in range(2)],
    ],
    ids=["object by object", "field by field"],
)
async def test_lists_of_objects_in_a_form(
    client: httpx.AsyncClient, bench: Bench, names: list[tuple[int, str]]
) -> None:
    parts = [(f"boxes[][{name}]", (None, str(BOXES[place][name]))) for place, name in names]
    answer = await client.post("/v1/cinemagraph", files=[("prompt", (None, "waves")), ("image", picture()), *parts])

    assert answer.status_code == 202, answer.text
    options = spec_of(bench, answer.json()).options
    assert isinstance(options, CinemagraphOptions)
    assert [box.model_dump(exclude={"start", "end"}) for box in options.boxes] == BOXES


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".webm", ".mkv"])
async def test_inpaint(client: httpx.AsyncClient, bench: Bench, tmp_path: Path, suffix: str) -> None:
    answer = await client.post(
        "/v1/inpaint",
        data={"prompt": "a balloon", "boxes": json.dumps([{**BOX, "start": 0.5, "end": 2}]), "feather": "0.02"},
        files={"video": movie(tmp_path, suffix), "mask": picture()},
    )

    assert answer.status_code == 202, answer.text
    options = spec_of(bench, answer.json()).options
    assert isinstance(options, InpaintOptions)
    names = {".mp4": "mp4", ".mov": "quicktime", ".webm": "webm", ".mkv": "x-matroska"}
    assert options.video.media_type == f"video/{names[suffix]}"
    assert options.mask is not None and options.mask.media_type == "image/png"
    assert (options.boxes[0].end, options.feather) == (2, 0.02)


async def test_cinemagraph_and_stylize(client: httpx.AsyncClient, bench: Bench, tmp_path: Path) -> None:
    cinemagraph = await client.post(
        "/v1/cinemagraph",
        data={
            "prompt": "waves",
            "loop": "true",
            "boxes[][x]": "0",
            "boxes[][y]": "0.5",
            "boxes[][width]": "1",
            "boxes[][height]": "0.5",
        },
        files={"image": picture()},
    )
    stylize = await client.post(
        "/v1/stylize",
        data={"prompt": "origami", "style": "sticker", "strength": "0.4"},
        files={"video": movie(tmp_path)},
    )

    assert (cinemagraph.status_code, stylize.status_code) == (202, 202), cinemagraph.text + stylize.text
    assert cinemagraph.json()["options"]["boxes"] == [
        {"x": 0, "y": 0.5, "width": 1, "height": 0.5, "start": None, "end": None}
    ]
    assert cinemagraph.json()["options"]["loop"] is True
    assert (stylize.json()["options"]["style"], stylize.json()["options"]["strength"]) == ("sticker", 0.4)


async def test_a_finished_video_as_input(client: httpx.AsyncClient, bench: Bench, tmp_path: Path) -> None:
    first = (await client.post("/v1/text-to-video", json={"prompt": "a ball"})).json()["id"]
    early = await client.post("/v1/stylize", json={"prompt": "wood", "video": first})
    result = bench.complete(bench.claim(first), movie(tmp_path))
    answer = await client.post("/v1/stylize", json={"prompt": "wood", "video": first})

    assert (early.status_code, early.json()["code"], early.json()["param"]) == (409, "video_not_ready", "video")
    assert "queued" in early.json()["detail"]
    assert answer.json()["options"]["video"] == first
    options = spec_of(bench, answer.json()).options
    assert options is not None and options.video.sha256 == result.sha256


async def test_the_id_of_a_picture_names_no_video(client: httpx.AsyncClient) -> None:
    file_id = (await client.post("/v1/files", files={"file": picture()})).json()["id"]
    answer = await client.post("/v1/stylize", json={"prompt": "wood", "video": {"file_id": file_id}})

    assert (answer.status_code, answer.json()["code"], answer.json()["param"]) == (404, "file_not_found", "video")
    assert answer.json()["detail"] == "video must be a video, and the file with this id is an image"


LAST_TWICE = {"last_image": "IMAGE", "keyframes": [{"image": "IMAGE", "frame": 79}]}
FIRST_TWICE = {"image": "IMAGE", "keyframes": [{"image": "IMAGE", "frame": 0}]}
BOTH = {"keyframes": [{"image": "IMAGE", "frame": 3, "time": 0.5}]}
LATER = {"num_frames": 16, "fps": 8, "keyframes": [{"image": "IMAGE", "time": 2.0}]}
SAME_MOMENT = {"fps": 16, "keyframes": [{"image": "IMAGE", "time": 0.5}, {"image": "IMAGE", "frame": 8}]}
LATE = {"num_frames": 16, "keyframes": [{"image": "IMAGE", "frame": 16}]}
REFUSED: dict[str, tuple[str, dict[str, Any], str | None]] = {
    "no image": ("image-to-video", {}, "image"),
    "two for one frame": ("image-to-video", FIRST_TWICE, "keyframes"),
    "two for the last": ("image-to-video", LAST_TWICE, "keyframes"),
    "frame behind the end": ("image-to-video", LATE, "keyframes.0.frame"),
    "neither frame nor time": ("image-to-video", {"keyframes": [{"image": "IMAGE"}]}, "keyframes.0.frame"),
    "frame and time": ("image-to-video", BOTH, "keyframes.0.time"),
    "time behind the end": ("image-to-video", LATER, "keyframes.0.time"),
    "one frame, once by its time": ("image-to-video", SAME_MOMENT, "keyframes"),
    "frame as text": ("image-to-video", {"keyframes": [{"image": "IMAGE", "frame": "3"}]}, "keyframes.0.frame"),
    "unknown field": ("image-to-video", {"image": "IMAGE", "strenght": 1}, "strenght"),
    "unknown field below": ("image-to-video", {"image": {"url": "IMAGE", "file": "/etc/passwd"}}, "image.file"),
    "two sources": ("image-to-video", {"image": {"url": "IMAGE", "file_id": "file_a"}}, "image"),
    "a URL": ("image-to-video", {"image": "https://127.0.0.1/cat.png"}, "image"),
    "a metadata URL": ("image-to-video", {"image": {"image_url": "http://169.254.169.254/"}}, "image"),
    "a file URL": ("image-to-video", {"image": "file:///etc/passwd"}, "image"),
    "a data URL of text": ("image-to-video", {"image": "data:image/png;base64,aGVsbG8="}, "image"),
    "not base64": ("image-to-video", {"image": "data:image/png;base64,@@@"}, "image"),
    "no base64": ("image-to-video", {"image": "data:image/png,hello"}, "image"),
    "an empty file": ("image-to-video", {"image": "data:image/png;base64,"}, "image"),
    "unknown file": ("image-to-video", {"image": "file_abcdefghijklmnopqrstuvwxyz"}, "image"),
    "malformed file id": ("image-to-video", {"image": "file_../../x"}, "image"),
    "unknown video": ("stylize", {"video": "video_abcdefghijklmnopqrstuvwxyz"}, "video"),
    "token of a form": ("image-to-video", {"image": f"upload:{'0' * 32}:0"}, "image"),
    "an image as video": ("inpaint", {"video": "IMAGE", "boxes": [BOX]}, "video"),
    "no region": ("inpaint", {"video": "VIDEO"}, "mask"),
    "box behind the end": ("inpaint", {"video": "VIDEO", "boxes": [{**BOX, "start": 5}]}, "boxes.0.start"),
    "box that ends before": ("inpaint", {"video": "VIDEO", "boxes": [{**BOX, "start": 2, "end": 1}]}, "boxes.0"),
    "box outside": ("inpaint", {"video": "VIDEO", "boxes": [{**BOX, "x": 1.5}]}, "boxes.0.x"),
    "box as text": ("inpaint", {"video": "VIDEO", "boxes": [{**BOX, "x": "0.5"}]}, "boxes.0.x"),
    "too many boxes": ("inpaint", {"video": "VIDEO", "boxes": [BOX] * 33}, "boxes"),
    "margins of all": ("inpaint", {"video": "VIDEO", "expand": {"left": 0.5, "right": 0.5}}, "expand"),
    "a video as picture": ("cinemagraph", {"image": "VIDEO", "boxes": [BOX]}, "image"),
    "nothing that moves": ("cinemagraph", {"image": "IMAGE"}, "mask"),
    "loop as number": ("cinemagraph", {"image": "IMAGE", "boxes": [BOX], "loop": 1}, "loop"),
    "neither video nor style": ("stylize", {}, "video"),
    "unknown style": ("stylize", {"style": "oil"}, "style"),
    "too strong": ("stylize", {"style": "sticker", "strength": 1.1}, "strength"),
    "labels that are no texts": ("stylize", {"style": "sticker", "metadata": {"a": 1}}, "metadata.a"),
    "too many labels": ("stylize", {"style": "sticker", "metadata": {f"k{n}": "v" for n in range(17)}}, "metadata"),
}  # fmt: skip
NOT_FOUND, CONFLICT = 404, 409
STATUS = {
    **dict.fromkeys(("unknown file", "malformed file id", "unknown video"), NOT_FOUND),
    **dict.fromkeys(("two for one frame", "two for the last", "frame behind the end", "box behind the end"), CONFLICT),
    **dict.fromkeys(("box that ends before", "margins of all"), CONFLICT),
    **dict.fromkeys(("frame and time", "time behind the end", "one frame, once by its time"), CONFLICT),
}
"""Of the others it is 422."""


@pytest.mark.parametrize("name", REFUSED)
async def test_refusals_name_the_field_and_leave_nothing(
    client: httpx.AsyncClient, bench: Bench, tmp_path: Path, name: str
) -> None:
    task, fields, param = REFUSED[name]
    text = json.dumps({"prompt": "a ship", **fields})
    text = text.replace("IMAGE", data_url(picture())).replace("VIDEO", data_url(movie(tmp_path), "video/mp4"))
    answer = await client.post(f"/v1/{task}", content=text, headers={"Content-Type": "application/json"})

    assert (answer.status_code, answer.json()["param"]) == (STATUS.get(name, 422), param), answer.text
    assert len(answer.content) < 2000
    assert await uploads(bench) == 0
    assert (await client.get("/v1/videos")).json()["data"] == []


async def test_a_model_that_cannot_do_it_says_what_it_can(redis_url: str, tmp_path: Path) -> None:
    from service.api.app import create_app

    settings = Settings(redis_url=redis_url, data_dir=tmp_path / "d", model_dirs=[write_card(tmp_path / "plain")])
    app = create_app(settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        for model in ({}, {"model": CARD["id"]}):
            answer = await client.post("/v1/stylize", json={"prompt": "a", "style": "sticker", **model})
            assert (answer.status_code, answer.json()["code"]) == (422, "unsupported_task")
            assert "lumiere-mini does text-to-video" in answer.json()["detail"]


async def test_the_same_key_and_file_make_one_job(client: httpx.AsyncClient, bench: Bench) -> None:
    async def send(color: str) -> httpx.Response:
        return await client.post(
            "/v1/image-to-video",
            data={"prompt": "a ship"},
            files={"image": picture(color=color)},
            headers={"Idempotency-Key": "order-1"},
        )

    first, again, other = await send("red"), await send("red"), await send("blue")

    assert first.json()["id"] == again.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert await uploads(bench) == 1, "files of requests that made no job are removed"


FORM = "multipart/form-data; boundary=x"


def part(head: str, content: bytes = b"a") -> bytes:
    return b"--x\r\nContent-Disposition: form-data" + head.encode() + b"\r\n\r\n" + content + b"\r\n"


def named(name: str, content: bytes = b"a") -> bytes:
    return part(f'; name="{name}"', content)


END = b"--x--"
FORMS: dict[str, tuple[bytes, str]] = {
    "no boundary": (END, "multipart/form-data"),
    "nothing": (b"", FORM),
    "not a form": (b'{"prompt": "a"}', FORM),
    "no name": (part("") + END, FORM),
    "cut off": (named("prompt")[:-4], FORM),
    "twice": (2 * named("prompt") + END, FORM),
    "brackets": (named("a[[b]") + END, FORM),
    "deep": (named("a" + 50 * "[b]") + END, FORM),
    "unlike objects": (2 * named("boxes[][x]", b"0") + named("boxes[][y]", b"0") + END, FORM),
    "value and object": (named("image") + named("image[url]") + END, FORM),
    "NaN": (named("boxes", b"[NaN]") + END, FORM),
    "many fields": (b"".join(named(f"k{number}") for number in range(300)) + END, FORM),
    "many files": (b"".join(part(f'; name="k{number}"; filename="a"') for number in range(60)) + END, FORM),
    "surrogate": (named("metadata", b'{"a": "\\ud800"}') + END, FORM),
    "broken UTF-8": (named("prompt", b"\xff\xfe") + END, FORM),
    "strange charset": (named("prompt", b"\xff\xfe") + END, f"{FORM}; charset=rot13"),
}


@pytest.mark.parametrize("name", FORMS)
async def test_malformed_forms_are_refused(client: httpx.AsyncClient, name: str) -> None:
    content, media_type = FORMS[name]
    answer = await client.post("/v1/image-to-video", content=content, headers={"Content-Type": media_type})

    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "fields",
    [{"guidance_scale": "nan"}, {"guidance_scale": "1e400"}, {"seed": "1.5"}, {"seed": "٣x"}, {"seed": ""},
     {"seed": "9" * 5000}, {"num_frames": "true"}, {"resize": "squeeze"}, {"prompt": "\x00"}],
)  # fmt: skip
async def test_bad_texts_in_a_form_are_refused(client: httpx.AsyncClient, fields: dict[str, str]) -> None:
    answer = await client.post("/v1/image-to-video", data={"prompt": "a", **fields}, files={"image": picture()})

    assert (answer.status_code, answer.json()["param"]) == (422, next(iter(fields))), answer.text


async def test_too_large_files_are_refused(client: httpx.AsyncClient, bench: Bench) -> None:
    large = picture() + bytes(200_000)
    form = await client.post("/v1/image-to-video", data={"prompt": "a"}, files={"image": large})
    text = await client.post("/v1/image-to-video", json={"prompt": "a", "image": data_url(large)})
    huge = await client.post("/v1/image-to-video", data={"prompt": "a"}, files={"image": picture() + bytes(3_000_000)})

    assert [answer.status_code for answer in (form, text, huge)] == [413, 413, 413]
    assert [answer.json()["code"] for answer in (form, text, huge)] == [
        "file_too_large",
        "file_too_large",
        "body_too_large",
    ]
    assert await uploads(bench) == 0


async def test_a_full_queue_leaves_no_files(
    client: httpx.AsyncClient, bench: Bench, app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    records = app.state.resources.records
    monkeypatch.setattr(records, "policy", replace(records.policy, max_queued_jobs=0))
    answer = await client.post("/v1/image-to-video", data={"prompt": "a"}, files={"image": picture()})

    assert (answer.status_code, answer.json()["code"]) == (429, "queue_full")
    assert await uploads(bench) == 0


def test_storage_of_the_bench_is_that_of_the_gateway(settings: Settings, bench: Bench) -> None:
    assert Storage.open(settings).folder == bench.storage.folder


async def test_a_lost_answer_of_redis_costs_no_inputs(
    client: httpx.AsyncClient, bench: Bench, app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job may have been taken before the answer was lost: its inputs must still be there."""
    from service.jobs.connection import RedisUnavailable
    from service.jobs.record import JobRecords

    accept = JobRecords.accept

    async def accept_and_lose(records: JobRecords, spec: JobSpec, **options: Any) -> None:
        await accept(records, spec, **options)
        raise RedisUnavailable("the answer was lost")

    form: dict[str, Any] = {"data": {"prompt": "a"}, "files": {"image": picture()}, "headers": {"Idempotency-Key": "k"}}
    monkeypatch.setattr(JobRecords, "accept", accept_and_lose)
    lost = await client.post("/v1/image-to-video", **form)
    monkeypatch.setattr(JobRecords, "accept", accept)
    again = await client.post("/v1/image-to-video", **form)

    assert (lost.status_code, again.status_code) == (503, 202)
    assert again.headers["idempotent-replayed"] == "true"
    options = spec_of(bench, again.json()).options
    assert isinstance(options, ImageToVideoOptions)
    assert await bench.storage.size(options.keyframes[0].image.key) > 0
