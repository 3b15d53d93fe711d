"""`python -m model.generate [TASK] PROMPT`: a prompt, and files where the task takes some, become an MP4 in this
process, without a service.
"""

import os
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from model.one_line_errors import one_line_errors

if TYPE_CHECKING:
    from model.clip import Clip
    from model.conditioning import Box
    from model.video_io import Chroma

SHIPPED = Path(__file__).parent / "weights" / "lumiere-mini"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


TASKS = ("text-to-video", "image-to-video", "inpaint", "cinemagraph", "stylize")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for; None is the model's default, or for the seed a drawn one.

    guidance_interval: FIRST,LAST as shares of the steps. keyframes: FRAME=PATH or SECONDSs=PATH. boxes:
        X,Y,WIDTH,HEIGHT in fractions, and START,END in seconds if not there all the time. expand:
        LEFT,TOP,RIGHT,BOTTOM in fractions.
    """

    task: str
    prompt: str
    negative_prompt: str
    seed: int | None
    num_frames: int | None
    fps: float | None
    size: str | None
    num_inference_steps: int | None
    guidance_scale: float | None
    guidance_rescale: float
    guidance_interval: str
    scheduler: str | None
    image: Path | None
    keyframes: list[str]
    video: Path | None
    mask: Path | None
    boxes: list[str]
    expand: str | None
    feather: float
    resize: str
    loop: bool
    style: str | None
    strength: float | None
    style_strength: float
    chroma: "Chroma"


def find_model(model: str | None, model_dirs: list[Path]) -> Path:
    """The folder that `model` names: by path, or by the id in the card of one of `model_dirs`, whose first is the
    default.
    """
    from model.checkpoint import read_card

    if model is None:
        return model_dirs[0]
    if (Path(model) / "model_index.json").exists():
        return Path(model)
    ids = {read_card(folder).get("id", folder.name): folder for folder in model_dirs}
    if model not in ids:
        raise ValueError(f"model must be a folder or one of {', '.join(ids)}, got {model!r}")
    return ids[model]


def parse_size(size: str) -> tuple[int, int]:
    """'WIDTHxHEIGHT' -> (width, height)."""
    width, separator, height = size.lower().partition("x")
    if not (separator and width.isdecimal() and height.isdecimal()):
        raise ValueError(f"size must be WIDTHxHEIGHT, e.g. 256x256, got {size!r}")
    return int(width), int(height)


def parse_numbers(text: str, field: str, counts: tuple[int, ...]) -> list[float]:
    """Numbers between commas."""
    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in counts:
        raise ValueError(f"{field} must be {' or '.join(map(str, counts))} numbers with commas between, got {text!r}")
    return numbers


def parse_keyframe(text: str, fps: float) -> tuple[int, Path]:
    """Frame and file of `FRAME=PATH` or `SECONDSs=PATH`."""
    when, _, path = text.partition("=")
    if path and when.removeprefix("-").isdecimal():
        return int(when), Path(path)
    if path and (seconds := re.fullmatch(r"(\d+\.?\d*|\.\d+)s", when)):
        return round(float(seconds[1]) * fps), Path(path)
    raise ValueError(f"keyframe must be FRAME=PATH or SECONDSs=PATH, e.g. 79=end.png or 2.5s=middle.png, got {text!r}")


def parse_chroma(text: str) -> "Chroma":
    choices: dict[str, Chroma] = {"4:2:0": "4:2:0", "4:4:4": "4:4:4"}
    if text not in choices:
        raise ValueError(f"chroma must be {' or '.join(choices)}, got {text!r}")
    return choices[text]


def task_and_prompt(words: list[str]) -> tuple[str, str]:
    """`PROMPT` or `TASK PROMPT`."""
    if len(words) == 2 and words[0] in TASKS:
        return words[0], words[1]
    if len(words) != 1:
        raise ValueError(f"give one prompt in quotes, after one of {', '.join(TASKS)} if it is not text-to-video")
    return TASKS[0], words[0]


@app.command()
def generate(
    words: Annotated[list[str], typer.Argument(metavar="[TASK] PROMPT", help=f"TASK: {', '.join(TASKS)}.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the MP4 goes.")] = Path("lumiere.mp4"),
    negative_prompt: Annotated[str, typer.Option(help="What the video should not show.")] = "",
    seed: Annotated[int | None, typer.Option(help="Same seed, same video; drawn if not given.")] = None,
    num_frames: Annotated[int | None, typer.Option(help="Length in frames.")] = None,
    fps: Annotated[float | None, typer.Option(help="Frames per second.")] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT.")] = None,
    num_inference_steps: Annotated[int | None, typer.Option("--num-inference-steps", "--steps")] = None,
    guidance_scale: Annotated[float | None, typer.Option(help="Weight of the prompt.")] = None,
    guidance_rescale: Annotated[float, typer.Option(help="Contrast of guidance taken back, 0 to 1.")] = 0.0,
    guidance_interval: Annotated[str, typer.Option(help="FIRST,LAST: the share of the steps that is guided.")] = "0,1",
    scheduler: Annotated[str | None, typer.Option(help="Class name of a diffusers scheduler.")] = None,
    image: Annotated[Path | None, typer.Option(help="First frame, or what a cinemagraph shows.")] = None,
    keyframe: Annotated[
        list[str], typer.Option(help="FRAME=PATH or SECONDSs=PATH, as often as there are; frame -1 is the last.")
    ] = [],  # noqa: B006
    video: Annotated[Path | None, typer.Option(help="Source of inpaint and stylize.")] = None,
    mask: Annotated[Path | None, typer.Option(help="Image or video, white where pixels are made anew.")] = None,
    box: Annotated[list[str], typer.Option(help="X,Y,WIDTH,HEIGHT[,START,END]: made anew, too.")] = [],  # noqa: B006
    expand: Annotated[str | None, typer.Option(help="LEFT,TOP,RIGHT,BOTTOM around the source, made anew.")] = None,
    feather: Annotated[float, typer.Option(help="Soft border of the mask, a fraction of the short side.")] = 0.0,
    resize: Annotated[str, typer.Option(help="cover, contain or stretch.")] = "cover",
    loop: Annotated[bool, typer.Option("--loop", help="The end of a cinemagraph leads back to its beginning.")] = False,
    style: Annotated[str | None, typer.Option(help="One of the model's styles, or a file of one.")] = None,
    strength: Annotated[float | None, typer.Option(help="How far stylize leaves its source, 0 to 1.")] = None,
    style_strength: Annotated[float, typer.Option(help="How much of the style, 0 to 1.")] = 1.0,
    chroma: Annotated[str, typer.Option(help="4:2:0, or 4:4:4: sharper colours, fewer players.")] = "4:2:0",
    model: Annotated[str | None, typer.Option(help="Model folder, or id of one of LUMIERE_MODEL_DIRS.")] = None,
    model_dirs: Annotated[str, typer.Option(envvar="LUMIERE_MODEL_DIRS", hidden=True)] = str(SHIPPED),
) -> None:
    """Make a video from a prompt, and files where the task takes some, and save it as MP4, without a service."""
    console = Console(stderr=True)
    with one_line_errors(console, ValueError, OSError, RuntimeError):
        task, prompt = task_and_prompt(words)
        request = Request(
            task=task,
            prompt=prompt,
            negative_prompt=negative_prompt,
            seed=seed,
            num_frames=num_frames,
            fps=fps,
            size=size,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            guidance_rescale=guidance_rescale,
            guidance_interval=guidance_interval,
            scheduler=scheduler,
            image=image,
            keyframes=keyframe,
            video=video,
            mask=mask,
            boxes=box,
            expand=expand,
            feather=feather,
            resize=resize,
            loop=loop,
            style=style,
            strength=strength,
            style_strength=style_strength,
            chroma=parse_chroma(chroma),
        )
        if not output.parent.is_dir():
            raise ValueError(f"output: {output.parent} is not a folder")
        folder = find_model(model, [Path(folder) for folder in model_dirs.split(os.pathsep)])
        console.print(make_video(request, folder, output, console), highlight=False, markup=False, soft_wrap=True)


def make_video(request: Request, folder: Path, output: Path, console: Console) -> str:
    """Runs the pipeline of `folder` under a progress bar, writes `output` and says what was done."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("loading", total=None)
        from model.pipeline import LumierePipeline  # seconds of imports, under the bar
        from model.video_io import exact_fps, write_mp4

        started = time.perf_counter()
        pipeline = LumierePipeline.from_pretrained(folder)
        timings = {"load": time.perf_counter() - started}
        defaults = {"num_frames": 80, "fps": 16, "size": "256x256", **pipeline.card.get("defaults", {})}
        width, height = parse_size(request.size or defaults["size"])
        rate = exact_fps(defaults["fps"] if request.fps is None else request.fps)
        seed = secrets.randbits(32) if request.seed is None else request.seed

        bar.update(task, description="denoise")
        shared = {
            "negative_prompt": request.negative_prompt,
            "seed": seed,
            "num_frames": defaults["num_frames"] if request.num_frames is None else request.num_frames,
            "height": height,
            "width": width,
            "num_inference_steps": request.num_inference_steps,
            "guidance_scale": request.guidance_scale,
            "guidance_rescale": request.guidance_rescale,
            "guidance_interval": tuple(parse_numbers(request.guidance_interval, "guidance_interval", (2,))),
            "scheduler": request.scheduler,
            "on_step": lambda info: bar.update(task, description=info.stage, completed=info.step, total=info.steps),
        }
        clip = run_task(pipeline, request, float(rate), shared)
        bar.update(task, description="encode")
        started = time.perf_counter()
        write_mp4(clip.frames, output, rate, chroma=request.chroma)
        timings |= clip.timings | {"encode": time.perf_counter() - started}
    stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in timings.items())
    cut = f"; the prompt was cut off after {clip.prompt_tokens_max} tokens" if clip.prompt_truncated else ""
    return f"saved {output}, seed {seed}, upscale {clip.upscale}; {stages}{cut}"


