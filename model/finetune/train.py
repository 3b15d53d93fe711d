"""Training on one's own clips: the temporal layers of a video model learn how things move; nothing else changes
(Lumiere, section 3).

A run is a function of its settings, data and seed. What is random in step n is drawn from (seed, n, process), so a
checkpoint is weights, average, moments and n, and a run that was killed and resumed ends in the same bits as one that
was not.
"""

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from accelerate.utils import tqdm
from safetensors import safe_open
from torch import Tensor

from model.backbones.inflate import model_id, stored_dtype
from model.checkpoint import MANIFEST, SHARD, read_json, write_json
from model.denoising import concatenate
from model.finetune.batches import ClipBatch, Clips, bucket, clip_loader, plan
from model.finetune.objective import loss, noised
from model.finetune.tracking import JsonLines
from model.finetune.videos import DataError, find_videos, fingerprint
from model.finetune.windows import has_room, measure
from model.pipeline import LumierePipeline
from model.stunet import KNOWN_LAYERS
from model.text import encode_text
from model.training.session import Schedule, Session
from model.video_io import exact_fps, write_mp4

PRECISIONS = ("no", "bf16")
"""float16 would need the state of a loss scaler to be resumed exactly, and its range is too small for fresh layers."""


@dataclass(frozen=True)
class Settings:
    """frames, fps: of a training clip; None is what the model's card says. fps below the card's trains on clips that
    span more time, and the network is told so. batch_size: clips per process and step, times `accumulate`.

    caption_dropout: share of clips shown without caption, for classifier-free guidance.
    """

    data: Path
    model: Path
    out: Path
    steps: int = 1000
    batch_size: int = 1
    accumulate: int = 1
    frames: int | None = None
    fps: float | None = None
    learning_rate: float = 1e-4
    warmup: int = 100
    ema_decay: float = 0.999
    caption_dropout: float = 0.1
    seed: int = 0
    precision: str = "no"
    gradient_checkpointing: bool = True
    workers: int = 2
    log_every: int = 10
    save_every: int = 100
    sample_every: int = 500
    sample_prompts: tuple[str, ...] = ()
    trackers: tuple[str, ...] = ()
    cpu: bool = False

    def check(self) -> None:
        """Raises ValueError naming the first setting out of its limits."""
        for name in ("steps", "batch_size", "accumulate", "log_every", "save_every", "sample_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be more than 0, got {self.learning_rate}")
        if not 0 <= self.caption_dropout <= 1:
            raise ValueError(f"caption_dropout must be 0 to 1, got {self.caption_dropout}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}")
        if self.frames is not None and self.frames < 1:
            raise ValueError(f"frames must be at least 1, got {self.frames}")
        if self.fps is not None:
            exact_fps(self.fps)
        missing = set(self.trackers) - {str(tracker.value) for tracker in get_available_trackers()}
        if missing:
            raise ValueError(f"tracker: {', '.join(sorted(missing))} is not installed, or accelerate does not know it")
        if self.out.resolve() == self.model.resolve():
            raise ValueError(f"out must be another folder than model, got {self.out} for both")

    @property
    def run(self) -> Path:
        """Where checkpoint, log and samples are; `out` itself becomes the model."""
        return self.out / "training"


