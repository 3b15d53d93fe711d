"""A stylized video moves as its source: on clips that are made by hand, without a network."""

import pytest
import torch

from model.folding import fold, unfold
from model.source_motion import SourceMotion

FRAMES, SIDE, PATCH = 12, 16, 4
BLUE, SAND = torch.tensor([-0.8, -0.5, 0.9]), torch.tensor([0.8, 0.5, 0.1])
GOLD, NIGHT = torch.tensor([0.9, 0.6, -0.6]), torch.tensor([-0.7, -0.7, -0.5])


def covered() -> torch.Tensor:
    """(1, 1, t, h, w): a square of 4 pixels that goes right by one pixel a frame."""
    cover = torch.zeros(1, 1, FRAMES, SIDE, SIDE)
    for frame in range(FRAMES):
        cover[0, 0, frame, 6:10, frame : frame + 4] = 1
    return cover


def clip(subject: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    cover, (front, back) = covered(), (colour.view(1, 3, 1, 1, 1) for colour in (subject, background))
    return cover * front + (1 - cover) * back


def kept(x0: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    return unfold(SourceMotion(fold(source, PATCH), PATCH).keep(fold(x0, PATCH)), PATCH)


def noise(scale: float) -> torch.Tensor:
    return scale * torch.randn(1, 3, FRAMES, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def test_a_look_that_moves_with_the_source_is_left_as_it_is():
    gold = clip(GOLD, NIGHT)

    assert torch.allclose(kept(gold, clip(BLUE, SAND)), gold, atol=1e-3)


def test_texture_that_stands_still_stays_where_the_source_stands_still():
    gold = clip(GOLD, NIGHT) + noise(0.2)[:, :, :1] * (1 - covered())

    assert torch.allclose(kept(gold, clip(BLUE, SAND)), gold, atol=1e-3)


def test_flicker_goes_where_the_source_stands_still():
    made = kept(clip(GOLD, NIGHT) + noise(0.2), clip(BLUE, SAND))

    assert made[:, :, :, :4].std(2).max() < 1e-3  # rows that the square never reaches


def test_an_outline_goes_with_its_subject():
    """Drawn around the square, over what is the background in the source; a square that waits long on its way."""
    waiting = [min(max(frame - 4, 0), 4) for frame in range(FRAMES)]  # first at one end, then at the other
    source = SAND.view(1, 3, 1, 1, 1).repeat(1, 1, FRAMES, SIDE, SIDE)
    drawn = NIGHT.view(1, 3, 1, 1, 1).repeat(1, 1, FRAMES, SIDE, SIDE)
    for frame, left in enumerate(waiting):
        source[0, :, frame, 6:10, left + 2 : left + 6] = BLUE.view(3, 1, 1)
        drawn[0, :, frame, 5:11, left + 1 : left + 7] = 1
        drawn[0, :, frame, 6:10, left + 2 : left + 6] = GOLD.view(3, 1, 1)

    made = kept(drawn, source)

    left_behind = made[0, :, -1, 5, 2:6] - drawn[0, :, -1, 5, 2:6]  # above the place where the square waited at first
    assert left_behind.abs().max() < 0.1
    assert (made[0, :, 0, 5, 2:6] - 1).abs().max() < 0.1


def test_what_stands_still_keeps_the_look_where_the_subject_is_brought_back():
    """A golden lump that does not move, on paper with a grain of its own: the source's ground does not come with it."""
    paper = (NIGHT.view(1, 3, 1, 1, 1) + noise(0.2)[:, :, :1]).repeat(1, 1, FRAMES, 1, 1)
    lump = paper.clone()
    lump[:, :, :, 5:11, 4:12] = GOLD.view(1, 3, 1, 1, 1)
    ground = noise(0.3)[:, :, :1].flip(-1) * (1 - covered())

    made = kept(lump, clip(BLUE, SAND) + ground)

    assert torch.allclose(made[:, :, :, :4], paper[:, :, :, :4], atol=0.05)
    inside, outside = (made[0, 0, :, 6:10][cover[0, 0, :, 6:10] > 0.5].mean() for cover in (covered(), 1 - covered()))
    assert inside - outside > 0.2


def test_a_subject_of_its_own_gives_way_to_that_of_the_source():
    """A golden lump in the middle that does not move: colours are kept, the place is the source's."""
    lump = NIGHT.view(1, 3, 1, 1, 1).repeat(1, 1, FRAMES, SIDE, SIDE)
    lump[:, :, :, 5:11, 4:12] = GOLD.view(1, 3, 1, 1, 1)

    made = kept(lump, clip(BLUE, SAND))

    inside, outside = (made[0, 0][cover > 0.5].mean() for cover in (covered()[0, 0], 1 - covered()[0, 0]))
    assert inside - outside > 0.5  # red: gold is at 0.9, night at -0.7
    column = torch.arange(SIDE, dtype=torch.float32)
    weight = (made[0, 0] - made[0, 0].amin((1, 2), keepdim=True)).square().sum(1)  # t w
    places = (weight @ column) / weight.sum(1)
    assert torch.corrcoef(torch.stack([places, torch.arange(FRAMES, dtype=torch.float32)]))[0, 1] > 0.95


@pytest.mark.parametrize("grain", [0.0, 0.015])
def test_a_source_in_which_nothing_moves_leaves_the_look_alone(grain):
    """A picture that stands still has no motion to be kept, nor has its camera's noise."""
    source = noise(0.5)[:, :, :1] + noise(grain)
    still = noise(0.5)[:, :, :1].flip(-1).repeat(1, 1, FRAMES, 1, 1)

    assert torch.allclose(kept(still, source), still, atol=1e-3)


def test_a_grey_film_is_finite():
    assert torch.isfinite(kept(noise(0.5), torch.zeros(1, 3, FRAMES, SIDE, SIDE))).all()


def test_long_clips_are_averaged_in_parts(monkeypatch):
    source, x0 = clip(BLUE, SAND), clip(GOLD, NIGHT) + noise(0.3)
    at_once = kept(x0, source)
    monkeypatch.setattr("model.source_motion.PAIRS_AT_ONCE", 1)

    assert torch.allclose(kept(x0, source), at_once, atol=1e-5)
