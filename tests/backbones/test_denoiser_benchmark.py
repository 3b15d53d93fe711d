"""The benchmark of the denoiser runs, compares like with like, and ends in JSON."""

import json

import torch

from benchmarks.denoiser import main, peak_bytes

NETWORKS = {
    "STUNet",
    "UNet2DConditionModel, per frame",
    "UNetMotionModel",
    "UNetSpatioTemporalConditionModel",
    "UNet3DConditionModel",
}


def test_a_small_run(capsys):
    main("--frames 4 8 --side 8 --widths 32 32 64 --heads 2 --text 32 --rounds 2 --device cpu".split())  # noqa: SIM905

    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [row["network"] for row in result["rows"][:5]] == [row["network"] for row in result["rows"][5:]]
    assert {row["network"] for row in result["rows"]} == NETWORKS
    assert all(row["seconds"] > 0 and row["activation_mb"] > 0 for row in result["rows"])
    assert result["rows"][0]["times_stunet"] == result["rows"][0]["memory_times_stunet"] == 1


def test_peak_memory_is_that_of_what_lives_at_once():
    def run() -> None:
        for _ in range(3):
            torch.ones(1_000_000)  # 4 MB each, one after the other
        both = [torch.ones(1_000_000), torch.ones(1_000_000)]
        del both

    assert 8e6 <= peak_bytes(run, torch.device("cpu")) < 9e6
