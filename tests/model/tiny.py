"""A whole model folder with random weights, small enough to be made and run in a second."""

import json
from pathlib import Path

import torch
from diffusers import DPMSolverMultistepScheduler, UNet2DConditionModel
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

from model.pipeline import LumierePipeline
from model.stunet import STUNet

START, END = "<|startoftext|>", "<|endoftext|>"
TOKENS = 24
CARD = {
    "id": "lumiere-tiny",
    "tasks": ["text-to-video", "image-to-video", "inpaint", "cinemagraph", "stylize"],
    "defaults": {"num_frames": 16, "fps": 16, "size": "64x64", "num_inference_steps": 4, "guidance_scale": 3.0},
    "limits": {
        "num_frames": [1, 320],
        "fps": [1, 60],
        "sizes": ["32x32", "64x64", "128x128", "64x32"],
        "num_inference_steps": [1, 100],
        "guidance_scale": [1.0, 20.0],
        "prompt_characters": 1000,
    },
    "upscale": "bicubic",
}


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte: every prompt can be written, and a prompt of more than 22 bytes is too long."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([START, END, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges=[]))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, 0), (END, 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=START, eos_token=END, pad_token=END, model_max_length=TOKENS
    )


def tiny_text_encoder(vocabulary: int, width: int = 32) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=TOKENS,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return CLIPTextModel(config).eval()


def tiny_unet() -> STUNet:
    image = UNet2DConditionModel(
        sample_size=8,
        in_channels=48,
        out_channels=48,
        block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=2,
        cross_attention_dim=32,
    )
    unet = STUNet.from_unet(image.eval(), temporal_attention_depth=1, temporal_conditioning=True)
    with torch.no_grad():
        for parameter in unet.temporal_parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    return unet


def tiny_pipeline() -> LumierePipeline:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tokenizer = tiny_tokenizer()
        return LumierePipeline(
            unet=tiny_unet(),
            text_encoder=tiny_text_encoder(len(tokenizer)),
            tokenizer=tokenizer,
            scheduler=DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="sample", flow_shift=2.0),
            patch_size=4,
        )


def save_tiny_pipeline(folder: str | Path) -> Path:
    """Writes the folder of a model that draws 32x32 pixels of nothing in particular, and returns its path."""
    folder = Path(folder)
    tiny_pipeline().save_pretrained(folder)
    (folder / "lumiere.json").write_text(json.dumps(CARD, indent=2))
    return folder
