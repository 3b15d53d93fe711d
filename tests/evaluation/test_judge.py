"""The judge: what it answers, what it refuses, and how it is taught."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from model.evaluation.disturbance import disturbed
from model.evaluation.judge import Judge, agreement, clip_features, judged, load_judge, read_judge, save_judge
from model.evaluation.judge_training import (
    JudgeTraining,
    judge_accuracy,
    rendered_clips,
    rendered_stills,
    take_over,
    train_judge,
)
from model.evaluation.learning import Schedule, learn
from model.training.scenes.attributes import ATTRIBUTES, MOTIONS


def test_the_judge_answers_for_clips_of_any_size_and_length() -> None:
    clips = torch.rand(2, 3, 33, 48, 48) * 2 - 1
    answers = judged(Judge().eval(), clips)

    assert len(answers) == 2
    assert all(answer[name] in ATTRIBUTES[name] for answer in answers for name in ATTRIBUTES)
    assert clip_features(Judge(features=8), clips).shape == (2, 24)


def test_the_shipped_judge_is_right() -> None:
    accuracy = judge_accuracy(load_judge(), clips=32, seed=3)

    assert min(accuracy.values()) > 0.9, accuracy


def test_agreement_counts_only_what_was_said() -> None:
    said = [{"colour": "red", "motion": "left"}, {"colour": "blue"}]
    shown = [{"colour": "red", "motion": "right"}, {"colour": "blue", "motion": "left"}]

    assert agreement(said, shown) == {"colour": 1.0, "motion": 0.0}


def test_a_judge_of_another_world_is_refused_and_can_be_taken_over(tmp_path) -> None:
    old = Judge()
    tensors = dict(old.state_dict())
    for part in ("weight", "bias"):
        tensors[f"heads.subject.{part}"] = tensors[f"heads.subject.{part}"][[1, 0]]
    first, second, *_ = ATTRIBUTES["subject"]
    smaller = {**ATTRIBUTES, "subject": (second, first)}
    path = tmp_path / "judge.safetensors"
    save_file(tensors, path, {"classes": json.dumps(smaller)})

    with pytest.raises(ValueError, match=rf"when subject was one of {second}, {first}; .*lumiere evaluate judge"):
        load_judge(path)

    judge = Judge()
    take_over(judge, path)
    for layer in ("heads.subject", "heads.colour", "heads.motion"):
        known = slice(0, 2) if layer == "heads.subject" else slice(None)
        assert torch.equal(judge.state_dict()[f"{layer}.weight"][known], old.state_dict()[f"{layer}.weight"][known])


def test_a_world_with_another_attribute_needs_another_judge(tmp_path) -> None:
    path = tmp_path / "judge.safetensors"
    tensors = {name: value for name, value in Judge().state_dict().items() if not name.startswith("heads.motion")}
    save_file(
        tensors, path, {"classes": json.dumps({name: ATTRIBUTES[name] for name in ATTRIBUTES if name != "motion"})}
    )

    with pytest.raises(ValueError, match="when motion was one of nothing"):
        load_judge(path)
    judge = Judge()
    take_over(judge, path)
    assert torch.equal(judge.state_dict()["heads.setting.weight"], tensors["heads.setting.weight"])


def test_training_saves_a_judge_with_its_classes(tmp_path) -> None:
    path = tmp_path / "judge.safetensors"
    tiny = JudgeTraining(frame_steps=2, frame_batch=2, clip_steps=1, clip_batch=1)

    accuracy = train_judge(tiny, path, clips=4)

    assert accuracy.keys() == ATTRIBUTES.keys()
    assert read_judge(path)[1]["motion"] == list(MOTIONS)
    save_judge(load_judge(path), path)


def test_learning_in_slices_ends_in_the_same_weights(tmp_path) -> None:
    data = torch.randn(8, 4, 3, generator=torch.Generator().manual_seed(0))

    def network() -> nn.Module:
        torch.manual_seed(1)
        return nn.Linear(3, 1)

    def learned(stop_at: int | None) -> nn.Module:
        model = network()

        def loss_of(step: int) -> torch.Tensor:
            if step == stop_at:
                raise KeyboardInterrupt
            return (model(data[step]) - data[step].sum(1, keepdim=True)).square().mean()

        learn(model, Schedule(8, save_every=3), loss_of, tmp_path / "state.checkpoint")
        return model

    whole = learned(None)
    with pytest.raises(KeyboardInterrupt):
        learned(5)
    assert (tmp_path / "state.checkpoint").exists()
    sliced = learned(None)

    assert torch.equal(whole.weight, sliced.weight)
    assert not list(tmp_path.iterdir())


def test_clips_that_teach_move_less_about_their_middle() -> None:
    whole, scenes = rendered_clips(6, seed=11)
    shorter, same = rendered_clips(6, seed=11, least_moved=0.0)
    way, shorter_way = ((clips[:, :, -1] - clips[:, :, 0]).abs().mean((1, 2, 3)) for clips in (whole, shorter))

    assert [scenes.names(i) for i in range(6)] == [same.names(i) for i in range(6)]
    assert shorter_way.mean() < way.mean()


def test_disturbing_softens_and_adds_grain_by_its_seed() -> None:
    stills, _ = rendered_stills(2, seed=4)
    one, again, other = (disturbed(stills, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))

    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert one.shape == stills.shape
    assert one.abs().max() <= 1
