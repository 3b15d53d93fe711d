"""Small random image U-Nets with the block types and options of the families that can be inflated."""

from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

TEXT_TOKENS = 7

FAMILIES: dict[str, dict[str, Any]] = {
    "sd15": {
        "block_out_channels": (16, 32, 32, 32),
        "cross_attention_dim": 24,
        "attention_head_dim": 4,
    },
    "sd21": {
        "block_out_channels": (16, 32, 32, 32),
        "cross_attention_dim": 40,
        "attention_head_dim": (2, 4, 4, 4),
        "use_linear_projection": True,
    },
    "sdxl": {
        "block_out_channels": (16, 32, 32),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 3),
        "cross_attention_dim": 24,
        "attention_head_dim": (2, 4, 4),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 16 + 6 * 8,
    },
    "if1": {
        "in_channels": 3,
        "out_channels": 6,
        "block_out_channels": (16, 32, 32, 32),
        "down_block_types": ("ResnetDownsampleBlock2D",) + ("SimpleCrossAttnDownBlock2D",) * 3,
        "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
        "up_block_types": ("SimpleCrossAttnUpBlock2D",) * 3 + ("ResnetUpsampleBlock2D",),
        "layers_per_block": 1,
        "cross_attention_dim": 32,
        "attention_head_dim": 8,
        "resnet_time_scale_shift": "scale_shift",
        "encoder_hid_dim": 40,
        "encoder_hid_dim_type": "text_proj",
        "addition_embed_type": "text",
        "addition_embed_type_num_heads": 4,
        "act_fn": "gelu",
        "time_embedding_act_fn": "gelu",
        "cross_attention_norm": "group_norm",
    },
    "if2": {
        "in_channels": 6,
        "out_channels": 6,
        "block_out_channels": (16, 32, 32),
        "down_block_types": ("ResnetDownsampleBlock2D", "ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
        "up_block_types": ("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D", "ResnetUpsampleBlock2D"),
        "only_cross_attention": True,
        "layers_per_block": (1, 2, 1),
        "cross_attention_dim": 32,
        "attention_head_dim": 8,
        "resnet_time_scale_shift": "scale_shift",
        "resnet_skip_time_act": True,
        "resnet_out_scale_factor": 1.41421,
        "mid_block_scale_factor": 1.41421,
        "encoder_hid_dim": 40,
        "encoder_hid_dim_type": "text_proj",
        "addition_embed_type": "text",
        "addition_embed_type_num_heads": 4,
        "class_embed_type": "timestep",
        "act_fn": "gelu",
        "time_embedding_act_fn": "gelu",
        "cross_attention_norm": "group_norm",
    },
}


def image_unet(family: str, dtype: torch.dtype = torch.float32, **more: Any) -> UNet2DConditionModel:
    torch.manual_seed(1)
    options = {"sample_size": 16, "norm_num_groups": 8, **FAMILIES[family], **more}
    return UNet2DConditionModel(**options).to(dtype).eval()


def conditions(unet: UNet2DConditionModel, videos: int, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """Random arguments, one row per video, that `unet` needs beside the sample."""
    config = unet.config
    generator = torch.Generator().manual_seed(2)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    arguments: dict[str, Any] = {
        "timestep": torch.randint(0, 1000, (videos,), generator=generator),
        "encoder_hidden_states": noise(videos, TEXT_TOKENS, config.encoder_hid_dim or config.cross_attention_dim),
    }
    if config.addition_embed_type == "text_time":
        arguments["added_cond_kwargs"] = {"text_embeds": noise(videos, 16), "time_ids": 64 * noise(videos, 6).abs()}
    if config.class_embed_type == "timestep":
        arguments["class_labels"] = torch.randint(0, 300, (videos,), generator=generator)
    return arguments


def of_frames(arguments: dict[str, Any], frames: int) -> dict[str, Any]:
    """The same arguments with one row per frame, for the image model."""
    repeat = lambda rows: rows.repeat_interleave(frames, 0)  # noqa: E731
    return {
        key: {k: repeat(v) for k, v in value.items()} if isinstance(value, dict) else repeat(value)
        for key, value in arguments.items()
    }
