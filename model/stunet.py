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
from typing import Any, Self

import torch
from diffusers import ModelMixin, UNet2DConditionModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import AttnProcessor2_0
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from einops import rearrange
from torch import Tensor, nn

from model.inflation import (
    ClipContext,
    KnownCopy,
    KnownInput,
    MotionEmbedding,
    TemporalAttentionBlock,
    TemporalConvBlock,
    TemporalDownsample,
    TemporalUpsample,
    moment_code,
)
from model.narrow_group_norm import with_quick_norms
from model.space_time_blocks import (
    Conditioning,
    FoldedTextProcessor,
    SpaceTimeDownBlock,
    SpaceTimeMidBlock,
    SpaceTimeUpBlock,
)

__all__ = ["KNOWN_LAYERS", "ModelMixin", "STUNet"]

KNOWN_LAYERS = ("temporal_embedding_known.", "temporal_embedding_copy.")
"""What the names of the weights begin with that read what is known of a clip."""


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
    temporal_conditioning: our addition, off as in the paper: temporal blocks are modulated by noise level, pooled text
        and moment. The frozen image layers have learned no words of motion; this hands the text to the layers that can.
    temporal_places: our addition, off as in the paper: temporal blocks are told where in the frame they look. A path
        across the frame is a matter of place and time; a small image model's features hardly tell places apart.
    frame_moments: our addition, off as in the paper, for image models that were taught the moment of each picture as
        their `timestep_cond` (see `moment_code`): their layers are told that of each frame.
    known_channels: channels that follow those of the noisy clip in the input and tell what is known of it (section
        4.2).
    known_copy: our addition, off as in the paper, for networks that predict the clean sample: how much of what is known
        of a place is copied is part of what they predict.
    """

    _no_split_modules = ["BasicTransformerBlock", "ResnetBlock2D", "TemporalConvBlock", "TemporalAttentionBlock"]  # noqa: RUF012

    mid_block: nn.Module

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
        temporal_places: bool = False,
        frame_moments: bool = False,
        known_channels: int = 0,
        known_copy: bool = False,
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
        if frame_moments and not config.time_cond_proj_dim:
            raise ValueError("frame_moments needs an image model with time_cond_proj_dim, which reads the moments")
        self.register_to_config(temporal_factors=factors)

        embedding_dim = None
        if temporal_conditioning:
            embedding_dim = self.time_embedding.linear_2.out_features
            text_dim = config.cross_attention_dim
            text_dim = text_dim if isinstance(text_dim, int) else text_dim[0]
            self.temporal_embedding_motion = MotionEmbedding(text_dim, self.time_embedding_width, embedding_dim)

        if known_channels:
            self.temporal_embedding_known = KnownInput(known_channels, widths[0])
        if known_copy:
            self.temporal_embedding_copy = KnownCopy(widths[0], config.out_channels)

        def spacing(level: int) -> int:
            return math.prod(factors[:level])

        def temporal_block(level: int) -> nn.Module:
            width = widths[level]
            if level == coarsest:
                heads = width // math.gcd(width, temporal_head_dim)
                depth = temporal_attention_depth
                return TemporalAttentionBlock(width, heads, depth, spacing(level), embedding_dim, temporal_places)
            groups = math.gcd(width, config.norm_num_groups or 32)
            hidden = max(1, round(width * temporal_hidden_ratio / groups)) * groups
            return TemporalConvBlock(
                width, hidden, groups, temporal_kernel, spacing(level), embedding_dim, temporal_places
            )

        for level, block in enumerate(self.down_blocks):
            resample = None
            if level < coarsest and factors[level] > 1:
                resample = TemporalDownsample(widths[level], factors[level], temporal_kernel)
            self.down_blocks[level] = SpaceTimeDownBlock(
                block, [temporal_block(level) for _ in block.resnets], resample, frame_spacing=spacing(level)
            )
        self.mid_block = SpaceTimeMidBlock(
            self.mid_block,
            [temporal_block(coarsest) for _ in self.mid_block.resnets[1:]],
            frame_spacing=spacing(coarsest),
        )
        for index, block in enumerate(self.up_blocks):
            level, resample = coarsest - index, None
            if level > 0 and factors[level - 1] > 1:
                resample = TemporalUpsample(widths[level], factors[level - 1], temporal_kernel)
            self.up_blocks[index] = SpaceTimeUpBlock(
                block, [temporal_block(level) for _ in block.resnets], resample, frame_spacing=spacing(level)
            )
        with_quick_norms(self)
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

    def with_known_input(self, channels: int, copy: bool = False) -> Self:
        """This network with `channels` known channels, which it does not heed yet, or as it has learned already, and
        with `known_copy` or without. All other weights are shared.
        """
        config = {key: value for key, value in self.config.items() if not key.startswith("_")}
        with torch.device("meta"):
            model = type(self).from_config({**config, "known_channels": channels, "known_copy": copy})
        missing, _ = model.load_state_dict(self.state_dict(), strict=False, assign=True)
        for name in sorted({key.partition(".")[0] for key in missing}):
            added = getattr(model, name).to_empty(device=self.device).to(self.dtype)
            added.reset_to_identity()
        return in_channels_last(model).train(self.training)

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
        """Runs the per-frame layers on so many frames at a time when no gradients are taken, and on four times as many
        at each coarser level, where frames are a quarter the size; None: on all. Exact.
        """
        coarsest = len(self.down_blocks) - 1
        levels = (*enumerate(self.down_blocks), *enumerate(reversed(self.up_blocks)), (coarsest, self.mid_block))
        for level, block in levels:
            block.frame_chunk = None if frames is None else frames * 4**level

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
        """The image model's conditioning vector, one row per video: (b, d); one per frame, (b, t, d), where
        `timestep_cond` is (b, t, e) or (1, t, e).
        """
        frames = timestep_cond.shape[1] if timestep_cond is not None and timestep_cond.ndim == 3 else None

        def expanded(rows: Tensor) -> Tensor:
            return rows if frames is None else rows[:, None].expand(-1, frames, -1)

        embedding = self.time_embedding(expanded(self.get_time_embed(sample, timestep)), timestep_cond)
        of_class = self.get_class_embed(sample, class_labels)
        if of_class is not None:
            concat = self.config.class_embeddings_concat
            of_class = expanded(of_class)
            embedding = torch.cat([embedding, of_class], dim=-1) if concat else embedding + of_class
        augmentation = self.get_aug_embed(embedding, text, added)
        embedding = embedding if augmentation is None else embedding + expanded(augmentation)
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

        sample: (b, c, t, h, w), with c either `in_channels` or, where something is known, `known_channels` more.
        encoder_hidden_states: (b, l, d). encoder_attention_mask: (b, l), 1 keeps a token.
        frame_interval: float or (b,), time between two frames of `sample` in the model's native frame intervals.
        timestep_cond: (b, e), in the place of the moments of frames where the image layers are told these.

        Other arguments as in `UNet2DConditionModel.forward`. Returns a prediction (b, out_channels, t, h, w).
        """
        videos, _, _, *size = sample.shape
        sample, known = sample[:, : self.config.in_channels], sample[:, self.config.in_channels :]
        forced_size = any(extent % 2**self.num_upsamplers for extent in size)
        mask = None
        if encoder_attention_mask is not None:
            mask = (1 - encoder_attention_mask.to(sample.dtype)).unsqueeze(1) * -10_000.0
        if self.config.center_input_sample:
            sample = 2 * sample - 1.0

        interval = torch.as_tensor(frame_interval, dtype=torch.float32, device=sample.device).reshape(-1, 1)
        times = torch.arange(sample.shape[2], device=sample.device) * interval

        def embed(told: Tensor | None) -> Tensor:
            return self.embed_condition(sample, timestep, encoder_hidden_states, class_labels, told, added_cond_kwargs)

        embedding = of_frames = embed(timestep_cond)
        if self.config.frame_moments and timestep_cond is None:
            of_frames = embed(moment_code(times, self.config.time_cond_proj_dim).to(sample.dtype))
        text = self.process_encoder_hidden_states(encoder_hidden_states, added_cond_kwargs)
        motion = None
        if self.config.temporal_conditioning:
            tokens = text if isinstance(text, Tensor) else text[0]
            motion = self.temporal_embedding_motion(embedding, tokens, mask, times)
        clip = ClipContext(videos, motion, interval)
        cond = Conditioning(of_frames, text, mask, cross_attention_kwargs or {}, self.folds_text, clip)

        x = rearrange(sample, "b c t h w -> (b t) c h w").contiguous(memory_format=torch.channels_last)
        x = self.conv_in(x)  # (b t) c0 h w
        if known.shape[1]:
            known = rearrange(known, "b c t h w -> (b t) c h w")
            x = x + self.temporal_embedding_known(known)
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
        features, x = x, self.conv_out(x)  # (b t) c' h w
        if known.shape[1] and self.config.known_copy:
            x = self.temporal_embedding_copy(features, x, known)
        prediction = rearrange(x, "(b t) c h w -> b c t h w", b=videos).contiguous()
        return UNet2DConditionOutput(sample=prediction) if return_dict else (prediction,)
