"""What a video is made from: what is asked for, and what is given."""

from dataclasses import dataclass

from torch import Tensor

from model.clip import Stopwatch
from model.conditioning import Frames, Known
from model.denoising import Condition, OnStep
from model.text import EncodedText


@dataclass(frozen=True, kw_only=True)
class Options:
    """What all tasks share.

    Steps and guidance default to what the model's card says. scheduler: class name of a diffusers scheduler, None is
    the model's own. on_step: called after every step of denoising and of super-resolution; what it raises ends the run.
    The same arguments give the same pixels on the same machine and in the same precision.
    """

    negative_prompt: str = ""
    seed: int = 0
    num_frames: int = 80
    height: int = 256
    width: int = 256
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    guidance_rescale: float = 0.0
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    scheduler: str | None = None
    on_step: OnStep | None = None


@dataclass(frozen=True)
class Asked:
    """One video of a batch."""

    prompt: str
    options: Options


@dataclass(frozen=True)
class Drawn:
    """A video before it is decoded. latents: (1, c, t, h, w). positive, negative: what the network was told. text: the
    encoded prompt. watch: the seconds that it took so far, of its whole batch.
    """

    latents: Tensor
    options: Options
    positive: Condition
    negative: Condition
    text: EncodedText
    watch: Stopwatch


@dataclass(frozen=True)
class Given:
    """What a task knows beforehand. known: pixels that stay. told: what the network is told of, if that is more.
    source: frames (t, h, w, 3) of the size that is made, to begin from after the last `strength` of the steps were
    taken back. loop: the first frame follows on the last.
    """

    known: Known | None = None
    source: Frames | None = None
    strength: float = 1.0
    loop: bool = False
    told: Known | None = None


NOTHING = Given()