def train(settings: Settings) -> Path:
    """Trains, or goes on where the run in `settings.out` stopped, and returns the folder of the trained model.

    Under `accelerate launch` or `torchrun` each process trains on its own share of the batches. Raises ValueError for
    settings, DataError for data and CheckpointError for a model that cannot be.
    """
    settings.check()
    pipeline = LumierePipeline.from_pretrained(settings.model, dtype=torch.float32, device="cpu")
    defaults = {"num_frames": 80, "fps": 16, **pipeline.card.get("defaults", {})}
    frames, fps = settings.frames or defaults["num_frames"], settings.fps or defaults["fps"]
    clips, sizes = find_clips(settings.data, frames, float(fps), pipeline)

    refuse_another_run(settings, clips)

    unet = pipeline.unet.freeze_spatial()
    for name, parameter in unet.named_parameters():
        if name.startswith(KNOWN_LAYERS):  # whole clips are shown, so nothing teaches the layers that read known parts
            parameter.requires_grad_(False)
    if settings.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    parameters = {name: value for name, value in unet.named_parameters() if value.requires_grad}
    session = Session(settings.run, parameters, schedule_of(settings))

    accelerator = Accelerator(
        mixed_precision=settings.precision,
        gradient_accumulation_steps=settings.accumulate,
        cpu=settings.cpu,
        log_with=[JsonLines(settings.run / "log.jsonl", last_step(settings.run)), *settings.trackers],
        project_dir=str(settings.run),
    )
    accelerator.wait_for_everyone()  # nobody reads what is being written
    if accelerator.is_main_process:
        write_json(settings.run / "run.json", identity(settings, clips))
    pipeline.to(accelerator.device)
    network, optimizer = accelerator.prepare(unet, session.optimizer)
    session.average.values = {name: value.to(accelerator.device) for name, value in session.average.values.items()}
    session.resume()
    accelerator.init_trackers("lumiere", config=plain(settings))

    batches = clip_loader(
        clips,
        plan(sizes, settings.batch_size, settings.seed, settings.caption_dropout),
        first=session.step * settings.accumulate,
        rank=accelerator.process_index,
        processes=accelerator.num_processes,
        workers=settings.workers,
        pin=accelerator.device.type == "cuda",
    )
    interval = float(defaults["fps"]) / float(fps)
    prompts = settings.sample_prompts or tuple(dict.fromkeys(video.caption for video in clips.videos))[:2]
    bar = tqdm(main_process_only=True, total=settings.steps, initial=session.step, desc="training")
    losses: list[Tensor] = []
    started, since = time.monotonic(), session.step
    while session.step < settings.steps:
        losses.append(update(accelerator, pipeline, network, optimizer, session, batches, interval, settings))
        bar.update()
        if session.step % settings.log_every == 0 or session.step == settings.steps:
            seconds = (time.monotonic() - started) / (session.step - since)
            value = accelerator.reduce(torch.stack(losses).mean(), reduction="mean").item()
            line = {"loss": value, "learning_rate": optimizer.param_groups[0]["lr"], "seconds_per_step": seconds}
            accelerator.log(line, step=session.step)
            losses, started, since = [], time.monotonic(), session.step
        save = session.step % settings.save_every == 0 or session.step == settings.steps
        sample = session.step % settings.sample_every == 0
        if save or sample:  # by one process, and the others wait for it
            if accelerator.is_main_process and save:
                session.save()
            if accelerator.is_main_process and sample:
                write_samples(pipeline, session, prompts, frames, fps)
            accelerator.wait_for_everyone()
    bar.close()
    if accelerator.is_main_process:
        write_model(settings, pipeline, session)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return settings.out


def find_clips(data: Path, frames: int, fps: float, pipeline: LumierePipeline) -> tuple[Clips, list[tuple[int, int]]]:
    """The videos long enough for a clip, and the size that each is trained at."""
    videos = find_videos(data)
    measured = [(video, measure(video)) for video in videos]
    long_enough = [(video, extent) for video, extent in measured if has_room(extent, frames, fps)]
    if not long_enough:
        longest = max(extent.seconds for _, extent in measured)
        raise DataError(
            f"data: none of {len(videos)} videos is long enough for {frames} frames at {fps:g} per second; the longest "
            f"lasts {longest:.2f} s"
        )
    kept, extents = (list(column) for column in zip(*long_enough, strict=True))
    sizes = [bucket(extent, pipeline.base_resolution, 2 * pipeline.pixels_per_cell) for extent in extents]
    return Clips(kept, extents, frames, fps), sizes


def schedule_of(settings: Settings) -> Schedule:
    return Schedule(
        steps=settings.steps,
        learning_rate=settings.learning_rate,
        warmup=min(settings.warmup, settings.steps // 5 + 1),
        ema_decay=settings.ema_decay,
    )


def update(
    accelerator: Accelerator,
    pipeline: LumierePipeline,
    network: Any,
    optimizer: Any,
    session: Session,
    batches: Iterator[ClipBatch],
    interval: float,
    settings: Settings,
) -> Tensor:
    """One step of the optimizer, and the loss before it."""
    for group in optimizer.param_groups:
        group["lr"] = session.schedule.rate(session.step)
    total = torch.zeros((), device=accelerator.device)
    for part in range(settings.accumulate):
        generator = generator_of(settings.seed, session.step, part, accelerator.process_index)
        with accelerator.accumulate(network):
            value = loss_of(pipeline, network, next(batches), interval, generator, accelerator.device)
            accelerator.backward(value)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(list(session.parameters.values()), session.schedule.clip_norm)
            optimizer.step()
            optimizer.zero_grad()
        total += value.detach() / settings.accumulate
    session.step += 1
    session.average.update(session.parameters, session.step)
    return total


def generator_of(*origin: int) -> torch.Generator:
    """A generator of its own for each (seed, step, part, process), and torch's global one set alike."""
    seed = int(np.random.SeedSequence(origin).generate_state(1, np.uint64)[0] >> 1)
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)


