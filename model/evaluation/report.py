"""Evaluation of a text-to-video model on prompts it was never trained on: videos made, judged, counted and shown."""

import json
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from PIL import Image, ImageDraw
from torch import Tensor

from model.evaluation.judge import Judge, agreement, judge_accuracy, judged
from model.evaluation.measures import smoothness
from model.pipeline import LumierePipeline
from model.training.scenes.attributes import sample_scenes
from model.training.scenes.captions import Caption, captions
from model.video_io import Frames, contact_sheet

SHEET_COLUMNS = 8
CAPTION_HEIGHT = 14


@dataclass(frozen=True)
class Evaluation:
    """Shares of videos that show what their prompt says, the accuracy of the judge, and how the videos move."""

    prompts: int
    split: str
    agreement: dict[str, float]
    judge_accuracy: dict[str, float]
    flicker: float
    jerk_ratio: float
    first_to_last: float
    seconds_per_video: float
    confusions: dict[str, dict[str, int]]


def held_out_prompts(n: int, seed: int, split: str = "held-out") -> list[Caption]:
    """Prompts of combinations that training never draws; every prompt names subject, colour, setting and motion."""
    scenes = sample_scenes(n, torch.Generator().manual_seed(seed), split=split, plain_share=1.0)  # type: ignore[arg-type]
    return captions(scenes, random.Random(seed), open_share=0.0)


def evaluate(
    pipeline: LumierePipeline,
    judge: Judge,
    prompts: list[Caption],
    folder: Path,
    split: str,
    on_video: Callable[[int], object] = lambda done: None,
) -> Evaluation:
    """Makes one 80-frame video per prompt, writes contact sheets, `evaluation.json` and `prompts.jsonl` to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    clips: list[Frames] = []
    started = time.monotonic()
    size = pipeline.base_resolution
    for i, prompt in enumerate(prompts):
        clips.append(pipeline.text_to_video(prompt.text, seed=1000 + i, height=size, width=size).frames)
        on_video(i + 1)
    seconds = (time.monotonic() - started) / len(prompts)
    shown = [answer for clip in clips for answer in judged(judge, to_tensor(clip))]
    moves = [smoothness(clip) for clip in clips]
    result = Evaluation(
        prompts=len(prompts),
        split=split,
        agreement=agreement([prompt.says for prompt in prompts], shown),
        judge_accuracy=judge_accuracy(judge, clips=256, seed=424_242),
        flicker=statistics.fmean(each.flicker for each in moves),
        jerk_ratio=statistics.fmean(each.jerk_ratio for each in moves),
        first_to_last=statistics.fmean(each.first_to_last for each in moves),
        seconds_per_video=seconds,
        confusions=confusions(prompts, shown),
    )
    (folder / "evaluation.json").write_text(json.dumps(asdict(result), indent=2) + "\n")
    with (folder / "prompts.jsonl").open("w") as lines:
        for prompt, answer in zip(prompts, shown, strict=True):
            lines.write(json.dumps({"prompt": prompt.text, "says": prompt.says, "shows": answer}) + "\n")
    for page, start in enumerate(range(0, len(clips), 16)):
        texts = [prompt.text for prompt in prompts[start : start + 16]]
        prompt_sheet(clips[start : start + 16], texts).save(folder / f"sheet-{page + 1}.png")
    return result


def to_tensor(clip: Frames) -> Tensor:
    """uint8 (t, h, w, 3) -> (1, 3, t, h, w) in [-1, 1]."""
    return rearrange(torch.from_numpy(clip), "t h w c -> 1 c t h w").float() / 127.5 - 1


def confusions(prompts: list[Caption], shown: list[dict[str, str]]) -> dict[str, dict[str, int]]:
    """How often each wrong answer was given, per attribute, as "said > shown"."""
    wrong: dict[str, dict[str, int]] = {}
    for prompt, answer in zip(prompts, shown, strict=True):
        for name, value in prompt.says.items():
            if answer[name] != value:
                counts = wrong.setdefault(name, {})
                counts[f"{value} > {answer[name]}"] = counts.get(f"{value} > {answer[name]}", 0) + 1
    return wrong


def prompt_sheet(clips: list[Frames], texts: list[str], scale: int = 2) -> Image.Image:
    """One row of SHEET_COLUMNS frames per clip, its prompt above."""
    height, width = clips[0].shape[1] * scale, clips[0].shape[2] * scale
    sheet = Image.new("RGB", (width * SHEET_COLUMNS, (height + CAPTION_HEIGHT) * len(clips)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (clip, text) in enumerate(zip(clips, texts, strict=True)):
        top = row * (height + CAPTION_HEIGHT)
        draw.text((3, top + 1), text, fill="black")
        shown = np.linspace(0, len(clip) - 1, SHEET_COLUMNS).round().astype(int)
        frames = contact_sheet(clip[shown], columns=SHEET_COLUMNS)
        sheet.paste(frames.resize((sheet.width, height), Image.Resampling.BICUBIC), (0, top + CAPTION_HEIGHT))
    return sheet
