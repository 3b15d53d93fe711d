"""Models as they travel over HTTP: OpenAI's four fields, and what may be asked of each."""

from typing import Literal, Self

from pydantic import BaseModel, Field

from service.api.paging import Listing
from service.jobs.models import ModelCard


class ModelLimits(BaseModel):
    """Closed ranges; `sizes` are all the sizes that there are."""

    num_frames: tuple[int, int]
    fps: tuple[int, int]
    sizes: tuple[str, ...]
    num_inference_steps: tuple[int, int]
    guidance_scale: tuple[float, float]
    prompt_characters: int
    schedulers: tuple[str, ...] = Field(description="Names that `scheduler` takes.")


class ModelDefaults(BaseModel):
    num_frames: int
    fps: int
    size: str
    num_inference_steps: int
    guidance_scale: float


class Model(BaseModel):
    """A model of this service, with OpenAI's four fields and what may be asked of it."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "lumiere"
    tasks: tuple[str, ...]
    defaults: ModelDefaults
    limits: ModelLimits
    upscale: str
    styles: tuple[str, ...] = Field(description="Names that `style` takes.")
    workers: int | None = Field(
        description="Workers that hold the model warm now; with 0 a job waits for one. Null when it cannot be told."
    )

    @classmethod
    def of(cls, card: ModelCard, workers: int | None) -> Self:
        return cls(
            id=card.id,
            created=int(card.folder.stat().st_mtime),
            tasks=card.tasks,
            defaults=ModelDefaults(**card.defaults.model_dump()),
            limits=ModelLimits(**card.limits.model_dump()),
            upscale=card.upscale,
            styles=card.styles,
            workers=workers,
        )


class ModelList(Listing[Model]):
    pass
