"""Windows over time and their fusion."""

from itertools import pairwise

import pytest
import torch

from model.multidiffusion import fuse, over_windows, windows


@pytest.mark.parametrize("num_frames", [1, 2, 3, 7, 8, 9, 80, 81, 320])
@pytest.mark.parametrize(("length", "overlap"), [(8, 2), (15, 2), (80, 20), (5, 0), (4, 3)])
def test_windows_cover_every_frame_with_the_overlap_asked_for(num_frames, length, overlap):
    spans = windows(num_frames, length, overlap)

    assert spans[0].start == 0
    assert spans[-1].stop == num_frames
    assert {span.stop - span.start for span in spans} == {min(length, num_frames)}
    shared = [one.stop - next_.start for one, next_ in pairwise(spans)]
    assert all(frames == overlap for frames in shared[:-1])
    assert all(frames >= overlap for frames in shared)
    assert all(one.start < next_.start for one, next_ in pairwise(spans))


@pytest.mark.parametrize(("length", "overlap"), [(0, 0), (4, 4), (4, -1)])
def test_windows_that_cannot_be(length, overlap):
    with pytest.raises(ValueError, match=r"^windows need"):
        windows(10, length, overlap)


@pytest.mark.parametrize("batch", [1, 2, 3, 50])
@pytest.mark.parametrize("block", [1, 7, 30])
def test_every_frame_is_the_weighted_average_of_the_windows_that_cover_it(batch, block):
    """Compared with the plain definition, however the clip arrives and however many windows run at once."""
    clip = torch.randn(2, 3, 30, 4, 4)
    spans = windows(30, 8, 3)
    offsets = torch.arange(len(spans)) * 1.0

    def predict(stacked, group):
        rows = offsets[[spans.index(span) for span in group]].repeat_interleave(2)
        return 2 * stacked + rows.view(-1, 1, 1, 1, 1)

    fused = list(fuse(clip.split(block, dim=2), spans, predict, batch))

    def expected_at(t):
        covering = [(offset, span) for offset, span in zip(offsets, spans, strict=True) if span.start <= t < span.stop]
        shares = torch.tensor([min(t - span.start + 1, span.stop - t) * 1.0 for _, span in covering])
        return 2 * clip[:, :, t] + (torch.stack([offset for offset, _ in covering]) * shares).sum() / shares.sum()

    expected = torch.stack([expected_at(t) for t in range(30)], dim=2)
    torch.testing.assert_close(torch.cat([part.prediction for part in fused], 2), expected)
    assert torch.equal(torch.cat([part.sample for part in fused], 2), clip)
    assert [frame for part in fused for frame in range(part.frames.start, part.frames.stop)] == list(range(30))


def test_one_window_takes_over_from_the_next_in_equal_steps():
    spans = windows(13, 8, 3)

    def predict(stacked, group):
        return torch.ones_like(stacked) * float(group[0] == spans[1])

    shares = torch.cat([part.prediction for part in fuse([torch.zeros(1, 1, 13, 1, 1)], spans, predict)], 2).flatten()

    torch.testing.assert_close(shares, torch.tensor([0.0] * 5 + [0.25, 0.5, 0.75] + [1.0] * 5))


def test_frames_are_handed_on_as_soon_as_they_are_done():
    """So that the memory at work does not grow with the clip: nothing is read ahead of the window at work."""
    read = 0

    def blocks():
        nonlocal read
        for block in torch.zeros(1, 1, 1000, 2, 2).split(1, dim=2):
            read += 1
            yield block

    for part in fuse(blocks(), windows(1000, 16, 2), lambda stacked, group: stacked):
        assert read - part.frames.start <= 16


def test_a_network_of_no_neighbours_does_not_notice_windows():
    def network(sample, timesteps, text):
        return sample * timesteps.view(-1, 1, 1, 1, 1) + text["states"].mean((1, 2)).view(-1, 1, 1, 1, 1)

    sample = torch.randn(2, 3, 20, 4, 4)
    timesteps, text = torch.tensor([2.0, 3.0]), {"states": torch.randn(2, 5, 6)}

    fused = over_windows(network, windows(20, 8, 2), batch=2)(sample, timesteps, text=text)

    torch.testing.assert_close(fused, network(sample, timesteps, text))


def test_seams_show_without_fusion_and_not_with_it():
    """Each window shifts its frames by a value of its own, as windows do that were made apart. Fused at every step with
    an overlap, the jump at the border is no larger than elsewhere (Lumiere, fig. 14).
    """
    generator = torch.Generator().manual_seed(0)

    def run(overlap: int) -> float:
        spans = windows(62, 12, overlap)
        drawn = {span.start: 0.1 * torch.randn(1, 1, 1, 1, 1, generator=generator) for span in spans}
        clip = torch.cumsum(0.05 * torch.randn(1, 1, 62, 8, 8, generator=generator), 2)
        target = clip.clone()

        def predict(stacked, group):
            moved = torch.cat([drawn[span.start] for span in group])
            smooth = torch.nn.functional.avg_pool3d(
                torch.nn.functional.pad(stacked, (0, 0, 0, 0, 2, 2), mode="replicate"), (5, 1, 1), 1
            )
            return 0.7 * smooth + 0.3 * target[:, :, group[0]] + moved * (len(group) > 0)

        for _ in range(12):
            clip = torch.cat([part.prediction for part in fuse([clip], spans, predict)], 2)
        steps = clip.diff(dim=2).square().mean((0, 1, 3, 4))
        borders = torch.tensor([t for span in spans[1:] for t in range(span.start, span.start + max(overlap, 1))]) - 1
        inside = torch.ones_like(steps, dtype=torch.bool)
        inside[borders] = False
        return (steps[borders].max() / steps[inside].median()).item()

    assert run(overlap=0) > 4
    assert run(overlap=2) < 0.7 * run(overlap=0)
