"""Training on a user's clips, end to end: real MP4s, real processes, real kills, a tiny random model."""

import dataclasses
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import pytest
import torch
from accelerate import debug_launcher
from safetensors.torch import load_file
from typer.testing import CliRunner

from model.checkpoint import CheckpointError
from model.finetune.train import Settings, train
from model.finetune.videos import DataError
from model.pipeline import LumierePipeline
from model.stunet import KNOWN_LAYERS
from model.training.__main__ import app
from service.jobs.models import read_catalogue
from tests.backbones.clips import write_folder

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("clips") / "folder")


def settings(data: Path, model: Path, out: Path, **changes) -> Settings:
    """Quick, and with everything in it: buckets, captions left out, average, checkpoints."""
    options = {"steps": 4, "frames": 6, "save_every": 2, "log_every": 1, "sample_every": 100, "workers": 0}
    options |= {"learning_rate": 1e-2, "warmup": 1, "ema_decay": 0.5, "caption_dropout": 0.3, "cpu": True}
    return Settings(data=data, model=model, out=out, **{**options, **changes})


def apart(function, *arguments) -> multiprocessing.Process:
    """In a process of its own: accelerate keeps state for the whole of one."""
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    return process


def train_apart(wanted: Settings, processes: int = 1) -> Path:
    if processes > 1:
        debug_launcher(train, (wanted,), processes)
    else:
        process = apart(train, wanted)
        process.join(120)
        assert process.exitcode == 0
    return wanted.out


def log(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "training/log.jsonl").read_text().splitlines()]


def same_weights(one: Path, other: Path) -> bool:
    a, b = load_file(one / UNET), load_file(other / UNET)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def straight(data, tiny_model, tmp_path_factory) -> Path:
    """A run of four steps in one go, with sample videos."""
    out = tmp_path_factory.mktemp("runs") / "straight"
    return train_apart(settings(data, tiny_model, out, sample_every=4, sample_prompts=("a ball", "b")))


def test_only_temporal_layers_change(straight, tiny_model):
    before, after = load_file(tiny_model / UNET), load_file(straight / UNET)

    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if "temporal_" in name}


def test_the_rest_of_the_model_is_copied_byte_by_byte(straight, tiny_model):
    for path in tiny_model.rglob("*"):
        name = path.relative_to(tiny_model)
        if path.is_file() and name.parts[0] not in ("unet", "lumiere.json"):
            assert (straight / name).read_bytes() == path.read_bytes(), name


def test_the_result_loads_and_is_served(straight, tiny_model):
    pipeline = LumierePipeline.from_pretrained(straight, device="cpu")
    catalogue = read_catalogue([tiny_model, straight])

    assert pipeline.text_to_video("a", num_frames=2, height=32, width=32, num_inference_steps=1).frames.any()
    assert catalogue["straight"].tasks == catalogue["lumiere-tiny"].tasks
    assert pipeline.card["temporal_layers"] == "trained for 4 steps"


def test_loss_and_samples_are_there_to_be_looked_at(straight):
    lines = log(straight)

    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert all(0 < line["loss"] < 100 for line in lines)
    samples = sorted((straight / "training/samples").iterdir())
    assert [path.name for path in samples] == ["step-000004-0.mp4", "step-000004-1.mp4"]
    with av.open(samples[0]) as container:
        assert sum(1 for _ in container.decode(video=0)) == 6


def killed_after_a_checkpoint(wanted: Settings, processes: int) -> None:
    """Kills a run, without a chance to say goodbye, as soon as its first checkpoint is there."""

    def run() -> None:
        os.setsid()
        train_apart(wanted, processes) if processes > 1 else train(wanted)

    process = apart(run)
    deadline = time.monotonic() + 120
    while not (wanted.run / "checkpoint.safetensors").exists():
        assert time.monotonic() < deadline
        assert process.is_alive()
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.join()


def test_a_killed_run_goes_on_to_the_same_bits(straight, data, tiny_model, tmp_path):
    wanted = settings(data, tiny_model, tmp_path / "straight", steps=12)
    whole = train_apart(dataclasses.replace(wanted, out=tmp_path / "whole" / "straight"))

    killed_after_a_checkpoint(wanted, 1)
    assert not (wanted.out / "lumiere.json").exists()
    reached = int(load_file(wanted.run / "checkpoint.safetensors")["step"])
    train_apart(wanted)

    assert 2 <= reached < 12
    assert same_weights(whole, wanted.out)
    assert [line["step"] for line in log(wanted.out)] == list(range(1, 13))
    assert [line["loss"] for line in log(wanted.out)] == [line["loss"] for line in log(whole)]


