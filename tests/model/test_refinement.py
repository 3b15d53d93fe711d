"""Refinement, with networks whose answers are known in closed form."""

import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
from torch import Generator, Tensor

from model.denoising import InvalidOutput, StepInfo
from model.refinement import Refinement, refine

FLOW = DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="sample", flow_shift=16.0)
SHAPE = (2, 3, 4, 16, 16)


def clean() -> Tensor:
    return torch.full(SHAPE, 0.5)


def generators(*seeds: int) -> list[Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def noisy_network(z: Tensor, timesteps: Tensor) -> Tensor:
    """Gives back what it is given: the clean sample in part, and all of the noise."""
    return z


def test_without_passes_nothing_is_changed():
    def network(z: Tensor, timesteps: Tensor) -> Tensor:
        raise AssertionError("asked")

    assert torch.equal(refine(network, FLOW, clean(), {}, Refinement(), generators(1, 2)), clean())


def test_what_is_there_by_chance_goes_with_the_number_of_passes():
    def spread(passes: int) -> float:
        return refine(noisy_network, FLOW, clean(), {}, Refinement(passes, 0.6), generators(1, 2)).std().item()

    assert spread(1) == pytest.approx(0.6, abs=0.03)
    assert spread(4) == pytest.approx(0.6 / 2, abs=0.03)
    assert spread(9) == pytest.approx(0.6 / 3, abs=0.03)


@pytest.mark.parametrize("level", [0.3, 0.6, 0.9])
def test_levels_lie_around_what_was_asked_for(level):
    told = []

    def network(z: Tensor, timesteps: Tensor) -> Tensor:
        told.append(timesteps[0].item() / 1000)
        return z

    refine(network, FLOW, clean(), {}, Refinement(3, level), generators(1, 2))

    assert told[1] == pytest.approx(level, abs=0.04)
    assert len(set(told)) == 3
    assert all(abs(each - level) < 0.1 for each in told)


def test_models_that_predict_noise_are_refined_too():
    scheduler = DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False)

    def network(z: Tensor, timesteps: Tensor) -> Tensor:
        product = scheduler.alphas_cumprod[int(timesteps[0])]
        return (z - product.sqrt() * 0.2) / (1 - product).sqrt()

    refined = refine(network, scheduler, clean(), {}, Refinement(2, 0.5), generators(1, 2))

    torch.testing.assert_close(refined, torch.full(SHAPE, 0.2), atol=1e-4, rtol=0)


def test_a_video_of_a_batch_is_what_it_is_alone():
    both = refine(noisy_network, FLOW, clean(), {}, Refinement(2), generators(1, 2))
    second = refine(noisy_network, FLOW, clean()[1:], {}, Refinement(2), generators(2))

    assert torch.equal(both[1:], second)


def test_every_estimate_is_thresholded_and_what_is_known_is_kept():
    def keep(x0: Tensor) -> Tensor:
        return torch.cat([torch.full_like(x0[:, :, :1], 0.25), x0[:, :, 1:]], dim=2)

    def halved(x0: Tensor) -> Tensor:
        return x0 / 2

    refined = refine(
        lambda z, t: torch.ones_like(z), FLOW, clean(), {}, Refinement(2), generators(1, 2), threshold=halved,
        keep_known=keep,
    )  # fmt: skip

    assert (refined[:, :, 0] == 0.25).all()
    assert (refined[:, :, 1:] == 0.5).all()


def test_every_pass_is_reported_and_may_be_the_last():
    class Cancelled(Exception):
        pass

    infos: list[StepInfo] = []

    def cancel(info: StepInfo) -> None:
        infos.append(info)
        if info.step == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        refine(noisy_network, FLOW, clean(), {}, Refinement(3), generators(1, 2), on_step=cancel)

    assert [info[:3] for info in infos] == [("refine", 1, 3), ("refine", 2, 3)]
    assert all(info.x0 is not None and info.x0.shape == SHAPE for info in infos)


def test_output_that_is_not_finite_is_an_error():
    with pytest.raises(InvalidOutput, match="pass 1 of 3"):
        refine(lambda z, t: z * float("nan"), FLOW, clean(), {}, Refinement(3), generators(1, 2))


@pytest.mark.parametrize("values", [{"passes": -1}, {"passes": 17}, {"level": 0.0}, {"level": 1.0}])
def test_values_that_cannot_be(values):
    with pytest.raises(ValueError, match=f"refinement {next(iter(values))} must be"):
        Refinement(**values)


def test_a_card_asks_for_it(pipeline, monkeypatch):
    options = {"num_frames": 5, "height": 32, "width": 32, "num_inference_steps": 2}
    plain = pipeline.text_to_video("a red ball", **options).frames
    monkeypatch.setitem(pipeline.card, "refinement", {"passes": 2, "level": 0.5})
    stages = []

    refined = pipeline.text_to_video("a red ball", **options, on_step=lambda info: stages.append(info.stage)).frames

    assert stages == ["denoise"] * 2 + ["refine"] * 2
    assert (refined != plain).any()
