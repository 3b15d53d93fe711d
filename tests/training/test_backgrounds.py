"""The settings: told apart at a glance, alive where they should be, and the same whenever they are drawn."""

import pytest
import torch
import torch.nn.functional as F

from model.training.scenes.attributes import JITTERS, SETTINGS
from model.training.scenes.backgrounds import GROUND, PAINTERS
from model.training.scenes.painting import Backdrop, clouds, mottle, scrolled

MOVING = {
    "meadow": (0.0, 0.4),
    "beach": (0.42, 0.70),
    "night sky": (0.0, 0.8),
    "desert": (0.0, 0.5),
    "snowfall": (0.0, 1.0),
    "mountain road": (0.0, 0.3),
    "countryside": (0.0, 0.35),
    "underwater": (0.0, 0.75),
    "forest": (0.0, 0.4),
    "lake": (0.50, 0.78),
    "volcano": (0.05, 0.7),
    "city": (0.45, 0.8),
}
"""From which height to which each setting has something that moves."""
STILL = {
    "meadow": (0.6, 1.0),
    "beach": (0.80, 1.0),
    "desert": (0.6, 1.0),
    "mountain road": (0.4, 1.0),
    "countryside": (0.4, 1.0),
    "lake": (0.92, 1.0),
    "city": (0.9, 1.0),
}
"""Where nothing moves."""


def paint(
    name: str, clips: int = 3, moments: tuple[float, ...] = (0.0, 1.3), size: int = 32, seed: int = 0
) -> torch.Tensor:
    jitter = torch.rand(clips, JITTERS, generator=torch.Generator().manual_seed(seed))
    return PAINTERS[name](jitter, torch.tensor(moments).expand(clips, -1), size)


def band(video: torch.Tensor, heights: tuple[float, float]) -> torch.Tensor:
    top, bottom = (round(height * video.shape[-2]) for height in heights)
    return video[..., top:bottom, :]


def glance(name: str, clips: int, seed: int) -> torch.Tensor:
    """What is left of each picture (clips, d) when a subject hides its middle and details are lost."""
    coarse = F.adaptive_avg_pool2d(paint(name, clips, (0.7,), seed=seed)[:, 0], 8)
    coarse[:, :, 2:6, 2:6] = 0
    return coarse.flatten(1)


def test_every_setting_has_a_painter_and_a_ground() -> None:
    assert set(PAINTERS) == set(GROUND) == set(SETTINGS)
    assert {"forest", "lake", "volcano", "city"} <= set(SETTINGS)


def test_settings_are_told_apart_at_a_glance() -> None:
    usual = torch.stack([glance(name, 8, seed=1).mean(0) for name in SETTINGS])
    apart = torch.cdist(usual, usual) + 99 * torch.eye(len(SETTINGS))
    for i, name in enumerate(SETTINGS):
        distance = torch.cdist(glance(name, 8, seed=2), usual)
        others = distance.clone()
        others[:, i] = torch.inf
        assert (distance.argmin(1) == i).all(), name
        assert (distance[:, i] < 0.8 * others.amin(1)).all(), name
        assert apart[i].min() > 1.0, (name, SETTINGS[int(apart[i].argmin())])


@pytest.mark.parametrize("name", SETTINGS)
def test_what_should_move_moves_and_the_rest_stands_still(name: str) -> None:
    video = paint(name, moments=(0.0, 0.7), size=64)

    moved = (band(video[:, 1], MOVING[name]) - band(video[:, 0], MOVING[name])).abs()
    assert (moved.flatten(1).amax(1) > 0.02).all()
    assert (moved.flatten(1).mean(1) > 0.0003).all()
    if name in STILL:
        assert torch.equal(band(video[:, 1], STILL[name]), band(video[:, 0], STILL[name]))


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("size", [32, 40, 128])
def test_values_are_colours_at_every_size(name: str, size: int) -> None:
    video = paint(name, clips=2, size=size)

    assert video.shape == (2, 2, 3, size, size)
    assert torch.isfinite(video).all()
    assert video.min() >= -1e-5
    assert video.max() <= 1 + 1e-5
    assert (video.flatten(1).std(1) > 0.05).all()


@pytest.mark.parametrize("name", SETTINGS)
def test_a_picture_depends_on_its_own_numbers_and_moment_alone(name: str) -> None:
    jitter = torch.rand(3, JITTERS, generator=torch.Generator().manual_seed(4))
    times = torch.tensor([0.0, 1.0, 2.5]).expand(3, -1)
    together = PAINTERS[name](jitter, times, 32)

    assert torch.equal(together, PAINTERS[name](jitter, times, 32))
    alone = PAINTERS[name](jitter[1:2], times[1:2, 2:], 32)
    assert torch.allclose(together[1:2, 2:], alone, atol=1e-4)
    assert (together[0] - together[1]).abs().mean() > 0.004


@pytest.mark.parametrize("name", SETTINGS)
def test_large_pictures_show_what_small_ones_show(name: str) -> None:
    small, large = paint(name), F.avg_pool3d(paint(name, size=128).transpose(1, 2), (1, 4, 4)).transpose(1, 2)

    assert (small - large).abs().mean() < 0.05
    assert torch.corrcoef(torch.stack([small.flatten(), large.flatten()]))[0, 1] > 0.9


def test_a_lake_mirrors_what_is_above_it() -> None:
    video = paint("lake", clips=6, moments=(0.0, 0.5, 1.0, 1.5, 2.0), size=64).mean(1).mean(1)
    above, below = video[:, 12:29].mean(2), video[:, 30:47].flip(1).mean(2)
    above, below = above - above.mean(), below - below.mean()

    assert (above * below).sum() / (above.norm() * below.norm()) > 0.5


def test_lava_and_flames_glow_and_flicker_in_the_dark() -> None:
    video = paint("volcano", clips=4, moments=tuple(0.2 * i for i in range(8)), size=64)
    red, blue = video[:, :, 0], video[:, :, 2]
    hot = (red > 0.85) & (blue < 0.5)

    assert (hot.float().mean((1, 2, 3)) > 0.01).all()
    assert (red.std(1).amax((1, 2)) > 0.1).all()
    assert video.mean() < 0.35


def test_a_scrolled_texture_comes_back_after_its_width() -> None:
    texture = torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(5))
    shift = torch.tensor([[0.0, 0.25, 1.0]]).expand(2, -1)
    for axis in (0, 1):
        moved = scrolled(texture, shift, axis)
        assert torch.allclose(moved[:, 0], texture)
        assert torch.allclose(moved[:, 2], texture, atol=1e-5)
        assert torch.allclose(moved[:, 1], texture.roll(4, 1 + axis), atol=1e-5)


def test_clouds_keep_their_shape_while_they_drift() -> None:
    scene = Backdrop(torch.rand(4, JITTERS, generator=torch.Generator().manual_seed(6)), 64)
    times = torch.tensor([[0.0, 1 / (0.012 * 16)]]).expand(4, -1)  # a sixteenth of the frame later
    _, cover, under = clouds(scene, times, 0.4)

    assert torch.allclose(cover[:, 1], cover[:, 0].roll(4, -1), atol=1e-4)
    assert (under <= cover + 1e-6).all()
    assert 0.02 < cover.mean() < 0.6


def test_patches_too_fine_for_the_pixels_are_left_out() -> None:
    def line(size: int) -> torch.Tensor:
        return (torch.arange(size) + 0.5) / size

    phase = torch.full((1, 1, 1), 0.3)
    coarse, fine = (mottle(line(n)[None, :, None], line(n)[None, None], 100, phase) for n in (32, 256))

    assert not coarse.any()
    assert fine.std() > 0.2
