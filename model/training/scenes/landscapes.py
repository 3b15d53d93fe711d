"""Settings on dry land by day."""

import math

import torch
from torch import Tensor

from model.training.scenes.painting import (
    Backdrop,
    chance_of,
    dots,
    draw_clouds,
    enlarged,
    glaze,
    grain,
    mix,
    mottle,
    scrolled,
)


def meadow(jitter: Tensor, times: Tensor, size: int) -> Tensor:
    scene = Backdrop(jitter, size)
    scene.gradient((0.42, 0.70, 0.96), (0.80, 0.92, 1.0), 0.0, 0.55)
    crest = 0.50 + 0.05 * scene.waves(0, 0.8)
    woods = 0.10 * mottle(scene.y * 2, scene.x, 40, scene.chance(2))[:, None]
    scene.paint(scene.below(crest), (scene.tint((0.46, 0.72, 0.42)) * (1 + woods + 0.16 * scene.lit(crest, 0.0, 0.08))))
    near = 0.58 + 0.04 * scene.waves(3, 0.6)
    scene.paint(scene.below(crest) * ((scene.y - crest) / 0.14).clamp(0, 1) * 0.35, (0.76, 0.89, 0.80))
    grass = scene.ramp((0.48, 0.80, 0.34), (0.24, 0.56, 0.18), 0.55, 1.0)
    blades = mottle(scene.y * 0.8, scene.x * 2.2, 70, scene.chance(1))[:, None]
    tufts = mottle(scene.y * 2.5, scene.x, 17, scene.chance(9), octaves=2)[:, None]
    light = 1 + 0.07 * blades + 0.05 * tufts + 0.14 * scene.lit(near, 0.0, 0.12)
    scene.paint(scene.below(near), (grass * light + grain(jitter, size, 0.12)).clamp(0, 1))
    flowers, phase = dots(jitter, 26, size, 0.012)
    flowers = flowers * (scene.y > 0.62)
    scene.paint(flowers * (phase > 0.5), (0.99, 0.95, 0.55))
    scene.paint(flowers * (phase <= 0.5), (0.98, 0.98, 0.98))
    video = scene.video(times.shape[1])
    draw_clouds(video, scene, times, 0.4, 0.9, (1.0, 1.0, 1.0), (0.66, 0.76, 0.88))
    return video


def desert(jitter: Tensor, times: Tensor, size: int) -> Tensor:
    scene = Backdrop(jitter, size)
    scene.gradient((0.98, 0.66, 0.38), (1.0, 0.90, 0.68), 0.0, 0.55)
    sun = 0.2 + 0.6 * scene.chance(1)
    scene.paint(scene.glow(sun, 0.22, 0.22, 0.20) * 0.4, (1.0, 0.93, 0.66))
    scene.paint(scene.disc(sun, 0.22, 0.09, 0.09), (1.0, 0.96, 0.72))
    dunes = ((0.52, (0.86, 0.58, 0.34)), (0.60, (0.91, 0.68, 0.42)), (0.72, (0.95, 0.78, 0.52)))
    for i, (height, colour) in enumerate(dunes):
        crest = height + 0.05 * scene.waves(2 + 3 * i, 0.6 + 0.2 * i, octaves=2)
        depth = (scene.y - crest).clamp(min=0)
        ripple = torch.sin(210 * (depth + 0.02).sqrt() + 4 * torch.sin(scene.x * 6) + 9 * scene.x)[:, None]
        sand = scene.tint(colour) + 0.022 * ripple * min(1.0, size / 128) * (i > 0)
        scene.paint(scene.below(crest), (sand + 0.20 * scene.lit(crest, sun, 0.10)).clamp(0, 1))
        if i < 2:
            scene.paint(scene.below(crest) * (depth / 0.12).clamp(0, 1) * 0.3, (0.99, 0.84, 0.60))
    cx = 0.08 + 0.12 * scene.chance(9) + 0.7 * (scene.chance(10) > 0.5)
    scene.paint(scene.glow(cx + 0.05 * torch.sign(cx - sun), 0.71, 0.07, 0.012) * 0.3, (0.45, 0.26, 0.16))
    arms = ((0.0, 0.58, 0.022, 0.13), (-0.04, 0.55, 0.014, 0.06), (0.04, 0.52, 0.014, 0.06))
    for dx, cy, rx, ry in arms:
        side = ((scene.x - cx - dx) / rx).clamp(-1, 1) * torch.sign(sun - cx)
        flutes = 0.16 * torch.sin(side * 9) * min(1.0, size / 128)
        scene.paint(
            scene.disc(cx + dx, cy, rx, ry), scene.tint((0.22, 0.44, 0.24)) * (1 + 0.3 * side + flutes)[:, None]
        )
    video = scene.video(times.shape[1])
    air = video[..., scene.rows(0, 0.55), :]
    shimmer = torch.sin(2 * math.pi * (scene.y[0, : air.shape[-2], 0] * 14 + times[..., None] * 0.7))
    air.add_(0.02 * shimmer[:, :, None, :, None]).clamp_(0, 1)
    return video


