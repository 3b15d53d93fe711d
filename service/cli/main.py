"""The command `lumiere`. It imports neither torch nor the model nor the workers: those run as programs of their own."""

import os
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperGroup

from service.cli.client import Service, ServiceError, default_url
from service.cli.generate import TASKS, as_json, given, make_video
from service.cli.inputs import numbers, parts_of
from service.cli.jobs import AsJson, Url, jobs
from service.cli.keys import keys
from service.cli.styles import styles
from service.cli.usage import show_usage
from service.settings import SettingsError, load_settings
from service.stack import serve as stack
from service.waiting_threads import with_short_wait

DEMO_PROMPT = "a red car driving on a mountain road"
FAILURE, USAGE = 1, 2
"""Exit codes."""
PASS_ON: dict[str, Any] = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
"""For commands whose arguments are read by the program that they start."""


class OneLineErrors(TyperGroup):
    """Expected failures end in one line on stderr and a non-zero exit code, never in a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.TyperException as error:  # a wrong option or argument
            message = getattr(error, "format_message", lambda: "")()
            if not message or isinstance(error, typer.Exit | typer.Abort):
                raise
            typer.echo(f"{ctx.command_path}: {message} (see --help)", err=True)
            raise typer.Exit(USAGE) from error
        except (ServiceError, SettingsError, stack.StackFailed) as error:
            typer.echo(f"lumiere: {error}", err=True)
            raise typer.Exit(USAGE if isinstance(error, SettingsError) else FAILURE) from error
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


app = typer.Typer(
    name="lumiere",
    cls=OneLineErrors,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Text-to-video with a Space-Time U-Net: a service, its workers and its client.",
)
app.add_typer(jobs, name="jobs")
app.add_typer(keys, name="keys")
app.add_typer(styles, name="styles")
app.command("usage")(show_usage)


def print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lumiere {version('lumiere')}")
        raise typer.Exit


@app.callback()
def common(
    show_version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def serve(
    workers: Annotated[int, typer.Option(min=1, max=64, help="Worker processes, each with a model of its own.")] = 1,
) -> None:
    """Run Redis, the gateway and workers on this machine until Ctrl-C."""
    settings = load_settings()
    stack.serve(settings, workers, say)


@app.command()
def gateway(
    processes: Annotated[
        int | None, typer.Option(min=1, max=64, help="So many on the same address; else LUMIERE_GATEWAY_PROCESSES.")
    ] = None,
) -> None:
    """Run one HTTP gateway on an existing Redis (LUMIERE_REDIS_URL)."""
    settings = load_settings() if processes is None else load_settings(gateway_processes=processes)
    require_redis(settings.redis_url)
    stack.refuse_taken_port(settings.host, settings.port)
    os.environ |= stack.gateway_environment(settings)
    become(stack.gateway_command(settings))


@app.command()
def worker() -> None:
    """Run one worker on an existing Redis (LUMIERE_REDIS_URL)."""
    require_redis(load_settings().redis_url)
    become(stack.worker_command())


@app.command()
def webhooks() -> None:
    """Send webhooks in place of the gateways (LUMIERE_WEBHOOKS_IN_GATEWAY=false)."""
    require_redis(load_settings().redis_url)
    become(stack.python_module("service.webhooks.main"))


@app.command()
def generate(
    words: Annotated[
        list[str], typer.Argument(metavar="[TASK] PROMPT", help=f"TASK: {', '.join(TASKS)}.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the MP4 goes.")] = Path("lumiere.mp4"),
    negative_prompt: Annotated[str | None, typer.Option(help="What the video should not show.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same video; drawn if not given.")] = None,
    num_frames: Annotated[int | None, typer.Option(help="Length in frames.")] = None,
    fps: Annotated[int | None, typer.Option(help="Frames per second.")] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    guidance_scale: Annotated[float | None, typer.Option(help="Weight of the prompt.")] = None,
    guidance_rescale: Annotated[float | None, typer.Option(help="Contrast of guidance taken back, 0 to 1.")] = None,
    guidance_interval: Annotated[str | None, typer.Option(help="FIRST,LAST: the share of the steps guided.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="A diffusers scheduler of the model's list.")] = None,
    image: Annotated[Path | None, typer.Option(help="First frame, or what a cinemagraph shows.")] = None,
    keyframe: Annotated[
        list[str] | None, typer.Option(help="FRAME=PATH or SECONDSs=PATH, repeatable; frame -1 is the last.")
    ] = None,
    video: Annotated[Path | None, typer.Option(help="Source of inpaint and stylize.")] = None,
    mask: Annotated[Path | None, typer.Option(help="Image or video, white where pixels are made anew.")] = None,
    box: Annotated[list[str] | None, typer.Option(help="X,Y,WIDTH,HEIGHT[,START,END], repeatable.")] = None,
    expand: Annotated[str | None, typer.Option(help="LEFT,TOP,RIGHT,BOTTOM around the source.")] = None,
    feather: Annotated[float | None, typer.Option(help="Soft border of the mask.")] = None,
    resize: Annotated[str | None, typer.Option(help="cover, contain or stretch.")] = None,
    loop: Annotated[bool | None, typer.Option("--loop", help="A cinemagraph's end leads to its beginning.")] = None,
    style: Annotated[str | None, typer.Option(help="One of the model's styles, or of yours.")] = None,
    strength: Annotated[float | None, typer.Option(help="How far stylize leaves its source, 0 to 1.")] = None,
    style_strength: Annotated[float | None, typer.Option(help="How much of the style, 0 to 1.")] = None,
    chroma: Annotated[str | None, typer.Option(help="4:2:0, or 4:4:4: sharper colours, fewer players.")] = None,
    model: Annotated[str | None, typer.Option(help="Model id.")] = None,
    url: Url = "",
    local: Annotated[bool, typer.Option("--local", help="Run the pipeline here, without a service.")] = False,
    cancel_on_interrupt: Annotated[bool, typer.Option("--cancel-on-interrupt", help="Ctrl-C cancels the job.")] = False,
    json: AsJson = False,
) -> None:
    """Make a video from a prompt and save it as MP4."""
    task, prompt = task_and_prompt(words)
    if not output.parent.is_dir():
        raise typer.BadParameter(f"{output.parent} is not a folder", param_hint="--output")
    request = given(
        prompt=prompt,
        negative_prompt=negative_prompt,
        seed=seed,
        num_frames=num_frames,
        fps=fps,
        size=size,
        num_inference_steps=steps,
        guidance_scale=guidance_scale,
        guidance_rescale=guidance_rescale,
        guidance_interval=guidance_interval,
        scheduler=scheduler,
        feather=feather,
        resize=resize,
        loop=loop,
        style=style,
        strength=strength,
        style_strength=style_strength,
        chroma=chroma,
        model=model,
    )
    files = given(image=image, video=video, mask=mask)
    regions = given(keyframe=keyframe, box=box, expand=expand)
    if local:
        if json:
            raise typer.BadParameter("prints what a service says of a job; leave out --local", param_hint="--json")
        become(local_command(task, {**request, **files, **regions}, output))
    console = Console(stderr=json)
    if guidance_interval is not None:
        request["guidance_interval"] = numbers(guidance_interval, "--guidance-interval", (2,))
    with Service(url or default_url()) as service:
        form = parts_of(request, files=files, keyframes=keyframe or (), boxes=box or (), expand=expand)
        body = form if files or regions else request
        made = make_video(service, task, body, output, console, cancel_on_interrupt)
    if json:
        typer.echo(as_json({**made, "file": str(output)}))
    else:
        console.print(f"saved {output}", highlight=False)


def task_and_prompt(words: list[str]) -> tuple[str, str]:
    """`PROMPT` or `TASK PROMPT`; a prompt of several words has to be quoted."""
    if len(words) == 1:
        return TASKS[0], words[0]
    if len(words) == 2 and words[0] in TASKS:
        return words[0], words[1]
    raise typer.BadParameter('give one prompt in quotes, e.g. lumiere generate "a red ball bouncing on a beach"')


def local_command(task: str, request: dict[str, Any], output: Path) -> list[str]:
    """The command line of `python -m model.generate` for a request: the options have the same names there."""
    flags = list[str]()
    for name, value in request.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            flags.append(flag)
        elif name != "prompt":
            flags += [word for one in (value if isinstance(value, list) else [value]) for word in (flag, str(one))]
    return stack.python_module("model.generate", *flags, "--output", str(output), "--", task, request["prompt"])


@app.command(context_settings=PASS_ON, add_help_option=False)
def train(context: typer.Context) -> None:
    """Train a model: `lumiere train --help`."""
    become(stack.python_module("model.training", *context.args))


@app.command(context_settings=PASS_ON, add_help_option=False)
def inflate(context: typer.Context) -> None:
    """Turn a text-to-image model into a video model: `lumiere inflate --help`."""
    become(stack.python_module("model.backbones", *context.args))


@app.command(context_settings=PASS_ON, add_help_option=False)
def evaluate(context: typer.Context) -> None:
    """Measure a model on held-out prompts: `lumiere evaluate --help`."""
    become(stack.python_module("model.evaluation", *context.args))


@app.command(name="demo")
def run_demo(
    prompt: Annotated[str, typer.Option(help="What the video shows.")] = DEMO_PROMPT,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the MP4 goes.")] = Path("lumiere-demo.mp4"),
    set_up_seconds: Annotated[float, typer.Option(hidden=True, help="What `make` spent before; for the table.")] = 0.0,
) -> None:
    """Start everything, make one video over HTTP, print the time of each stage, stop everything."""
    from service.stack.demo import demo  # reads FFmpeg in, which no other command needs

    demo(prompt or DEMO_PROMPT, output, set_up_seconds, Console())


def say(line: str) -> None:
    """Print a line, if anybody still listens: a closed terminal must not keep the stack from stopping in order."""
    with suppress(OSError):
        typer.echo(line)


def require_redis(url: str | None) -> None:
    if not url:
        raise SettingsError("LUMIERE_REDIS_URL is not set; `lumiere serve` brings a Redis of its own")


def become(command: list[str]) -> NoReturn:
    """Replace this process, so that signals and exit code are those of the program itself."""
    safe_path = {"PYTHONSAFEPATH": "1"}  # a folder named `model` in the working directory is not ours
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(command[0], command, with_short_wait(os.environ) | safe_path)


if __name__ == "__main__":
    app()
