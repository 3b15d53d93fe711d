"""Settings in the dark or at dusk, with lights of their own."""

import math

import torch
from torch import Tensor

from model.training.scenes.painting import (
    Backdrop,
    chance_of,
    clouds,
    dots,
    glaze,
    grain,
    mix,
    mottle,
    puffs,
    scrolled,
)


def night_sky(jitter: Tensor, times: Tensor, size: int) -> Tensor:
    scene = Backdrop(jitter, size)
    scene.gradient((0.03, 0.04, 0.16), (0.15, 0.13, 0.38), 0.0, 0.95)
    moon = (0.2 + 0.6 * scene.chance(1), 0.16)
    milky = torch.exp(-(((scene.y - 0.42 + 0.5 * (scene.x - 0.5) * torch.sign(scene.chance(2) - 0.5)) / 0.16) ** 2))
    mist = mottle(scene.y, scene.x, 11, scene.chance(5)).clamp(0, 1)
    scene.paint(milky * (0.05 + 0.12 * mist), (0.62, 0.60, 0.92))
    scene.paint(scene.glow(*moon, 0.19, 0.19) * 0.20, (0.70, 0.72, 0.90))
    crescent = scene.disc(*moon, 0.085, 0.085) * (1 - scene.disc(moon[0] + 0.045, 0.135, 0.075, 0.075))
    scene.paint(crescent, (0.99, 0.96, 0.80))
    hills = scene.below(0.89 + 0.035 * scene.waves(6, 0.7))
    scene.paint(scene.below(0.855 + 0.03 * scene.waves(3, 0.9)) * 0.6, (0.07, 0.07, 0.20))
    scene.paint(hills, (0.03, 0.05, 0.09))
    stars, phase = dots(jitter, 34, size, 0.011)
    sky = scene.rows(0, 0.86)
    stars = (stars * (scene.y < 0.86) * (1 - hills))[:, None, sky]
    twinkle = 0.55 + 0.45 * torch.sin(2 * math.pi * (times[:, :, None, None] * 0.8 + phase[:, None, sky] * 3))
    video = scene.video(times.shape[1])
    glaze(video[..., sky, :], stars * twinkle, (1.0, 0.99, 0.88))
    return video


