"""Settings on dry land."""

import math

import torch
from torch import Tensor

from model.training.scenes.painting import (
    Backdrop,
    chance_of,
    clouds,
    dots,
    enlarged,
    glaze,
    grain,
    mix,
    mottle,
    over,
    scrolled,
)


def meadow(jitter: Tensor, times: Tensor, size: int) -> Tensor:
    scene = Backdrop(jitter, size)
    scene.gradient((0.42, 0.70, 0.96), (0.80, 0.92, 1.0), 0.0, 0.55)
    scene.paint(scene.below(0.50 + 0.05 * scene.waves(0, 0.8)), (0.46, 0.72, 0.42))
    near = scene.below(0.58 + 0.04 * scene.waves(3, 0.6))
    slope = ((scene.y - 0.55) / 0.45).clamp(0, 1)[:, None]
    grass = mix(scene._colour((0.48, 0.80, 0.34)), scene._colour((0.24, 0.56, 0.18)), slope)
    scene.paint(near, (grass + grain(jitter, size, 0.12)).clamp(0, 1))
    flowers, phase = dots(jitter, 26, size, 0.012)
    scene.paint(flowers * (scene.y > 0.62) * (phase > 0.5), (0.99, 0.95, 0.55))
    scene.paint(flowers * (scene.y > 0.62) * (phase <= 0.5), (0.98, 0.98, 0.98))
    return over(scene.video(times.shape[1]), clouds(scene, times, 0.4) * 0.9, (1.0, 1.0, 1.0))


def desert(jitter: Tensor, times: Tensor, size: int) -> Tensor:
    scene = Backdrop(jitter, size)
    scene.gradient((0.98, 0.66, 0.38), (1.0, 0.90, 0.68), 0.0, 0.55)
    scene.paint(scene.disc(0.2 + 0.6 * scene.chance(1), 0.22, 0.09, 0.09), (1.0, 0.96, 0.72))
    for i, (height, colour) in enumerate(
        ((0.52, (0.86, 0.58, 0.34)), (0.60, (0.91, 0.68, 0.42)), (0.72, (0.95, 0.78, 0.52)))
    ):
        crest = height + 0.05 * scene.waves(2 + 3 * i, 0.6 + 0.2 * i, octaves=2)
        ripple = 0.03 * torch.sin((scene.y - crest) * size * 0.9 + 4 * torch.sin(scene.x * 6))[:, None]
        scene.paint(scene.below(crest), (scene._colour(colour) + ripple * (i == 2)).clamp(0, 1).expand_as(scene.image))
    cx = 0.08 + 0.12 * scene.chance(9) + 0.7 * (scene.chance(10) > 0.5)
    cactus = (
        scene.disc(cx, 0.58, 0.022, 0.13)
        + scene.disc(cx - 0.04, 0.55, 0.014, 0.06)
        + scene.disc(cx + 0.04, 0.52, 0.014, 0.06)
    )
    scene.paint(cactus.clamp(0, 1), (0.22, 0.44, 0.24))
    haze = (
        0.02
        * torch.sin(2 * math.pi * (scene.y[:, None] * 14 + times[:, :, None, None] * 0.7))
        * (scene.y < 0.55)[:, None]
    )
    return (scene.video(times.shape[1]) + haze[:, :, None]).clamp(0, 1)


def snowfall(jitter: Tensor, times: Tensor, size: int) -> Tensor:
    scene = Backdrop(jitter, size)
    scene.gradient((0.50, 0.58, 0.70), (0.76, 0.82, 0.89), 0.0, 0.65)
    for i in range(5):
        cx = (scene.chance(4 + i) * 0.2 + i * 0.22) % 1.05
        for level in range(3):
            top, half = 0.44 + 0.075 * level, 0.035 + 0.018 * level
            inside = ((scene.y - top) * half / 0.11 - (scene.x - cx).abs()) * size
            scene.paint((inside + 0.5).clamp(0, 1) * (scene.y < top + 0.11), (0.24, 0.38, 0.38))
    ground = mix(
        scene._colour((0.93, 0.96, 1.0)),
        scene._colour((0.78, 0.85, 0.95)),
        ((scene.y - 0.65) / 0.35).clamp(0, 1)[:, None],
    )
    scene.paint(scene.below(0.66 + 0.03 * scene.waves(1, 0.7)), ground)
    video = scene.video(times.shape[1])
    for layer, (count, radius, speed) in enumerate(((30, 0.011, 0.16), (18, 0.017, 0.26))):
        flakes, _ = dots(jitter.roll(layer + 1, dims=1), count, size, radius)
        fallen = scrolled(flakes, times * speed, axis=0)
        video = over(video, fallen, (1.0, 1.0, 1.0))
    return video


