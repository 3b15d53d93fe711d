"""One pass, keyframes or attention alone: three ways to make an image model move, taught under one budget.

    OMP_NUM_THREADS=1 python benchmarks/temporal_designs.py --minutes 30   # of training for each design
    python benchmarks/temporal_designs.py --minutes 0.05 --clips 1 --steps 2       # quick: shows that it runs

All begin with the same frozen image layers, see the same rendered clips in the same order, train for the same time,
half of it on 16 frames far apart, and draw the same prompts from the same seeds with the same sampler:

one pass    Space-Time U-Net: convolutions over time, down-sampling in time, attention at the coarsest level. The
            second half of its time goes to whole clips of 80 frames.
keyframes   the same network draws every fifth frame; in the second half of the time another such network learns to
            fill in what is between, on windows of 20 frames that overlap by half and are averaged at every step.
attention   the image U-Net on every frame and attention over time after each of its layers, at full frame rate: the
            shape of AnimateDiff. The second half of its time goes to whole clips too.

Each has our additions (temporal layers are told text, moment and place), so that the design alone differs. Measured on
held-out prompts of circling, swinging and bouncing, beside rendered clips: how far periods lie outside of those of the
world, how alike tracks are one period on, flicker and jerk. Stopped at any time, the same command goes on where it
was. Prints a table and, as the last line, everything as one JSON object; that and slices of the clips along time go to
`--results`.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from einops import rearrange, repeat
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor
from transformers import CLIPTextModel, PreTrainedTokenizerFast

from model.evaluation.direct import LONG, true_tracks
from model.evaluation.finder import Finder, found, load_finder
from model.evaluation.measures import smoothness
from model.evaluation.prompts import sentence
from model.evaluation.rendered import FRAMES, rendered_clips, scenes_of, to_clips, to_tensor
from model.evaluation.section import mean
from model.evaluation.subject import period_of, track_of
from model.folding import fold, unfold
from model.inflation import TemporalAttentionBlock, TemporalConvBlock
from model.latents import KnownLatents
from model.multidiffusion import over_windows, windows
from model.stunet import STUNet
from model.training.batches import Batch, BatchConfig, batch_loader
from model.training.flow import TIMESTEPS, flow_loss, noised, sample_times
from model.training.image_model import PATCH, euler_flow
from model.training.scenes.attributes import CORE, MOTIONS, sample_scenes
from model.training.scenes.render import FRAME_RATE
from model.training.session import Schedule, Session
from model.training.text_encoder import load_text_encoder, tokenize
from model.training.video_model import Phase, sample_clips, train_phase
from model.video_io import Frames

HERE = Path(__file__).resolve().parent
SHIPPED = HERE.parent / "model" / "weights" / "lumiere-mini"
PERIODIC = ("orbiting", "swinging", "bouncing")
STRIDE, WINDOW, OVERLAP = 5, 20, 10
"""Frames from one keyframe to the next, and those that the network which fills in sees at once."""
KNOWN_WEIGHT = 0.1
SHIFT, FILL_SHIFT = 25.0, 6.0
PACED = 4
"""Steps that are timed to learn how many fit into a budget."""
SEED = 31_000
GUIDANCE = 3.0
SPARSE = BatchConfig(scenes=8, frames=16, stride=STRIDE, seed=11, pair_share=0.0, camera_share=0.0)
WHOLE = replace(SPARSE, scenes=2, frames=FRAMES, stride=1, seed=12)


@dataclass(frozen=True)
class Stage:
    """A stretch of training. after: the stage whose weights it begins with."""

    name: str
    data: BatchConfig
    learning_rate: float
    build: Callable[[STUNet], STUNet]
    after: str | None = None
    fills_in: bool = False


@dataclass(frozen=True)
class Kit:
    """What all designs share: the finished model whose image layers they take, its text encoder, and where to work."""

    model: STUNet
    encoder: CLIPTextModel
    tokenizer: PreTrainedTokenizerFast
    folder: Path
    seconds: float
    """Of training for each stage, of which a design has two."""
    steps: int
    """Of denoising."""


def kit_of(model: Path, folder: Path, seconds: float, steps: int) -> Kit:
    unet = STUNet.from_pretrained(model / "unet", local_files_only=True).float()
    encoder, tokenizer = load_text_encoder(model)
    return Kit(unet, encoder.float().eval(), tokenizer, folder, seconds, steps)


def one_pass(model: STUNet) -> STUNet:
    """A fresh Space-Time U-Net on the image layers of `model`."""
    return with_image_layers(model, temporal_factors=model.config.temporal_factors)


def filling_in(model: STUNet) -> STUNet:
    """The same with known input, and told no moments: its windows are from anywhere in a clip."""
    unet = one_pass(model).with_known_input(model.config.in_channels + PATCH**2).freeze_spatial()
    unet.register_to_config(frame_moments=False)
    return unet


def attention_alone(model: STUNet) -> STUNet:
    """The image U-Net with attention over time after each of its layers; nothing is resampled or convolved in time."""
    unet = with_image_layers(model, temporal_factors=(1,) * (len(model.config.block_out_channels) - 1))
    depth, head = unet.config.temporal_attention_depth, unet.config.temporal_head_dim
    for parent in list(unet.modules()):
        for name, block in list(parent.named_children()):
            if isinstance(block, TemporalConvBlock):
                width = block.proj_out.out_channels
                embedding = None if block.modulation is None else block.modulation.proj.in_features
                heads = width // np.gcd(width, head)
                attention = TemporalAttentionBlock(width, int(heads), depth, 1, embedding, block.place is not None)
                parent.register_module(name, attention)
    return unet.freeze_spatial()


def with_image_layers(model: STUNet, temporal_factors: tuple[int, ...]) -> STUNet:
    config = {name: value for name, value in model.config.items() if not name.startswith("_")}
    torch.manual_seed(0)
    unet = STUNet.from_config({**config, "temporal_factors": tuple(temporal_factors), "known_channels": 0})
    image = {name: value for name, value in model.state_dict().items() if "temporal_" not in name}
    unet.load_state_dict({**unet.state_dict(), **image})
    return unet.to(memory_format=torch.channels_last).freeze_spatial()


STAGES = (
    Stage("keyframes", SPARSE, 1.5e-3, one_pass),
    Stage("one-pass", WHOLE, 8e-4, one_pass, after="keyframes"),
    Stage("filling-in", replace(WHOLE, seed=13), 1e-3, filling_in, after="keyframes", fills_in=True),
    Stage("attention-sparse", SPARSE, 1.5e-3, attention_alone),
    Stage("attention", WHOLE, 8e-4, attention_alone, after="attention-sparse"),
)
"""The first half of `one pass` and the keyframes of the cascade are the same training, which is done once."""
DESIGNS: dict[str, tuple[str, ...]] = {
    "one pass": ("one-pass",),
    "keyframes": ("keyframes", "filling-in"),
    "attention": ("attention",),
}


def learned(kit: Kit, stage: Stage) -> STUNet:
    """The network of a stage, taught now or before."""
    unet = stage.build(kit.model)
    finished = kit.folder / stage.name / "finished.safetensors"
    if finished.exists():
        unet.load_state_dict(load_file(finished), strict=False)
        return unet.eval()
    if stage.after is not None:
        unet.load_state_dict(load_file(kit.folder / stage.after / "finished.safetensors"), strict=False)
    parameters = {name: value for name, value in unet.named_parameters() if "temporal_" in name}
    session = Session(finished.parent, parameters, schedule(kit, stage, unet))
    session.resume()
    teach(kit, stage, unet, session)
    session.average.swap(parameters)
    save_file({name: value.detach().contiguous() for name, value in parameters.items()}, finished)
    return unet.eval()


def schedule(kit: Kit, stage: Stage, unet: STUNet) -> Schedule:
    """As many steps as fit into the budget, by the time of a few that change nothing, after a first one that is not
    counted. It is this process's own, so that neither drawing batches nor what else the machine does counts.
    """
    plan = kit.folder / stage.name / "steps.json"
    if not plan.exists():
        parameters = {name: value for name, value in unet.named_parameters() if "temporal_" in name}
        for steps in (1, PACED):
            with tempfile.TemporaryDirectory() as folder:
                session = Session(Path(folder), parameters, Schedule(steps, learning_rate=0.0))
                started = time.process_time()
                teach(kit, stage, unet, session)
                pace = (time.process_time() - started) / steps
        plan.parent.mkdir(parents=True, exist_ok=True)
        plan.write_text(json.dumps({"steps": max(1, round(kit.seconds / pace)), "seconds_per_step": pace}))
    steps = json.loads(plan.read_text())["steps"]
    return Schedule(
        steps, stage.learning_rate, warmup=min(100, steps // 10 + 1), ema_decay=0.99, sample_every=steps + 1
    )


def teach(kit: Kit, stage: Stage, unet: STUNet, session: Session) -> None:
    if not stage.fills_in:
        phase = Phase(stage.name, stage.data, session.schedule)
        train_phase(phase, SHIFT, unet, kit.encoder, kit.tokenizer, session, "cpu", None)
        return

    def loss_of(batch: Batch, step: int) -> Tensor:
        return filling_loss(unet, kit.encoder, batch, Generator().manual_seed(stage.data.seed * 7919 + step))

    session.run(batch_loader(stage.data, kit.tokenizer, session.step), loss_of)


def filling_loss(unet: STUNet, encoder: CLIPTextModel, batch: Batch, generator: Generator) -> Tensor:
    """Of what is between keyframes, on windows cut out of whole clips."""

    def cut(video: Tensor) -> Tensor:
        return rearrange(video, "n c (k t) h w -> (n k) c t h w", t=WINDOW)

    pixels = cut(batch.pixels)
    clean, salience = (fold(each, PATCH) for each in (pixels, cut(batch.salience).expand_as(pixels)))
    known = keyframes_known(clean)
    text = encoder(batch.tokens).last_hidden_state.repeat_interleave(len(clean) // len(batch.tokens), 0)
    t = sample_times(len(clean), FILL_SHIFT, generator)
    noise = torch.randn(clean.shape, generator=generator)
    told = torch.cat([noised(clean, noise, t), known.channels], dim=1)
    predicted = unet(told, t * TIMESTEPS, text).sample
    return flow_loss(predicted, clean, t, salience * torch.where(known.mask, KNOWN_WEIGHT, 1.0))


def keyframes_known(latents: Tensor) -> KnownLatents:
    """Every STRIDE-th frame of (b, c, t, h, w); the others' values do not count."""
    b, _, t, h, w = latents.shape
    mask = torch.zeros(b, 1, t, h * PATCH, w * PATCH)
    mask[:, :, ::STRIDE] = 1
    return KnownLatents(latents, mask, PATCH)


