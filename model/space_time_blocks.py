"""The levels of the Space-Time U-Net (Lumiere, section 3.1, fig. 4a): an image U-Net's blocks, adopted and inflated.

Each block takes over the layers of an image block under their own names and runs them frame by frame, a temporal
layer after each, and temporal resampling after the spatial one. Being modules with a `forward` of their own, blocks
are boundaries for offloading, sharding and regional compilation.

Letters: b videos, t frames, c channels, h height, w width. Frames are folded, `(b t) c h w`, in channels_last memory.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import AttnProcessor2_0
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.upsampling import Upsample2D
from einops import rearrange
from torch import Tensor, nn

from model.inflation import ClipContext

SUPPORTED_BLOCKS = {
    "DownBlock2D",
    "CrossAttnDownBlock2D",
    "ResnetDownsampleBlock2D",
    "SimpleCrossAttnDownBlock2D",
    "UNetMidBlock2DCrossAttn",
    "UNetMidBlock2DSimpleCrossAttn",
    "UpBlock2D",
    "CrossAttnUpBlock2D",
    "ResnetUpsampleBlock2D",
    "SimpleCrossAttnUpBlock2D",
}


class FoldedTextProcessor(AttnProcessor2_0):
    """Cross-attention of all frames of a video to its one text: (b t) n c queries are seen as b (t n) c. Exact, and
    keys and values are projected once per video instead of once per frame.
    """

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, *args, **kwargs):
        attended = super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, *args, **kwargs)
        return attended.reshape(hidden_states.shape)


class Conditioning(NamedTuple):
    """What every layer is given besides features. Rows belong to videos.

    embedding: (b, d) noise level, plus class, text or size embeddings where the image model has them; or (b, t, d) at
        full temporal resolution, where it is told the moment of a frame besides.
    text: (b, l, c), or diffusers' nested tuple of it and image embeddings (IP-Adapter).
    text_mask: additive, (b, 1, l), or None.
    folds_text: whether cross-attention folds frames into queries, so that text need not be repeated per frame.
    """

    embedding: Tensor
    text: Any
    text_mask: Tensor | None
    attention_arguments: dict[str, Any]
    folds_text: bool
    clip: ClipContext

    def of_video(self, index: int) -> "Conditioning":
        row = slice(index, index + 1)
        return self._replace(
            embedding=self.embedding[row],
            text=map_tensors(lambda rows: rows[row], self.text),
            text_mask=None if self.text_mask is None else self.text_mask[row],
            clip=self.clip._replace(videos=1),
        )

    def frames_in(self, x: Tensor) -> int:
        return x.shape[0] // self.clip.videos

    def embedding_for(self, x: Tensor, frame_spacing: int) -> Tensor:
        """One row per frame of `x`, or one for all. frame_spacing: temporal downsampling in front of `x`."""
        if self.embedding.ndim == 3:
            return self.embedding[:, ::frame_spacing].flatten(0, 1)
        return per_frame(self.embedding, self.frames_in(x))

    def text_for(self, x: Tensor) -> tuple[Any, Tensor | None]:
        """Text and mask as the attention processors at work want them: a row per video, or a row per frame of `x`."""
        if self.folds_text:
            return self.text, self.text_mask
        frames = self.frames_in(x)
        mask = None if self.text_mask is None else self.text_mask.repeat_interleave(frames, 0)
        return map_tensors(lambda rows: rows.repeat_interleave(frames, 0), self.text), mask


def per_frame(rows: Tensor, frames: int) -> Tensor:
    """One row per video -> one row per frame; the row of a single video is left to broadcast."""
    return rows if rows.shape[0] == 1 else rows.repeat_interleave(frames, 0)


def map_tensors(function: Callable[[Tensor], Tensor], nested: Any) -> Any:
    if isinstance(nested, Tensor):
        return function(nested)
    return type(nested)(map_tensors(function, item) for item in nested)


def transform_frames(
    transformer: Transformer2DModel, x: Tensor, text: Any, mask: Tensor | None, arguments: dict
) -> Tensor:
    """`Transformer2DModel.forward` without its copies between NCHW and channels_last. Projections are called as
    modules, so that LoRA, offloading and casting hooks on them work.
    """
    height = x.shape[2]
    tokens = transformer.norm(x)
    if transformer.use_linear_projection:
        tokens = transformer.proj_in(rearrange(tokens, "n c h w -> n (h w) c"))
    else:
        tokens = rearrange(transformer.proj_in(tokens), "n c h w -> n (h w) c")
    for block in transformer.transformer_blocks:
        tokens = block(
            tokens, encoder_hidden_states=text, encoder_attention_mask=mask, cross_attention_kwargs=arguments or None
        )
    if transformer.use_linear_projection:
        return x + rearrange(transformer.proj_out(tokens), "n (h w) c -> n c h w", h=height)
    return x + transformer.proj_out(rearrange(tokens, "n (h w) c -> n c h w", h=height))


def resize_frames(resizer: nn.Module, x: Tensor, embedding: Tensor, size: tuple[int, int] | None = None) -> Tensor:
    """The image model's own spatial down- or upsampling. `Upsample2D` copies large batches to NCHW, which a video
    always is; its usual form is written out.
    """
    if isinstance(resizer, ResnetBlock2D):
        return resizer(x, embedding)
    if not isinstance(resizer, Upsample2D):
        return resizer(x)
    plain = resizer.use_conv and resizer.interpolate and resizer.norm is None and not resizer.use_conv_transpose
    if not plain or resizer.name != "conv":
        return resizer(x, size)
    enlarged = F.interpolate(x, size=size) if size else F.interpolate(x, scale_factor=2.0)
    return resizer.conv(enlarged)


class SpaceTimeBlock(nn.Module):
    """An image block's layers, adopted under their own names, each followed by a temporal one.

    frame_spacing: temporal downsampling in front of its level.
    """

    frame_chunk: int | None = None

    def __init__(
        self,
        block: nn.Module,
        temporal_blocks: list[nn.Module],
        temporal_resample: nn.Module | None = None,
        *,
        frame_spacing: int,
    ) -> None:
        super().__init__()
        if type(block).__name__ not in SUPPORTED_BLOCKS:
            raise ValueError(
                f"cannot inflate a U-Net with block type {type(block).__name__}; known: {sorted(SUPPORTED_BLOCKS)}"
            )
        self.resnets = block.resnets
        for name in ("attentions", "downsamplers", "upsamplers"):
            if getattr(block, name, None) is not None:
                setattr(self, name, getattr(block, name))
        self.temporal_blocks = nn.ModuleList(temporal_blocks)
        if temporal_resample is not None:
            self.temporal_resample = temporal_resample
        self.frame_spacing = frame_spacing
        self.gradient_checkpointing = False

    def children_named(self, name: str) -> nn.ModuleList | list[None]:
        return getattr(self, name) if name in self._modules else [None] * len(self.resnets)

    def attend(self, attention: nn.Module | None, x: Tensor, cond: Conditioning) -> Tensor:
        if attention is None:
            return x
        text, mask = cond.text_for(x)
        if isinstance(attention, Transformer2DModel):
            return transform_frames(attention, x, text, mask, cond.attention_arguments)
        return attention(x, encoder_hidden_states=text, attention_mask=mask, **cond.attention_arguments)

    def image_layer(
        self,
        resnet: nn.Module,
        attention: nn.Module | None,
        x: Tensor,
        skip: Tensor | None,
        embedding: Tensor,
        cond: Conditioning,
    ) -> Tensor:
        """embedding: a row per frame of `x`, or one for all."""
        if skip is not None:
            x = torch.cat([x, skip], dim=1)
        return self.attend(attention, resnet(x, embedding), cond)

    def image_layer_in_chunks(
        self, resnet: nn.Module, attention: nn.Module | None, x: Tensor, skip: Tensor | None, cond: Conditioning
    ) -> Tensor:
        """`image_layer` on `frame_chunk` frames at a time. Frames do not see each other in it, so this is exact; it
        bounds memory and keeps the work in the cache.
        """
        frames = cond.frames_in(x)
        embedding = cond.embedding_for(x, self.frame_spacing)
        if self.frame_chunk is None or frames <= self.frame_chunk or torch.is_grad_enabled():
            return self.image_layer(resnet, attention, x, skip, embedding, cond)
        pieces = []
        for video in range(cond.clip.videos):
            of_video = cond.of_video(video)
            for start in range(video * frames, (video + 1) * frames, self.frame_chunk):
                piece = slice(start, min(start + self.frame_chunk, (video + 1) * frames))
                skipped = None if skip is None else skip[piece]
                rows = embedding if embedding.shape[0] == 1 else embedding[piece]
                pieces.append(self.image_layer(resnet, attention, x[piece], skipped, rows, of_video))
        return torch.cat(pieces)

    def space_time_layer(
        self,
        resnet: nn.Module,
        attention: nn.Module | None,
        temporal: nn.Module,
        x: Tensor,
        skip: Tensor | None,
        cond: Conditioning,
    ) -> Tensor:
        return temporal(self.image_layer_in_chunks(resnet, attention, x, skip, cond), cond.clip)

    def run(self, layer: Callable[..., Tensor], *arguments: Any) -> Tensor:
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return self._gradient_checkpointing_func(layer, *arguments)
        return layer(*arguments)


class SpaceTimeDownBlock(SpaceTimeBlock):
    def forward(self, x: Tensor, cond: Conditioning) -> tuple[Tensor, list[Tensor]]:
        """(b t) c h w -> the same at the next level, and the skip connections on the way, the output among them."""
        skips = []
        for resnet, attention, temporal in zip(
            self.resnets, self.children_named("attentions"), self.temporal_blocks, strict=True
        ):
            x = self.run(self.space_time_layer, resnet, attention, temporal, x, None, cond)
            skips.append(x)
        if "downsamplers" in self._modules:
            for downsampler in self.downsamplers:
                x = resize_frames(downsampler, x, cond.embedding_for(x, self.frame_spacing))  # (b t) c h/2 w/2
            if "temporal_resample" in self._modules:
                x = self.temporal_resample(x, cond.clip.videos)  # (b t/2) c h/2 w/2
            skips.append(x)
        return x, skips


class SpaceTimeMidBlock(SpaceTimeBlock):
    def forward(self, x: Tensor, cond: Conditioning) -> Tensor:
        x = self.resnets[0](x, cond.embedding_for(x, self.frame_spacing))
        for attention, resnet, temporal in zip(self.attentions, self.resnets[1:], self.temporal_blocks, strict=True):
            x = self.run(self.mid_layer, attention, resnet, temporal, x, cond)
        return x

    def mid_layer(
        self, attention: nn.Module | None, resnet: nn.Module, temporal: nn.Module, x: Tensor, cond: Conditioning
    ) -> Tensor:
        embedding = cond.embedding_for(x, self.frame_spacing)
        return temporal(
            self.image_layer(resnet, None, self.attend(attention, x, cond), None, embedding, cond), cond.clip
        )


class SpaceTimeUpBlock(SpaceTimeBlock):
    def forward(
        self, x: Tensor, skips: list[Tensor], cond: Conditioning, frames: int, size: tuple[int, int] | None
    ) -> Tensor:
        """Consumes its level's `skips` from the back. frames, size: extent of the next finer level."""
        for resnet, attention, temporal in zip(
            self.resnets, self.children_named("attentions"), self.temporal_blocks, strict=True
        ):
            x = self.run(self.space_time_layer, resnet, attention, temporal, x, skips.pop(), cond)
        if "upsamplers" in self._modules:
            for upsampler in self.upsamplers:
                x = resize_frames(upsampler, x, cond.embedding_for(x, self.frame_spacing), size)  # (b t) c 2h 2w
            if "temporal_resample" in self._modules:
                x = self.temporal_resample(x, cond.clip.videos, frames)  # (b 2t) c 2h 2w
        return x