def snowfall(jitter: Tensor, times: Tensor, size: int) -> Tensor:
    scene = Backdrop(jitter, size)
    scene.gradient((0.50, 0.58, 0.70), (0.76, 0.82, 0.89), 0.0, 0.65)
    needles = 0.22 * mottle(scene.y, scene.x, 90, scene.chance(2))[:, None]
    tree = torch.arange(5, device=jitter.device)
    places = ((jitter[:, 4 + tree] * 0.2 + tree * 0.22) % 1.05)[:, :, None]
    nearest = (scene.x - places).abs().argmin(1, keepdim=True)
    beside = scene.x - torch.gather(places.expand(-1, -1, size), 1, nearest)
    for level in range(3):
        top, half = 0.44 + 0.075 * level, 0.035 + 0.018 * level
        inside = ((scene.y - top) * half / 0.11 - beside.abs()) * size
        tier = (inside + 0.5).clamp(0, 1) * (scene.y < top + 0.11)
        scene.paint(tier, scene.tint((0.24, 0.38, 0.38)) * (1 + needles))
        laden = ((scene.y - top) / 0.11 + 0.5 * beside / half - 0.55).clamp(0, 0.5)
        scene.paint(tier * laden * (0.5 - needles[:, 0]), (0.90, 0.95, 1.0))
    scene.paint(((scene.y - 0.50) / 0.2).clamp(0, 1) * 0.35, (0.80, 0.86, 0.93))
    crest = 0.66 + 0.03 * scene.waves(1, 0.7)
    ground = scene.ramp((0.93, 0.96, 1.0), (0.78, 0.85, 0.95), 0.65, 1.0)
    drifts = 0.020 * mottle(scene.y * 3, scene.x, 16, scene.chance(3))[:, None]
    scene.paint(scene.below(crest), (ground + drifts + 0.12 * scene.lit(crest, 1.0, 0.1)).clamp(0, 1))
    video = scene.video(times.shape[1])
    for layer, (count, radius, speed) in enumerate(((30, 0.011, 0.16), (18, 0.017, 0.26))):
        flakes, _ = dots(jitter.roll(layer + 1, dims=1), count, size, radius)
        glaze(video, scrolled(flakes, times * speed, axis=0), (1.0, 1.0, 1.0))
    return video


