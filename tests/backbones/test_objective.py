"""What a network is trained to predict is what the denoising loop takes its prediction for."""

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler

from model.denoising import Schedule, prediction_type
from model.finetune.objective import Noised, loss, noised

SCHEDULERS = {
    "epsilon": DDPMScheduler(beta_schedule="squaredcos_cap_v2", variance_type="learned_range"),
    "v_prediction": DDIMScheduler(prediction_type="v_prediction"),
    "sample": DDIMScheduler(prediction_type="sample"),
    "flow, velocity": FlowMatchEulerDiscreteScheduler(shift=3.0),
    "flow, sample": DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="sample", flow_shift=6.0),
}


def clips(seed: int) -> torch.Tensor:
    return torch.randn(8, 3, 4, 5, 5, generator=torch.Generator().manual_seed(seed))


def perfect(kind: str, clean: torch.Tensor, noise: torch.Tensor, at: Noised) -> torch.Tensor:
    return {
        "epsilon": noise,
        "v_prediction": at.alpha * noise - at.sigma * clean,
        "sample": clean,
        "flow_prediction": noise - clean,
    }[kind]


@pytest.mark.parametrize("name", SCHEDULERS)
class TestObjective:
    def test_only_the_right_prediction_costs_nothing(self, name):
        scheduler, clean, noise = SCHEDULERS[name], clips(0), clips(1)
        at = noised(scheduler, clean, noise, torch.Generator().manual_seed(2))
        right = perfect(prediction_type(scheduler), clean, noise, at)

        assert loss(scheduler, right, clean, noise, at) == 0
        assert loss(scheduler, torch.cat([right, clips(3)], dim=1), clean, noise, at) == 0  # a learned variance
        assert loss(scheduler, right + 0.1, clean, noise, at) > 0

    def test_the_denoising_loop_makes_the_clean_sample_of_it(self, name):
        """Noise level and prediction of training, read by the loop that samples."""
        scheduler, clean, noise = SCHEDULERS[name], clips(0), clips(1)
        schedule = Schedule.of(scheduler, 10, torch.device("cpu"))
        for index in (0, 5, 9):
            alpha, sigma = (torch.tensor(level).view(1, 1, 1, 1, 1) for level in schedule.noise_level(index))
            at = Noised(alpha * clean + sigma * noise, schedule.timesteps[index], alpha, sigma)
            prediction = perfect(prediction_type(scheduler), clean, noise, at)

            torch.testing.assert_close(schedule.x0(prediction, at.sample, index), clean, rtol=1e-3, atol=5e-3)

    def test_noise_levels_are_those_the_network_is_told(self, name):
        scheduler, clean, noise = SCHEDULERS[name], clips(0), clips(1)
        at = noised(scheduler, clean, noise, torch.Generator().manual_seed(2))

        if "flow" in name:
            torch.testing.assert_close(at.timesteps / 1000, at.sigma.flatten())
        else:
            torch.testing.assert_close(scheduler.alphas_cumprod[at.timesteps].sqrt(), at.alpha.flatten())
        torch.testing.assert_close(at.sample, at.alpha * clean + at.sigma * noise)
