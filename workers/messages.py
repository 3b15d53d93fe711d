"""What supervisor and work-horse say to each other over their pipe."""

from dataclasses import dataclass

from service.jobs.contract import ErrorCode, JobResult, JobSpec
from service.jobs.keys import attempt_name
from service.settings import Settings


@dataclass(frozen=True)
class SetUp:
    """To the horse, first: what to load. `runtime` names a class as `module:Class`."""

    runtime: str
    settings: Settings
    workdir: str


@dataclass(frozen=True)
class Order:
    """One attempt to be run."""

    job_id: str
    attempt: int
    spec: JobSpec

    @property
    def name(self) -> str:
        return attempt_name(self.job_id, self.attempt)


@dataclass(frozen=True)
class Run:
    """To the horse: run these attempts, as one batch if they are several. Each is answered by an `About` of its own."""

    orders: tuple[Order, ...]


@dataclass(frozen=True)
class Stop:
    """To the horse: give up the attempt of this name at the next step. It answers Stopped, unless it was quicker."""

    name: str


@dataclass(frozen=True)
class Ready:
    """From the horse: the models are loaded and warm. weights: the digest of each one's weights."""

    models: tuple[str, ...]
    weights: tuple[str, ...]
    device: str
    dtype: str
    seconds: float


@dataclass(frozen=True)
class DeviceMemory:
    """From the horse, beside what it says else: bytes of its device's memory; `peak`: the most that it held itself."""

    used: int
    peak: int
    total: int


@dataclass(frozen=True)
class LoadFailed:
    """From the horse: the models cannot be used; it ends after this."""

    reason: str


@dataclass(frozen=True)
class Stepped:
    """From the horse: a step is done, or a stage begins (step 0). `preview`: see `workers.horse.OnStep`."""

    stage: str
    step: int
    steps: int
    preview: bytes = b""


@dataclass(frozen=True)
class Done:
    """From the horse: the video is stored."""

    result: JobResult


@dataclass(frozen=True)
class Stopped:
    """From the horse: the attempt was given up as asked."""


@dataclass(frozen=True)
class Failed:
    """From the horse: the attempt has failed. `retry`: another attempt may succeed. `broken`: the horse ends now."""

    code: ErrorCode
    message: str
    retry: bool = False
    broken: bool = False


Outcome = Done | Stopped | Failed


@dataclass(frozen=True)
class About:
    """From the horse: how it goes with the attempt of this name. An outcome is the last that is said of it."""

    name: str
    said: Stepped | Outcome


FromHorse = Ready | DeviceMemory | LoadFailed | About
ToHorse = SetUp | Run | Stop
