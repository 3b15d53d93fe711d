"""Any diffusers text-to-image folder becomes the folder of a video model: its U-Net inflated, the rest taken over.

Nothing of it is trained here. Fresh temporal layers leave a still clip as it is, so such a model makes pictures whose
frames hang together only as far as the noise does; `lumiere train clips` teaches it motion.
"""

import re
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from safetensors import safe_open

from model.backbones.families import Family, check_fit, check_second_stage, family_of
from model.checkpoint import SHARD, CheckpointError, check_folder, write_json
from model.denoising import schedulers_like
from model.diffused_super_resolution import DiffusedSuperResolution
from model.loading import component_class, component_names, load_component, settings_of
from model.pipeline import LumierePipeline
from model.stunet import STUNet

TAKEN_OVER = ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2", "vae", "scheduler")
ASPECTS = (1.0, 4 / 3, 3 / 2, 16 / 9)
SCHEDULERS = ("scheduler", "image_noising_scheduler")
"""Of a second stage: of what it makes, and of what it is given."""
SECOND_STAGE = {"steps": 20, "augmentation": 0.0, "guidance_scale": 4.0, "window_frames": 16, "overlap_frames": 4}
"""How it is run; it brings noise of its own, and is guided as by diffusers' `IFSuperResolutionPipeline`."""


def inflate_folder(
    source: Path,
    out: Path,
    *,
    super_resolution: Path | None = None,
    dtype: torch.dtype | None = None,
    variant: str | None = None,
    seed: int = 0,
    **temporal: Any,
) -> LumierePipeline:
    """Writes the folder `out` and returns its pipeline, on the CPU.

    source: a text-to-image folder. super_resolution: one of a second stage (DeepFloyd IF-II), which enlarges. dtype:
    None keeps each part's. variant: as in `model.fp16.safetensors`. seed: of the random part of the temporal layers,
    which shows once they are trained. temporal: arguments of `STUNet`, of the first stage.

    Raises CheckpointError naming what is missing, corrupt or does not fit, and ValueError for `out` or `temporal`.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"out: {out} exists and is not an empty folder")
    pipeline = inflate_pipeline(source, super_resolution, dtype=dtype, variant=variant, seed=seed, **temporal)
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    pipeline.save_pretrained(partial, safe_serialization=True, max_shard_size=SHARD)
    pipeline.card = card(model_id(out), pipeline, family_of(source, component_names(source)))
    write_json(partial / "lumiere.json", pipeline.card)
    if out.exists():
        out.rmdir()
    partial.rename(out)
    return pipeline


def inflate_pipeline(
    source: Path,
    super_resolution: Path | None = None,
    *,
    dtype: torch.dtype | None = None,
    variant: str | None = None,
    seed: int = 0,
    **temporal: Any,
) -> LumierePipeline:
    """As `inflate_folder`, without writing."""
    check_folder(source, wanted=("unet", *TAKEN_OVER))
    there = component_names(source)
    family_of(source, there)
    image_unet = load_image_unet(source, dtype, variant)
    parts = {name: load_part(source, name, there[name], dtype, variant) for name in TAKEN_OVER if name in there}
    check_fit(source, image_unet, parts)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = STUNet.from_unet(image_unet, **temporal)
        enlarger = None if super_resolution is None else inflate_second_stage(super_resolution, unet, dtype, variant)
    unet.register_to_config(_name_or_path=source.name)
    zeros = bool(settings_of(source).get("force_zeros_for_empty_prompt", False))
    return LumierePipeline(unet=unet, super_resolution=enlarger, force_zeros_for_empty_prompt=zeros, **parts)


def inflate_second_stage(
    source: Path, first: STUNet, dtype: torch.dtype | None, variant: str | None
) -> DiffusedSuperResolution:
    """The U-Net of a second stage's folder, for videos of the `first` one. Its temporal layers are freshly drawn.

    Raises CheckpointError naming what is missing or does not fit.
    """
    check_folder(source, wanted=("unet", "scheduler", "image_noising_scheduler"))
    there = component_names(source)
    image_unet = load_image_unet(source, dtype, variant)
    schedules = [load_part(source, name, there[name], None, None) for name in SCHEDULERS if name in there]
    check_second_stage(source, image_unet, schedules, first)
    schedule, noising_schedule = (scheduler.config for scheduler in schedules)
    thresholding = schedule.get("thresholding", False)
    enlarger = DiffusedSuperResolution.from_unet(
        image_unet,
        scale=image_unet.config.sample_size // first.config.sample_size,
        schedule=schedule.beta_schedule,
        noising_schedule=noising_schedule.beta_schedule,
        threshold_quantile=schedule.dynamic_thresholding_ratio if thresholding else None,
        threshold_limit=schedule.sample_max_value if thresholding else 1.0,
    )
    enlarger.register_to_config(_name_or_path=source.name)
    return enlarger


def load_image_unet(source: Path, dtype: torch.dtype | None = None, variant: str | None = None) -> UNet2DConditionModel:
    """The folder's U-Net. Raises CheckpointError if it has none, or one of another kind."""
    library, class_name = component_names(source).get("unet", ("", ""))
    if (library, class_name) != ("diffusers", "UNet2DConditionModel"):
        found = f"its unet is a {class_name}" if class_name else "it has no unet"
        raise CheckpointError(f"{source} cannot be inflated: {found}, and a UNet2DConditionModel is needed")
    return load_part(source, "unet", (library, class_name), dtype, variant)


