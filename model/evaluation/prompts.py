"""What the model is asked for."""

import random

import torch

from model.training.scenes.attributes import CORE, Scenes, Split, sample_scenes
from model.training.scenes.captions import Caption, captions
from model.training.scenes.phrases import (
    COLOUR_NAMES,
    MOTION_PHRASES,
    SETTING_PHRASES,
    STYLE_PHRASES,
    SUBJECT_NAMES,
)


def drawn_prompts(n: int, seed: int, split: Split = "held-out", plain_share: float = 1.0) -> list[Caption]:
    """Sentences that name subject, colour, setting, motion and style of combinations of `split`.

    plain_share: of the prompts, whose style is the plain one.
    """
    scenes = sample_scenes(n, torch.Generator().manual_seed(seed), split=split, plain_share=plain_share)
    return [
        Caption(prompt.text, {name: value for name, value in prompt.says.items() if name in CORE})
        for prompt in captions(scenes, random.Random(seed), open_share=0.0)
    ]


def core_names(scenes: Scenes) -> list[dict[str, str]]:
    """What single subjects before a fixed camera are asked for by."""
    return [{name: scenes.names(i)[name] for name in CORE} for i in range(len(scenes))]


def sentence(named: dict[str, str]) -> str:
    """The most usual words for what is named, in one order: two that differ in an attribute differ in its words."""
    before, after = STYLE_PHRASES[named["style"]][0]
    subject = f"a {COLOUR_NAMES[named['colour']][0]} {SUBJECT_NAMES[named['subject']][0]}"
    return f"{before}{subject} {MOTION_PHRASES[named['motion']][0]} {SETTING_PHRASES[named['setting']][0]}{after}"
