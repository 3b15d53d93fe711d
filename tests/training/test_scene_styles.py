"""The styles of the world: drawn with care at large sizes, the same at a glance at small ones."""

import pytest
import torch
import torch.nn.functional as F

from model.training.scenes.attributes import JITTERS
from model.training.scenes.styles import STYLISTS, Layers, block_faces


def layers(size: int, cy: float = 0.5, seconds: tuple[float, ...] = (0.0, 2.0)) -> Layers:
    """Two clips of an orange disc before a plain blue gradient."""
    line = (torch.arange(size) + 0.5) / size
    distance = ((line[:, None] - cy) ** 2 + (line[None] - 0.5) ** 2).sqrt()
    cover = ((0.22 - distance) * size + 0.5).clamp(0, 1).expand(2, len(seconds), 1, size, size)
    ground = torch.tensor([0.45, 0.65, 0.85])[:, None, None] * (0.8 + 0.2 * line[:, None])
    body = torch.tensor([0.95, 0.55, 0.15])[:, None, None] * (0.7 + 0.3 * line[None])
    times = torch.tensor(seconds).expand(2, -1)
    jitter = torch.rand(2, JITTERS, generator=torch.Generator().manual_seed(1))
    return Layers(ground.expand(2, len(seconds), 3, size, size), body * cover, cover, times, jitter)


@pytest.mark.parametrize("style", STYLISTS)
@pytest.mark.parametrize("size", [32, 40, 128])
def test_every_style_gives_colours_at_every_size(style: str, size: int) -> None:
    frames = STYLISTS[style](layers(size))

    assert frames.shape == (2, 2, 3, size, size)
    assert torch.isfinite(frames).all()
    assert frames.min() >= -1e-5
    assert frames.max() <= 1.3  # what a style overdoes is cut off with the frame


@pytest.mark.parametrize("style", ["plain", "watercolor", "sticker", "melting gold", "origami"])
def test_large_pictures_look_like_small_ones(style: str) -> None:
    small, large = STYLISTS[style](layers(32)), STYLISTS[style](layers(128))

    assert (small - F.avg_pool3d(large, (1, 4, 4))).abs().mean() < 0.06


@pytest.mark.parametrize("style", ["sticker", "melting gold", "origami"])
def test_no_shadow_or_drip_comes_round_the_edge_of_the_frame(style: str) -> None:
    low, middle = (STYLISTS[style](layers(128, cy))[..., :12, :] for cy in (0.95, 0.55))

    assert torch.allclose(low, middle, atol=1e-5)


def test_gold_drips_further_with_time() -> None:
    clip = layers(64, cy=0.35, seconds=(0.0, 4.0))
    gold = STYLISTS["melting gold"](clip)
    bright = (gold[:, :, 0] > 0.5).float().sum((-2, -1))

    assert (bright[:, 1] > bright[:, 0]).all()


def test_blocks_have_studs_that_catch_the_light_and_gaps_between_them() -> None:
    block = 32
    rings, light = block_faces(block * 4, block, torch.device("cpu"))
    one = light[block : 2 * block, block : 2 * block]
    upper_left, lower_right = one[10, 10], one[21, 21]

    assert upper_left > lower_right + 0.1
    assert one[0, 0] < 0.75 * one.mean()
    assert rings.std() > 0.01
    assert not torch.allclose(rings[:block, :block], rings[block : 2 * block, :block])