def volcano(jitter: Tensor, times: Tensor, size: int) -> Tensor:
    scene, t = Backdrop(jitter, size), times.shape[1]
    cx, top = 0.34 + 0.32 * scene.chance(1), 0.26
    scene.gradient((0.20, 0.13, 0.22), (0.93, 0.46, 0.22), 0.0, 0.72)
    scene.paint(scene.glow(cx, 0.2, 0.26, 0.18) * 0.75, (1.0, 0.50, 0.18))
    scene.paint(scene.below(0.62 + 0.05 * scene.waves(2, 1.1, octaves=4)), (0.46, 0.25, 0.22))
    fall = (scene.y - top).clamp(min=0)
    across = scene.x - cx
    half = (
        0.055
        + 1.05 * fall**1.5
        + 0.12 * fall
        + (0.008 * torch.sin(scene.y * 43) + 0.005 * torch.sin(scene.y * 97)) * fall * 4
    )
    cone = ((half - across.abs()) * size + 0.5).clamp(0, 1) * scene.below(top + 0.012 * torch.cos(across * 60))
    gully = mottle(scene.y * 0.4, across / (half + 0.05), 9, scene.chance(3))[:, None]
    glow = torch.exp(-fall * 5)[:, None] * scene.tint((0.34, 0.10, 0.02))
    rock = scene.tint((0.21, 0.15, 0.17)) * (1 + 0.30 * gully - 0.35 * torch.sigmoid(across * 40)[:, None]) + glow
    scene.paint(cone, rock.clamp(0, 1))
    edge = 0.75 + 0.012 * scene.waves(4, 1.3)
    plain = scene.ramp((0.30, 0.17, 0.15), (0.13, 0.10, 0.12), 0.75, 1.0)
    rubble = mottle(scene.y * 2.4, scene.x, 48, scene.chance(5))
    warm = scene.glow(cx, 0.75, 0.35, 0.13)[:, None] * scene.tint((0.40, 0.14, 0.03))
    scene.paint(scene.below(edge), (plain * (1 + 0.28 * rubble[:, None]) + warm).clamp(0, 1))

    video, time = scene.video(t), times[:, :, None, None]
    streams = torch.zeros_like(cone)
    for i, lean in enumerate((-0.42, 0.10, 0.55)):
        path = (
            cx
            + lean * fall**1.15
            + 0.02 * torch.sin(scene.y * (17 + 4 * i) + scene.chance(6 + i) * 6) * (fall * 6).clamp(0, 1)
        )
        end = 0.62 + 0.16 * scene.chance(7 + i)
        width = 0.020 + 0.020 * fall
        flowing = ((end - scene.y) * 9).clamp(0, 1) * scene.below(torch.full_like(cx, top))
        streams = torch.maximum(streams, torch.exp(-(((scene.x - path) / width) ** 2)) * flowing)
    wide = max(0.125, 16 / size)  # no finer than pixels, but then paler
    cracks = (1 - mottle(scene.y * 2.6, scene.x, 13, scene.chance(8), octaves=2).abs() / wide).clamp(0, 1)
    cracks = cracks * scene.below(edge + 0.02) * (0.125 / wide) ** 0.75
    heat = torch.maximum(streams, cracks * 0.75)[:, None]
    y, x = scene.y[:, None], scene.x[:, None]
    pulse = 0.72 + 0.28 * torch.sin(46 * y.clamp(min=top) - 5.0 * time) * torch.sin(19 * y - 2.3 * time)
    band = scene.rows(top - 0.02, 1.0)
    glaze(video[..., band, :], (heat * pulse)[:, :, band].sqrt().clamp(0, 1) * 0.95, (0.98, 0.30, 0.04))
    glaze(video[..., band, :], ((heat * pulse)[:, :, band] * 2 - 1.0).clamp(0, 1), (1.0, 0.90, 0.42))

    k = torch.arange(11, device=times.device)
    age = (times[..., None] * 0.11 + k / 11 + scene.jitter[:, 9, None, None]) % 1
    sway = 0.03 * torch.sin(k * 2.4 + 0.8 * times[..., None])
    band = scene.rows(0, 0.34)
    rise = (cx + 0.42 * age**1.5 + sway, 0.23 - 0.27 * age**0.8 + 0.02 * torch.sin(k * 4.1))
    smoke = puffs(scene, band, *rise, 0.045 + 0.12 * age, 1.6 * (age * 8).clamp(0, 1) * (1 - age) ** 0.4)
    glaze(
        video[..., band, :], smoke * 0.95, scene.ramp((0.34, 0.31, 0.35), (0.66, 0.40, 0.32), 0.02, 0.24)[..., band, :]
    )
    lit = puffs(scene, band, rise[0] - 0.3 * (0.045 + 0.1 * age), rise[1] - 0.03, 0.02 + 0.05 * age, 0.5 * (1 - age))
    glaze(video[..., band, :], lit * smoke * 0.55, (0.72, 0.56, 0.52))

    band = scene.rows(0.06, top + 0.03)
    y = y[:, :, band]
    up = ((top + 0.02 - y) / (0.15 + 0.03 * torch.sin(7 * time) * torch.sin(4.3 * time + 1))).clamp(0, 1)
    lick = x - cx[:, None] - 0.018 * torch.sin(30 * y + 9 * time) * up - 0.012 * torch.sin(55 * y + 13 * time) * up
    flame = (1 - up) ** 0.7 * 0.05 - lick.abs()
    glaze(video[..., band, :], (flame * 60).clamp(0, 1) * (1 - up), (1.0, 0.42, 0.06))
    glaze(video[..., band, :], ((flame - 0.012) * 60).clamp(0, 1) * (1 - up), (1.0, 0.88, 0.40))
    embers, _ = dots(jitter.roll(1, dims=1), 16, size, 0.006)
    glaze(video, scrolled(embers, -0.10 * times, axis=0) * (scene.y < 0.8)[:, None], (1.0, 0.66, 0.20))
    return video


