"""Prompts are encoded as diffusers' own pipelines encode them."""

import pytest
import torch

from model.text import encode_text
from tests.backbones.folders import PROMPTS

NEGATIVE = "blurry, grey"


def theirs(image, prompt: str, negative: str | None):
    """(states, negative states, pooled, negative pooled) of diffusers."""
    options = {"prompt": prompt, "negative_prompt": negative, "do_classifier_free_guidance": True, "device": "cpu"}
    if "text_encoder_2" in image.components:
        return image.encode_prompt(**options, num_images_per_prompt=1)
    return (*image.encode_prompt(**options, num_images_per_prompt=1), None, None)


@pytest.mark.parametrize("prompt", [PROMPTS[0], PROMPTS[2]], ids=["short", "cut off"])
@pytest.mark.parametrize("negative", [NEGATIVE, ""], ids=["negative", "no negative"])
def test_states_and_pooled_vectors_are_those_of_diffusers(inflated, prompt, negative):
    states, negative_states, pooled, negative_pooled = theirs(inflated.image, prompt, negative or None)

    encoded = encode_text(inflated.pipeline.text_encoders, [prompt, negative])

    torch.testing.assert_close(encoded.states, torch.cat([states, negative_states]), rtol=0, atol=1e-6)
    if pooled is None:
        assert encoded.pooled is None
    else:
        torch.testing.assert_close(encoded.pooled, torch.cat([pooled, negative_pooled]), rtol=0, atol=1e-6)


def test_what_was_read_is_told(inflated):
    short = encode_text(inflated.pipeline.text_encoders, ["a red ball"])
    long = encode_text(inflated.pipeline.text_encoders, PROMPTS)

    assert short.tokens_given == short.tokens_used < short.tokens_max == 77
    assert long.tokens_used == long.tokens_max < long.tokens_given


def test_sdxl_is_told_the_size_as_diffusers_tells_it(inflated):
    conditions = encode_text(inflated.pipeline.text_encoders, ["a"]).conditions(48, 32)

    if inflated.family == "sdxl":
        size = inflated.image._get_add_time_ids((48, 32), (0, 0), (48, 32), torch.float32, 16)
        assert torch.equal(conditions[0]["added_cond_kwargs"]["time_ids"], size)
    else:
        assert conditions[0].keys() == {"encoder_hidden_states"}
