"""The layers that turn an image U-Net into a video U-Net (Lumiere, arXiv 2401.12945, section 3.1 and appendix B).

Letters: b videos, t frames, c channels, h height, w width. Frames are folded into the batch, `(b t) c h w`, in
channels_last memory. There the same bytes are also `b c t (h w)` in channels_last, so a convolution over time is a
(k, 1) convolution on a view: no permutation, no copy. Every layer is freshly initialised so that it leaves a clip of
identical frames unchanged.

Normalisation statistics are taken per frame, never over time: a frame then means the same in every temporal window.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn


class ClipContext(NamedTuple):
    """What the temporal layers know about the clips in a batch besides their features.

    videos: number of clips b folded into the batch.
    motion: (b, t, e) embedding of noise level, text and moment at full temporal resolution, or None for a network
        without temporal conditioning.
    frame_interval: (b, 1) or (1, 1), distance between two frames at full temporal resolution, in native frame
        intervals.
    """

    videos: int
    motion: Tensor | None
    frame_interval: Tensor


def over_time(frames: Tensor, videos: int) -> Tensor:
    """`(b t) c h w` -> `b c t (h w)`; a view when `frames` is channels_last."""
    return rearrange(frames, "(b t) c h w -> b c t (h w)", b=videos)


def over_frames(clip: Tensor, height: int) -> Tensor:
    """`b c t (h w)` -> `(b t) c h w`; a view when `clip` is channels_last."""
    return rearrange(clip, "b c t (h w) -> (b t) c h w", h=height)


def repeat_ends(clip: Tensor, frames: int) -> Tensor:
    """Repeats first and last frame of `b c t (h w)`: outside the clip the world stands still, it is not black."""
    if frames == 0:
        return clip
    first, last = clip[:, :, :1], clip[:, :, -1:]
    return torch.cat([first] * frames + [clip] + [last] * frames, dim=2)


def zero(layer: nn.Conv2d | nn.Linear) -> None:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class TimeConv(nn.Conv2d):
    """A 1-D convolution over time, stored and run as a (kernel, 1) one on `b c t (h w)`; t -> ceil(t / stride)."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        if kernel % 2 == 0:
            raise ValueError(f"temporal_kernel must be odd, got {kernel}")
        super().__init__(in_channels, out_channels, (kernel, 1), stride=(stride, 1))

    def forward(self, clip: Tensor) -> Tensor:
        padded = repeat_ends(clip, self.kernel_size[0] // 2)
        wide = self.stride == (1, 1) and self.in_channels >= 128
        if wide and padded.device.type == "cpu" and torch.is_grad_enabled():
            return self.as_matmuls(padded, clip.shape[2])
        return super().forward(padded)

    def as_matmuls(self, padded: Tensor, frames: int) -> Tensor:
        """The same sum, tap by tap. On CPUs the gradients of a wide (k, 1) convolution take twice as long."""
        rows = padded.permute(0, 2, 3, 1)  # b t+k-1 (h w) c, a view
        out = self.bias
        for tap, weight in enumerate(self.weight.squeeze(3).unbind(2)):
            out = out + F.linear(rows[:, tap : tap + frames], weight)
        return out.permute(0, 3, 1, 2)


class Modulation(nn.Module):
    """Scale and shift by the motion embedding (FiLM), the identity when fresh; see `STUNet.temporal_conditioning`.

    frame_spacing: temporal downsampling in front of its level.
    """

    def __init__(self, embedding_dim: int, channels: int, frame_spacing: int) -> None:
        super().__init__()
        self.frame_spacing = frame_spacing
        self.proj = nn.Linear(embedding_dim, 2 * channels)
        self.reset_to_identity()

    def reset_to_identity(self) -> None:
        zero(self.proj)

    def forward(self, motion: Tensor) -> tuple[Tensor, Tensor]:
        """(b, t, e) -> two (b, ceil(t / frame_spacing), c): factor and shift."""
        scale, shift = self.proj(motion[:, :: self.frame_spacing]).chunk(2, dim=-1)
        return 1 + scale, shift


def time_code(times: Tensor, channels: int) -> Tensor:
    """Sinusoidal code of `times` (…, t) -> (…, t, channels). Computed, not a table: clips have no longest length."""
    octaves = torch.arange(0, channels, 2, device=times.device, dtype=torch.float32) / channels
    angles = times.float()[..., None] * torch.exp(-math.log(10_000.0) * octaves)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)[..., :channels]


