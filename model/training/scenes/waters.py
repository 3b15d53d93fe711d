"""Settings at, on and under water."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from model.training.scenes.painting import Backdrop, dots, draw_clouds, enlarged, glaze, grain, mix, mottle, scrolled


def beach(jitter: Tensor, times: Tensor, size: int) -> Tensor:
    scene = Backdrop(jitter, size)
    scene.gradient((0.45, 0.78, 0.95), (0.93, 0.96, 0.93), 0.0, 0.40)
    sun = 0.15 + 0.7 * scene.chance(1)
    scene.paint(scene.glow(sun, 0.14, 0.20, 0.18) * 0.35, (1.0, 0.98, 0.84))
    scene.paint(scene.disc(sun, 0.14, 0.07, 0.07), (1.0, 0.97, 0.75))
    sand = scene.ramp((0.97, 0.88, 0.65), (0.90, 0.77, 0.50), 0.6, 1.0)
    ripples = mottle(scene.y * 3.5, scene.x, 30, scene.chance(5))[:, None]
    sand = (sand * (1 + 0.03 * ripples) + grain(jitter, size, 0.05)).clamp(0, 1)
    scene.paint(scene.below(torch.full_like(scene.chance(0), 0.40)), (0.10, 0.52, 0.68))
    shallow = (scene.y > 0.40) * ((scene.y - 0.40) * 2.0).clamp(0, 1)
    scene.paint(shallow.expand(len(jitter), size, size), (0.22, 0.76, 0.80))
    scene.paint(scene.glow(0.5, 0.405, 9.0, 0.012) * 0.4, (0.84, 0.93, 0.94))
    video, time = scene.video(times.shape[1]), times[:, :, None, None]

    sea = scene.rows(0.40, 0.72)
    y, x = scene.y[:, None, sea], scene.x[:, None]
    far = (y - 0.40).clamp(min=0)
    swell = torch.sin(
        2 * math.pi * (19.8 * far**0.8 + 0.35 * time) + 3 * torch.sin(x * 7 + scene.chance(2)[:, None] * 6)
    )
    glaze(video[..., sea, :], ((swell - 0.72) * 4).clamp(0, 1) * 0.85, (0.95, 0.99, 1.0))
    path = torch.exp(-(((x - sun[:, None]) / (0.05 + 0.5 * far)) ** 2)) * min(1.0, size / 128)
    glint = torch.sin(x * 90 + 130 * far.sqrt() + 1.3 * time) * torch.sin(x * 53 - 240 * far.sqrt() + 1.9 * time)
    glaze(video[..., sea, :], ((glint - 0.45) * 4).clamp(0, 1) * path * 0.8, (1.0, 0.99, 0.88))

    land = scene.rows(0.60, 1.0)
    y = scene.y[:, None, land]
    tide = 0.022 * torch.sin(2 * math.pi * (0.22 * time + scene.chance(3)[:, None]))
    shore = 0.66 + tide + 0.012 * scene.waves(4, 1.2)[:, None]
    beached = ((y - shore) * size / 1.2 + 0.5).clamp(0, 1)
    glaze(video[..., land, :], beached, sand[:, None, :, land])
    wet = scene.rows(0.60, 0.78)
    y = scene.y[:, None, wet]
    damp = ((0.70 + 0.012 * scene.waves(4, 1.2)[:, None] - y) / 0.03).clamp(0, 1) * (y > shore)
    glaze(video[..., wet, :], damp * 0.35, (0.72, 0.62, 0.46))
    foam = torch.exp(-(((y - shore + 0.012) / 0.014) ** 2))
    glaze(video[..., wet, :], foam * 0.95, (1.0, 1.0, 1.0))
    return video


def underwater(jitter: Tensor, times: Tensor, size: int) -> Tensor:
    scene = Backdrop(jitter, size)
    scene.gradient((0.16, 0.62, 0.74), (0.02, 0.22, 0.42), 0.0, 0.95)
    scene.paint(scene.below(0.80 + 0.05 * scene.waves(5, 1.1)) * 0.35, (0.10, 0.36, 0.50))
    pebbles = 1 + 0.16 * mottle(scene.y * 2.2, scene.x, 50, scene.chance(6))[:, None]
    bed = scene.ramp((0.52, 0.60, 0.48), (0.34, 0.42, 0.38), 0.86, 1.0) * pebbles
    ground = scene.below(0.87 + 0.025 * scene.waves(1, 0.9))
    scene.paint(ground, bed.clamp(0, 1))
    video, time = scene.video(times.shape[1]), times[:, :, None, None]

    coarse = Backdrop(jitter, min(size, 128))
    y, x = coarse.y[:, None], coarse.x[:, None]
    slant = x + 0.35 * y + coarse.chance(2)[:, None]
    rays = (torch.sin(slant * 19 + 0.5 * time) * torch.sin(slant * 31 - 0.37 * time)).clamp(min=0)
    glaze(video, enlarged(rays * (0.75 - y).clamp(0, 1) * 0.45, size), (0.75, 0.97, 0.95))
    floor = scene.rows(0.86, 1.0)
    y, x = scene.y[:, None, floor], scene.x[:, None]
    web = torch.sin(x * 38 + 2 * torch.sin(y * 90 + time)) + torch.sin(
        x * 23 - 110 * y + 2 * torch.sin(x * 9 + 0.8 * time)
    )
    glaze(video[..., floor, :], (0.35 - web.abs()).clamp(min=0) * 0.7 * ground[:, None, floor], (0.80, 0.98, 0.90))
    band = scene.rows(0.66, 0.94)
    y = scene.y[:, None, band]
    for i in range(4):
        root = (scene.chance(3 + i)[:, None] * 0.2 + 0.26 * i) % 1
        height = 0.16 + 0.10 * scene.chance(7 + i)[:, None]
        up = ((0.93 - y) / height).clamp(0, 1)
        stem = x - root - 0.035 * up * torch.sin(2 * math.pi * (0.25 * time + i * 0.3 + up * 0.8))
        blade = ((0.016 * (1.1 - up) - stem.abs()) * size + 0.5).clamp(0, 1) * (y > 0.93 - height) * (y < 0.93)
        glaze(
            video[..., band, :], blade, scene.ramp((0.16, 0.55, 0.30), (0.07, 0.38, 0.23), 0.68, 0.92)[:, None, :, band]
        )
    bubbles, _ = dots(jitter.roll(1, dims=1), 12, size, 0.014)
    hollow = bubbles * (1 - 0.35 * ((bubbles - 0.75) * 8).clamp(0, 1))
    rising = scrolled(hollow if size >= 128 else bubbles, -times * 0.14, axis=0)
    water = scene.rows(0, 0.9)
    glaze(video[..., water, :], rising[:, :, water] * 0.75, (0.80, 0.96, 1.0))
    return video


def lake(jitter: Tensor, times: Tensor, size: int) -> Tensor:
    scene, t, horizon = Backdrop(jitter, size), times.shape[1], 0.46
    scene.gradient((0.36, 0.60, 0.90), (1.0, 0.84, 0.74), 0.0, horizon)
    sun = 0.2 + 0.6 * scene.chance(1)
    scene.paint(scene.glow(sun, 0.34, 0.22, 0.16) * 0.7, (1.0, 0.93, 0.72))
    for i, (height, tall, colour) in enumerate(
        ((0.31, 0.16, (0.60, 0.62, 0.80)), (0.38, 0.10, (0.40, 0.46, 0.66)), (0.44, 0.035, (0.16, 0.34, 0.34)))
    ):
        crest = height - tall * scene.waves(2 + 3 * i, 0.75 + 0.5 * i, octaves=5 if i < 2 else 3).abs()
        if i == 2:
            crest = crest - 0.012 * torch.sin(scene.x * 190 + 5 * torch.sin(scene.x * 40)).abs()
        mist = ((scene.y - crest) / (horizon - height + tall)).clamp(0, 1)[:, None]
        face = mottle(scene.y * 0.7, scene.x + 0.8 * (scene.y - crest), 46, scene.chance(3))[:, None]
        rock = (scene.tint(colour) * (1 + 0.16 * face)).clamp(0, 1)
        scene.paint(scene.below(crest), mix(rock, scene.tint((0.86, 0.80, 0.84)), mist * (0.55 - 0.2 * i)))
        if i == 0:
            snow = scene.below(crest) * ((crest + 0.045 + 0.02 * face[:, 0] - scene.y) * size / 2 + 0.5).clamp(0, 1)
            scene.paint(snow * 0.9, (1.0, 0.97, 0.97))
    video = scene.video(t)
    draw_clouds(video, scene, times, 0.26, 0.8, (1.0, 0.95, 0.94), (0.74, 0.70, 0.82))

    rows = scene.rows(horizon, 0.84)
    y, x, time = scene.y[:, None, rows], scene.x[:, None], times[:, :, None, None]
    near = (y - horizon) / (0.84 - horizon)
    wave = torch.sin(52 * y.sqrt() * 4 - 2.4 * time + 2.2 * torch.sin(x * 9 + 40 * y + 0.7 * time))
    wave = wave * (0.004 + 0.030 * near)
    mirrored = 2 * horizon - (horizon + (y - horizon) * 1.02 + wave)
    grid = torch.stack([(2 * x - 1 + 0.35 * wave).expand_as(mirrored), 2 * mirrored - 1], -1)
    pool = F.grid_sample(video.flatten(0, 1), grid.flatten(0, 1), padding_mode="border", align_corners=False)
    pool = pool.unflatten(0, (-1, t))
    depth = (0.20 + 0.45 * near).expand(len(times), t, -1, size)
    glaze(pool, depth, (0.06, 0.36, 0.50))
    path = torch.exp(-(((x - sun[:, None]) / (0.05 + 0.16 * near)) ** 2))
    glint = ((torch.sin(x * 61 + 9 * wave / (0.01 + 0.03 * near) + time) * wave / (0.004 + 0.03 * near)) - 0.35) * 3
    glaze(pool, glint.clamp(0, 1) * (0.12 + 0.8 * path), (1.0, 0.97, 0.86))
    video[..., rows, :] = pool

    shore = 0.80 + 0.02 * scene.waves(6, 0.9)
    ground = scene.ramp((0.60, 0.55, 0.40), (0.34, 0.42, 0.22), 0.80, 0.93)
    stones = mottle(scene.y * 2.2, scene.x, 70, scene.chance(4))[:, None]
    ground = (ground * (1 + 0.14 * stones) + grain(jitter, size, 0.05)).clamp(0, 1)
    land = scene.rows(0.76, 1.0)
    glaze(video[..., land, :], scene.below(shore)[:, None, land], ground[:, None, :, land])
    rim = torch.exp(-((((scene.y - shore)[:, None] + 0.006 + 0.006 * torch.sin(1.6 * time + x * 5)) / 0.007) ** 2))
    band = scene.rows(0.74, 0.86)
    glaze(video[..., band, :], rim[:, :, band] * 0.75, (0.93, 0.97, 1.0))
    side = torch.where(scene.chance(7) < 0.5, 0.02, 0.82)
    band = scene.rows(0.58, 0.92)
    reed = torch.arange(7, device=jitter.device)
    chances = [jitter[:, None, (column + reed) % jitter.shape[1], None, None] for column in (5, 8, 9)]
    y, x, time = scene.y[:, None, None, band], scene.x[:, None, None], times[:, :, None, None, None]
    root = side[:, None, None] + 0.16 * ((chances[1] + 0.29 * reed[:, None, None]) % 1)
    up = ((0.90 - y) / (0.20 + 0.10 * chances[2])).clamp(0, 1.001)
    lean = 0.05 * (chances[0] - 0.5 + 0.4 * torch.sin(1.1 * time + reed[:, None, None]))
    thick = torch.where((up > 0.72) & (up < 0.95), 0.011, 0.005)
    visible = (2 * thick * size).clamp(max=1) * (up <= 1) * (y < 0.90)
    stem = (x - root - lean * up**2).abs()
    cover = (((thick - stem) * size + 0.5).clamp(0, 1) * visible).amax(2)
    glaze(video[..., band, :], cover, (0.25, 0.30, 0.12))
    return video
