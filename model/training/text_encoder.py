"""Stage 0: a small text encoder that understands the world's captions, trained before any picture is drawn.

Lumiere keeps its pre-trained text encoder frozen. No pre-trained one can be shipped here, so ours learns from
captions alone
what a sentence says: from the encoder's states the attributes of the scene must be readable. Random unknown words
and dropped
words during training make it indifferent to what it does not know.
"""

import random
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
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


def world_captions(n: int, seed: int) -> list[Caption]:
    scenes = sample_scenes(n, torch.Generator().manual_seed(seed), plain_share=0.6)
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


def train_text_encoder(config: TextEncoderConfig, folder: Path) -> dict[str, float]:
    """Trains tokenizer and encoder, saves them below `folder`, returns the accuracy per attribute on unseen
    captions."""
    torch.manual_seed(config.seed)
    sentences = [caption.text for caption in world_captions(config.sentences, config.seed)] + list(FILLERS)
    tokenizer = train_tokenizer(sentences, config.vocabulary)
    encoder = build_text_encoder(config, tokenizer)
    reader = Reader(config.width)
    parameters = [*encoder.parameters(), *reader.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, config.steps, pct_start=0.1)
    for step in range(config.steps):
        rng = random.Random(config.seed * 1_000_003 + step)
        batch = [disturbed(caption, rng) for caption in world_captions(config.batch, config.seed + 1 + step)]
        states = encoder(tokenize(tokenizer, [caption.text for caption in batch])).last_hidden_state
        target = readings(batch)
        loss = sum(F.cross_entropy(logits, target[name]) for name, logits in reader(states).items())
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


@torch.no_grad()
def reading_accuracy(
    encoder: CLIPTextModel, reader: Reader, tokenizer: PreTrainedTokenizerFast, seed: int
) -> dict[str, float]:
    batch = world_captions(1000, seed)
    answers = reader(encoder(tokenize(tokenizer, [caption.text for caption in batch])).last_hidden_state)
    target = readings(batch)
    return {name: (logits.argmax(-1) == target[name]).float().mean().item() for name, logits in answers.items()}
