"""Deployment settings, read once from the environment (prefix `LUMIERE_`), refused early when they are wrong."""

import ipaddress
import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.webhooks.targets import parse_allow_list

ENV_PREFIX = "LUMIERE_"
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that tells several processes of one gateway where their metrics add up; prometheus_client reads it."""
HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")


class SettingsError(ValueError):
    """A setting is missing or outside its limits; the message is one line that names the variable."""


def shipped_model() -> Path:
    """The folder of the model that comes with the package, found without importing it."""
    package = find_spec("model")
    if package is None or not package.submodule_search_locations:
        return Path("model/weights/lumiere-mini")
    return Path(next(iter(package.submodule_search_locations))) / "weights" / "lumiere-mini"


class Settings(BaseSettings):
    """All that an operator can choose. Every field is the environment variable `LUMIERE_<FIELD>`."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="ignore")

    redis_url: str | None = None
    """redis://, rediss:// or unix:// address; unset: the embedded stack starts a Redis of its own."""
    redis_memory_mb: int = Field(1024, ge=64, le=1_048_576)
    """Memory (MiB) that the Redis of the embedded stack may take; a job that waits needs about 3.5 kB of it."""
    data_dir: Path = Path("data")
    """Holds the videos and the files of the embedded Redis."""
    storage_url: str | None = None
    """Where videos go: s3://, gs://, az:// or file://; unset: the folder `data_dir`."""
    storage_endpoint: str | None = Field(None, pattern=r"^https?://[^/?#\s]+/?$")
    """The server that keeps an s3:// bucket, where it is not Amazon's."""
    storage_presign: bool = False
    """Whether links to content lead to the bucket itself, whose address clients must then be able to reach."""
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    gateway_processes: int = Field(1, ge=1, le=64)
    """Processes that answer on the address of one gateway; 1 uses one core."""
    auth: str = Field("auto", pattern="^(auto|open|keys)$")
    """Whether requests need an API key: `auto` asks for one unless `host` is a loopback address."""
    allowed_hosts: Annotated[list[str], NoDecode] = Field(default_factory=list)
    """Names under which clients may reach a gateway without keys on a loopback address, separated by commas; addresses
    and `localhost` always may.
    """
    key_requests_per_minute: float = Field(60, ge=0)
    """Jobs that a key may ask for in a minute, unless the key says otherwise; 0 is no limit, here and below."""
    key_active_jobs: int = Field(100, ge=0)
    """Jobs of a key that may wait or run at once."""
    key_cost_per_hour: float = Field(0, ge=0)
    """Megapixels (width x height x frames x steps / 1e6) that a key may have denoised in an hour."""
    worker_metrics_port: int = Field(0, ge=0, le=65535)
    """Where a worker answers Prometheus, on the address `host`; 0 is nowhere."""
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$")

    model_dirs: Annotated[list[Path], NoDecode] = Field(default_factory=lambda: [shipped_model()], min_length=1)
    """Model folders, separated as in PATH; the first one is the default. A worker may hold fewer than the gateway."""

    queue_name: str = Field("lumiere", pattern="^[a-z0-9][a-z0-9-]{0,62}$")
    """What the gateways and workers of one deployment share; each model has a queue of its own in it."""
    max_queued_jobs: int = Field(1000, ge=1, le=1_000_000)
    """How many jobs may wait for one model."""
    batch_size: int = Field(0, ge=0, le=64)
    """How many text-to-video jobs that are alike a worker makes at once; 0 is 4 on a GPU and 1 on a CPU."""
    max_attempts: int = Field(3, ge=1, le=100)
    """How often a job may start before its crashes end it as `worker_crashed`."""
    lease_seconds: float = Field(15.0, ge=0.5, le=600)
    """How long a silent worker keeps its job."""
    job_timeout_seconds: float = Field(1800.0, ge=1, le=86_400)
    """The longest that one attempt may run."""
    stall_seconds: float = Field(300.0, ge=1, le=86_400)
    """The longest that a running job may go without finishing a step."""
    cancel_grace_seconds: float = Field(10.0, ge=0, le=600)
    """How long a step may go on after a cancel or a deadline before its process is killed."""
    drain_seconds: float = Field(25.0, ge=0, le=86_400)
    """How long a stopping worker lets its running job go on before it hands the job back."""
    load_timeout_seconds: float = Field(900.0, ge=1, le=86_400)
    """The longest that loading and warming up the models may take."""
    retention_hours: float = Field(24.0, ge=0.01, le=8760)
    """How long a finished job and its video are kept, and an upload after its last use."""
    webhook_allow: Annotated[list[str], NoDecode] = Field(default_factory=list)
    """Origins that webhooks may be sent to, separated by commas; none, and nothing is ever sent."""
    webhooks_in_gateway: bool = True
    """Whether gateways send webhooks themselves; where they may not reach anybody, `lumiere webhooks` does."""
    max_upload_bytes: int = Field(64 * 1024 * 1024, ge=1024, le=4 * 1024**3)
    """The largest image or video that a client may send."""

    @field_validator("model_dirs", mode="before")
    @classmethod
    def split_path_list(cls, value: Any) -> Any:
        if isinstance(value, str):
            return [part for part in value.split(os.pathsep) if part]
        return value

    @field_validator("webhook_allow", "allowed_hosts", mode="before")
    @classmethod
    def split_commas(cls, value: Any) -> Any:
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        return value

    @field_validator("webhook_allow")
    @classmethod
    def origins(cls, value: list[str]) -> list[str]:
        parse_allow_list(value)
        return value

    @field_validator("redis_url")
    @classmethod
    def known_redis_scheme(cls, value: str | None) -> str | None:
        if value and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must start with redis://, rediss:// or unix://")
        return value or None

    @field_validator("storage_url")
    @classmethod
    def known_storage_scheme(cls, value: str | None) -> str | None:
        if not value:
            return None
        if not value.startswith(("s3://", "gs://", "az://", "file://")):
            raise ValueError("must start with s3://, gs://, az:// or file://")
        if not value.startswith("file://") and ("?" in value or "#" in value):
            raise ValueError("must be a bucket and perhaps a folder in it; ? and # have no meaning here")
        return value

    @field_validator("storage_endpoint")
    @classmethod
    def endpoint_of_a_bucket(cls, value: str | None, others: ValidationInfo) -> str | None:
        if value and not str(others.data.get("storage_url")).startswith("s3://"):
            raise ValueError("needs LUMIERE_STORAGE_URL to be an s3:// bucket")
        return value

    @field_validator("storage_presign")
    @classmethod
    def presigned_by_a_bucket(cls, value: bool, others: ValidationInfo) -> bool:
        if value and str(others.data.get("storage_url") or "file://").startswith("file://"):
            raise ValueError("needs LUMIERE_STORAGE_URL to be a bucket")
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def host_names(cls, value: list[str]) -> list[str]:
        if any(HOST_NAME.fullmatch(name) is None for name in value):
            raise ValueError("must be names such as videos.example.com, without a port")
        return [name.lower() for name in value]

    @property
    def keys_required(self) -> bool:
        return self.auth == "keys" or (self.auth == "auto" and not is_loopback(self.host))

    @property
    def retention_seconds(self) -> int:
        return round(self.retention_hours * 3600)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address or name."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def load_settings(**overrides: Any) -> Settings:
    """Settings from the environment; keyword arguments win.

    Raises:
        SettingsError: one line with every bad variable and its limit.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        problems = (f"{ENV_PREFIX}{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        raise SettingsError("; ".join(problems)) from None