@torch.no_grad()
def filled_in(kit: Kit, unet: STUNet, prompts: list[str], keyframes: Tensor) -> Tensor:
    """Clips (n, 3, FRAMES, h, w) in [-1, 1] from every STRIDE-th of their frames."""
    texts = kit.encoder(tokenize(kit.tokenizer, [*prompts, ""])).last_hidden_state
    generator = Generator().manual_seed(2)

    def network(sample: Tensor, timesteps: Tensor, text: Tensor) -> Tensor:
        return unet(sample, timesteps, text).sample

    fused = over_windows(network, windows(FRAMES, WINDOW, OVERLAP))
    clips = []
    for told_text, given in zip(texts[:-1], keyframes, strict=True):
        known = keyframes_known(repeat(fold(given[None], PATCH), "b c t h w -> b c (t k) h w", k=STRIDE))

        def predict(x: Tensor, t: float, told_text: Tensor = told_text, known: KnownLatents = known) -> Tensor:
            sample, level = torch.cat([x, known.channels], dim=1), torch.full((1,), t * TIMESTEPS)
            told = fused(sample, level, text=told_text[None])
            untold = fused(sample, level, text=texts[-1:])
            return known.keep(untold + GUIDANCE * (told - untold))

        noise = torch.randn(known.values.shape, generator=generator)
        clips.append(unfold(euler_flow(predict, noise, kit.steps, shift=8.0), PATCH))
    return torch.cat(clips)