def load_part(source: Path, name: str, kind: tuple[str, str], dtype: torch.dtype | None, variant: str | None) -> Any:
    return load_component(
        source, name, component_class(source, name, *kind), dtype or stored_dtype(source / name), variant
    )


def stored_dtype(component: Path) -> torch.dtype | None:
    """The precision of a network's weights, None for a component that has none. Files are of one precision."""
    for path in sorted(component.glob("*.safetensors")):
        with safe_open(path, framework="pt") as weights:
            for key in weights.keys():  # noqa: SIM118 (not a dict)
                dtype = weights.get_tensor(key).dtype
                if dtype.is_floating_point:
                    return dtype
    return None


def model_id(out: Path) -> str:
    """The folder's name, in the letters that an id may have."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", out.resolve().name).strip("-._")[:100] or "inflated"


def card(name: str, pipeline: LumierePipeline, family: Family) -> dict[str, Any]:
    """`lumiere.json`: the sizes that the image model was trained for, and what it was inflated from."""
    short, step = pipeline.base_resolution, 2 * pipeline.pixels_per_cell
    sides = [(short, round(short * aspect / step) * step) for aspect in ASPECTS]
    sizes = [f"{short}x{short}"]
    for low, high in sides[1:]:
        sizes += [f"{high}x{low}", f"{low}x{high}"]
    if short < 256:  # small pictures are worth enlarging
        sizes += [f"{short * factor}x{short * factor}" for factor in (2, 4)]
    enlarges = pipeline.super_resolution is not None
    return {
        **({"super_resolution": SECOND_STAGE} if enlarges else {}),
        "id": name,
        "tasks": ["text-to-video"],
        "defaults": {
            "num_frames": 80,
            "fps": 16,
            "size": sizes[0],
            "num_inference_steps": family.steps,
            "guidance_scale": family.guidance_scale,
        },
        "limits": {
            "num_frames": [1, 80],
            "fps": [1, 60],
            "sizes": list(dict.fromkeys(sizes)),
            "num_inference_steps": [1, 1000],
            "guidance_scale": [1.0, 30.0],
            "prompt_characters": 1000,
            "schedulers": schedulers_like(pipeline.scheduler),
        },
        "upscale": "super-resolution" if enlarges else "bicubic" if short < 256 else "none",
        "backbone": family.name,
        "temporal_layers": "untrained",
    }
