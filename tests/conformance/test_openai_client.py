"""What users of OpenAI's Python client do, done by that client."""

import io
import json
from pathlib import Path
from typing import Any

import av
import httpx2
import numpy as np
import openai
import pytest
from PIL import Image

from tests.api.media import data_url, movie, picture
from tests.conformance.conftest import connect
from tests.stack.live import LiveStack

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # OpenAI's own service for videos was shut down
]
QUICK = {"num_inference_steps": 2}


def frames_of(content: bytes) -> np.ndarray:
    """(t, h, w, 3), RGB"""
    with av.open(io.BytesIO(content)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_create_and_poll(client: openai.OpenAI) -> None:
    video = client.videos.create_and_poll(prompt="a blue star", seconds="1", extra_body={**QUICK, "seed": 5})  # type: ignore[arg-type]

    assert (video.status, video.progress, video.object) == ("completed", 100, "video")
    assert (video.prompt, video.seconds, video.error) == ("a blue star", "1", None)
    assert video.completed_at is not None and video.created_at <= video.completed_at
    assert video.expires_at is not None and video.expires_at > video.completed_at
    assert video.remixed_from_video_id is None
    assert video.id.startswith("video_")
    extra: Any = video
    assert (extra.seed, extra.task, extra.num_inference_steps) == (5, "text-to-video", 2)


def test_create_answers_at_once(client: openai.OpenAI) -> None:
    raw = client.videos.with_raw_response.create(prompt="a blue star", extra_body=QUICK)
    video = raw.parse()

    assert raw.status_code == 200
    assert video.status == "queued"
    assert raw.headers["x-request-id"].startswith("req_")
    assert int(raw.headers["openai-poll-after-ms"]) > 0
    assert int(raw.headers["openai-processing-ms"]) >= 0
    assert client.videos.poll(video.id).status == "completed"


def test_json_instead_of_a_form(client: openai.OpenAI) -> None:
    video = client.videos.create(
        prompt="a star",
        seconds="1",  # type: ignore[arg-type]
        extra_body={**QUICK, "metadata": {"order": "7"}},
        extra_headers={"Content-Type": "application/json"},
    )

    assert video.seconds == "1"
    assert video.metadata == {"order": "7"}


def test_the_list_is_walked_to_its_end(client: openai.OpenAI, finished: openai.types.Video) -> None:
    made = [client.videos.create(prompt=f"star {number}", extra_body=QUICK).id for number in range(5)]
    listed = [video.id for video in client.videos.list(limit=2, order="asc")]
    page = client.videos.list(limit=3)

    assert listed[-5:] == made
    assert len(listed) == len(set(listed))
    assert finished.id in listed
    assert [video.id for video in page.data] == made[:-4:-1]
    assert page.has_more
    for video_id in made:
        client.videos.delete(video_id)


def test_every_variant_is_downloaded(client: openai.OpenAI, finished: openai.types.Video, tmp_path: Path) -> None:
    client.videos.download_content(finished.id).write_to_file(tmp_path / "video.mp4")
    with av.open(tmp_path / "video.mp4") as container:
        assert sum(1 for _ in container.decode(video=0)) == finished.num_frames
    explicit = client.videos.download_content(finished.id, variant="video").read()
    assert explicit == (tmp_path / "video.mp4").read_bytes()
    for variant, format in (("thumbnail", "WEBP"), ("spritesheet", "JPEG")):
        answer = client.videos.download_content(finished.id, variant=variant)  # type: ignore[arg-type]
        assert Image.open(io.BytesIO(answer.read())).format == format


def test_delete(client: openai.OpenAI) -> None:
    video = client.videos.create_and_poll(prompt="a star", extra_body=QUICK)
    gone = client.videos.delete(video.id)

    assert (gone.id, gone.deleted, gone.object) == (video.id, True, "video.deleted")
    with pytest.raises(openai.NotFoundError) as refusal:
        client.videos.retrieve(video.id)
    assert (refusal.value.code, refusal.value.param, refusal.value.type) == (
        "video_not_found",
        "video_id",
        "invalid_request_error",
    )
    assert refusal.value.request_id is not None


def test_an_active_video_is_cancelled_by_delete(client: openai.OpenAI) -> None:
    video = client.videos.create(prompt="a star", extra_body={"num_inference_steps": 100, "num_frames": 80})

    assert client.videos.delete(video.id).deleted


def test_remix(client: openai.OpenAI, finished: openai.types.Video) -> None:
    remix = client.videos.remix(finished.id, prompt="a green ball")

    assert (remix.remixed_from_video_id, remix.prompt) == (finished.id, "a green ball")
    assert (remix.seed, remix.task) == (finished.seed, "stylize")
    assert client.videos.poll(remix.id).status == "completed"


@pytest.mark.parametrize("form", ["file", "bare data URL", "object", "object as JSON text", "file id"])
def test_input_references_are_the_first_frame(client: openai.OpenAI, form: str) -> None:
    content = picture("PNG", (64, 64), "orange")
    url = data_url(content)
    quick = {**QUICK, "num_frames": 8}
    match form:
        case "file":
            file = ("upload", content, "application/octet-stream")
            video = client.videos.create_and_poll(prompt="a cat", input_reference=file, extra_body=quick)
        case "bare data URL":
            video = client.videos.create_and_poll(prompt="a cat", extra_body={**quick, "input_reference": url})
        case "object":
            reference: Any = {"image_url": url}
            video = client.videos.create_and_poll(prompt="a cat", extra_body={**quick, "input_reference": reference})
        case "object as JSON text":
            reference = json.dumps({"image_url": url})
            video = client.videos.create_and_poll(prompt="a cat", extra_body={**quick, "input_reference": reference})
        case _:
            reference = {"file_id": client.files.create(file=("cat.png", content), purpose="vision").id}
            video = client.videos.create_and_poll(prompt="a cat", extra_body={**quick, "input_reference": reference})

    assert (video.status, video.task) == ("completed", "image-to-video"), video
    first = frames_of(client.videos.download_content(video.id).read())[0]
    assert np.abs(first.mean((0, 1)) - (255, 165, 0)).max() < 8


def test_an_input_reference_may_be_a_video(client: openai.OpenAI, tmp_path: Path) -> None:
    film = movie(tmp_path)
    uploaded = client.files.create(file=("film.mp4", film), purpose="user_data").id
    sent: Any = client.videos.create(prompt="wood", input_reference=("upload", film), extra_body=QUICK)
    named: Any = client.videos.create(prompt="wood", extra_body={**QUICK, "input_reference": {"file_id": uploaded}})
    written: Any = client.videos.create(prompt="wood", extra_body={**QUICK, "input_reference": data_url(film)})
    expand = {"left": 0.25, "top": 0.0, "right": 0.25, "bottom": 0.0}
    wider: Any = client.videos.create(prompt="wood", input_reference=film, extra_body={**QUICK, "expand": expand})

    assert [video.task for video in (sent, named, written, wider)] == 3 * ["stylize"] + ["inpaint"]
    assert client.videos.poll(wider.id).status == "completed"


def test_a_list_of_objects(client: openai.OpenAI) -> None:
    """The client writes it into its form field by field."""
    boxes = [{"x": 0.5, "y": 0.0, "width": 0.5, "height": 1.0}, {"x": 0.0, "y": 0.5, "width": 0.25, "height": 0.5}]
    fields = {**QUICK, "task": "cinemagraph", "image": data_url(picture()), "boxes": boxes, "loop": True}
    video: Any = client.videos.create(prompt="waves", extra_body=fields)

    known = {name: [box[name] for box in video.options["boxes"]] for name in boxes[0]}
    assert known == {name: [box[name] for box in boxes] for name in boxes[0]}
    assert video.options["loop"] is True
    unlike = [boxes[0], {**boxes[1], "start": 0.25}]
    with pytest.raises(openai.BadRequestError, match="boxes have different fields"):
        client.videos.create(prompt="waves", extra_body={**fields, "boxes": unlike})
    text: Any = client.videos.create(prompt="waves", extra_body={**fields, "boxes": json.dumps(unlike)})
    assert text.options["boxes"][1]["start"] == 0.25


def test_edits(client: openai.OpenAI, finished: openai.types.Video, tmp_path: Path) -> None:
    whole = client.videos.edit(prompt="wood", video=("film.mp4", movie(tmp_path)))
    part = client.videos.edit(
        prompt="wood",
        video=("film.mp4", movie(tmp_path)),
        extra_body={**QUICK, "boxes": [{"x": 0, "y": 0, "width": 0.5, "height": 1}]},
    )
    stored = client.post(
        "/videos/edits", body={"prompt": "wood", "video": {"id": finished.id}, **QUICK}, cast_to=openai.types.Video
    )

    assert (whole.task, part.task, stored.task) == ("stylize", "inpaint", "stylize")
    assert stored.remixed_from_video_id == finished.id
    for video in (whole, part, stored):
        assert client.videos.poll(video.id).status == "completed"


def test_what_is_not_offered_says_so(client: openai.OpenAI, tmp_path: Path) -> None:
    film = ("film.mp4", movie(tmp_path))
    with pytest.raises(openai.BadRequestError) as refusal:
        client.videos.extend(prompt="on", seconds="4", video=film)
    assert refusal.value.code == "not_supported"
    with pytest.raises(openai.BadRequestError) as refusal:
        client.videos.create_character(name="Ada", video=film)
    assert refusal.value.code == "not_supported"
    with pytest.raises(openai.NotFoundError):
        client.videos.get_character("char_1")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"size": "720x1280"}, "size"),
        ({"seconds": "999"}, "seconds"),
        ({"seconds": "long"}, "seconds"),
        ({"model": "sora-2"}, "model"),
        ({"extra_body": {"fps": 1000}}, "fps"),
        ({"extra_body": {"sees": 1}}, "sees"),
        ({"extra_body": {"strength": 0.5}}, "strength"),
        ({"extra_body": {"input_reference": "https://127.0.0.1/x.png", "task": "text-to-video"}}, "input_reference"),
    ],
)
def test_bad_fields_are_bad_requests(client: openai.OpenAI, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refusal:
        client.videos.create(prompt="a star", **fields)

    assert (refusal.value.param, refusal.value.type) == (param, "invalid_request_error")
    assert refusal.value.code and refusal.value.request_id


def test_content_before_the_end_is_a_conflict(client: openai.OpenAI) -> None:
    video = client.videos.create(prompt="a star", extra_body={"num_inference_steps": 100, "num_frames": 80})
    with pytest.raises(openai.ConflictError) as refusal:
        client.with_options(max_retries=0).videos.download_content(video.id)

    assert refusal.value.code == "video_not_ready"
    client.videos.delete(video.id)


def test_files(client: openai.OpenAI) -> None:
    content = picture()
    file = client.files.create(file=("cat.png", content), purpose="vision")

    assert (file.object, file.bytes, file.filename, file.purpose) == ("file", len(content), "cat.png", "vision")
    assert client.files.retrieve(file.id).id == file.id
    assert client.files.content(file.id).read() == content
    assert file.id in [listed.id for listed in client.files.list(limit=1)]
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)