def mountain_road(jitter: Tensor, times: Tensor, size: int) -> Tensor:
    scene = Backdrop(jitter, size)
    scene.gradient((0.50, 0.74, 0.95), (0.88, 0.94, 0.98), 0.0, 0.55)
    for i, (base, colour) in enumerate(((0.0, (0.50, 0.56, 0.70)), (0.22, (0.42, 0.47, 0.60)))):
        for peak in range(2):
            cx = 0.15 + 0.55 * peak + base + 0.2 * (scene.chance(2 + 2 * i + peak) - 0.5)
            top = 0.12 + 0.12 * scene.chance(6 + 2 * i + peak) + 0.08 * i
            rough = 0.015 * torch.sin(scene.y * 60 + peak * 2) + 0.01 * torch.sin(scene.y * 131)
            half = (scene.y - top) * 0.62 + rough * ((scene.y - top) * 12).clamp(0, 1)
            inside = ((half - (scene.x - cx).abs()) * size + 0.5).clamp(0, 1)
            ridge = scene.x - cx + 0.02 * torch.sin(scene.y * 45 + peak)
            rock = mottle(scene.y - (scene.x - cx).abs(), scene.x, 44, scene.chance(2 + peak))
            shade = 1 - 0.16 * torch.sigmoid(ridge * size) + 0.07 * rock
            scene.paint(inside, scene.tint(colour) * shade[:, None])
            line = top + 0.10 + 0.02 * torch.sin(scene.x * 70) + 0.02 * rock
            snow = inside * ((line - scene.y) * size + 0.5).clamp(0, 1)
            scene.paint(snow, (scene.tint((0.97, 0.98, 1.0)) * (0.5 + 0.5 * shade[:, None])).clamp(0, 1))
            scene.paint(inside * ((scene.y - 0.38) / 0.22).clamp(0, 1) * (0.40 - 0.15 * i), (0.84, 0.90, 0.96))
    crest = 0.60 + 0.015 * scene.waves(9, 1.0)
    turf = mottle(scene.y * 2.5, scene.x, 60, scene.chance(3))[:, None]
    scene.paint(scene.below(crest), (scene.tint((0.40, 0.52, 0.30)) * (1 + 0.12 * turf)).clamp(0, 1))
    worn = torch.exp(-(((scene.y - 0.775) / 0.02) ** 2)) + torch.exp(-(((scene.y - 0.875) / 0.02) ** 2))
    asphalt = scene.tint((0.36, 0.36, 0.39)) * (1 - 0.06 * worn[:, None]) + grain(jitter, size, 0.03)
    scene.paint(scene.below(torch.full_like(scene.chance(0), 0.70)), asphalt)
    gravel = scene.tint((0.46, 0.42, 0.34)) * (1 + 0.14 * turf) + grain(jitter, size, 0.05)
    scene.paint(scene.below(torch.full_like(scene.chance(0), 0.94)), gravel.clamp(0, 1))
    edge = ((scene.y - 0.715).abs() < 0.008) | ((scene.y - 0.925).abs() < 0.008)
    scene.paint(edge.float().expand(len(jitter), size, size), (0.92, 0.92, 0.90))
    dash = ((scene.y - 0.82).abs() < 0.011) & (((scene.x + scene.chance(11)) * 5) % 1 < 0.55)
    scene.paint(dash.float(), (0.97, 0.86, 0.35))
    video = scene.video(times.shape[1])
    draw_clouds(video, scene, times, 0.25, 0.85, (1.0, 1.0, 1.0), (0.70, 0.78, 0.90))
    return video


