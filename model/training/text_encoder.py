"""Stage 0: a small text encoder that understands the world's captions, trained before any picture is drawn.

Lumiere keeps its pre-trained text encoder frozen. No pre-trained one can be shipped here, so ours learns from
captions alone what a sentence says: from the encoder's states the attributes of the scene must be readable. Random
unknown words and dropped words during training make it indifferent to what it does not know.

When the world grows, a trained encoder grows with it: new words become tokens, and its states for sentences that it
understood before are held, so that the networks trained with it go on from where they are.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

from model.training.scenes.attributes import ATTRIBUTES, sample_scenes
from model.training.scenes.captions import Caption, captions

START, END = "<|start|>", "<|end|>"
MAX_TOKENS = 32
FILLERS = (
    "very",
    "beautiful",
    "nice",
    "lovely",
    "cute",
    "detailed",
    "slow",
    "camera",
    "cinematic",
    "realistic",
    "soft",
    "light",
    "sunny",
    "day",
    "old",
    "new",
    "tiny",
    "large",
    "big",
    "one",
    "single",
    "some",
    "with",
    "and",
    "of",
    "its",
    "while",
    "scene",
    "showing",
    "view",
    "close",
    "wide",
    "calm",
    "happy",
    "epic",
    "4k",
    "hd",
)
HELD_SENTENCES = 64
HOLD_WEIGHT = 20.0
"""What keeping old sentences' states weighs beside reading all: states are of the order of one."""
UNSAID = "unsaid"
READINGS: dict[str, tuple[str, ...]] = {name: (*values, UNSAID) for name, values in ATTRIBUTES.items()}
"""What can be read off a caption, per attribute."""


@dataclass(frozen=True)
class TextEncoderConfig:
    sentences: int = 20_000
    vocabulary: int = 1200
    width: int = 128
    layers: int = 3
    heads: int = 2
    steps: int = 600
    batch: int = 80
    learning_rate: float = 1.5e-3
    seed: int = 0


def train_tokenizer(sentences: list[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE, lower case: every string has a tokenization, words of the world are one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences, trainer)
    ids = [(token, tokenizer.token_to_id(token)) for token in (START, END)]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{START} $A {END}", special_tokens=ids)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=START, eos_token=END, pad_token=END, model_max_length=MAX_TOKENS
    )


def tokenize(tokenizer: PreTrainedTokenizerFast, sentences: list[str]) -> Tensor:
    """Token ids (n, MAX_TOKENS), padded with the end token, truncated."""
    return tokenizer(
        sentences, padding="max_length", truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
    ).input_ids


def world_captions(n: int, seed: int, pair_share: float = 0.3, camera_share: float = 0.2) -> list[Caption]:
    generator = torch.Generator().manual_seed(seed)
    scenes = sample_scenes(n, generator, plain_share=0.6, pair_share=pair_share, camera_share=camera_share)
    return captions(scenes, random.Random(seed))


def disturbed(caption: Caption, rng: random.Random) -> Caption:
    """The caption with filler words put in, or (rarely) nothing but fillers, or empty."""
    draw = rng.random()
    if draw < 0.04:
        return Caption(" ".join(rng.sample(FILLERS, rng.randrange(4))), {})
    if draw < 0.6:
        return caption
    words = caption.text.split()
    for _ in range(rng.randrange(1, 4)):
        word = (
            rng.choice(FILLERS)
            if rng.random() < 0.6
            else "".join(rng.choices("abcdefghilmnoprstuvw", k=rng.randrange(3, 8)))
        )
        at = rng.choice((0, len(words)))
        words.insert(at, word)
    return Caption(" ".join(words), caption.says)


def readings(batch: list[Caption]) -> dict[str, Tensor]:
    """The class index of each attribute, (n,) each."""
    return {
        name: torch.tensor([values.index(caption.says.get(name, UNSAID)) for caption in batch])
        for name, values in READINGS.items()
    }


