import copy
import random
from pathlib import Path

import pytest
import torch

from model.training.scenes.attributes import sample_scenes
from model.training.scenes.captions import captions
from model.training.scenes.phrases import COLOUR_NAMES, USUAL_COLOURS
from model.training.text_encoder import load_text_encoder, tokenize
from model.training.usual_colours import aligned, pairs, teach_usual_colours, without_colour

SHIPPED = Path(__file__).parents[2] / "model" / "weights" / "lumiere-mini"


@pytest.mark.parametrize(
    ("sentence", "colour", "shorter"),
    [
        ("a white knight riding", "white", "a knight riding"),
        ("An orange ball on sand", "orange", "A ball on sand"),
        ("a snow-white owl at night", "white", "an owl at night"),
        ("in the snow, the bright red car", "red", "in the snow, the car"),
        ("a car", "red", "a car"),
    ],
)
def test_a_colour_is_taken_out_of_a_sentence(sentence, colour, shorter):
    assert without_colour(sentence, colour) == shorter


def test_captions_leave_only_usual_colours_unsaid():
    scenes = sample_scenes(3000, torch.Generator().manual_seed(1), plain_share=1.0)
    unsaid = [
        caption.says
        for caption in captions(scenes, random.Random(2))
        if not any(name in caption.text.lower() for name in COLOUR_NAMES[caption.says["colour"]])
    ]

    assert len(unsaid) > 50
    assert all(says["colour"] == USUAL_COLOURS[says["subject"]] for says in unsaid)


@pytest.fixture(scope="module")
def trained():
    return load_text_encoder(SHIPPED)


class TestTeaching:
    def test_tokens_are_aligned_around_the_colour(self, trained):
        _, tokenizer = trained
        for said, unsaid in pairs(20, seed=3):
            told, untold = tokenize(tokenizer, [said, unsaid])
            places, sources = aligned(told, untold, tokenizer.eos_token_id)
            assert torch.equal(untold[places], told[sources])
            assert len(places) >= len(untold) - 2

    def test_a_few_steps_bring_unsaid_and_said_together_and_keep_the_rest(self, trained):
        encoder, tokenizer = trained
        other = with_other_colours(encoder, tokenizer)
        said, unsaid = zip(*pairs(30, seed=4), strict=True)
        before = distance(other, tokenizer, other, said, unsaid)

        taught = teach_usual_colours(other, tokenizer, steps=60, batch=12)

        assert distance(taught, tokenizer, other, said, unsaid) < 0.7 * before
        assert distance(taught, tokenizer, other, said, said) < 0.1

    def test_the_shipped_encoder_takes_usual_colours_for_granted(self, trained):
        encoder, tokenizer = trained
        plain, usual, unusual = (
            encoder(tokenize(tokenizer, [f"a {colour}knight riding through the countryside"])).last_hidden_state[:, -1]
            for colour in ("", "blue ", "green ")
        )

        assert (plain - usual).norm() < 0.5 * (plain - unusual).norm()


@torch.no_grad()
def with_other_colours(encoder, tokenizer):
    """The encoder with the words for colours exchanged, to which other colours than the usual ones are the usual."""
    other = copy.deepcopy(encoder)
    words = torch.stack([tokenize(tokenizer, [colour])[0, 1] for colour in COLOUR_NAMES])
    table = other.get_input_embeddings().weight
    table[words] = table[words].roll(1, 0)
    return other


@torch.no_grad()
def distance(encoder, tokenizer, reference, said, sentences):
    """Mean square between the last states of sentences and those the reference has for what is said."""
    states = encoder(tokenize(tokenizer, list(sentences))).last_hidden_state[:, -1]
    return (states - reference(tokenize(tokenizer, list(said))).last_hidden_state[:, -1]).square().mean().item()
