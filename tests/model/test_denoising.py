"""The denoising loop, run with networks whose right answer is known in closed form."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    DPMSolverSinglestepScheduler,
    EDMEulerScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    HeunDiscreteScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from model.denoising import (
    Guidance,
    InvalidOutput,
    Schedule,
    denoise,
    dynamic_threshold,
    make_scheduler,
    schedulers_like,
)

SHIPPED = Path(__file__).parents[2] / "model" / "weights" / "lumiere-mini"
SHAPE = (2, 3, 4, 8, 8)
MEAN, SPREAD = 0.3, 0.5
NOISE_SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
ODE_SCHEDULERS = [
    DDIMScheduler(**NOISE_SCHEDULE, clip_sample=False, set_alpha_to_one=True),
    DPMSolverMultistepScheduler(**NOISE_SCHEDULE),
    DPMSolverSinglestepScheduler(**NOISE_SCHEDULE, lower_order_final=True),
    DEISMultistepScheduler(**NOISE_SCHEDULE),
    UniPCMultistepScheduler(**NOISE_SCHEDULE),
    EulerDiscreteScheduler(**NOISE_SCHEDULE),
    HeunDiscreteScheduler(**NOISE_SCHEDULE),
    PNDMScheduler(**NOISE_SCHEDULE, skip_prk_steps=True, set_alpha_to_one=True),
]
FLOW_SCHEDULERS = [
    DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=2.0),
    DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="sample", flow_shift=2.0),
    UniPCMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=2.0),
    FlowMatchEulerDiscreteScheduler(shift=2.0),
    FlowMatchHeunDiscreteScheduler(shift=2.0),
]


def named(scheduler):
    return f"{type(scheduler).__name__}-{scheduler.config.get('prediction_type')}"


def standard_noise() -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))


def gaussian_world(scheduler, steps: int, predicts: str):
    """The perfect network for clean samples distributed as N(MEAN, SPREAD^2), for each element on its own."""
    schedule = Schedule.of(scheduler, steps, torch.device("cpu"))
    levels = [schedule.noise_level(index) for index in range(len(schedule.timesteps))]
    calls = iter(range(len(levels)))

    def network(z: Tensor, timesteps: Tensor) -> Tensor:
        alpha, sigma = levels[next(calls)]
        gain = alpha * SPREAD**2 / (alpha**2 * SPREAD**2 + sigma**2)
        x0 = MEAN + gain * (z - alpha * MEAN)
        eps = (z - alpha * x0) / sigma
        return {
            "epsilon": eps,
            "sample": x0,
            "v_prediction": alpha * eps - sigma * x0,
            "flow_prediction": eps - x0,
        }[predicts]

    return network


class TestSchedulers:
    """The probability flow of a Gaussian world maps noise n to MEAN + SPREAD n, whatever solver follows it."""

    @pytest.mark.parametrize("scheduler", ODE_SCHEDULERS + FLOW_SCHEDULERS, ids=named)
    def test_the_flow_of_a_gaussian_world_is_followed(self, scheduler):
        noise = standard_noise()
        network = gaussian_world(scheduler, 100, scheduler.config.get("prediction_type", "flow_prediction"))

        x0 = denoise(network, scheduler, noise, {}, {}, steps=100)

        # the coarse noise schedules start a little short of pure noise
        torch.testing.assert_close(x0, MEAN + SPREAD * noise, atol=0.12, rtol=0)

    @pytest.mark.parametrize("predicts", ["epsilon", "sample", "v_prediction"])
    def test_what_the_network_predicts_does_not_matter(self, predicts):
        noise = standard_noise()
        results = []
        for kind in ("epsilon", predicts):
            scheduler = DPMSolverMultistepScheduler(**NOISE_SCHEDULE, prediction_type=kind)
            results.append(denoise(gaussian_world(scheduler, 20, kind), scheduler, noise, {}, {}, steps=20))

        torch.testing.assert_close(results[0], results[1], atol=1e-4, rtol=1e-4)

    def test_another_scheduler_can_serve_a_network_of_another_prediction_type(self):
        own = DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="sample", flow_shift=2.0)
        other = make_scheduler("FlowMatchEulerDiscreteScheduler", own)
        noise = standard_noise()

        x0 = denoise(gaussian_world(other, 200, "sample"), other, noise, {}, {}, steps=200, network_predicts="sample")

        assert other.config.shift == 2.0
        torch.testing.assert_close(x0, MEAN + SPREAD * noise, atol=0.05, rtol=0)

    @pytest.mark.parametrize("kind", [DDPMScheduler, EulerAncestralDiscreteScheduler])
    def test_stochastic_schedulers_draw_from_the_given_generator(self, kind):
        scheduler = kind(**NOISE_SCHEDULE)

        def run(seed: int) -> Tensor:
            network = gaussian_world(scheduler, 20, "epsilon")
            generator = torch.Generator().manual_seed(seed)
            return denoise(network, scheduler, standard_noise(), {}, {}, steps=20, generator=generator)

        assert torch.equal(run(1), run(1))
        assert not torch.allclose(run(1), run(2))

    def test_the_scheduler_given_keeps_no_trace_of_a_run(self):
        scheduler = DPMSolverMultistepScheduler(**NOISE_SCHEDULE)
        before = scheduler.timesteps.clone()

        denoise(lambda z, t: torch.zeros_like(z), scheduler, standard_noise(), {}, {}, steps=3)

        assert torch.equal(scheduler.timesteps, before)
        assert scheduler.model_outputs == [None, None]

    def test_a_learned_variance_is_left_aside(self):
        scheduler = DDPMScheduler(**NOISE_SCHEDULE, variance_type="learned_range", thresholding=True)

        x0 = denoise(
            lambda z, t: torch.cat([z, 1e6 * z], 1), scheduler, standard_noise(), {}, {}, steps=4,
            generator=torch.Generator().manual_seed(0),
        )  # fmt: skip

        assert x0.shape == SHAPE
        assert x0.abs().max() < 10

    @pytest.mark.parametrize("name", ["NoSuchScheduler", "UNet2DConditionModel", "DDIMScheduler"])
    def test_names_that_cannot_be(self, name):
        flow = DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="sample")

        with pytest.raises(ValueError, match=r"^scheduler must be"):
            make_scheduler(name, flow)

    def test_schedulers_that_need_another_loop_are_refused(self):
        with pytest.raises(ValueError, match="EDMEulerScheduler"):
            denoise(lambda z, t: z, EDMEulerScheduler(), standard_noise(), {}, {}, steps=2)


class TestGuidance:
    scheduler = DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="sample")

    def run(self, guidance: Guidance, calls: list | None = None, steps: int = 10) -> Tensor:
        """A network that sees the prompt's value everywhere and nothing else."""

        def network(z: Tensor, timesteps: Tensor, value: Tensor) -> Tensor:
            if calls is not None:
                calls.append(len(z))
            assert len(timesteps) == len(value) == len(z)
            return value.view(-1, 1, 1, 1, 1) + torch.linspace(0, 1, 8).expand(z.shape)

        rows = {"value": torch.full((2,), 2.0)}, {"value": torch.full((2,), 0.5)}
        return denoise(network, self.scheduler, standard_noise(), *rows, steps=steps, guidance=guidance)

    def test_scale_extrapolates_from_negative_to_positive(self):
        x0 = self.run(Guidance(scale=3))

        torch.testing.assert_close(x0.amin(), torch.tensor(0.5 + 3 * (2.0 - 0.5)))

    def test_scale_one_asks_the_network_once_per_step(self):
        calls: list[int] = []

        self.run(Guidance(scale=1), calls)

        assert calls == [2] * 10

    def test_both_predictions_are_asked_for_in_one_call(self):
        calls: list[int] = []

        self.run(Guidance(scale=4), calls)

        assert calls == [4] * 10

    def test_outside_the_interval_there_is_no_guidance(self):
        calls: list[int] = []

        x0 = self.run(Guidance(scale=4, interval=(0.2, 0.6)), calls)

        assert calls == [2] * 2 + [4] * 4 + [2] * 4
        torch.testing.assert_close(x0.amin(), torch.tensor(2.0))

    def test_rescale_brings_back_the_spread(self):
        positive, negative = torch.randn(SHAPE), torch.randn(SHAPE)

        guided = Guidance(scale=8, rescale=1).combine(positive, negative)

        torch.testing.assert_close(guided.flatten(1).std(1), positive.flatten(1).std(1))

    @pytest.mark.parametrize("options", [
        {"scale": 0.5}, {"scale": float("nan")}, {"scale": float("inf")}, {"rescale": 1.5},
        {"interval": (0.5, 0.2)}, {"interval": (-1, 1)},
    ])  # fmt: skip
    def test_values_that_cannot_be(self, options):
        with pytest.raises(ValueError, match=f"guidance_{next(iter(options))} must be"):
            Guidance(**options)


