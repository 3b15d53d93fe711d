"""One denoising step of the Space-Time U-Net beside those of diffusers' video U-Nets, at equal widths.

    python benchmarks/denoiser.py --frames 16 80 --side 16

All networks are random, of the same widths, layers and heads, and live in one process. Each round runs every one of
them once, in an order that rotates, so that a machine that slows down slows all alike; the medians of the rounds are
compared. Memory is the peak of what the allocator gave out during a forward, weights not counted. Prints a table per
clip length and, as the last line, everything as one JSON object.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import (
    MotionAdapter,
    UNet2DConditionModel,
    UNet3DConditionModel,
    UNetMotionModel,
    UNetSpatioTemporalConditionModel,
)
from einops import rearrange
from torch import Tensor, nn

from model.stunet import STUNet

CHANNELS, TEXT_TOKENS = 4, 77
FRAME_CHUNK = 16


@dataclass(frozen=True)
class Size:
    """widths: channels by level, the attention levels being all but the last. side: of a latent frame."""

    widths: tuple[int, ...]
    heads: int
    text: int
    side: int


@dataclass(frozen=True)
class Contender:
    """forward: (clip b c t h w, text b l d) -> whatever the network makes of it."""

    name: str
    network: nn.Module
    forward: Callable[[Tensor, Tensor], Any]

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.network.parameters())


def image_unet(size: Size) -> UNet2DConditionModel:
    levels = len(size.widths)
    return UNet2DConditionModel(
        sample_size=size.side,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        block_out_channels=size.widths,
        down_block_types=("CrossAttnDownBlock2D",) * (levels - 1) + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (levels - 1),
        layers_per_block=2,
        attention_head_dim=size.heads,  # diffusers' name for the number of heads
        cross_attention_dim=size.text,
    )


def space_time(size: Size) -> Contender:
    network = STUNet.from_unet(image_unet(size))
    network.set_frame_chunk(FRAME_CHUNK)
    return Contender("STUNet", network, lambda clip, text: network(clip, 500, text, return_dict=False))


def image_per_frame(size: Size) -> Contender:
    network = image_unet(size)

    def forward(clip: Tensor, text: Tensor) -> Any:
        frames = rearrange(clip, "b c t h w -> (b t) c h w")
        return network(frames, 500, text.repeat_interleave(clip.shape[2], 0), return_dict=False)

    return Contender("UNet2DConditionModel, per frame", network, forward)


def motion(size: Size, longest: int) -> Contender:
    """AnimateDiff. Its pipeline repeats the text for every frame."""
    adapter = MotionAdapter(
        block_out_channels=size.widths,
        motion_layers_per_block=2,
        motion_num_attention_heads=size.heads,
        motion_max_seq_length=longest,
    )
    network = UNetMotionModel.from_unet2d(image_unet(size), adapter)

    def forward(clip: Tensor, text: Tensor) -> Any:
        return network(clip, 500, text.repeat_interleave(clip.shape[2], 0), return_dict=False)

    return Contender("UNetMotionModel", network, forward)


def spatio_temporal(size: Size, longest: int) -> Contender:
    """Stable Video Diffusion, which looks at one image token and no text."""
    levels = len(size.widths)
    network = UNetSpatioTemporalConditionModel(
        sample_size=size.side,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        block_out_channels=size.widths,
        down_block_types=("CrossAttnDownBlockSpatioTemporal",) * (levels - 1) + ("DownBlockSpatioTemporal",),
        up_block_types=("UpBlockSpatioTemporal",) + ("CrossAttnUpBlockSpatioTemporal",) * (levels - 1),
        layers_per_block=2,
        num_attention_heads=(size.heads,) * levels,
        cross_attention_dim=size.text,
        num_frames=longest,
    )

    def forward(clip: Tensor, text: Tensor) -> Any:
        ids = torch.zeros(len(clip), 3, device=clip.device, dtype=clip.dtype)
        frames = rearrange(clip, "b c t h w -> b t c h w")
        return network(frames, 500, text[:, :1], added_time_ids=ids, return_dict=False)

    return Contender("UNetSpatioTemporalConditionModel", network, forward)


def three_dimensional(size: Size) -> Contender:
    """ModelScope."""
    levels = len(size.widths)
    network = UNet3DConditionModel(
        sample_size=size.side,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        block_out_channels=size.widths,
        down_block_types=("CrossAttnDownBlock3D",) * (levels - 1) + ("DownBlock3D",),
        up_block_types=("UpBlock3D",) + ("CrossAttnUpBlock3D",) * (levels - 1),
        layers_per_block=2,
        attention_head_dim=size.widths[0] // size.heads,
        cross_attention_dim=size.text,
    )
    return Contender("UNet3DConditionModel", network, lambda clip, text: network(clip, 500, text, return_dict=False))


PEERS: dict[str, Callable[[Size, int], Contender]] = {
    "image": lambda size, longest: image_per_frame(size),
    "motion": motion,
    "spatio-temporal": spatio_temporal,
    "three-dimensional": lambda size, longest: three_dimensional(size),
}


def contenders(
    size: Size, longest: int, peers: list[str], device: torch.device, dtype: torch.dtype
) -> Iterator[Contender]:
    """STUNet first: the others are compared with it."""
    for make in (lambda size, longest: space_time(size), *(PEERS[name] for name in peers)):
        contender = make(size, longest)
        contender.network.to(device, dtype).eval()
        yield contender


def seconds(run: Callable[[], Any], device: torch.device) -> float:
    started = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def peak_bytes(run: Callable[[], Any], device: torch.device) -> int:
    """The most that was allocated at once during `run`, beyond what was there before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        run()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


