"""Text-to-image folders of every family, random and tiny, written by diffusers' own pipeline classes."""

import json
from collections.abc import Callable
from pathlib import Path

import sentencepiece
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    IFPipeline,
    IFSuperResolutionPipeline,
    PNDMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from tests.model.families import image_unet

PROMPTS = ["A red Ball, on a beach at night", "", "no more words " * 40]


def clip_tokenizer(pad: str = "<|endoftext|>") -> CLIPTokenizer:
    """One token per byte; CLIP's own length of 77."""
    letters = sorted(ByteLevel.alphabet())
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer({word: index for index, word in enumerate(words)}, [], pad_token=pad, model_max_length=77)


def clip_config(width: int, layers: int, tokenizer: CLIPTokenizer, **more: object) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **more,
    )


def vae(**more: object) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        **more,
    ).eval()


def stable_diffusion_15() -> DiffusionPipeline:
    tokenizer = clip_tokenizer()
    return StableDiffusionPipeline(
        unet=image_unet("sd15"),
        vae=vae(),
        text_encoder=CLIPTextModel(clip_config(24, 2, tokenizer)).eval(),
        tokenizer=tokenizer,
        scheduler=PNDMScheduler(beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def stable_diffusion_21() -> DiffusionPipeline:
    tokenizer = clip_tokenizer(pad="!")
    return StableDiffusionPipeline(
        unet=image_unet("sd21"),
        vae=vae(),
        text_encoder=CLIPTextModel(clip_config(40, 3, tokenizer, hidden_act="gelu")).eval(),
        tokenizer=tokenizer,
        scheduler=DDIMScheduler(
            beta_schedule="scaled_linear", prediction_type="v_prediction", clip_sample=False, steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def stable_diffusion_xl() -> DiffusionPipeline:
    tokenizer, tokenizer_2 = clip_tokenizer(), clip_tokenizer(pad="!")
    return StableDiffusionXLPipeline(
        unet=image_unet("sdxl"),
        vae=vae(scaling_factor=0.13025, force_upcast=True),
        text_encoder=CLIPTextModel(clip_config(8, 3, tokenizer)).eval(),
        tokenizer=tokenizer,
        text_encoder_2=CLIPTextModelWithProjection(
            clip_config(16, 4, tokenizer_2, hidden_act="gelu", projection_dim=16)
        ).eval(),
        tokenizer_2=tokenizer_2,
        scheduler=EulerDiscreteScheduler(beta_schedule="scaled_linear"),
        force_zeros_for_empty_prompt=True,
    )


def spiece_model(folder: Path) -> Path:
    """A SentencePiece model, as DeepFloyd IF brings one; trained in a moment."""
    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(f"a red ball {n} on the beach at night, no more words" for n in range(50)))
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=str(folder / "spiece"),
        vocab_size=60,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return folder / "spiece.model"


def t5_parts(folder: Path) -> tuple[T5Tokenizer, T5EncoderModel]:
    spiece_model(folder)
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "T5Tokenizer", "extra_ids": 10, "model_max_length": 512})
    )
    tokenizer = T5Tokenizer.from_pretrained(folder)
    config = T5Config(vocab_size=len(tokenizer) + 8, d_model=40, d_kv=8, d_ff=64, num_layers=2, num_heads=4)
    return tokenizer, T5EncoderModel(config).eval()


def thresholding_scheduler() -> DDPMScheduler:
    return DDPMScheduler(
        beta_schedule="squaredcos_cap_v2",
        variance_type="learned_range",
        thresholding=True,
        dynamic_thresholding_ratio=0.95,
        sample_max_value=1.5,
    )


def deepfloyd_if_1(scratch: Path) -> DiffusionPipeline:
    tokenizer, text_encoder = t5_parts(scratch)
    return IFPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        unet=image_unet("if1"),
        scheduler=thresholding_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        watermarker=None,
        requires_safety_checker=False,
    )


def deepfloyd_if_2(scratch: Path) -> DiffusionPipeline:
    tokenizer, text_encoder = t5_parts(scratch)
    unet = image_unet("if2")
    unet.register_to_config(sample_size=32)  # twice that of the first stage
    return IFSuperResolutionPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        unet=unet,
        scheduler=thresholding_scheduler(),
        image_noising_scheduler=DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
        safety_checker=None,
        feature_extractor=None,
        watermarker=None,
        requires_safety_checker=False,
    )


FAMILIES: dict[str, Callable[[Path], DiffusionPipeline]] = {
    "sd15": lambda _: stable_diffusion_15(),
    "sd21": lambda _: stable_diffusion_21(),
    "sdxl": lambda _: stable_diffusion_xl(),
    "if1": deepfloyd_if_1,
}


def make_image_pipeline(family: str, scratch: Path) -> DiffusionPipeline:
    scratch.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return deepfloyd_if_2(scratch) if family == "if2" else FAMILIES[family](scratch)


def as_on_the_hub(folder: Path, scratch: Path) -> Path:
    """Tokenizers as the published folders have them: vocab.json and merges.txt, or spiece.model."""
    for tokenizer in folder.glob("tokenizer*"):
        whole = json.loads((tokenizer / "tokenizer.json").read_text())
        config = json.loads((tokenizer / "tokenizer_config.json").read_text())
        (tokenizer / "tokenizer.json").unlink()
        config.pop("added_tokens_decoder", None)
        if (scratch / "spiece.model").exists():
            (tokenizer / "spiece.model").write_bytes((scratch / "spiece.model").read_bytes())
            config["tokenizer_class"] = "T5Tokenizer"
        else:
            (tokenizer / "vocab.json").write_text(json.dumps(whole["model"]["vocab"]))
            (tokenizer / "merges.txt").write_text("#version: 0.2\n")
            config["tokenizer_class"] = "CLIPTokenizer"
        (tokenizer / "tokenizer_config.json").write_text(json.dumps(config))
    return folder