def countryside(jitter: Tensor, times: Tensor, size: int) -> Tensor:
    scene = Backdrop(jitter, size)
    scene.gradient((0.56, 0.76, 0.93), (0.96, 0.93, 0.80), 0.0, 0.50)
    fields = ((0.44, (0.62, 0.70, 0.36)), (0.52, (0.86, 0.76, 0.36)), (0.60, (0.55, 0.62, 0.28)))
    for i, (height, colour) in enumerate(fields):
        crest = height + 0.035 * scene.waves(2 + i, 0.6, octaves=2)
        across = scene.x * (18 - 5 * i) + (scene.y - crest) * 9 * (1 - 2 * (i % 2))
        light = 0.07 * torch.sin(across * 2 * math.pi)[:, None] + 0.10 * scene.lit(crest, 0.0, 0.1)
        crop = 0.035 * mottle(scene.y * 2, scene.x, 80, scene.chance(2 + i))[:, None]
        scene.paint(scene.below(crest), (scene.tint(colour) + light + crop).clamp(0, 1))
        scene.paint(scene.below(crest) * (0.30 - 0.14 * i), (0.90, 0.90, 0.80))
    hx = 0.12 + 0.2 * scene.chance(6) + 0.5 * (scene.chance(7) > 0.5)
    wall = ((0.065 - (scene.x - hx).abs()) * size + 0.5).clamp(0, 1) * (scene.y > 0.43) * (scene.y < 0.53)
    scene.paint(wall, scene.tint((0.96, 0.93, 0.86)) * (1 - 1.5 * (scene.x - hx).clamp(-0.02, 0.08))[:, None])
    roof = (((scene.y - 0.35) * 0.95 - (scene.x - hx).abs()) * size + 0.5).clamp(0, 1) * (scene.y < 0.44)
    tiles = 0.10 * torch.sin(scene.y * 420) * min(1.0, size / 256) - 1.5 * (scene.x - hx)
    scene.paint(roof, scene.tint((0.66, 0.28, 0.20)) * (1 + tiles.clamp(-0.2, 0.2))[:, None])
    scene.paint(scene.disc(hx, 0.50, 0.016, 0.035), (0.40, 0.26, 0.16))
    leaves = mottle(scene.y, scene.x, 70, scene.chance(8))
    for i in range(3):
        cx = (hx + 0.22 + 0.2 * i + 0.1 * scene.chance(8 + i)) % 1.1
        scene.paint(scene.disc(cx, 0.53, 0.012, 0.05), (0.36, 0.25, 0.15))
        crown = 1 - 4.0 * (scene.x - cx + 0.8 * (scene.y - 0.45)).clamp(-0.08, 0.08) + 0.18 * leaves
        scene.paint(scene.disc(cx, 0.45, 0.055, 0.065), scene.tint((0.22, 0.42, 0.18)) * crown[:, None])
    path = scene.ramp((0.83, 0.70, 0.50), (0.70, 0.56, 0.38), 0.72, 1.0)
    ruts = 1 + 0.05 * mottle(scene.y * 3.5, scene.x, 30, scene.chance(3))[:, None]
    scene.paint(scene.below(0.71 + 0.012 * scene.waves(12, 0.8)), (path * ruts + grain(jitter, size, 0.06)).clamp(0, 1))
    verge = scene.tint((0.45, 0.54, 0.24)) * (1 + 0.12 * leaves[:, None])
    scene.paint(scene.below(0.94 + 0.01 * scene.waves(13, 1.5)), verge)
    video = scene.video(times.shape[1])
    draw_clouds(video, scene, times, 0.3, 0.8, (1.0, 0.99, 0.95), (0.78, 0.80, 0.84))
    return video


