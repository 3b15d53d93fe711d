"""The Space-Time U-Net (Lumiere, arXiv 2401.12945, section 3.1): any diffusers image U-Net, inflated in time.

The image U-Net is not rewritten. `STUNet` builds it, then replaces each block by one that adopts the block's layers
under their own names and adds `temporal_*` ones. So the keys of the image model's weights, its LoRAs and its styles
stay as they are, and a freshly inflated network gives the image model's output on every frame of a still clip.

Letters: b videos, t frames, c channels, h height, w width. Inside, frames are folded, `(b t) c h w`, in channels_last
memory.
"""

import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Self

import torch
import torch.nn.functional as F
from diffusers import ModelMixin, UNet2DConditionModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import AttnProcessor2_0
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from diffusers.models.upsampling import Upsample2D
from einops import rearrange
from torch import Tensor, nn

from model.inflation import (
    ClipContext,
    TemporalAttentionBlock,
    TemporalConvBlock,
    TemporalDownsample,
    TemporalUpsample,
    TextPooling,
    per_frame,
)

__all__ = ["ModelMixin", "STUNet"]

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
    """What every layer is given besides features. Rows belong to videos; `of_frames` spreads them over frames.

    embedding: (b, d) noise level, plus class, text or size embeddings where the image model has them.
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

    def of_frames(self, frames: int) -> tuple[Tensor, Any, Tensor | None]:
        embedding = per_frame(self.embedding, frames)
        if self.folds_text:
            return embedding, self.text, self.text_mask
        text = map_tensors(lambda rows: rows.repeat_interleave(frames, 0), self.text)
        mask = None if self.text_mask is None else self.text_mask.repeat_interleave(frames, 0)
        return embedding, text, mask


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
    """An image block's layers, adopted under their own names, each followed by a temporal one."""

    frame_chunk: int | None = None

    def __init__(self, block: nn.Module, temporal_blocks: list[nn.Module], temporal_resample: nn.Module | None = None):
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
        self.gradient_checkpointing = False

    def children_named(self, name: str) -> nn.ModuleList | list[None]:
        return getattr(self, name) if name in self._modules else [None] * len(self.resnets)

    def attend(self, attention: nn.Module | None, x: Tensor, cond: Conditioning) -> Tensor:
        if attention is None:
            return x
        _, text, mask = cond.of_frames(x.shape[0] // cond.clip.videos)
        if isinstance(attention, Transformer2DModel):
            return transform_frames(attention, x, text, mask, cond.attention_arguments)
        return attention(x, encoder_hidden_states=text, attention_mask=mask, **cond.attention_arguments)

    def image_layer(
        self, resnet: nn.Module, attention: nn.Module | None, x: Tensor, skip: Tensor | None, cond: Conditioning
    ) -> Tensor:
        if skip is not None:
            x = torch.cat([x, skip], dim=1)
        embedding, _, _ = cond.of_frames(x.shape[0] // cond.clip.videos)
        return self.attend(attention, resnet(x, embedding), cond)

    def image_layer_in_chunks(
        self, resnet: nn.Module, attention: nn.Module | None, x: Tensor, skip: Tensor | None, cond: Conditioning
    ) -> Tensor:
        """`image_layer` on `frame_chunk` frames at a time. Frames do not see each other in it, so this is exact; it
        bounds memory and keeps the work in the cache.
        """
        frames = x.shape[0] // cond.clip.videos
        if self.frame_chunk is None or frames <= self.frame_chunk or torch.is_grad_enabled():
            return self.image_layer(resnet, attention, x, skip, cond)
        pieces = []
        for video in range(cond.clip.videos):
            of_video = cond.of_video(video)
            for start in range(video * frames, (video + 1) * frames, self.frame_chunk):
                piece = slice(start, min(start + self.frame_chunk, (video + 1) * frames))
                pieces.append(
                    self.image_layer(resnet, attention, x[piece], None if skip is None else skip[piece], of_video)
                )
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
            embedding, _, _ = cond.of_frames(x.shape[0] // cond.clip.videos)
            for downsampler in self.downsamplers:
                x = resize_frames(downsampler, x, embedding)  # (b t) c h/2 w/2
            if "temporal_resample" in self._modules:
                x = self.temporal_resample(x, cond.clip.videos)  # (b t/2) c h/2 w/2
            skips.append(x)
        return x, skips


class SpaceTimeMidBlock(SpaceTimeBlock):
    def forward(self, x: Tensor, cond: Conditioning) -> Tensor:
        embedding, _, _ = cond.of_frames(x.shape[0] // cond.clip.videos)
        x = self.resnets[0](x, embedding)
        for attention, resnet, temporal in zip(self.attentions, self.resnets[1:], self.temporal_blocks, strict=True):
            x = self.run(self.mid_layer, attention, resnet, temporal, x, cond)
        return x

    def mid_layer(
        self, attention: nn.Module | None, resnet: nn.Module, temporal: nn.Module, x: Tensor, cond: Conditioning
    ) -> Tensor:
        return temporal(self.image_layer(resnet, None, self.attend(attention, x, cond), None, cond), cond.clip)


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
            embedding, _, _ = cond.of_frames(x.shape[0] // cond.clip.videos)
            for upsampler in self.upsamplers:
                x = resize_frames(upsampler, x, embedding, size)  # (b t) c 2h 2w
            if "temporal_resample" in self._modules:
                x = self.temporal_resample(x, cond.clip.videos, frames)  # (b 2t) c 2h 2w
        return x


def with_arguments_of(parent: Callable) -> Callable[[Callable], Callable]:
    """Gives `init(self, *, ours, **theirs)` the signature of `parent` plus `ours`.

    diffusers takes the keys of a config from the signature of `__init__`, and does not see what `**theirs` stands
    for. Writing out the parent's 50 arguments would tie this file to one version of them.
    """

    def decorate(init: Callable) -> Callable:
        ours = [p for p in inspect.signature(init).parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY]
        theirs = inspect.signature(parent)
        init.__signature__ = theirs.replace(parameters=[*theirs.parameters.values(), *ours])  # type: ignore[attr-defined]
        return init

    return decorate


def in_channels_last(model: "STUNet") -> "STUNet":
    # by nn.Module's method, as diffusers' own warns about precision at every call
    return nn.Module.to(model, memory_format=torch.channels_last)


class STUNet(UNet2DConditionModel):
    """Space-Time U-Net. All arguments of `UNet2DConditionModel`, and:

    temporal_factors: temporal resampling beside each spatial one, finest level first; None is 2 at each of them
        (section 3.1).
    temporal_kernel: width of the convolutions over time, odd.
    temporal_hidden_ratio: width of the convolution branch relative to its level's, rounded to the groups of its
        norms.
    temporal_attention_depth: transformer layers in each temporal attention block, which only the coarsest level has.
    temporal_head_dim: width of their heads, where it divides the level's.
    temporal_conditioning: our addition, off as in the paper: temporal blocks are modulated by noise level and pooled
        text. The frozen image layers have learned no words of motion; this hands the text to the layers that can.
    """

    _no_split_modules = ["BasicTransformerBlock", "ResnetBlock2D", "TemporalConvBlock", "TemporalAttentionBlock"]  # noqa: RUF012

    @register_to_config
    @with_arguments_of(UNet2DConditionModel.__init__)
    def __init__(
        self,
        *,
        temporal_factors: tuple[int, ...] | None = None,
        temporal_kernel: int = 3,
        temporal_hidden_ratio: float = 1.0,
        temporal_attention_depth: int = 2,
        temporal_head_dim: int = 64,
        temporal_conditioning: bool = False,
        **image_arguments: Any,
    ) -> None:
        super().__init__(**image_arguments)
        config = self.config
        widths = config.block_out_channels
        coarsest = len(widths) - 1
        factors = (2,) * coarsest if temporal_factors is None else tuple(temporal_factors)
        if len(factors) != coarsest or min(factors, default=1) < 1:
            raise ValueError(
                f"temporal_factors needs one factor >= 1 per spatial resampling, that is {coarsest}; got {factors}"
            )
        if config.mid_block_type is None or config.attention_type != "default" or config.dual_cross_attention:
            raise ValueError("cannot inflate a U-Net without a middle block, with gated or with dual cross-attention")
        self.register_to_config(temporal_factors=factors)

        embedding_dim = None
        if temporal_conditioning:
            embedding_dim = self.time_embedding.linear_2.out_features
            text_dim = config.cross_attention_dim
            text_dim = text_dim if isinstance(text_dim, int) else text_dim[0]
            self.temporal_embedding_noise = nn.Linear(self.time_embedding_width, embedding_dim)
            self.temporal_embedding_text = TextPooling(text_dim, embedding_dim)

        def temporal_block(level: int) -> nn.Module:
            width = widths[level]
            if level == coarsest:
                heads = width // math.gcd(width, temporal_head_dim)
                spacing = math.prod(factors)
                return TemporalAttentionBlock(width, heads, temporal_attention_depth, spacing, embedding_dim)
            groups = math.gcd(width, config.norm_num_groups or 32)
            hidden = max(1, round(width * temporal_hidden_ratio / groups)) * groups
            return TemporalConvBlock(width, hidden, groups, temporal_kernel, embedding_dim)

        for level, block in enumerate(self.down_blocks):
            resample = None
            if level < coarsest and factors[level] > 1:
                resample = TemporalDownsample(widths[level], factors[level], temporal_kernel)
            self.down_blocks[level] = SpaceTimeDownBlock(
                block, [temporal_block(level) for _ in block.resnets], resample
            )
        self.mid_block = SpaceTimeMidBlock(
            self.mid_block, [temporal_block(coarsest) for _ in self.mid_block.resnets[1:]]
        )
        for index, block in enumerate(self.up_blocks):
            level, resample = coarsest - index, None
            if level > 0 and factors[level - 1] > 1:
                resample = TemporalUpsample(widths[level], factors[level - 1], temporal_kernel)
            self.up_blocks[index] = SpaceTimeUpBlock(block, [temporal_block(level) for _ in block.resnets], resample)
        self.fold_text()

    @property
    def time_embedding_width(self) -> int:
        width = self.time_embedding.linear_2.out_features
        return 2 * width if self.config.class_embeddings_concat else width

    @classmethod
    def from_unet(cls, unet: UNet2DConditionModel, **temporal: Any) -> Self:
        """Inflates an image U-Net; `temporal`: this class's own arguments. Image weights are shared, not copied.

        Built without storage first: initialising the image layers only to overwrite them takes ten times as long.
        """
        config = {key: value for key, value in unet.config.items() if not key.startswith("_")}
        with torch.device("meta"):
            model = cls.from_config(config, **temporal)
        missing, unexpected = model.load_state_dict(unet.state_dict(), strict=False, assign=True)
        if unexpected or not all("temporal_" in key for key in missing):
            raise ValueError(f"not the weights of this U-Net: missing {missing[:3]}, unexpected {unexpected[:3]}")
        device, dtype = unet.device, unet.dtype
        for name, module in model.named_modules():
            if "temporal_" in name and any(p.is_meta for p in module.parameters(recurse=False)):
                module.to_empty(device=device, recurse=False)
                module.reset_parameters()
                module.to(dtype)
        for module in model.modules():
            if hasattr(module, "reset_to_identity"):
                module.reset_to_identity()
        return in_channels_last(model).train(unet.training)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> Any:
        """As in diffusers, but raises ValueError where it would leave weights uninitialised: an image model's folder
        has no temporal layers and is to be inflated with `from_unet`.
        """
        wants_info = kwargs.pop("output_loading_info", False)
        model, info = super().from_pretrained(pretrained_model_name_or_path, output_loading_info=True, **kwargs)
        missing = list(info["missing_keys"])
        if any("temporal_" in key for key in missing):
            raise ValueError(
                f"{pretrained_model_name_or_path} holds no weights for the temporal layers (e.g. {missing[0]}): "
                "an image model is turned into a video model by STUNet.from_unet, not loaded as one"
            )
        problems = missing + list(info["unexpected_keys"]) + list(info["mismatched_keys"])
        if problems:
            raise ValueError(f"{pretrained_model_name_or_path} does not fit its own config.json: {problems[:3]}")
        model = in_channels_last(model)
        return (model, info) if wants_info else model

    def temporal_parameters(self) -> Iterator[nn.Parameter]:
        return (parameter for name, parameter in self.named_parameters() if "temporal_" in name)

    def freeze_spatial(self) -> Self:
        """Leaves gradients to the temporal layers alone, as the paper trains (section 3)."""
        for name, parameter in self.named_parameters():
            parameter.requires_grad_("temporal_" in name)
        return self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Frozen image layers stay in evaluation mode: in training mode diffusers copies their inputs to NCHW."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, ResnetBlock2D):
                module.train(mode and module.conv1.weight.requires_grad)
        return self

    def set_frame_chunk(self, frames: int | None) -> None:
        """Runs the per-frame layers on so many frames at a time when no gradients are taken; None: on all. Exact."""
        for module in self.modules():
            if isinstance(module, SpaceTimeBlock):
                module.frame_chunk = frames

    def fold_text(self) -> None:
        """Folds frames into the queries of cross-attention wherever the plain processor is at work."""
        processors = self.attn_processors
        if all(type(processor) is AttnProcessor2_0 for processor in processors.values()):
            self.set_attn_processor(
                {k: FoldedTextProcessor() if k.endswith("attn2.processor") else v for k, v in processors.items()}
            )
        self._cross_attentions = tuple(
            block.attn2
            for block in self.modules()
            if isinstance(block, BasicTransformerBlock) and block.attn2 is not None
        )

    @property
    def folds_text(self) -> bool:
        """Asked at every call: attention slicing and IP-Adapter swap processors behind our back."""
        return bool(self._cross_attentions) and all(
            type(attention.processor) is FoldedTextProcessor for attention in self._cross_attentions
        )

    def embed_condition(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        text: Tensor,
        class_labels: Tensor | None,
        timestep_cond: Tensor | None,
        added: dict[str, Tensor] | None,
    ) -> Tensor:
        """The image model's conditioning vector, one row per video: (b, d)."""
        embedding = self.time_embedding(self.get_time_embed(sample, timestep), timestep_cond)
        of_class = self.get_class_embed(sample, class_labels)
        if of_class is not None:
            concat = self.config.class_embeddings_concat
            embedding = torch.cat([embedding, of_class], dim=-1) if concat else embedding + of_class
        augmentation = self.get_aug_embed(embedding, text, added)
        embedding = embedding if augmentation is None else embedding + augmentation
        return embedding if self.time_embed_act is None else self.time_embed_act(embedding)

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float | int,
        encoder_hidden_states: Tensor,
        class_labels: Tensor | None = None,
        timestep_cond: Tensor | None = None,
        cross_attention_kwargs: dict[str, Any] | None = None,
        added_cond_kwargs: dict[str, Tensor] | None = None,
        encoder_attention_mask: Tensor | None = None,
        frame_interval: Tensor | float = 1.0,
        return_dict: bool = True,
    ) -> UNet2DConditionOutput | tuple[Tensor]:
        """Denoises whole clips.

        sample: (b, c, t, h, w). encoder_hidden_states: (b, l, d). encoder_attention_mask: (b, l), 1 keeps a token.
        frame_interval: float or (b,), time between two frames of `sample` in the model's native frame intervals.

        Other arguments as in `UNet2DConditionModel.forward`. Returns a prediction (b, out_channels, t, h, w).
        """
        videos, _, _, *size = sample.shape
        forced_size = any(extent % 2**self.num_upsamplers for extent in size)
        mask = None
        if encoder_attention_mask is not None:
            mask = (1 - encoder_attention_mask.to(sample.dtype)).unsqueeze(1) * -10_000.0
        if self.config.center_input_sample:
            sample = 2 * sample - 1.0

        embedding = self.embed_condition(
            sample, timestep, encoder_hidden_states, class_labels, timestep_cond, added_cond_kwargs
        )
        text = self.process_encoder_hidden_states(encoder_hidden_states, added_cond_kwargs)
        motion = None
        if self.config.temporal_conditioning:
            tokens = text if isinstance(text, Tensor) else text[0]
            motion = F.silu(self.temporal_embedding_noise(embedding) + self.temporal_embedding_text(tokens, mask))
        interval = torch.as_tensor(frame_interval, dtype=torch.float32, device=sample.device).reshape(-1, 1)
        clip = ClipContext(videos, motion, interval)
        cond = Conditioning(embedding, text, mask, cross_attention_kwargs or {}, self.folds_text, clip)

        x = rearrange(sample, "b c t h w -> (b t) c h w").contiguous(memory_format=torch.channels_last)
        x = self.conv_in(x)  # (b t) c0 h w
        skips = [x]
        for block in self.down_blocks:
            x, of_level = block(x, cond)  # (b t/2) c1 h/2 w/2 and so on
            skips += of_level
        x = self.mid_block(x, cond)
        for block in self.up_blocks:
            count = len(block.resnets)
            of_level, skips = skips[-count:], skips[:-count]
            finer = skips[-1] if skips else x
            x = block(x, of_level, cond, finer.shape[0] // videos, tuple(finer.shape[2:]) if forced_size else None)
        if self.conv_norm_out is not None:
            x = self.conv_act(self.conv_norm_out(x))
        x = self.conv_out(x)  # (b t) c' h w
        prediction = rearrange(x, "(b t) c h w -> b c t h w", b=videos).contiguous()
        return UNet2DConditionOutput(sample=prediction) if return_dict else (prediction,)