def city(jitter: Tensor, times: Tensor, size: int) -> Tensor:
    scene, t = Backdrop(jitter, size), times.shape[1]
    vx, vy, wall, eye = 0.42 + 0.16 * scene.chance(1), 0.46, 0.50, 0.38
    scene.gradient((0.34, 0.36, 0.66), (1.0, 0.74, 0.58), 0.0, vy)
    far = vy - 0.10 - 0.12 * chance_of((scene.x * 17).floor(), torch.zeros(()), scene.chance(2))
    scene.paint(scene.below(far), scene.ramp((0.66, 0.52, 0.66), (0.86, 0.64, 0.62), 0.2, vy))
    sky = 1 - scene.below(far)

    aside = (scene.x - vx).abs().clamp(min=1e-3)
    z = wall / aside
    side = (scene.x > vx).float()
    house = (z * 1.1 + 0.6 * side + scene.chance(3)).floor()
    tone = chance_of(house, side, scene.chance(4))
    tall = 0.62 + 0.75 * chance_of(house + 3, side, scene.chance(4))
    up = (vy - scene.y) * z  # height above the eye, in the wall's own measure
    walls = scene.below(vy - tall / z) * (1 - scene.below(vy + eye / z)) * (z < 9)
    haze = ((z - 1) / 8).clamp(0, 1)[:, None] ** 0.8
    paint = mix(scene.tint((0.20, 0.22, 0.34)), scene.tint((0.44, 0.32, 0.36)), tone[:, None])
    paint = paint * (1.12 - 0.30 * side[:, None])
    scene.paint(walls, mix(paint, scene.tint((0.88, 0.66, 0.62)), haze * 0.8))
    sky = sky * (1 - walls)

    column, storey = z * 4.0 + scene.chance(3), (up + eye) * 5.0
    sharp = (1.6 - z / 6).clamp(0, 1)
    pane_x = ((0.30 - (column % 1 - 0.5).abs()) * size / (4.0 * z / aside) + 0.5).clamp(0, 1)
    pane_y = ((0.28 - (storey % 1 - 0.5).abs()) * size / (5.0 * z) + 0.5).clamp(0, 1)
    pane = pane_x * pane_y * walls * sharp * (tall - up > 0.06) * (storey > 1)
    draw = chance_of(column.floor() + 40 * side, storey.floor(), scene.chance(5))
    scene.paint(pane * (draw <= 0.45), (0.30, 0.36, 0.52))

    street = scene.below(vy + eye / z) * (scene.y > vy)
    depth = eye / (scene.y - vy).clamp(min=1e-3)
    over_x = (scene.x - vx) * depth
    road = mix(scene.tint((0.28, 0.28, 0.33)), scene.tint((0.74, 0.58, 0.58)), ((depth - 1) / 8).clamp(0, 1)[:, None])
    scene.paint(street, (road + grain(jitter, size, 0.04)).clamp(0, 1))
    pixel = depth / size
    pavement = ((over_x.abs() - 0.37) / pixel + 0.5).clamp(0, 1) * street
    slabs = 1 - 0.12 * (((depth * 3) % 1) < 0.08).float()[:, None]
    scene.paint(pavement, mix(scene.tint((0.56, 0.52, 0.56)) * slabs, scene.tint((0.85, 0.66, 0.62)), haze * 0.6))
    kerb = ((0.010 - (over_x.abs() - 0.37).abs()) / pixel + 0.5).clamp(0, 1) * street
    scene.paint(kerb, (0.80, 0.76, 0.76))
    dash = (
        ((0.016 - over_x.abs()) / pixel + 0.5).clamp(0, 1)
        * (((depth * 1.6) % 1) < 0.5)
        * street
        * (scene.y > vy + 0.04)
    )
    scene.paint(dash, (0.96, 0.92, 0.80))

    video, time = scene.video(t), times[:, :, None, None]
    rows, cover, under = clouds(scene, times, 0.3)
    cover = cover * sky[:, None, rows]
    glaze(video[..., rows, :], cover * 0.75, (1.0, 0.84, 0.78))
    glaze(video[..., rows, :], cover * under * 0.4, (0.72, 0.50, 0.62))
    houses = scene.rows(0, 0.86)
    glimmer = 0.82 + 0.18 * (6 * torch.sin(time * 0.7 + draw[:, None, houses] * 60)).clamp(-1, 1)
    glaze(video[..., houses, :], (pane * (draw > 0.45))[:, None, houses] * glimmer, (1.0, 0.84, 0.42))
    k = torch.arange(4, device=times.device)
    gone = (times[..., None] * 0.22 + k / 4 + scene.jitter[:, 6, None, None]) % 1
    band = scene.rows(vy, 0.80)
    for lane, colour, away in ((0.2, (1.0, 0.24, 0.16), gone), (-0.2, (1.0, 0.97, 0.82), 1 - gone)):
        distance = 1.4 + 7 * away**1.5
        for lamp in (-0.05, 0.05):
            place = (vx + (lane + lamp) / distance, vy + 0.72 * eye / distance)
            lamps = puffs(scene, band, *place, 0.018 / distance + 0.002, ((1 - away) * away * 12).clamp(0, 1))
            glaze(video[..., band, :], lamps, colour)
    return video
