"""Captions of scenes: a small grammar with synonyms, several sentence orders, and parts left out.

A caption strings phrases together (`model.training.scenes.phrases`). What it leaves out is reported, so that whoever
judges or learns from it knows what it really says.
"""

import random
from dataclasses import dataclass

from model.training.scenes.attributes import CAMERAS, RELATIONS, Scenes
from model.training.scenes.phrases import (
    CAMERA_PHRASES,
    COLOUR_NAMES,
    GOING_PHRASES,
    MOTION_PHRASES,
    RELATION_PHRASES,
    SETTING_PHRASES,
    STYLE_PHRASES,
    SUBJECT_NAMES,
    USUAL_COLOURS,
)

OPEN_SHARE = 0.06


@dataclass(frozen=True)
class Caption:
    """A sentence and what it says: attribute names to values, without those it leaves open."""

    text: str
    says: dict[str, str]


def caption(named: dict[str, str], rng: random.Random, open_share: float = OPEN_SHARE) -> Caption:
    """A sentence for a scene given by attribute names; without a relation it is of one subject, without a camera of
    one that stands still. Setting and motion are each left open in `open_share` of all
    sentences; the usual colour is not mentioned in five times as many. Standing still is what two subjects and what a
    camera shows do that is said to do nothing.
    """
    says = dict(named)
    paired = named.get("relation", RELATIONS[0]) != RELATIONS[0]
    filmed = named.get("camera", CAMERAS[0]) != CAMERAS[0]
    for name in ("setting", "motion"):
        if rng.random() < open_share:
            del says[name]
    if paired or filmed:
        says["motion"] = named["motion"]
    of_gold = named["style"] == "melting gold"
    if of_gold:
        for name in ("colour", "other_colour"):
            says.pop(name, None)

    noun = _noun(named["subject"], named["colour"], rng, of_gold, open_share)
    if paired:
        other = _noun(named["other_subject"], named["other_colour"], rng, of_gold, open_share)
        noun = _pair(named["relation"], noun, other, rng)
    rests = (paired or filmed) and named["motion"] == "still" and rng.random() < 0.8
    motion = "" if rests else _motion(named, says, rng)
    place = rng.choice(SETTING_PHRASES[named["setting"]]) if "setting" in says else ""

    order = rng.random()
    if place and order < 0.12:
        sentence = f"{place}, {noun} {motion}"
    elif place and order < 0.24:
        sentence = f"{noun} {place} {motion}"
    else:
        sentence = f"{noun} {motion} {place}"
    before, after = rng.choice(STYLE_PHRASES[named["style"]])
    text = " ".join(f"{before}{sentence}".split()) + after
    if filmed:
        view = rng.choice(CAMERA_PHRASES[named["camera"]])
        text = f"{view}, {text}" if rng.random() < 0.3 else f"{text}, {view}"
    if rng.random() < 0.3:
        text = text[0].upper() + text[1:] + rng.choice(("", "."))
    return Caption(text, says)


def captions(scenes: Scenes, rng: random.Random, open_share: float = OPEN_SHARE) -> list[Caption]:
    return [caption(scenes.names(i), rng, open_share) for i in range(len(scenes))]


def _noun(subject: str, colour: str, rng: random.Random, of_gold: bool, open_share: float) -> str:
    """A subject with its colour, but where gold has none, or it may be left open as the usual one."""
    noun = rng.choice(SUBJECT_NAMES[subject])
    usual = colour == USUAL_COLOURS[subject]
    if not of_gold and not (usual and rng.random() < 5 * open_share):
        noun = f"{rng.choice(COLOUR_NAMES[colour])} {noun}"
    return f"{_article(noun, rng)} {noun}".strip()


def _pair(relation: str, noun: str, other: str, rng: random.Random) -> str:
    """Both subjects, from the side of either."""
    forward, backward = rng.choice(RELATION_PHRASES[relation])
    if backward and rng.random() < 0.5:
        return f"{other} {backward} {noun}"
    return f"{noun} {forward} {other}"


def _motion(named: dict[str, str], says: dict[str, str], rng: random.Random) -> str:
    if "motion" not in says:
        return ""
    side = named["motion"] if named["motion"] in ("left", "right") else None
    going = GOING_PHRASES.get(named["subject"])
    if side and going and rng.random() < 0.55:
        verb = rng.choice(going)
        if side == "right" and rng.random() < 0.6:
            return verb
        return f"{verb} {rng.choice(('', 'to the '))}{side}"
    return rng.choice(MOTION_PHRASES[named["motion"]])


def _article(noun: str, rng: random.Random) -> str:
    draw = rng.random()
    if draw < 0.08:
        return ""
    if draw < 0.16:
        return "the"
    return "an" if noun[0] in "aeiou" else "a"
