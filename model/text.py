"""Prompts as the network reads them, encoded as the diffusers pipeline of each family of image models does.

Letters: b prompts, l tokens, d channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import T5EncoderModel

T5_TOKENS = 77
"""T5 reads any length; DeepFloyd IF was trained on this one."""


@dataclass(frozen=True)
class TextEncoders:
    """pairs: (tokenizer, text encoder), one, or for SDXL the two whose states are joined.

    zeros_for_empty: an empty prompt is all zeros, not the encoding of no words (SDXL: `force_zeros_for_empty_prompt`).
    """

    pairs: tuple[tuple[Any, Any], ...]
    zeros_for_empty: bool = False


class EncodedText(NamedTuple):
    """states: (b, l, d), one row per prompt. pooled: (b, e), one vector per prompt, where the network wants one (SDXL).

    tokens_used of tokens_max: how much of the longest prompt was read; a prompt that does not fit is cut off, and then
    tokens_used == tokens_max < tokens_given.
    """

    states: Tensor
    pooled: Tensor | None
    tokens_given: int
    tokens_max: int

    @property
    def tokens_used(self) -> int:
        return min(self.tokens_given, self.tokens_max)

    def conditions(self, height: int, width: int) -> list[dict[str, Any]]:
        """The network's arguments for each prompt, one row each.

        height, width: pixels of a frame. SDXL is told them as original and target size, with nothing cropped.
        """
        conditions: list[dict[str, Any]] = [{"encoder_hidden_states": states} for states in self.states.split(1)]
        if self.pooled is not None:
            sizes = torch.tensor([[height, width, 0, 0, height, width]], device=self.pooled.device)
            for condition, pooled in zip(conditions, self.pooled.split(1), strict=True):
                condition["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": sizes.to(pooled.dtype)}
        return conditions


@torch.no_grad()
def encode_text(encoders: TextEncoders, prompts: Sequence[str]) -> EncodedText:
    """Encodes prompts, padded to the length that the model was trained with.

    One CLIP: the last hidden states (Stable Diffusion 1 and 2). Two: the last but one of each, joined, and the second's
    projection (SDXL, section 2.1 of arXiv 2307.01952). T5: the last, padding masked, in lower case (DeepFloyd IF).
    """
    prompts = list(prompts)
    if len(encoders.pairs) == 2:
        encoded = encode_by_two(encoders.pairs, prompts)
    elif isinstance(encoders.pairs[0][1], T5EncoderModel):
        encoded = encode_by_t5(*encoders.pairs[0], prompts)
    else:
        encoded = encode_by_clip(*encoders.pairs[0], prompts)
    if encoders.zeros_for_empty:
        said = torch.tensor([prompt != "" for prompt in prompts], device=encoded.states.device)
        pooled = None if encoded.pooled is None else encoded.pooled * said[:, None]
        encoded = encoded._replace(states=encoded.states * said[:, None, None], pooled=pooled)
    return encoded


def tokens_given(tokenizer: Any, prompts: list[str]) -> int:
    """Tokens of the longest prompt, whether or not they fit."""
    return max(len(ids) for ids in tokenizer(prompts, verbose=False).input_ids)


def padded(tokenizer: Any, prompts: list[str], length: int, device: torch.device) -> Any:
    """`input_ids` and `attention_mask`, (b, length)."""
    tokens = tokenizer(
        prompts,
        padding="max_length",
        truncation=True,
        max_length=length,
        return_attention_mask=True,
        return_tensors="pt",
    )
    return tokens.to(device)


def encode_by_clip(tokenizer: Any, encoder: Any, prompts: list[str]) -> EncodedText:
    length = tokenizer.model_max_length
    tokens = padded(tokenizer, prompts, length, encoder.device)
    mask = tokens.attention_mask if getattr(encoder.config, "use_attention_mask", False) else None
    states = encoder(tokens.input_ids, attention_mask=mask)[0]  # b l d
    return EncodedText(states, None, tokens_given(tokenizer, prompts), length)


def encode_by_two(pairs: tuple[tuple[Any, Any], ...], prompts: list[str]) -> EncodedText:
    length = min(tokenizer.model_max_length for tokenizer, _ in pairs)
    states = []
    for tokenizer, encoder in pairs:
        output = encoder(padded(tokenizer, prompts, length, encoder.device).input_ids, output_hidden_states=True)
        states.append(output.hidden_states[-2])  # b l d1, b l d2
    given = max(tokens_given(tokenizer, prompts) for tokenizer, _ in pairs)
    return EncodedText(torch.cat(states, dim=-1), output.text_embeds, given, length)


def encode_by_t5(tokenizer: Any, encoder: Any, prompts: list[str]) -> EncodedText:
    prompts = [prompt.lower().strip() for prompt in prompts]
    tokens = padded(tokenizer, prompts, T5_TOKENS, encoder.device)
    states = encoder(tokens.input_ids, attention_mask=tokens.attention_mask)[0]  # b l d
    return EncodedText(states, None, tokens_given(tokenizer, prompts), T5_TOKENS)