CLIP_FRAMES = 80
"""Native frame intervals of the clips that models are taught with."""


def moment_code(moments: Tensor, channels: int) -> Tensor:
    """Fourier code of moments (…) of a clip -> (…, channels), in waves of which twice the clip is the longest: what
    goes round so many times in a clip is a multiple of one of them. What is all zeros tells no moment.
    """
    harmonics = torch.arange(1, channels // 2 + 1, device=moments.device)
    angles = moments.float()[..., None] * (math.pi / CLIP_FRAMES) * harmonics
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class PlaceCode(nn.Module):
    """Where in the frame a token is, added to it; nothing when fresh. Places are fractions of the frame, so that they
    hold for frames of any size.
    """

    PERIODS = 32.0
    """The side of a frame, in radians of the fastest wave."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, channels, bias=False)
        self.reset_to_identity()

    def reset_to_identity(self) -> None:
        zero(self.proj)

    def forward(self, height: int, width: int) -> Tensor:
        """((h w), c)."""
        weight = self.proj.weight
        half = weight.shape[1] // 2
        rows, columns = (
            time_code((torch.arange(side, device=weight.device) + 0.5) / side * self.PERIODS, channels).to(weight.dtype)
            for side, channels in ((height, half), (width, weight.shape[1] - half))
        )
        places = torch.cat([rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1)], dim=-1)
        return self.proj(rearrange(places, "h w c -> (h w) c"))


class TemporalConvBlock(nn.Module):
    """Convolution-based inflation block (fig. 4b): a factorised (2+1)D convolution beside the frozen layers' output.

    x + Linear(act(norm(Conv1D_t(act(norm(Conv2D(x))))))); the last layer starts at zero. frame_spacing, embedding_dim,
    places: as in `TemporalAttentionBlock`.
    """

    def __init__(
        self,
        channels: int,
        hidden: int,
        groups: int,
        kernel: int,
        frame_spacing: int,
        embedding_dim: int | None,
        places: bool = False,
    ) -> None:
        super().__init__()
        self.conv_space = nn.Conv2d(channels, hidden, 3, padding=1)
        self.norm_space = nn.GroupNorm(groups, hidden)
        self.conv_time = TimeConv(hidden, hidden, kernel)
        self.norm_time = nn.GroupNorm(groups, hidden)
        self.place = PlaceCode(hidden) if places else None
        self.modulation = Modulation(embedding_dim, hidden, frame_spacing) if embedding_dim else None
        self.proj_out = nn.Conv2d(hidden, channels, 1)
        self.reset_to_identity()

    def reset_to_identity(self) -> None:
        zero(self.proj_out)

    def forward(self, x: Tensor, clip: ClipContext) -> Tensor:
        height, width = x.shape[2:]
        y = F.silu(self.norm_space(self.conv_space(x)))  # (b t) c' h w
        y = over_frames(self.conv_time(over_time(y, clip.videos)), height)
        y = self.norm_time(y)
        if self.place is not None:
            y = y + rearrange(self.place(height, width), "(h w) c -> c h w", h=height)
        if self.modulation is not None:
            scale, shift = (rearrange(rows, "b t c -> (b t) c 1 1") for rows in self.modulation(clip.motion))
            y = torch.addcmul(shift, y, scale)
        return x + self.proj_out(F.silu(y))


class TemporalTransformerLayer(nn.Module):
    """Pre-norm self-attention over time and a feed-forward layer, on tokens (n, t, c)."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(channels)
        self.to_qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.to_out = nn.Linear(channels, channels)
        self.norm_feed_forward = nn.LayerNorm(channels)
        self.expand = nn.Linear(channels, 4 * channels)
        self.contract = nn.Linear(4 * channels, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        qkv = self.to_qkv(self.norm_attention(tokens))
        query, key, value = rearrange(qkv, "n t (three heads d) -> three n heads t d", three=3, heads=self.heads)
        attended = F.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.to_out(rearrange(attended, "n heads t d -> n t (heads d)"))
        return tokens + self.contract(F.gelu(self.expand(self.norm_feed_forward(tokens))))


class TemporalAttentionBlock(nn.Module):
    """Attention-based inflation block (fig. 4c), for the coarsest level only: x + Linear(Attention1D over time(x)),
    zero at first.

    frame_spacing: temporal downsampling in front of this level; with it positions are times in native frame
        intervals, whatever the level and whatever the stride at which a training clip was sampled.
    places: tokens are also told where in the frame they are; see `STUNet.temporal_places`.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        depth: int,
        frame_spacing: int,
        embedding_dim: int | None,
        places: bool = False,
    ) -> None:
        super().__init__()
        self.frame_spacing = frame_spacing
        self.norm = nn.LayerNorm(channels)
        self.place = PlaceCode(channels) if places else None
        self.modulation = Modulation(embedding_dim, channels, frame_spacing) if embedding_dim else None
        self.layers = nn.ModuleList(TemporalTransformerLayer(channels, heads) for _ in range(depth))
        self.proj_out = nn.Linear(channels, channels)
        self.reset_to_identity()

    def reset_to_identity(self) -> None:
        zero(self.proj_out)

    def forward(self, x: Tensor, clip: ClipContext) -> Tensor:
        height, width, channels = x.shape[2], x.shape[3], x.shape[1]
        y = self.norm(rearrange(x, "(b t) c h w -> b (h w) t c", b=clip.videos))
        times = torch.arange(y.shape[2], device=x.device) * self.frame_spacing * clip.frame_interval  # (b, t) or (1, t)
        y = y + time_code(times, channels)[:, None].to(y.dtype)
        if self.place is not None:
            y = y + self.place(height, width)[:, None]
        if self.modulation is not None:
            scale, shift = self.modulation(clip.motion)
            y = torch.addcmul(shift[:, None], y, scale[:, None])
        tokens = rearrange(y, "b s t c -> (b s) t c")
        for layer in self.layers:
            tokens = layer(tokens)
        y = rearrange(self.proj_out(tokens), "(b h w) t c -> (b t) c h w", h=height, w=width)
        return x + y


class TemporalDownsample(nn.Module):
    """Convolution over time, then striding (appendix B). Written as x[::factor] plus a convolution that starts at
    zero: nearest neighbour when fresh, exactly so in every precision, which an identity-initialised convolution is
    not. t -> ceil(t / factor).
    """

    def __init__(self, channels: int, factor: int, kernel: int) -> None:
        super().__init__()
        self.factor = factor
        self.conv = TimeConv(channels, channels, kernel, stride=factor)
        self.reset_to_identity()

    def reset_to_identity(self) -> None:
        zero(self.conv)

    def forward(self, x: Tensor, videos: int) -> Tensor:
        clip = over_time(x, videos)
        return over_frames(clip[:, :, :: self.factor] + self.conv(clip), x.shape[2])


class TemporalUpsample(nn.Module):
    """Frame duplication, then a convolution over time (appendix B); nearest neighbour when fresh.

    t -> `frames` <= t * factor, the length of the skip connection: odd lengths come back as they were.
    """

    def __init__(self, channels: int, factor: int, kernel: int) -> None:
        super().__init__()
        self.factor = factor
        self.conv = TimeConv(channels, channels, kernel)
        self.reset_to_identity()

    def reset_to_identity(self) -> None:
        zero(self.conv)

    def forward(self, x: Tensor, videos: int, frames: int) -> Tensor:
        clip = rearrange(x, "(b t) c h w -> b t c h w", b=videos)
        clip = clip[:, torch.arange(frames, device=x.device) // self.factor]
        clip = over_time(
            rearrange(clip, "b t c h w -> (b t) c h w").contiguous(memory_format=torch.channels_last), videos
        )
        return over_frames(clip + self.conv(clip), x.shape[2])


class TextPooling(nn.Module):
    """One vector per prompt: each head of a learned query attends to the text tokens. (b, l, c) -> (b, e)."""

    def __init__(self, text_dim: int, embedding_dim: int, heads: int = 8) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(text_dim)
        self.to_scores = nn.Linear(text_dim, heads)
        self.proj = nn.Linear(heads * text_dim, embedding_dim)

    def forward(self, text: Tensor, mask: Tensor | None) -> Tensor:
        """mask: additive, (b, 1, l), or None."""
        text = self.norm(text)
        scores = rearrange(self.to_scores(text), "b l heads -> b heads l")
        weights = (scores if mask is None else scores + mask).softmax(dim=-1)
        return self.proj(rearrange(weights @ text, "b heads c -> b (heads c)"))


class MotionEmbedding(nn.Module):
    """What moves how at which moment: a product of word and moment, which a sum of codes is not.

    The pooled text is normalised: unchecked it grows until no moment can flip what it gates.
    """

    def __init__(self, text_dim: int, condition_dim: int, embedding_dim: int) -> None:
        super().__init__()
        self.text = TextPooling(text_dim, embedding_dim)
        self.norm_text = nn.LayerNorm(embedding_dim)
        self.noise = nn.Linear(condition_dim, embedding_dim)
        self.moment = nn.Linear(embedding_dim, embedding_dim)
        self.mix = nn.Linear(embedding_dim, embedding_dim)

    def forward(self, condition: Tensor, text: Tensor, mask: Tensor | None, times: Tensor) -> Tensor:
        """condition: (b, d), the image model's. text: (b, l, c). mask: additive, (b, 1, l), or None. times: (b, t) or
        (1, t), in native frame intervals. Returns (b, t, e).
        """
        of_video = self.noise(condition) + self.norm_text(self.text(text, mask))
        of_moment = self.moment(time_code(times, self.moment.in_features).to(of_video.dtype))
        return F.silu(self.mix(F.silu(of_video[:, None] + of_moment)))


class KnownInput(nn.Conv2d):
    """What is known of a clip, C and M, on its way into the first level: the columns by which Lumiere's 7-channel
    network (section 4.2) is wider than its text-to-video one. Beside `conv_in` they leave the image model's own weights
    alone.
    """

    def __init__(self, known_channels: int, width: int) -> None:
        super().__init__(known_channels, width, kernel_size=3, padding=1, bias=False)
        self.reset_to_identity()

    def reset_to_identity(self) -> None:
        zero(self)


class KnownCopy(nn.Conv2d):
    """How much of each value is what is known of its place, C, as it is; the last features tell.

    What a picture shows and stays where it was needs no drawing, and what a network has never seen it copies better
    than it draws.
    """

    def __init__(self, width: int, values: int) -> None:
        super().__init__(width, values, kernel_size=3, padding=1)
        self.reset_to_identity()

    def reset_to_identity(self) -> None:
        nn.init.zeros_(self.weight)
        nn.init.constant_(self.bias, -3.0)  # nearly shut: 5 % are copied

    def forward(self, features: Tensor, drawn: Tensor, known: Tensor) -> Tensor:
        """features (n, width, h, w); drawn (n, c p, h, w), an estimate of p pixels of c colours; known, C and M (n,
        c p + p, h, w). Returns the estimate, C mixed into it where M is not 0.
        """
        values, mask = known.split([drawn.shape[1], known.shape[1] - drawn.shape[1]], dim=1)
        hinted = repeat(mask > 0, "n p h w -> n (c p) h w", c=drawn.shape[1] // mask.shape[1])
        return drawn + super().forward(features).sigmoid() * hinted * (values - drawn)