class TestSchedulersOfAModel:
    def test_those_that_lead_to_the_clean_sample_are_named(self):
        flow = schedulers_like(DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="sample"))
        noise = schedulers_like(DDIMScheduler(**NOISE_SCHEDULE))

        assert {"DPMSolverMultistepScheduler", "UniPCMultistepScheduler", "FlowMatchEulerDiscreteScheduler"} <= set(
            flow
        )
        assert {"DDIMScheduler", "EulerDiscreteScheduler", "PNDMScheduler", "DEISMultistepScheduler"} <= set(noise)
        assert not set(noise) & {"DDIMInverseScheduler", "FlowMatchEulerDiscreteScheduler", "EDMEulerScheduler"}

    def test_the_shipped_card_names_those_of_its_own(self):
        card = json.loads((SHIPPED / "lumiere.json").read_text())
        config = json.loads((SHIPPED / "scheduler" / "scheduler_config.json").read_text())

        scheduler = DPMSolverMultistepScheduler.from_config(config)

        assert card["limits"]["schedulers"] == schedulers_like(scheduler)


class TestLoop:
    scheduler = DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="sample")

    def test_every_step_is_reported_with_its_estimate(self):
        infos = []

        denoise(lambda z, t: z * 0 + 0.5, self.scheduler, standard_noise(), {}, {}, steps=5, on_step=infos.append)

        assert [(info.stage, info.step, info.steps) for info in infos] == [("denoise", i, 5) for i in range(1, 6)]
        assert all((info.x0 == 0.5).all() for info in infos)

    def test_what_the_callback_raises_ends_the_run(self):
        class Cancelled(Exception):
            pass

        calls = []

        def network(z, t):
            calls.append(1)
            return z

        def cancel(info):
            if info.step == 2:
                raise Cancelled

        with pytest.raises(Cancelled):
            denoise(network, self.scheduler, standard_noise(), {}, {}, steps=5, on_step=cancel)
        assert len(calls) == 2

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_output_that_is_not_finite_is_an_error(self, value):
        def network(z, t):
            z = z.clone()
            z[-1, -1, -1, -1, -1] = value
            return z

        with pytest.raises(InvalidOutput, match="step 1 of 5"):
            denoise(network, self.scheduler, standard_noise(), {}, {}, steps=5)

    def test_known_pixels_come_out_exactly(self):
        known = torch.rand(SHAPE)
        mask = torch.rand(SHAPE) > 0.5

        x0 = denoise(
            lambda z, t: 0.9 * z, self.scheduler, standard_noise(), {}, {}, steps=5,
            keep_known=lambda x0: torch.where(mask, known, x0),
        )  # fmt: skip

        assert torch.equal(x0[mask], known[mask])
        assert not torch.equal(x0[~mask], known[~mask])

    def test_dynamic_thresholds_are_taken_per_frame(self):
        x0 = torch.rand(1, 3, 4, 8, 8) * 0.9
        bright = x0.clone()
        bright[:, :, 0] *= 50

        limited = dynamic_threshold(bright, 0.95, 100.0)

        assert limited.abs().max() <= 1
        assert torch.equal(limited[:, :, 1:], x0[:, :, 1:])

    @pytest.mark.parametrize("limit", [1.0, 1.5, 50.0])
    def test_dynamic_thresholds_are_those_of_diffusers(self, limit):
        x0 = 3 * torch.randn(1, 3, 4, 64, 64, generator=torch.Generator().manual_seed(2))
        options = {"thresholding": True, "dynamic_thresholding_ratio": 0.95, "sample_max_value": limit}
        scheduler = DDPMScheduler(**options)
        threshold = Schedule.of(scheduler, 5, torch.device("cpu")).threshold

        frames = [scheduler._threshold_sample(frame) for frame in x0.unbind(2)]

        torch.testing.assert_close(threshold(x0), torch.stack(frames, 2), atol=1e-3, rtol=0)


