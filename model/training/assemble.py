"""From a training run to a model folder: pipeline parts in diffusers' layout, weights in bf16, and the card the
gateway reads.
"""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler

from model.denoising import schedulers_like
from model.pipeline import LumierePipeline
from model.stunet import STUNet
from model.super_resolution import SuperResolution
from model.training.flow import TIMESTEPS
from model.training.image_model import PATCH
from model.training.super_resolution import SETTINGS
from model.training.text_encoder import load_text_encoder

MODEL_ID = "lumiere-mini"
FLOW_SHIFT = 16.0
"""What a clip shows and how it moves is decided at high noise levels, the more so the more frames it has; the last,
nearly clean steps add grain that the network was not taught to remove."""

CARD: dict[str, Any] = {
    "id": MODEL_ID,
    "stylize": {"strength": 0.5},
    "refinement": {"passes": 3, "level": 0.3},
    "tasks": ["text-to-video", "image-to-video", "inpaint", "cinemagraph", "stylize"],
    "defaults": {
        "num_frames": 80,
        "fps": 16,
        "size": "512x512",
        "num_inference_steps": 16,
        "guidance_scale": 3.0,
    },
    "limits": {
        "num_frames": [8, 320],
        "fps": [8, 60],
        "sizes": ["64x64", "128x128", "256x256", "512x512"],
        "num_inference_steps": [1, 100],
        "guidance_scale": [1.0, 20.0],
        "prompt_characters": 1000,
    },
}


def flow_scheduler() -> DPMSolverMultistepScheduler:
    """Rectified flow, the network predicting the clean sample, solved by DPM-Solver++ (2M)."""
    return DPMSolverMultistepScheduler(
        num_train_timesteps=TIMESTEPS,
        prediction_type="sample",
        use_flow_sigmas=True,
        flow_shift=FLOW_SHIFT,
        solver_order=2,
        lower_order_final=True,
    )


def assemble(run: Path, out: Path) -> None:
    """Writes the stages of `run` as a pipeline folder `out`: the network that knows conditions if it was trained, else
    the one that does not, and super-resolution if there is one.
    """
    encoder, tokenizer = load_text_encoder(run)
    conditioned = (run / "unet_conditioned").exists()
    unet = STUNet.from_pretrained(run / ("unet_conditioned" if conditioned else "unet"), local_files_only=True)
    enlarging = (run / "super_resolution").exists()
    super_resolution = None
    if enlarging:
        super_resolution = SuperResolution.from_pretrained(run / "super_resolution", local_files_only=True)
        super_resolution.register_to_config(_name_or_path=MODEL_ID)
        super_resolution.to(torch.bfloat16)
    unet.register_to_config(_name_or_path=MODEL_ID)  # else the folder it was trained in is saved
    pipeline = LumierePipeline(
        unet=unet.to(torch.bfloat16),
        text_encoder=encoder.to(torch.bfloat16),
        tokenizer=tokenizer,
        scheduler=flow_scheduler(),
        super_resolution=super_resolution,
        patch_size=PATCH,
    )
    pipeline.save_pretrained(out, safe_serialization=True, max_shard_size="15MB")
    upscale = {"upscale": "super-resolution", "super_resolution": SETTINGS} if enlarging else {"upscale": "bicubic"}
    limits = {**CARD["limits"], "schedulers": schedulers_like(pipeline.scheduler)}
    (out / "lumiere.json").write_text(json.dumps({**CARD, "limits": limits, **upscale}, indent=2) + "\n")
