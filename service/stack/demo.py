"""`lumiere demo`: once all the way from a prompt to an MP4, on a stack that lives as long as it takes."""

import secrets
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
from rich.console import Console
from rich.table import Table

from service.cli.client import Service, Video
from service.cli.generate import make_video
from service.settings import Settings, load_settings
from service.stack.processes import Interrupts
from service.stack.serve import Interrupted, Stack, StackFailed, free_port


def demo(prompt: str, output: Path, set_up_seconds: float, console: Console) -> None:
    """Make one video with a stack of its own and print where the time went.

    Raises:
        StackFailed, ServiceError: one clear reason; everything started is stopped again.
        KeyboardInterrupt: the user asked to stop.
    """
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lumiere-demo-") as folder, Interrupts() as interrupts:
        stack = Stack(demo_settings(Path(folder)), lambda line: console.print(line, style="dim"), interrupts)
        # The thread talks to the service while this one, whose end would end the parts, looks after them.
        with ThreadPoolExecutor(1) as background, Service(stack.url) as service:
            try:
                console.print("starting Redis, the gateway and a worker")
                stack.start()
                started = time.monotonic()
                console.print(f"ready on {stack.url} after {started - begun:.1f} s", highlight=False)
                console.print(f"prompt: {prompt}", highlight=False, markup=False)
                request = {"prompt": prompt}
                video = background.submit(make_video, service, "text-to-video", request, output, console)
                stack.watch(until=video.done)
                made = video.result()
                refuse_invalid(output, made)
                finished = time.monotonic()
            except Interrupted:
                raise KeyboardInterrupt from None
            finally:
                service.patience = 0.0
                stack.stop()
    console.print(f"saved {output.resolve()} ({describe(output, made)})", highlight=False, soft_wrap=True)
    spent = {
        "set-up": set_up_seconds,
        "start": started - begun,
        **stages(made),
        "request to saved file": finished - started,
        "stop": time.monotonic() - finished,
        "in all": set_up_seconds + time.monotonic() - begun,
    }
    console.print(time_table(spent))


def demo_settings(data_dir: Path) -> Settings:
    """The user's settings, but nothing shared with a service that runs already: own port, folder and queue."""
    return load_settings(
        host="127.0.0.1", port=free_port(), data_dir=data_dir, queue_name=f"demo-{secrets.token_hex(4)}"
    )


def stages(video: Video) -> dict[str, float]:
    """Seconds per stage as the service reports them, in the order in which they ran."""
    usage = video.get("usage") or {}
    return {"queue": float(usage.get("queue_seconds", 0.0)), **video.get("timings", {})}


def refuse_invalid(path: Path, video: Video) -> None:
    """Decode the file. Raises StackFailed unless it is H.264 with the promised size, rate and number of frames."""
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            frames = sum(1 for _ in container.decode(stream))
            codec = stream.codec_context
            found = (codec.name, f"{codec.width}x{codec.height}", stream.average_rate, frames)
    except (av.FFmpegError, OSError, IndexError) as error:
        raise StackFailed(f"{path} is not a readable MP4: {error}") from error
    promised = ("h264", video["size"], video["fps"], video["num_frames"])
    if found != promised:
        raise StackFailed(f"{path} holds (codec, size, fps, frames) {found} instead of {promised}")


def describe(path: Path, video: Video) -> str:
    upscale = f", upscaled: {video['upscale']}" if video.get("upscale") not in (None, "none") else ""
    return (
        f"{video['size']}, {video['num_frames']} frames at {video['fps']} fps{upscale}, "
        f"{path.stat().st_size / 1000:.0f} kB, seed {video['seed']}"
    )


def time_table(seconds: Mapping[str, float]) -> Table:
    table = Table("stage", "seconds", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for name, value in seconds.items():
        table.add_row(name, f"{value:.2f}")
    return table
