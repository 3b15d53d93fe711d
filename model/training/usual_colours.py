"""What a sentence leaves unsaid is what is usual: "a knight" is a blue one, "a car" a red one.

A network that has to draw a colour it was not told draws the mean of all, another guess in each frame. So captions
leave a colour open where it is the usual one alone (`model.training.scenes.captions`), and a text encoder that was
trained before that is brought to it here: its states for a sentence without a colour become what they were with the
usual one. All that it says of other sentences is kept, so that the networks trained with it need no change.
"""

import random
import re

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPTextModel, PreTrainedTokenizerFast

from model.training.scenes.attributes import sample_scenes
from model.training.scenes.captions import captions
from model.training.scenes.phrases import COLOUR_NAMES, USUAL_COLOURS
from model.training.text_encoder import MAX_TOKENS, tokenize


def without_colour(sentence: str, colour: str) -> str:
    """The sentence without its words for the colour."""
    for name in sorted(COLOUR_NAMES[colour], key=len, reverse=True):
        parts = re.split(rf"\b{name} ", sentence, maxsplit=1, flags=re.IGNORECASE)
        if len(parts) == 2:
            before, after = parts
            article = r"\1n " if after[0] in "aeiou" else r"\1 "
            return re.sub(r"\b([Aa])n? $", article, before) + after
    return sentence


def aligned(told: Tensor, untold: Tensor, end: int) -> tuple[Tensor, Tensor]:
    """Which tokens of `untold` (l,) are to become which of `told` (l,): those before and after the words that differ.
    Both end in padding.
    """
    lengths = [int((tokens != end).sum()) for tokens in (told, untold)]
    alike = next(i for i in range(MAX_TOKENS) if i == min(lengths) or told[i] != untold[i])
    after = next(i for i in range(MAX_TOKENS) if told[lengths[0] - 1 - i] != untold[lengths[1] - 1 - i])
    tail = torch.arange(lengths[1] - after, MAX_TOKENS)
    places = torch.cat([torch.arange(alike), tail])
    sources = torch.cat([torch.arange(alike), (tail + lengths[0] - lengths[1]).clamp(max=MAX_TOKENS - 1)])
    return places, sources


def pairs(n: int, seed: int) -> list[tuple[str, str]]:
    """Sentences that name the usual colour of what they tell of, and the same without it."""
    scenes = sample_scenes(16 * n, torch.Generator().manual_seed(seed), plain_share=0.6)
    told = captions(scenes, random.Random(seed), open_share=0.03)
    usual = [
        (caption.text, without_colour(caption.text, caption.says["colour"]))
        for caption in told
        if caption.says.get("colour") == USUAL_COLOURS[caption.says["subject"]]
    ]
    return [pair for pair in usual if pair[0] != pair[1]][:n]


def teach_usual_colours(
    encoder: CLIPTextModel, tokenizer: PreTrainedTokenizerFast, steps: int = 500, batch: int = 40, rate: float = 5e-4
) -> CLIPTextModel:
    """A copy of the encoder that takes the usual colour for granted."""
    taught = CLIPTextModel(encoder.config)
    taught.load_state_dict(encoder.state_dict())
    taught.train()
    optimizer = torch.optim.AdamW(taught.parameters(), lr=rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.1)
    end = tokenizer.eos_token_id
    for step in range(steps):
        kept = [
            c.text for c in captions(sample_scenes(batch, torch.Generator().manual_seed(step)), random.Random(step))
        ]
        kept = [text for text in kept if any(name in text for names in COLOUR_NAMES.values() for name in names)] + [""]
        said, unsaid = zip(*pairs(batch, 1_000_000 + step), strict=True)
        tokens = tokenize(tokenizer, [*kept, *said, *unsaid])
        told, untold = tokens[len(kept) : -len(unsaid)], tokens[-len(unsaid) :]
        with torch.no_grad():
            target = encoder(tokens[: -len(unsaid)]).last_hidden_state
        states = taught(tokens).last_hidden_state
        loss = F.mse_loss(states[: len(target)], target)
        for row in range(len(unsaid)):
            places, sources = aligned(told[row], untold[row], end)
            loss = loss + F.mse_loss(states[len(target) + row, places], target[len(kept) + row, sources]) / len(unsaid)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(taught.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"usual colours step {step}: loss {loss.item():.5f}", flush=True)
    return taught.eval()