def run_task(pipeline: Any, request: Request, fps: float, shared: dict[str, Any]) -> "Clip":
    """shared: the arguments that all tasks have. Raises ValueError naming what is missing or cannot be used."""
    from model.conditioning import Keyframe, Margins
    from model.inputs import read_picture, read_region, read_source

    width, height, num_frames = shared["width"], shared["height"], shared["num_frames"]
    boxes = [parse_box(box) for box in request.boxes]
    named = request.style
    style = Path(named) if named is not None and named.endswith(".safetensors") else named

    def source(path: Path | None) -> Any:
        if path is None:
            raise ValueError(f"video is missing: {request.task} needs --video")
        return read_source(path, fps, num_frames, width, height)

    match request.task:
        case "image-to-video":
            given = [] if request.image is None else [(0, request.image)]
            given += [parse_keyframe(keyframe, fps) for keyframe in request.keyframes]
            if not given:
                raise ValueError("image is missing: image-to-video needs --image or --keyframe")
            keyframes = [Keyframe(read_picture(path, width, height), frame) for frame, path in given]
            return pipeline.image_to_video(request.prompt, keyframes=keyframes, resize=request.resize, **shared)
        case "inpaint":
            video = source(request.video)
            region = read_region(request.mask, boxes, len(video), fps, *video.shape[1:3])
            margins = parse_numbers(request.expand, "expand", (4,)) if request.expand else []
            return pipeline.inpaint(
                request.prompt,
                video=video,
                mask=region,
                expand=Margins(*margins),
                feather=request.feather,
                resize=request.resize,
                **shared,
            )
        case "cinemagraph":
            if request.image is None:
                raise ValueError("image is missing: cinemagraph needs --image")
            image = read_picture(request.image, width, height)
            region = read_region(request.mask, boxes, num_frames, fps, *image.shape[:2])
            return pipeline.cinemagraph(
                request.prompt, image=image, mask=region, loop=request.loop, resize=request.resize, **shared
            )
        case "stylize":
            video = source(request.video) if request.video or not request.style else None
            return pipeline.stylize(
                request.prompt,
                video=video,
                style=style,
                strength=request.strength,
                style_strength=request.style_strength,
                resize=request.resize,
                **shared,
            )
    return pipeline.text_to_video(request.prompt, style=style, style_strength=request.style_strength, **shared)


def parse_box(text: str) -> "Box":
    from model.conditioning import Box

    return Box(*parse_numbers(text, "box", (4, 6)))


if __name__ == "__main__":
    app()
