"""MultiDiffusion in time (Bar-Tal et al. 2023; Lumiere, section 3.2): a network that sees a few frames at once makes a
clip of any length, without seams.

At every step each window is predicted on its own, and a frame takes the weighted average of all windows that cover it:
the weighted least-squares answer to what they say. A window's weight falls linearly towards its ends, where its frames
have the fewest neighbours and another window takes over. The noise is one tensor for the clip, and whatever is not
linear in the prediction (guidance, thresholds, the solver) comes after the average.

Letters: b videos, c channels, t frames, h height, w width.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from model.denoising import Network


def windows(num_frames: int, length: int, overlap: int) -> list[slice]:
    """Stretches of at most `length` frames that cover all; neighbours share `overlap` frames, the last two maybe more.

    All have the same length, so that one shape is run.
    """
    if length < 1 or not 0 <= overlap < length:
        raise ValueError(f"windows need a length of 1 or more and a smaller overlap, got {length} and {overlap}")
    if num_frames <= length:
        return [slice(0, num_frames)]
    starts = [*range(0, num_frames - length, length - overlap), num_frames - length]
    return [slice(start, start + length) for start in starts]


def weights(length: int) -> Tensor:
    """(length,): of each frame of a window, its distance to the nearer end. Where two windows share frames, one's share
    falls linearly and the other's rises.
    """
    rising = torch.arange(1.0, length + 1)
    return torch.minimum(rising, rising.flip(0))


class Fused(NamedTuple):
    """Consecutive frames of a clip: where they lie, the samples given, and the prediction that all windows agreed
    on.
    """

    frames: slice
    sample: Tensor
    prediction: Tensor


def fuse(
    blocks: Iterable[Tensor],
    spans: Sequence[slice],
    predict: Callable[[Tensor, list[slice]], Tensor],
    batch: int = 1,
) -> Iterator[Fused]:
    """Runs `predict` over the windows `spans` of a clip that arrives in blocks of consecutive frames (b, c, *, h, w),
    and hands on each frame as soon as the last window that covers it is done.

    Only the windows at work are held, so memory does not grow with the clip. predict: windows (n b, c, t, h, w), one
    after the other, with the spans they come from -> predictions of the same shape but for the channels.
    """
    source = iter(blocks)
    begin = 0
    held: Tensor | None = None
    total = weight = torch.empty(0)
    groups = [list(spans[start : start + batch]) for start in range(0, len(spans), batch)]
    for number, group in enumerate(groups):
        while held is None or begin + held.shape[2] < group[-1].stop:
            block = next(source)
            held = block if held is None else torch.cat([held, block], dim=2)
        inside = [slice(span.start - begin, span.stop - begin) for span in group]
        predictions = predict(torch.cat([held[:, :, span] for span in inside]), group).chunk(len(group))
        if number == 0:
            total, weight = predictions[0][:, :, :0], held.new_zeros(0)
            each = weights(inside[0].stop - inside[0].start).to(held)
        missing = inside[-1].stop - total.shape[2]
        total = torch.cat([total, total.new_zeros(*total.shape[:2], missing, *total.shape[3:])], dim=2)
        weight = torch.cat([weight, weight.new_zeros(missing)])
        for span, prediction in zip(inside, predictions, strict=True):
            total[:, :, span] += prediction * each[:, None, None]
            weight[span] += each
        last = number + 1 == len(groups)
        done = total.shape[2] if last else groups[number + 1][0].start - begin
        prediction = total[:, :, :done] / weight[:done, None, None]
        yield Fused(slice(begin, begin + done), held[:, :, :done], prediction)
        begin, held, total, weight = begin + done, held[:, :, done:], total[:, :, done:], weight[done:]


def over_windows(network: Network, spans: Sequence[slice], batch: int = 1) -> Network:
    """A network for clips longer than `network` can see. Conditions are the same in all windows."""
    if len(spans) == 1:
        return network

    def predict(sample: Tensor, timesteps: Tensor, **condition: Any) -> Tensor:
        def of_windows(stacked: Tensor, group: list[slice]) -> Tensor:
            told = {name: repeated(value, len(group)) for name, value in condition.items()}
            return network(stacked, timesteps.repeat(len(group)), **told)

        return torch.cat([fused.prediction for fused in fuse([sample], spans, of_windows, batch)], dim=2)

    return predict


def repeated(value: Any, times: int) -> Any:
    """Rows of tensors, also in dicts, once per window."""
    if isinstance(value, dict):
        return {name: repeated(item, times) for name, item in value.items()}
    return value.repeat(times, *[1] * (value.ndim - 1)) if isinstance(value, Tensor) and value.ndim else value