def test_models(client: openai.OpenAI) -> None:
    (model,) = client.models.list()

    assert client.models.retrieve(model.id).id == model.id
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("sora-2")


class LosesFirstAnswer(httpx2.HTTPTransport):
    """A network on which the service does what it is asked, and the client does not hear of it at first."""

    lost = 0

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        response = super().handle_request(request)
        if request.method == "POST" and not self.lost:
            self.lost += 1
            response.read()
            raise httpx2.ReadError("the answer was lost", request=request)
        return response


@pytest.mark.parametrize("path", ["/videos", "/text-to-video"])
def test_a_lost_answer_makes_no_second_job(live_stack: LiveStack, client: openai.OpenAI, path: str) -> None:
    transport = LosesFirstAnswer()
    body = {**QUICK, "prompt": f"a star on a bad line of {path}"}
    with openai.DefaultHttpx2Client(transport=transport) as network, connect(live_stack, http_client=network) as lossy:
        video = lossy.post(path, body=body, cast_to=openai.types.Video)

    assert transport.lost == 1
    assert [listed.id for listed in client.videos.list() if listed.prompt == body["prompt"]] == [video.id]


def test_a_repeat_is_one_job_and_a_new_request_another(live_stack: LiveStack) -> None:
    """As the client sends it again: the same fields under a new boundary, and the count of its retries."""
    fields = {"prompt": "a star that is lost", "num_inference_steps": "2"}

    def send(retries: int) -> dict[str, Any]:
        parts = {name: (None, value) for name, value in fields.items()}
        headers = {"x-stainless-retry-count": str(retries)}
        return dict(live_stack.http.post("/v1/videos", files=parts, headers=headers).json())

    first, again, third, new = send(0), send(1), send(2), send(0)

    assert first["id"] == again["id"] == third["id"]
    assert new["id"] != first["id"]
    assert send(1)["id"] == new["id"]