class TestSource:
    """SDEdit: a run that begins from a noised clip."""

    @pytest.mark.parametrize("scheduler", ODE_SCHEDULERS + FLOW_SCHEDULERS, ids=named)
    def test_the_weaker_the_nearer_to_the_source(self, scheduler):
        """In a Gaussian world source and result grow apart with the share of the steps that are made."""
        predicts = scheduler.config.get("prediction_type", "flow_prediction")
        generator = torch.Generator().manual_seed(7)
        source = MEAN + SPREAD * torch.randn(SHAPE, generator=generator)

        def distance(strength: float) -> float:
            schedule = Schedule.of(scheduler, 20, torch.device("cpu"))
            levels = [schedule.noise_level(index) for index in range(len(schedule.timesteps))]
            calls = iter(range(schedule.first_step(strength), len(levels)))

            def network(z: Tensor, timesteps: Tensor) -> Tensor:
                alpha, sigma = levels[next(calls)]
                x0 = MEAN + alpha * SPREAD**2 / (alpha**2 * SPREAD**2 + sigma**2) * (z - alpha * MEAN)
                eps = (z - alpha * x0) / sigma
                return {"epsilon": eps, "sample": x0, "flow_prediction": eps - x0}[predicts]

            made = denoise(network, scheduler, standard_noise(), {}, {}, steps=20, source=source, strength=strength)
            assert next(calls, None) is None
            return (made - source).square().mean().sqrt().item()

        distances = [distance(strength) for strength in (0.1, 0.4, 0.7, 1.0)]
        assert distances == sorted(distances)
        assert distances[0] < 0.35 < 0.6 < distances[-1]