def test_two_processes_and_a_kill(data, tiny_model, tmp_path):
    wanted = settings(data, tiny_model, tmp_path / "two", steps=8)
    whole = train_apart(dataclasses.replace(wanted, out=tmp_path / "whole"), processes=2)
    alone = train_apart(dataclasses.replace(wanted, out=tmp_path / "alone"), processes=1)

    killed_after_a_checkpoint(wanted, 2)
    train_apart(wanted, processes=2)

    assert json.loads((whole / "training/run.json").read_text())["processes"] == 2
    assert same_weights(whole, wanted.out)
    assert not same_weights(whole, alone)


def test_a_model_that_reads_known_parts_keeps_those_layers(data, tiny_model, tmp_path):
    pipeline = LumierePipeline.from_pretrained(tiny_model, device="cpu")
    pipeline.unet = pipeline.unet.with_known_input(5, copy=True)
    pipeline.save_pretrained(tmp_path / "model")
    out = train_apart(settings(data, tmp_path / "model", tmp_path / "out", steps=2), processes=2)

    before, after = load_file(tmp_path / "model" / UNET), load_file(out / UNET)
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert {name for name in same if "temporal_" in name} == {n for n in before if n.startswith(KNOWN_LAYERS)}


def test_a_finished_run_is_left_as_it_is(straight, data, tiny_model):
    before = {path: path.stat().st_mtime_ns for path in (straight / "training").glob("*.safetensors")}

    train_apart(settings(data, tiny_model, straight, sample_every=4, sample_prompts=("a ball", "b")))

    assert [line["step"] for line in log(straight)] == [1, 2, 3, 4]
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"caption_dropout": 1.5}, "caption_dropout must be 0 to 1"),
        ({"precision": "fp16"}, "precision must be one of no, bf16"),
        ({"learning_rate": 0.0}, "learning_rate must be more than 0"),
        ({"trackers": ("papyrus",)}, "papyrus is not installed"),
        ({"frames": 1000}, "none of 5 videos is long enough for 1000 frames at 16 per second"),
    ],
)
def test_settings_that_cannot_be(data, tiny_model, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        train(settings(data, tiny_model, tmp_path / "out", **changes))


def test_another_run_in_the_same_folder(straight, data, tiny_model):
    with pytest.raises(ValueError, match=r"seed: the run in .* began with 0 and cannot go on with 1"):
        train(settings(data, tiny_model, straight, seed=1))


def test_data_and_model_that_cannot_be(data, tiny_model, tmp_path):
    with pytest.raises(DataError, match="neither a folder"):
        train(settings(tmp_path / "nowhere", tiny_model, tmp_path / "out"))
    with pytest.raises(CheckpointError, match="is not a folder"):
        train(settings(data, tmp_path / "nowhere", tmp_path / "out"))


def test_the_command(data, tiny_model, tmp_path):
    out = tmp_path / "from the command"
    command = [sys.executable, "-m", "model.training", "clips", "--data", str(data), "--model", str(tiny_model)]
    options = ["--steps=1", "--frames=4", "--workers=1", "--cpu", "--batch-size=2", "--accumulate=2"]

    done = subprocess.run([*command, "--out", str(out), *options], capture_output=True, text=True, timeout=180)

    assert done.returncode == 0, done.stderr
    assert (out / "lumiere.json").exists()


def test_data_alone_means_clips(tmp_path, monkeypatch):
    """`lumiere train --data DIR`; the model is then the shipped one. Stages are called by name as before."""
    monkeypatch.chdir(tmp_path)
    for arguments in (["--data", "nowhere"], ["--steps=1", "--data=nowhere"], ["clips", "--data", "nowhere"]):
        done = CliRunner().invoke(app, arguments)

        assert done.exit_code == 1
        assert "nowhere is neither a folder nor a .tar file" in " ".join(done.stderr.split())
    assert "super-resolution" in CliRunner().invoke(app, ["--help"]).stdout