def mountain_road(jitter: Tensor, times: Tensor, size: int) -> Tensor:
    scene = Backdrop(jitter, size)
    scene.gradient((0.50, 0.74, 0.95), (0.88, 0.94, 0.98), 0.0, 0.55)
    for i, (base, colour) in enumerate(((0.0, (0.50, 0.56, 0.70)), (0.22, (0.42, 0.47, 0.60)))):
        for peak in range(2):
            cx = 0.15 + 0.55 * peak + base + 0.2 * (scene.chance(2 + 2 * i + peak) - 0.5)
            top = 0.12 + 0.12 * scene.chance(6 + 2 * i + peak) + 0.08 * i
            rough = 0.015 * torch.sin(scene.y * 60 + peak * 2) + 0.01 * torch.sin(scene.y * 131)
            half = (scene.y - top) * 0.62 + rough
            inside = ((half - (scene.x - cx).abs()) * size + 0.5).clamp(0, 1)
            shade = 1 - 0.16 * (scene.x > cx).float()
            scene.paint(inside, scene._colour(colour) * shade[:, None])
            snow = inside * ((top + 0.10 + 0.02 * torch.sin(scene.x * 70) - scene.y) * size + 0.5).clamp(0, 1)
            scene.paint(snow, scene._colour((0.97, 0.98, 1.0)) * (0.5 + 0.5 * shade[:, None]))
    scene.paint(scene.below(0.60 + 0.015 * scene.waves(9, 1.0)), (0.40, 0.52, 0.30))
    scene.paint(scene.below(torch.full_like(scene.chance(0), 0.70)), (0.36, 0.36, 0.39))
    scene.paint(scene.below(torch.full_like(scene.chance(0), 0.94)), (0.46, 0.42, 0.34))
    edge = ((scene.y - 0.715).abs() < 0.008) | ((scene.y - 0.925).abs() < 0.008)
    scene.paint(edge.float().expand(len(jitter), size, size), (0.92, 0.92, 0.90))
    dash = ((scene.y - 0.82).abs() < 0.011) & (((scene.x + scene.chance(11)) * 5) % 1 < 0.55)
    scene.paint(dash.float(), (0.97, 0.86, 0.35))
    return over(scene.video(times.shape[1]), clouds(scene, times, 0.25) * 0.85, (1.0, 1.0, 1.0))


def countryside(jitter: Tensor, times: Tensor, size: int) -> Tensor:
    scene = Backdrop(jitter, size)
    scene.gradient((0.56, 0.76, 0.93), (0.96, 0.93, 0.80), 0.0, 0.50)
    fields = ((0.44, (0.62, 0.70, 0.36)), (0.52, (0.86, 0.76, 0.36)), (0.60, (0.55, 0.62, 0.28)))
    for i, (height, colour) in enumerate(fields):
        crest = height + 0.035 * scene.waves(2 + i, 0.6, octaves=2)
        furrow = (
            0.07
            * torch.sin((scene.x * (18 - 5 * i) + (scene.y - crest) * 9 * (1 - 2 * (i % 2))) * 2 * math.pi)[:, None]
        )
        scene.paint(scene.below(crest), (scene._colour(colour) + furrow).clamp(0, 1))
    hx = 0.12 + 0.2 * scene.chance(6) + 0.5 * (scene.chance(7) > 0.5)
    wall = ((0.065 - (scene.x - hx).abs()) * size + 0.5).clamp(0, 1) * (scene.y > 0.43) * (scene.y < 0.53)
    scene.paint(wall, (0.96, 0.93, 0.86))
    roof = (((scene.y - 0.35) * 0.95 - (scene.x - hx).abs()) * size + 0.5).clamp(0, 1) * (scene.y < 0.44)
    scene.paint(roof, (0.66, 0.28, 0.20))
    scene.paint(scene.disc(hx, 0.50, 0.016, 0.035), (0.40, 0.26, 0.16))
    for i in range(3):
        cx = (hx + 0.22 + 0.2 * i + 0.1 * scene.chance(8 + i)) % 1.1
        scene.paint(scene.disc(cx, 0.53, 0.012, 0.05), (0.36, 0.25, 0.15))
        scene.paint(scene.disc(cx, 0.45, 0.055, 0.065), (0.22, 0.42, 0.18))
    path = mix(
        scene._colour((0.83, 0.70, 0.50)),
        scene._colour((0.70, 0.56, 0.38)),
        ((scene.y - 0.72) / 0.28).clamp(0, 1)[:, None],
    )
    scene.paint(scene.below(0.71 + 0.012 * scene.waves(12, 0.8)), (path + grain(jitter, size, 0.06)).clamp(0, 1))
    scene.paint(scene.below(0.94 + 0.01 * scene.waves(13, 1.5)), (0.45, 0.54, 0.24))
    return over(scene.video(times.shape[1]), clouds(scene, times, 0.3) * 0.8, (1.0, 0.99, 0.95))