def forest(jitter: Tensor, times: Tensor, size: int) -> Tensor:
    scene, t = Backdrop(jitter, size), times.shape[1]
    scene.gradient((0.62, 0.80, 0.42), (0.90, 0.96, 0.72), 0.0, 0.62)
    bare = scene.below(0.66 + 0.02 * scene.waves(0, 0.7))
    moss = mottle(scene.y * 2.6, scene.x, 60, scene.chance(7))[:, None]
    ground = scene.ramp((0.56, 0.70, 0.32), (0.15, 0.30, 0.10), 0.66, 0.95) * (1 + 0.10 * moss)
    scene.paint(bare, (ground + grain(jitter, size, 0.04)).clamp(0, 1))
    for nearness, count, width, foot, colour in (
        (0.0, 8, 0.010, 0.67, (0.62, 0.74, 0.48)),
        (0.5, 6, 0.019, 0.71, (0.36, 0.46, 0.28)),
        (1.0, 4, 0.044, 0.80, (0.23, 0.17, 0.11)),
    ):
        trunks, light = _trunks(scene, count, width, foot, aside=0.06 * (nearness == 1))
        scene.paint(trunks, (scene.tint(colour) * light).clamp(0, 1))
        bare = bare * (1 - trunks)
        leaves = mottle(scene.y * 1.2, scene.x, 30 - 14 * nearness, scene.chance(5) + count)
        low = 0.26 + 0.04 * nearness - 0.11 * nearness * (1 - (2 * scene.x - 1).abs())
        canopy = ((low - scene.y + 0.08 * leaves) * size / 2.5 + 0.5).clamp(0, 1)
        speckle = mottle(scene.y, scene.x * 1.3, 75, scene.chance(6) + count)[:, None]
        green = mix(
            scene.tint((0.55, 0.73, 0.33)), scene.tint((0.12, 0.30, 0.10)), torch.tensor(nearness, device=jitter.device)
        )
        scene.paint(canopy * 0.95, (green * (1 + 0.30 * speckle)).clamp(0, 1))

    coarse = Backdrop(jitter, min(size, 64))
    y, x, time = coarse.y[:, None], coarse.x[:, None], times[:, :, None, None]
    slant = x - 0.45 * y + 0.012 * torch.sin(0.9 * time)
    shafts = torch.sin(slant * 15 + coarse.chance(8)[:, None] * 6 + 0.25 * time) * torch.sin(slant * 23 - 0.4 * time)
    shafts = (shafts + 0.15).clamp(min=0) * (0.95 - y).clamp(0, 0.8) * 0.62
    patches = mottle(y * 3.0, x - 0.03 * torch.sin(0.6 * time), 11, coarse.chance(9)[:, None], octaves=2)
    patches = (patches - 0.12).clamp(0, 0.7) * 0.9
    video = scene.video(t)
    glaze(video, enlarged(shafts, size), (1.0, 0.98, 0.62))
    floor = scene.rows(0.62, 1)
    glaze(video[..., floor, :], (enlarged(patches, size) * bare[:, None])[:, :, floor], (1.0, 0.98, 0.62))
    motes, _ = dots(jitter.roll(2, dims=1), 14, size, 0.007)
    glaze(video, scrolled(motes, -0.03 * times, axis=0) * 0.7, (1.0, 1.0, 0.78))
    return video


def _trunks(scene: Backdrop, count: int, width: float, foot: float, aside: float) -> tuple[Tensor, Tensor]:
    """A row of trunks, `aside` of the middle: coverage (n, h, w) and light (n, 1, h, w)."""
    i = torch.arange(count, device=scene.image.device)[None, :, None, None]
    y, x, chance = scene.y[:, None], scene.x[:, None], scene.chance(2)[:, None]
    place = (i + 0.25 + 0.5 * chance_of(i, chance * 50, width)) / count + aside * (2 * (i >= count / 2) - 1)
    bend = 0.012 * torch.sin(y * 7 + i * 2 + scene.chance(4)[:, None] * 6)
    flare = 0.30 * ((y - foot + 0.10) * 10).clamp(0, 1) ** 2 - 0.25 * (0.7 - y).clamp(0, 1)
    across = (x - place - bend) / (width * (1 + flare))
    end = foot + 0.012 * (1 - across.clamp(-1, 1) ** 2) + 0.02 * (chance_of(i, chance * 50) - 0.5)
    trunk = ((1 - across.abs()) * width * scene.size + 0.5).clamp(0, 1) * ((end - y) * scene.size + 0.5).clamp(0, 1)
    bark = 0.22 * torch.sin(across * 9 + 3 * torch.sin(y * 30 + i)) * min(1.0, width * scene.size / 4)
    light = 1.0 - 0.42 * across.clamp(-1, 1) + bark
    cover, front = trunk.max(1, keepdim=True)
    return cover[:, 0], torch.gather(light.expand_as(trunk), 1, front)
