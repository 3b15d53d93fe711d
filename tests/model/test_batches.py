"""Videos that are denoised as one batch: each is what it would be alone."""

from typing import Any

import numpy as np
import pytest
import torch

from model.denoising import InvalidOutput, StepInfo
from model.options import Asked, Options

SMALL: dict[str, Any] = {"num_frames": 5, "height": 32, "width": 32, "num_inference_steps": 3}
WANTED = [("a red ball", "", 7), ("a blue car on a road", "blurry", 8), ("a red ball", "", 9)]


def asked(**changes: Any) -> list[Asked]:
    return [
        Asked(prompt, Options(**{**SMALL, **changes, "seed": seed, "negative_prompt": negative}))
        for prompt, negative, seed in WANTED
    ]


@pytest.mark.parametrize("changes", [{}, {"num_frames": 13}, {"guidance_rescale": 0.5}, {"height": 64, "width": 64}])
def test_each_video_is_the_one_that_is_made_alone(pipeline, changes):
    wanted = asked(**changes)
    for drawn, each in zip(pipeline.draw(wanted), wanted, strict=True):
        (alone,) = pipeline.draw([each])
        assert torch.allclose(drawn.latents, alone.latents, atol=1e-4)
        made, lonely = pipeline.finish(drawn), pipeline.finish(alone)
        assert np.abs(made.frames.astype(int) - lonely.frames).max() <= 1
        assert (made.prompt_tokens_used, made.upscale) == (lonely.prompt_tokens_used, lonely.upscale)
        assert made.timings.keys() == lonely.timings.keys()


def test_stochastic_solvers_draw_each_videos_noise_from_its_own_seed(pipeline):
    changes = {"scheduler": "FlowMatchEulerDiscreteScheduler", "num_inference_steps": 4}
    pipeline_with_noise = pipeline.scheduler.config.get("stochastic_sampling")
    plain = pipeline.draw(asked(**changes))[0]
    pipeline.scheduler.register_to_config(stochastic_sampling=True)
    try:
        together = pipeline.draw(asked(**changes))
        alone = [pipeline.draw([each])[0] for each in asked(**changes)]
        assert not torch.allclose(alone[0].latents, plain.latents, atol=1e-2), "this solver does draw noise"
    finally:
        pipeline.scheduler.register_to_config(stochastic_sampling=pipeline_with_noise)
    for one, other in zip(together, alone, strict=True):
        assert torch.allclose(one.latents, other.latents, atol=1e-4)


def test_a_step_is_told_with_the_estimates_of_all(pipeline):
    told: list[StepInfo] = []
    wanted = asked()
    pipeline.draw(wanted, on_step=told.append)
    assert [(info.step, info.steps) for info in told] == [(1, 3), (2, 3), (3, 3)]
    assert all(info.x0 is not None and len(info.x0) == len(wanted) for info in told)


def test_what_cannot_be_is_refused_for_all(pipeline, monkeypatch):
    with pytest.raises(ValueError, match="prompt must not be empty"):
        pipeline.draw([*asked(), Asked(" ", Options(**SMALL))])
    predict = pipeline.predict
    calls: list[int] = []

    def fails_for_one(sample, timesteps, **condition):
        prediction = predict(sample, timesteps, **condition)
        calls.append(len(sample))
        if len(calls) == 2:
            prediction[-1] = float("nan")
        return prediction

    monkeypatch.setattr(pipeline, "predict", fails_for_one)
    with pytest.raises(InvalidOutput):
        pipeline.draw(asked())
