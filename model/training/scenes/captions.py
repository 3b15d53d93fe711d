"""Captions of scenes: a small grammar with synonyms, several sentence orders, and parts left out.

Each attribute has a table of phrases; a caption strings chosen phrases together. Parts that a caption omits are
reported, so
that whoever judges or learns from it knows what it really says.
"""

import random
from dataclasses import dataclass

from model.training.scenes.attributes import COLOURS, MOTIONS, SETTINGS, STYLES, SUBJECTS, Scenes

SUBJECT_NAMES: dict[str, tuple[str, ...]] = {
    "ball": ("ball", "ball", "beach ball", "round ball", "sphere"),
    "cube": ("cube", "cube", "box", "block", "square block"),
    "star": ("star", "star", "five-pointed star", "shiny star"),
    "heart": ("heart", "heart", "heart shape", "love heart"),
    "balloon": ("balloon", "balloon", "party balloon", "toy balloon"),
    "boat": ("boat", "boat", "sailboat", "sailing boat", "ship"),
    "fish": ("fish", "fish", "striped fish", "little fish"),
    "bird": ("bird", "bird", "little bird", "songbird"),
    "rocket": ("rocket", "rocket", "rocket ship", "spaceship", "space rocket"),
    "car": ("car", "car", "automobile", "small car", "vehicle"),
    "knight": ("knight", "knight", "knight on a horse", "knight on horseback", "knight riding a horse", "horseman"),
    "butterfly": ("butterfly", "butterfly", "fluttering butterfly", "big butterfly"),
}
COLOUR_NAMES: dict[str, tuple[str, ...]] = {
    "red": ("red", "red", "red", "crimson", "bright red", "scarlet"),
    "orange": ("orange", "orange", "orange", "bright orange"),
    "yellow": ("yellow", "yellow", "yellow", "bright yellow", "lemon yellow"),
    "green": ("green", "green", "green", "bright green", "emerald"),
    "cyan": ("cyan", "cyan", "turquoise", "light blue", "aqua", "teal"),
    "blue": ("blue", "blue", "blue", "dark blue", "deep blue", "royal blue"),
    "purple": ("purple", "purple", "purple", "violet", "deep purple"),
    "pink": ("pink", "pink", "pink", "rosy", "light pink"),
    "white": ("white", "white", "white", "snow-white", "bright white"),
    "black": ("black", "black", "black", "dark black", "jet-black"),
}
SETTING_PHRASES: dict[str, tuple[str, ...]] = {
    "meadow": (
        "in a meadow",
        "over a green meadow",
        "in a grassy field",
        "on the grass",
        "in a flowery meadow",
        "over a meadow",
    ),
    "beach": (
        "on the beach",
        "at the beach",
        "by the sea",
        "on a sandy beach with waves",
        "at the seaside",
        "by the ocean waves",
        "on the shore",
    ),
    "night sky": (
        "in the night sky",
        "under a starry sky",
        "at night with twinkling stars",
        "in the night sky with twinkling stars",
        "under the stars",
        "at night",
    ),
    "desert": (
        "in the desert",
        "over desert dunes",
        "in a sandy desert",
        "among sand dunes",
        "across the desert",
        "in a hot desert",
    ),
    "snowfall": (
        "in the snow",
        "in falling snow",
        "during snowfall",
        "in a snowy landscape",
        "in winter snow",
        "while it is snowing",
        "in a snowfall",
    ),
    "mountain road": (
        "on a mountain road",
        "along a mountain road",
        "on a road in the mountains",
        "on a road through the mountains",
        "in front of mountains on a road",
        "in the mountains",
    ),
    "countryside": (
        "in the countryside",
        "through the countryside",
        "across the countryside",
        "in the country with a farmhouse",
        "through farm fields",
        "past a farm",
    ),
    "underwater": (
        "underwater",
        "under the sea",
        "in the deep sea",
        "beneath the water",
        "under water with bubbles",
        "at the bottom of the ocean",
    ),
}
MOTION_PHRASES: dict[str, tuple[str, ...]] = {
    "left": (
        "moving left",
        "moving to the left",
        "going left",
        "drifting to the left",
        "moving from right to left",
        "gliding left",
        "heading left",
        "travelling left",
        "that moves left",
    ),
    "right": (
        "moving right",
        "moving to the right",
        "going right",
        "drifting to the right",
        "moving from left to right",
        "gliding right",
        "heading right",
        "travelling right",
        "that moves right",
    ),
    "rising": (
        "rising",
        "rising up",
        "moving up",
        "going up",
        "floating upwards",
        "ascending",
        "climbing upward",
        "that rises",
        "slowly rising",
        "moving upwards",
    ),
    "falling": (
        "falling",
        "falling down",
        "moving down",
        "going down",
        "dropping downwards",
        "descending",
        "sinking",
        "that falls",
        "slowly falling",
        "moving downwards",
    ),
    "bouncing": (
        "bouncing",
        "bouncing up and down",
        "jumping up and down",
        "hopping",
        "jumping",
        "that bounces",
        "bouncing again and again",
    ),
    "spinning": (
        "spinning",
        "spinning around",
        "rotating",
        "turning around",
        "whirling",
        "that spins",
        "spinning in place",
        "rotating in place",
        "twirling",
    ),
    "growing": (
        "growing",
        "growing bigger",
        "getting bigger",
        "getting larger",
        "expanding",
        "that grows",
        "becoming bigger",
        "growing larger",
        "coming closer",
    ),
    "shrinking": (
        "shrinking",
        "getting smaller",
        "becoming smaller",
        "shrinking away",
        "that shrinks",
        "growing smaller",
        "contracting",
        "going far away",
    ),
    "orbiting": (
        "orbiting",
        "moving in a circle",
        "circling",
        "flying in circles",
        "going round in circles",
        "that orbits",
        "orbiting around the center",
        "circling around",
    ),
    "swinging": (
        "swinging",
        "swinging from side to side",
        "swinging back and forth",
        "swaying like a pendulum",
        "that swings",
        "swinging like a pendulum",
        "swaying from side to side",
    ),
    "still": (
        "standing still",
        "not moving",
        "staying still",
        "resting",
        "that stays still",
        "motionless",
        "at rest",
        "holding still",
        "static",
    ),
}
GOING_PHRASES: dict[str, tuple[str, ...]] = {
    "car": ("driving", "driving along", "rolling along", "racing", "that drives"),
    "knight": ("riding", "riding along", "galloping", "trotting", "that rides"),
    "boat": ("sailing", "sailing along"),
    "fish": ("swimming", "swimming along"),
    "bird": ("flying", "flying along"),
}
"""Said of a subject that moves to a side. With no side named it is the right, as everything here faces right unless
it moves left."""