def loss_of(
    pipeline: LumierePipeline,
    network: Any,
    batch: ClipBatch,
    interval: float,
    generator: torch.Generator,
    device: torch.device,
) -> Tensor:
    with torch.no_grad():
        pixels = batch.pixels.to(device, non_blocking=True).float() / 127.5 - 1
        clean = pipeline.encode(pixels)
        conditions = encode_text(pipeline.text_encoders, batch.captions).conditions(*pixels.shape[-2:])
        noise = torch.randn(clean.shape, generator=generator).to(device)
        at = noised(pipeline.scheduler, clean, noise, generator)
    predicted = network(
        at.sample, at.timesteps, **reduce(concatenate, conditions), frame_interval=interval, return_dict=False
    )[0]
    return loss(pipeline.scheduler, predicted, clean, noise, at)


def write_samples(
    pipeline: LumierePipeline, session: Session, prompts: tuple[str, ...], frames: int, fps: float
) -> None:
    """Videos of the averaged weights, one per prompt."""
    folder = session.folder / "samples"
    folder.mkdir(exist_ok=True)
    side = pipeline.base_resolution
    pipeline.set_progress_bar_config(disable=True)
    session.average.swap(session.parameters)
    pipeline.unet.eval()
    for number, prompt in enumerate(prompts):
        clip = pipeline.text_to_video(prompt, seed=number, num_frames=frames, height=side, width=side)
        write_mp4(clip.frames, folder / f"step-{session.step:06d}-{number}.mp4", exact_fps(fps))
    pipeline.unet.train()
    session.average.swap(session.parameters)


def write_model(settings: Settings, pipeline: LumierePipeline, session: Session) -> None:
    """The averaged weights in a copy of the model's folder. The card comes last: without it nothing is served."""
    for path in settings.model.iterdir():
        if path.name in ("unet", "training", "lumiere.json", "README.md", MANIFEST):
            continue  # what the old weights were said to be
        if path.is_dir():
            shutil.copytree(path, settings.out / path.name, dirs_exist_ok=True)
        else:
            shutil.copy2(path, settings.out / path.name)
    session.average.swap(session.parameters)
    unet = pipeline.unet.to(dtype=stored_dtype(settings.model / "unet"))
    unet.register_to_config(_name_or_path=settings.model.name)
    unet.save_pretrained(settings.out / "unet", safe_serialization=True, max_shard_size=SHARD)
    card = {**pipeline.card, "id": model_id(settings.out), "temporal_layers": f"trained for {session.step} steps"}
    write_json(settings.out / "lumiere.json", card)


def identity(settings: Settings, clips: Clips) -> dict[str, Any]:
    """What a run must have in common with its checkpoint for the two to be one run."""
    names = ("batch_size", "accumulate", "learning_rate", "warmup", "ema_decay", "caption_dropout", "seed", "precision")
    return {
        **{name: getattr(settings, name) for name in (*names, "steps")},
        "frames": clips.frames,
        "fps": clips.fps,
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "data": fingerprint(clips.videos),
    }


def refuse_another_run(settings: Settings, clips: Clips) -> None:
    if not (settings.run / "checkpoint.safetensors").exists():
        return
    began = read_json(settings.run / "run.json")
    for name, value in identity(settings, clips).items():
        if began.get(name) != value:
            raise ValueError(
                f"{name}: the run in {settings.out} began with {began.get(name)!r} and cannot go on with {value!r}; "
                "give another --out"
            )


def last_step(run: Path) -> int:
    """The step of the checkpoint that a run would go on from."""
    path = run / "checkpoint.safetensors"
    if not path.exists():
        return 0
    with safe_open(path, framework="pt") as tensors:
        return int(tensors.get_tensor("step"))


def plain(settings: Settings) -> dict[str, Any]:
    """Settings in the types that trackers know."""
    known = (bool, int, float, str)
    return {name: value if isinstance(value, known) else str(value) for name, value in asdict(settings).items()}
