"""What each model folder offers, read from its `lumiere.json` alone, so that no torch is needed to know it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Size = Annotated[str, Field(pattern=r"^[1-9]\d{0,3}x[1-9]\d{0,3}$")]
IntRange = tuple[int, int]
FloatRange = tuple[float, float]


class CatalogueError(ValueError):
    """A model folder cannot be used; the message is one line that names the file."""


class Card(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class ModelDefaults(Card):
    num_frames: int
    fps: int
    size: Size
    num_inference_steps: int
    guidance_scale: float


class ModelLimits(Card):
    """Closed ranges, and the sizes (`WIDTHxHEIGHT`) that can be asked for."""

    num_frames: IntRange
    fps: IntRange
    sizes: tuple[Size, ...] = Field(min_length=1)
    num_inference_steps: IntRange
    guidance_scale: FloatRange
    prompt_characters: int = Field(gt=0)
    schedulers: tuple[str, ...] = ()
    """Diffusers' classes that can be asked for in place of the model's own."""


class ModelCard(Card):
    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    tasks: tuple[str, ...] = Field(min_length=1)
    defaults: ModelDefaults
    limits: ModelLimits
    upscale: str = "none"
    styles: tuple[str, ...] = ()
    """The names of its styles; those beside it (`styles/NAME/weights.safetensors`) where the file does not say."""
    folder: Path

    @model_validator(mode="after")
    def defaults_within_limits(self) -> "ModelCard":
        for name in ("num_frames", "fps", "num_inference_steps", "guidance_scale"):
            low, high = getattr(self.limits, name)
            if not low <= getattr(self.defaults, name) <= high:
                raise ValueError(f"defaults.{name} is outside limits.{name} ({low} to {high})")
        if self.defaults.size not in self.limits.sizes:
            raise ValueError(f"defaults.size is not one of limits.sizes ({', '.join(self.limits.sizes)})")
        return self


def read_card(folder: Path) -> ModelCard:
    """The card of one model folder.

    Raises:
        CatalogueError: the file is missing or says something that cannot be.
    """
    path = folder / "lumiere.json"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise CatalogueError(f"model folder {folder}: cannot read lumiere.json: {error.strerror}") from None
    try:
        said = {"styles": styles_beside(folder), **JsonObject.model_validate_json(text).root()}
        return ModelCard.model_validate({**said, "folder": folder})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise CatalogueError(f"{path}: {field}: {first['msg']}") from None


def style_slug(name: str) -> str:
    """A style's name as folders have it: "Melting gold" is "melting-gold"."""
    return "-".join(name.lower().split())


def styles_beside(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.parent.name for path in folder.glob("styles/*/weights.safetensors")))


class JsonObject(BaseModel):
    model_config = ConfigDict(extra="allow")

    def root(self) -> dict[str, object]:
        return dict(self.model_extra or {})


def read_catalogue(model_dirs: Iterable[Path]) -> dict[str, ModelCard]:
    """The cards of all folders by model id, in the order given; the first is the default model.

    Raises:
        CatalogueError: a folder is unusable, or two folders claim the same id.
    """
    catalogue: dict[str, ModelCard] = {}
    for card in map(read_card, model_dirs):
        if card.id in catalogue:
            raise CatalogueError(f"model id {card.id!r} is in both {catalogue[card.id].folder} and {card.folder}")
        catalogue[card.id] = card
    return catalogue