def forest(jitter: Tensor, times: Tensor, size: int) -> Tensor:
    scene, t = Backdrop(jitter, size), times.shape[1]
    scene.gradient((0.62, 0.80, 0.42), (0.90, 0.96, 0.72), 0.0, 0.62)
    ground = scene.below(0.66 + 0.02 * scene.waves(0, 0.7))
    scene.paint(ground, scene.ramp((0.56, 0.70, 0.32), (0.15, 0.30, 0.10), 0.66, 0.95))
    for count, width, foot, colour in (
        (8, 0.010, 0.67, (0.62, 0.74, 0.48)),
        (6, 0.019, 0.70, (0.36, 0.46, 0.28)),
        (4, 0.044, 0.80, (0.23, 0.17, 0.11)),
    ):
        for i in range(count):
            place = (i + 0.25 + 0.5 * chance_of(torch.tensor(float(i)), scene.chance(2) * 50, width)) / count
            if count == 4:  # the near ones leave the middle to the subject
                place = place + (0.06 if i > 1 else -0.06)
            bend = 0.012 * torch.sin(scene.y * 7 + i * 2 + scene.chance(4) * 6)
            root = width * (
                1 + 0.30 * ((scene.y - foot + 0.10) * 10).clamp(0, 1) ** 2 - 0.25 * (0.7 - scene.y).clamp(0, 1)
            )
            across = (scene.x - place - bend) / root
            trunk = ((1 - across.abs()) * root * size + 0.5).clamp(0, 1) * (
                1 - scene.below(torch.full_like(place, foot))
            )
            bark = 0.22 * torch.sin(across * 9 + 3 * torch.sin(scene.y * 30 + i)) * (count < 8)
            lit = 1.0 - 0.42 * across.clamp(-1, 1) + bark * (width > 0.01)
            scene.paint(trunk, (scene._colour(colour) * lit[:, None]).clamp(0, 1))
        leaves = mottle(scene.y * 1.2, scene.x, 16 + 14 * (count - 4) / 4, scene.chance(5) + count)
        low = 0.30 - 0.11 * (8 - count) / 4 * (1 - (2 * scene.x - 1).abs()) - 0.04 * (count == 8)
        canopy = ((low - scene.y + 0.08 * leaves) * size / 2.5 + 0.5).clamp(0, 1)
        tint = mix(
            scene._colour((0.12, 0.30, 0.10)), scene._colour((0.60, 0.78, 0.36)), torch.tensor((count - 4) / 4.6)
        )
        speckle = mottle(scene.y, scene.x * 1.3, 75, scene.chance(6) + count)[:, None]
        scene.paint(canopy * 0.95, (tint * (1 + 0.30 * speckle)).clamp(0, 1))
    moss = mottle(scene.y * 2.6, scene.x, 60, scene.chance(7))[:, None]
    scene.image = torch.where(
        (ground > 0.5)[:, None], (scene.image * (1 + 0.10 * moss) + grain(jitter, size, 0.04)), scene.image
    )
    scene.image = scene.image.clamp(0, 1)

    coarse = Backdrop(jitter, min(size, 64))
    y, x, time = coarse.y[:, None], coarse.x[:, None], times[:, :, None, None]
    slant = x - 0.45 * y + 0.012 * torch.sin(0.9 * time)
    shafts = torch.sin(slant * 15 + coarse.chance(8)[:, None] * 6 + 0.25 * time) * torch.sin(slant * 23 - 0.4 * time)
    shafts = (shafts + 0.15).clamp(min=0) * (0.95 - y).clamp(0, 0.8) * 0.62
    patches = mottle(y * 3.0, x - 0.03 * torch.sin(0.6 * time), 11, coarse.chance(9)[:, None], octaves=2)
    patches = (patches - 0.12).clamp(0, 0.7) * ((y - 0.68) * 12).clamp(0, 1) * 0.9
    video = scene.video(t).clone()
    glaze(video, enlarged(shafts + patches, size), (1.0, 0.98, 0.62))
    motes, _ = dots(jitter.roll(2, dims=1), 14, size, 0.007)
    drift = scrolled(motes, -0.03 * times, axis=0)
    glaze(video, drift * 0.7, (1.0, 1.0, 0.78))
    return video