class Reader(nn.Module):
    """Reads every attribute off the encoder's last states with one linear layer each, at the end token and on
    average."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = nn.ModuleDict({name: nn.Linear(2 * width, len(values)) for name, values in READINGS.items()})

    def forward(self, states: Tensor) -> dict[str, Tensor]:
        pooled = torch.cat([states[:, -1], states.mean(1)], -1)
        return {name: head(pooled) for name, head in self.heads.items()}


def build_text_encoder(config: TextEncoderConfig, tokenizer: PreTrainedTokenizerFast) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=config.width,
            intermediate_size=4 * config.width,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def train_text_encoder(config: TextEncoderConfig, folder: Path, start_from: Path | None = None) -> dict[str, float]:
    """Trains tokenizer and encoder, saves them below `folder`, returns the accuracy per attribute on unseen
    captions.

    start_from: a finished model folder whose encoder learns what is new in the world and keeps what it says of the
    rest.
    """
    torch.manual_seed(config.seed)
    sentences = [caption.text for caption in world_captions(config.sentences, config.seed)] + list(FILLERS)
    if start_from is None:
        tokenizer = train_tokenizer(sentences, config.vocabulary)
        encoder, held = build_text_encoder(config, tokenizer), None
    else:
        encoder, tokenizer, held = grown(start_from, sentences)
    reader = Reader(config.width)
    parameters = [*encoder.parameters(), *reader.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=0.01 if held is None else 0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, config.steps, pct_start=0.1)
    for step in range(config.steps):
        rng = random.Random(config.seed * 1_000_003 + step)
        batch = [disturbed(caption, rng) for caption in world_captions(config.batch, config.seed + 1 + step)]
        states = encoder(tokenize(tokenizer, [caption.text for caption in batch])).last_hidden_state
        target = readings(batch)
        loss = sum(F.cross_entropy(logits, target[name]) for name, logits in reader(states).items())
        if held is not None:
            loss = loss + HOLD_WEIGHT * held(encoder, step)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == config.steps - 1:
            print(f"text encoder step {step}: loss {loss.item():.4f}", flush=True)
    tokenizer.save_pretrained(folder / "tokenizer")
    encoder.eval().save_pretrained(folder / "text_encoder")
    return reading_accuracy(encoder, reader, tokenizer, seed=config.seed + 10_000_019)


def grown(
    model: Path, sentences: list[str]
) -> tuple[CLIPTextModel, PreTrainedTokenizerFast, Callable[[CLIPTextModel, int], Tensor]]:
    """The encoder of a finished model with a token for each of the sentences' words that it had none for, its
    tokenizer, and how far (encoder, step) an encoder has moved in sentences that it knew.
    """
    before, tokenizer = load_text_encoder(model)
    known = len(tokenizer)
    words = {word for sentence in sentences for word in re.findall(r"(?<!\S)[a-z]+(?![^\s,.])", sentence.lower())}
    added = [word for word in sorted(words) if len(tokenizer.tokenize(word)) > 1]
    tokenizer.add_tokens([AddedToken(word, single_word=True, lstrip=True, normalized=True) for word in added])
    encoder = CLIPTextModel(before.config)
    encoder.load_state_dict(before.state_dict())
    encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)

    def moved(encoder: CLIPTextModel, step: int) -> Tensor:
        batch = world_captions(HELD_SENTENCES, 50_000_017 + step, pair_share=0.0, camera_share=0.0)
        tokens = tokenize(tokenizer, [*(caption.text for caption in batch), "", ""])
        tokens = tokens[(tokens < known).all(1)]
        with torch.no_grad():
            target = before(tokens).last_hidden_state
        return F.mse_loss(encoder(tokens).last_hidden_state, target)

    return encoder, tokenizer, moved


def load_text_encoder(folder: Path) -> tuple[CLIPTextModel, PreTrainedTokenizerFast]:
    """Of a training run or a finished model folder, whose weights are bf16: in float32, and frozen."""
    encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", local_files_only=True, dtype=torch.float32)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer", local_files_only=True)
    return encoder.eval().requires_grad_(False), tokenizer


@torch.no_grad()
def reading_accuracy(
    encoder: CLIPTextModel, reader: Reader, tokenizer: PreTrainedTokenizerFast, seed: int
) -> dict[str, float]:
    batch = world_captions(1000, seed)
    answers = reader(encoder(tokenize(tokenizer, [caption.text for caption in batch])).last_hidden_state)
    target = readings(batch)
    return {name: (logits.argmax(-1) == target[name]).float().mean().item() for name, logits in answers.items()}