def drawn(kit: Kit, design: str, prompts: list[str], networks: dict[str, STUNet]) -> tuple[list[Frames], float]:
    """A design's clips of the prompts, and seconds for each; kept once made."""
    path = kit.folder / f"{design.replace(' ', '-')}.npz"
    if not path.exists():
        first = networks[DESIGNS[design][0]]
        started = time.perf_counter()
        frames, interval = (FRAMES // STRIDE, float(STRIDE)) if len(DESIGNS[design]) > 1 else (FRAMES, 1.0)
        clips = sample_clips(first, kit.encoder, kit.tokenizer, prompts, frames, interval, kit.steps, GUIDANCE)
        if len(DESIGNS[design]) > 1:
            clips = filled_in(kit, networks[DESIGNS[design][1]], prompts, clips)
        seconds = (time.perf_counter() - started) / len(prompts)
        np.savez_compressed(path, clips=np.stack(to_clips(clips)), seconds=seconds)
    with np.load(path) as kept:
        return list(kept["clips"]), float(kept["seconds"])


def asked_for(clips: int) -> list[dict[str, str]]:
    """Held-out combinations, `clips` of each periodic motion, in the plain style."""
    named = []
    for number, motion in enumerate(PERIODIC):
        scenes = sample_scenes(60 * clips, Generator().manual_seed(SEED + number), "held-out", plain_share=1.0)
        chosen = (scenes.motion == MOTIONS.index(motion)).nonzero().flatten()[:clips]
        named += [{name: scenes.names(int(i))[name] for name in CORE} for i in chosen]
    return named


def periods_of_the_world(motion: str, scenes: int = 200) -> tuple[float, float]:
    """The shortest and the longest, in seconds."""
    tracks = true_tracks(scenes_of([{"motion": motion, "subject": "star"}] * scenes, SEED), LONG)
    seconds = [period_of(track, FRAME_RATE).seconds for track in tracks]
    known = [period for period in seconds if period is not None]
    return min(known), max(known)


@dataclass(frozen=True)
class Figures:
    """Means over clips. periods_found: share of clips whose track repeats itself. period_error: how far periods lie
    outside of those of the world, relative; a clip without one counts as 1. likeness: of the track one period on, up
    to 1.
    """

    periods_found: float
    period_error: float
    likeness: float
    flicker: float
    jerk_ratio: float


def figures(finder: Finder, named: list[dict[str, str]], clips: list[Frames]) -> Figures:
    ranges = {motion: periods_of_the_world(motion) for motion in PERIODIC}
    periods = [period_of(track_of(found(finder, to_tensor([clip]))[1][0]), FRAME_RATE) for clip in clips]
    errors = [outside(period.seconds, *ranges[each["motion"]]) for each, period in zip(named, periods, strict=True)]
    smooth = [smoothness(clip) for clip in clips]
    return Figures(
        mean(period.seconds is not None for period in periods) or 0.0,
        mean(errors) or 0.0,
        mean(period.strength for period in periods) or 0.0,
        mean(each.flicker for each in smooth) or 0.0,
        mean(each.jerk_ratio for each in smooth) or 0.0,
    )


def outside(period: float | None, shortest: float, longest: float) -> float:
    """How far a period lies outside of a range, relative to its nearer end; 1 for none."""
    if period is None:
        return 1.0
    return max(0.0, shortest / period - 1, period / longest - 1)


def slices(named: list[dict[str, str]], columns: dict[str, list[Frames]], scale: int = 4) -> Image.Image:
    """One row of slices for each motion: time goes down, and across is the middle row of the frame, or for what bounces
    the column that moves most.
    """
    rows = [next(i for i, each in enumerate(named) if each["motion"] == motion) for motion in PERIODIC]
    side, height = columns[next(iter(columns))][0].shape[1] * scale, FRAMES * 2
    sheet = Image.new("RGB", ((side + 6) * len(columns), (height + 16) * len(rows)), "white")
    draw = ImageDraw.Draw(sheet)
    for column, (design, clips) in enumerate(columns.items()):
        for row, index in enumerate(rows):
            clip, left, top = clips[index], column * (side + 6), row * (height + 16)
            if named[index]["motion"] == "bouncing":
                line = clip[:, :, int(clip.astype(np.float32).std(0).sum((0, 2)).argmax())]
            else:
                line = clip[:, clip.shape[1] // 2]
            draw.text((left + 2, top + 2), f"{design}: {named[index]['motion']}", fill="black")
            sheet.paste(Image.fromarray(line).resize((side, height), Image.Resampling.NEAREST), (left, top + 16))
    return sheet


def temporal_parameters(networks: list[STUNet]) -> int:
    return sum(each.numel() for unet in networks for each in unet.temporal_parameters())


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="of training on one core for each design")
    parser.add_argument("--clips", type=int, default=8, help="of each motion")
    parser.add_argument("--steps", type=int, default=16, help="of denoising")
    parser.add_argument("--model", type=Path, default=SHIPPED, help="finished model whose image layers are taken")
    parser.add_argument("--folder", type=Path, default=Path("runs/temporal-designs"), help="checkpoints and clips")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    asked = parser.parse_args(arguments)
    if asked.minutes <= 0 or asked.clips < 1 or asked.steps < 1:
        parser.error("--minutes, --clips and --steps must be above 0")
    kit = kit_of(asked.model, asked.folder, asked.minutes * 30, asked.steps)
    networks = {stage.name: learned(kit, stage) for stage in STAGES}
    named, finder = asked_for(asked.clips), load_finder()
    prompts = [sentence(each) for each in named]
    columns: dict[str, list[Frames]] = {"rendered": rendered_clips(scenes_of(named, SEED), 8 * PATCH)}
    rows = [{"design": "rendered", **asdict(figures(finder, named, columns["rendered"]))}]
    for design, parts in DESIGNS.items():
        columns[design], seconds = drawn(kit, design, prompts, networks)
        rows.append(
            {
                "design": design,
                **asdict(figures(finder, named, columns[design])),
                "temporal_parameters": temporal_parameters([networks[part] for part in parts]),
                "seconds_per_clip": round(seconds, 2),
            }
        )
    print(table(rows))
    asked.results.mkdir(parents=True, exist_ok=True)
    slices(named, columns).save(asked.results / "temporal-designs.png")
    document = {"minutes": asked.minutes, "clips": len(named), "denoising_steps": asked.steps, "rows": rows}
    document["training_steps"] = {
        stage.name: json.loads((asked.folder / stage.name / "steps.json").read_text())["steps"] for stage in STAGES
    }
    (asked.results / "temporal-designs.json").write_text(json.dumps(document, indent=2) + "\n")
    print(json.dumps(document))


def table(rows: list[dict[str, object]]) -> str:
    names = [*Figures.__dataclass_fields__, "temporal_parameters", "seconds_per_clip"]
    lines = [f"{'design':12}" + "".join(f"{name:>21}" for name in names)]
    for row in rows:
        shown = [row.get(name, "") for name in names]
        cells = [f"{value:.3f}" if isinstance(value, float) else str(value) for value in shown]
        lines.append(f"{row['design']!s:12}" + "".join(f"{cell:>21}" for cell in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