@torch.inference_mode()
def measure(
    networks: list[Contender], size: Size, frames: int, rounds: int, device: torch.device, dtype: torch.dtype
) -> list[dict[str, Any]]:
    """One row per network: median seconds of a forward over the rounds, peak memory, and both relative to the first."""
    generator = torch.Generator().manual_seed(0)
    clip = torch.randn(1, CHANNELS, frames, size.side, size.side, generator=generator).to(device, dtype)
    text = torch.randn(1, TEXT_TOKENS, size.text, generator=generator).to(device, dtype)
    memory = {each.name: peak_bytes(lambda each=each: each.forward(clip, text), device) for each in networks}
    times: dict[str, list[float]] = {each.name: [] for each in networks}
    for round_number in range(rounds):
        turn = round_number % len(networks)
        for each in networks[turn:] + networks[:turn]:
            times[each.name].append(seconds(lambda each=each: each.forward(clip, text), device))
    own = networks[0].name
    return [
        {
            "network": each.name,
            "frames": frames,
            "seconds": statistics.median(times[each.name]),
            "spread": (max(times[each.name]) - min(times[each.name])) / statistics.median(times[each.name]),
            "times_stunet": statistics.median(times[each.name]) / statistics.median(times[own]),
            "activation_mb": memory[each.name] / 1e6,
            "memory_times_stunet": memory[each.name] / memory[own],
            "parameters": each.parameters,
        }
        for each in networks
    ]


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        f"{'network':<34} {'seconds':>9} {'x STUNet':>9} {'spread':>7} {'memory':>10} {'x STUNet':>9} {'weights':>9}"
    ]
    for row in rows:
        lines.append(
            f"{row['network']:<34} {row['seconds']:>9.3f} {row['times_stunet']:>9.2f} {row['spread']:>7.0%} "
            f"{row['activation_mb']:>7.0f} MB {row['memory_times_stunet']:>9.2f} {row['parameters'] / 1e6:>7.1f} M"
        )
    return "\n".join(lines)


def hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    with open("/proc/cpuinfo") as file:
        names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {torch.get_num_threads()} threads"


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Time and memory of one denoising step, STUNet and diffusers' video U-Nets."
    )
    parser.add_argument("--frames", type=int, nargs="+", default=[16, 80], help="clip lengths")
    parser.add_argument("--side", type=int, default=16, help="height and width of a latent frame")
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128, 256, 256], help="SD 1.5: 320 640 1280 1280")
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--text", type=int, default=160, help="width of the text states; SD 1.5: 768")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), help="what it is compared with")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--threads", type=int, default=1, help="on a CPU")
    return parser


def main(words: list[str] | None = None) -> None:
    options = arguments().parse_args(words)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler says on stdout when it starts and stops
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    size = Size(tuple(options.widths), options.heads, options.text, options.side)
    networks = list(contenders(size, max(options.frames), options.peers, device, dtype))
    print(
        f"{hardware(device)}, {options.dtype}, torch {torch.__version__}, widths {options.widths}, side {options.side}"
    )
    rows = []
    for frames in options.frames:
        measured = measure(networks, size, frames, options.rounds, device, dtype)
        print(f"\n{frames} frames, median of {options.rounds} rounds\n{table(measured)}")
        rows += measured
    print(json.dumps({"hardware": hardware(device), "options": vars(options), "rows": rows}))


if __name__ == "__main__":
    main()