STYLE_PHRASES: dict[str, tuple[tuple[str, str], ...]] = {
    "plain": (("", ""), ("a video of ", ""), ("a clip of ", ""), ("a cartoon of ", ""), ("an animation of ", "")),
    "watercolor": (
        ("a watercolor painting of ", ""),
        ("", ", watercolor style"),
        ("", " in watercolor style"),
        ("", ", watercolour painting"),
    ),
    "sticker": (("a sticker of ", ""), ("", ", sticker style"), ("", " as a sticker"), ("", " in sticker style")),
    "melting gold": (
        ("a melting gold sculpture of ", ""),
        ("", ", melting gold"),
        ("", " in melting gold style"),
        ("", " made of melting gold"),
        ("", ", 3d melting gold"),
    ),
    "wooden blocks": (
        ("", " made of wooden blocks"),
        ("", ", wooden blocks"),
        ("", " in wooden blocks style"),
        ("", " built from wooden blocks"),
    ),
    "origami": (
        ("an origami of ", ""),
        ("", ", origami style"),
        ("", " made of origami"),
        ("", ", folded paper origami"),
    ),
    "line drawing": (
        ("a line drawing of ", ""),
        ("", ", line drawing"),
        ("", " in line drawing style"),
        ("a pencil line drawing of ", ""),
    ),
}


USUAL_COLOURS = {
    "ball": "red",
    "cube": "blue",
    "star": "yellow",
    "heart": "red",
    "balloon": "red",
    "boat": "white",
    "fish": "orange",
    "bird": "blue",
    "rocket": "white",
    "car": "red",
    "knight": "white",
    "butterfly": "orange",
}
"""What a subject has of which no colour is named."""
OPEN_SHARE = 0.06


@dataclass(frozen=True)
class Caption:
    """A sentence and what it says: attribute names to values, without those it leaves open."""

    text: str
    says: dict[str, str]


def caption(named: dict[str, str], rng: random.Random, open_share: float = OPEN_SHARE) -> Caption:
    """A sentence for a scene given by attribute names. Setting and motion are each left open in `open_share` of all
    sentences; the usual colour is not mentioned in five times as many.
    """
    says = dict(named)
    for name in ("setting", "motion"):
        if rng.random() < open_share:
            del says[name]
    of_gold = named["style"] == "melting gold"
    if of_gold:
        del says["colour"]
    usual = named["colour"] == USUAL_COLOURS[named["subject"]]
    names_colour = not of_gold and not (usual and rng.random() < 5 * open_share)

    noun = rng.choice(SUBJECT_NAMES[named["subject"]])
    if names_colour:
        noun = f"{rng.choice(COLOUR_NAMES[named['colour']])} {noun}"
    noun = f"{_article(noun, rng)} {noun}".strip()
    motion = _motion(named, says, rng)
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
    if rng.random() < 0.3:
        text = text[0].upper() + text[1:] + rng.choice(("", "."))
    return Caption(text, says)


def captions(scenes: Scenes, rng: random.Random, open_share: float = OPEN_SHARE) -> list[Caption]:
    return [caption(scenes.names(i), rng, open_share) for i in range(len(scenes))]


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


for _table, _names in (
    (SUBJECT_NAMES, SUBJECTS),
    (COLOUR_NAMES, tuple(COLOURS)),
    (SETTING_PHRASES, SETTINGS),
    (MOTION_PHRASES, MOTIONS),
    (STYLE_PHRASES, STYLES),
):
    if set(_table) != set(_names):
        raise AssertionError(f"caption phrases do not match the attributes: {set(_table) ^ set(_names)}")
