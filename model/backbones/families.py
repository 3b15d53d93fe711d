"""The kinds of text-to-image folders that can be inflated, and what has to fit together in one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import UNet2DConditionModel

from model.checkpoint import CheckpointError


@dataclass(frozen=True)
class Family:
    """steps, guidance_scale: defaults of the family's own pipeline in diffusers."""

    name: str
    needs: frozenset[str]
    text_encoder: str
    steps: int
    guidance_scale: float


ONE_ENCODER = frozenset({"unet", "text_encoder", "tokenizer", "scheduler"})
FAMILIES = (
    Family("stable-diffusion-xl", ONE_ENCODER | {"text_encoder_2", "tokenizer_2", "vae"}, "CLIPTextModel", 50, 5.0),
    Family("stable-diffusion", ONE_ENCODER | {"vae"}, "CLIPTextModel", 50, 7.5),
    Family("deepfloyd-if", ONE_ENCODER, "T5EncoderModel", 100, 7.0),
)


def family_of(folder: Path, there: Mapping[str, tuple[str, str]]) -> Family:
    """The family of a folder with these components. Raises CheckpointError naming what it would need."""
    for family in FAMILIES:
        if family.needs <= there.keys() and there["text_encoder"][1] == family.text_encoder:
            return family
    kinds = "; ".join(f"{f.name}: {', '.join(sorted(f.needs))} with a {f.text_encoder}" for f in FAMILIES)
    raise CheckpointError(
        f"{folder / 'model_index.json'} is of no family that can be inflated ({kinds}); it has {', '.join(there)}"
    )


def check_fit(folder: Path, unet: UNet2DConditionModel, parts: Mapping[str, Any]) -> None:
    """Raises CheckpointError unless the U-Net takes what text encoders and VAE give, and nothing else."""
    config = unet.config

    def expect(name: str, actual: Any, *allowed: Any) -> None:
        if actual not in allowed:
            wanted = " or ".join(map(repr, allowed))
            raise CheckpointError(f"{folder / 'unet' / 'config.json'}: {name} is {actual!r}, where {wanted} is needed")

    vae = parts.get("vae")
    channels = 3 if vae is None else vae.config.latent_channels
    expect("in_channels", config.in_channels, channels)
    expect("out_channels", config.out_channels, channels, 2 * channels)
    expect("class_embed_type", config.class_embed_type, None)
    expect("num_class_embeds", config.num_class_embeds, None)
    expect("time_cond_proj_dim", config.time_cond_proj_dim, None)  # distilled guidance
    expect("encoder_hid_dim_type", config.encoder_hid_dim_type, None, "text_proj")
    if not isinstance(config.sample_size, int):
        raise CheckpointError(f"{folder / 'unet' / 'config.json'}: sample_size must be one number")

    widths = [encoder_width(parts[name]) for name in ("text_encoder", "text_encoder_2") if name in parts]
    if config.encoder_hid_dim is not None:
        expect("encoder_hid_dim", config.encoder_hid_dim, sum(widths))
    else:
        expect("cross_attention_dim", config.cross_attention_dim, sum(widths))
    if "text_encoder_2" in parts:
        expect("addition_embed_type", config.addition_embed_type, "text_time")
        pooled = parts["text_encoder_2"].config.projection_dim
        expect(
            "projection_class_embeddings_input_dim",
            config.projection_class_embeddings_input_dim,
            pooled + 6 * config.addition_time_embed_dim,
        )
    else:
        expect("addition_embed_type", config.addition_embed_type, None, "text")
    for tokenizer, encoder in (("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2")):
        if tokenizer in parts and len(parts[tokenizer]) > parts[encoder].config.vocab_size:
            raise CheckpointError(
                f"{folder / tokenizer} has {len(parts[tokenizer])} tokens, more than the {encoder} knows: "
                f"{parts[encoder].config.vocab_size}"
            )
    if vae is not None and vae.config.get("latents_mean") is not None:
        raise CheckpointError(f"{folder / 'vae' / 'config.json'}: latents_mean is not supported")


def check_second_stage(folder: Path, unet: UNet2DConditionModel, schedules: Sequence[Any], first: Any) -> None:
    """Raises CheckpointError unless the U-Net enlarges what the `first` one makes, in pixels, from the same text."""
    config, where = unet.config, folder / "unet" / "config.json"

    def expect(name: str, actual: Any, wanted: Any) -> None:
        if actual != wanted:
            raise CheckpointError(f"{where}: {name} is {actual!r}, where {wanted!r} is needed for a second stage")

    expect("in_channels", config.in_channels, 6)
    expect("class_embed_type", config.class_embed_type, "timestep")
    expect("encoder_hid_dim", config.encoder_hid_dim, first.config.encoder_hid_dim)
    if config.out_channels not in (3, 6):
        expect("out_channels", config.out_channels, 3)
    if first.config.in_channels != 3 or config.sample_size % first.config.sample_size:
        raise CheckpointError(
            f"{where}: its pictures of {config.sample_size} pixels are no multiple of the first stage's, of "
            f"{first.config.sample_size}"
        )
    if len(schedules) != 2:
        raise CheckpointError(f"{folder / 'model_index.json'} names no scheduler and image_noising_scheduler")
    kind = schedules[0].config.prediction_type
    if kind != "epsilon":
        raise CheckpointError(f"{folder / 'scheduler'}: prediction_type is {kind!r}, where 'epsilon' is needed")


def encoder_width(encoder: Any) -> int:
    """Channels of a text encoder's states: CLIP's and T5's names for it."""
    return encoder.config.hidden_size if "hidden_size" in encoder.config.to_dict() else encoder.config.d_model
