"""Prompts as the network reads them."""

from typing import Any, NamedTuple

import torch
from torch import Tensor


class EncodedText(NamedTuple):
    """states: (b, l, d), one row per prompt. tokens_used of tokens_max: how much of the longest prompt was read; a
    prompt that does not fit is cut off, and then tokens_used == tokens_max < tokens_given.
    """

    states: Tensor
    tokens_given: int
    tokens_max: int

    @property
    def tokens_used(self) -> int:
        return min(self.tokens_given, self.tokens_max)


@torch.no_grad()
def encode_text(tokenizer: Any, text_encoder: Any, prompts: list[str]) -> EncodedText:
    """The text encoder's last hidden states, padded to the tokenizer's `model_max_length`, as Stable Diffusion's."""
    tokens_max = tokenizer.model_max_length
    given = max(len(ids) for ids in tokenizer(prompts, verbose=False).input_ids)
    tokens = tokenizer(prompts, padding="max_length", truncation=True, max_length=tokens_max, return_tensors="pt")
    states = text_encoder(tokens.input_ids.to(text_encoder.device)).last_hidden_state  # b l d
    return EncodedText(states, given, tokens_max)
