"""Each task from a form over HTTP to the pixels of its MP4, by a real worker with a tiny model."""

import io
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from tests.api.media import picture
from tests.stack.live import LiveStack

pytestmark = pytest.mark.timeout(900)

FIELDS = {"prompt": "waves", "num_inference_steps": "2", "num_frames": "8", "fps": "8", "size": "64x64", "seed": "1"}
LEFT = '[{"x": 0, "y": 0, "width": 0.5, "height": 1}]'


def source(folder: Path) -> tuple[bytes, np.ndarray]:
    """A film in which a bright bar moves over a plain ground, and its frames as a player shows them."""
    path = folder / "source.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for number in range(8):
            pixels = np.full((64, 64, 3), (40, 90, 140), np.uint8)
            pixels[8 * number : 8 * number + 8] = 220
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode())
    return path.read_bytes(), frames_of(path.read_bytes())


def frames_of(content: bytes) -> np.ndarray:
    with av.open(io.BytesIO(content)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def made(stack: LiveStack, task: str, files: dict[str, bytes], **fields: str) -> tuple[dict[str, Any], np.ndarray]:
    answer = stack.http.post(
        f"/v1/{task}", data={**FIELDS, **fields}, files=files, headers={"Prefer": "wait=60"}, timeout=90
    )
    assert answer.status_code == 202, answer.text
    video = answer.json()
    assert video["status"] == "completed", video
    assert stack.http.get(f"/v1/videos/{video['id']}/content?variant=thumbnail").status_code == 200
    frames = frames_of(stack.http.get(video["urls"]["content"]).content)
    assert frames.shape == (8, 64, 64, 3)
    return video, frames.astype(int)


def test_image_to_video(live_stack: LiveStack) -> None:
    _, frames = made(live_stack, "image-to-video", {"image": picture("JPEG", (64, 64), "teal")})

    assert np.abs(frames[0].mean((0, 1)) - (0, 128, 128)).max() < 8


def test_inpaint(live_stack: LiveStack, tmp_path: Path) -> None:
    film, shown = source(tmp_path)
    _, frames = made(live_stack, "inpaint", {"video": film}, boxes=LEFT)

    error = np.abs(frames - shown)
    assert error[:, :, 40:].mean() < 4, "outside the boxes the film is as it was"
    assert error[:, :, :24].mean() > 8, "inside them it is another"


def test_inpaint_with_a_mask(live_stack: LiveStack, tmp_path: Path) -> None:
    film, shown = source(tmp_path)
    file = io.BytesIO()
    mask = np.zeros((64, 64), np.uint8)
    mask[:, :32] = 255
    Image.fromarray(mask).save(file, "PNG")
    _, frames = made(live_stack, "inpaint", {"video": film, "mask": file.getvalue()})

    assert np.abs(frames - shown)[:, :, 40:].mean() < 4


def test_cinemagraph(live_stack: LiveStack) -> None:
    _, frames = made(live_stack, "cinemagraph", {"image": picture("PNG", (64, 64), "teal")}, boxes=LEFT, loop="true")

    assert np.abs(frames[:, :, 40:] - frames[0, :, 40:]).max() < 16, "outside the boxes nothing moves"


def test_stylize(live_stack: LiveStack, tmp_path: Path) -> None:
    film, _ = source(tmp_path)
    video, _ = made(live_stack, "stylize", {"video": film}, strength="0.5")

    assert (video["task"], video["options"]["strength"]) == ("stylize", 0.5)


def test_by_the_command(live_stack: LiveStack, tmp_path: Path) -> None:
    image, end, output = tmp_path / "first.png", tmp_path / "end.png", tmp_path / "out.mp4"
    image.write_bytes(picture("PNG", (64, 64), "teal"))
    end.write_bytes(picture("PNG", (64, 64), "orange"))
    options = ["--num-frames", "8", "--steps", "2", "--size", "64x64", "--output", str(output)]
    done = live_stack.run(
        "generate", "image-to-video", "waves", "--image", str(image), "--keyframe", f"-1={end}", *options
    )

    assert done.returncode == 0, done.stderr
    frames = frames_of(output.read_bytes()).astype(int)
    assert np.abs(frames[0].mean((0, 1)) - (0, 128, 128)).max() < 8
    assert np.abs(frames[-1].mean((0, 1)) - (255, 165, 0)).max() < 8


def test_a_file_that_cannot_be_decoded_fails_the_job_by_name(live_stack: LiveStack) -> None:
    answer = live_stack.http.post(
        "/v1/image-to-video", data=FIELDS, files={"image": picture()[:60]}, headers={"Prefer": "wait=60"}, timeout=90
    )
    video = answer.json()

    assert (video["status"], video["error"]["code"]) == ("failed", "invalid_request")
    assert video["error"]["retryable"] is False
