"""From a request to a job: defaults of the model filled in, its limits held, the seed drawn."""

import secrets
from collections.abc import Iterator, Mapping
from typing import Any

from service.api.errors import ApiError, FieldError
from service.api.schemas import MAX_SEED, VideoRequest
from service.jobs.models import ModelCard

RANGED_FIELDS = ("num_frames", "fps", "num_inference_steps", "guidance_scale")
LIMITED_FIELDS = (*RANGED_FIELDS, "scheduler", "size", "prompt", "negative_prompt")


def common_fields(request: VideoRequest, card: ModelCard) -> dict[str, Any]:
    """What the fields that all tasks have say of the `JobSpec`.

    Raises:
        ApiError: every field outside the model's limits with field and limit.
    """
    given = {name: getattr(request, name) for name in LIMITED_FIELDS}
    asked = {**dict(card.defaults), **{name: value for name, value in given.items() if value is not None}}
    errors = list(outside_limits(asked, card))
    if errors:
        raise ApiError.of_fields(errors)
    width, height = map(int, asked["size"].split("x"))
    return {
        "model": card.id,
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "seed": secrets.randbelow(MAX_SEED + 1) if request.seed is None else request.seed,
        "width": width,
        "height": height,
        "guidance_rescale": request.guidance_rescale,
        "guidance_interval": request.guidance_interval,
        "scheduler": request.scheduler,
        "chroma": request.chroma,
        "metadata": request.metadata,
        **{field: asked[field] for field in RANGED_FIELDS},
    }


def chosen_card(model: str | None, task: str, catalogue: Mapping[str, ModelCard]) -> ModelCard:
    """The card of the named model, or of the first one that can do the task.

    Raises:
        ApiError: `unknown_model` or `unsupported_task`; what there is instead is named.
    """
    if model is not None and model not in catalogue:
        models = ", ".join(catalogue)
        raise ApiError("unknown_model", f"model is not one of this service, which has {models}", param="model")
    cards = list(catalogue.values()) if model is None else [catalogue[model]]
    for card in cards:
        if task in card.tasks:
            return card
    offers = "; ".join(f"{card.id} does {', '.join(card.tasks)}" for card in cards)
    raise ApiError("unsupported_task", f"{task} is not offered: {offers}", param="model")


def outside_limits(asked: Mapping[str, object], card: ModelCard) -> Iterator[FieldError]:
    for field in ("prompt", "negative_prompt"):
        most = card.limits.prompt_characters
        if len(str(asked[field])) > most:
            yield FieldError("invalid_field", field, f"{field} may have {most} characters at most with {card.id}")
    for field in RANGED_FIELDS:
        low, high = getattr(card.limits, field)
        value = asked[field]
        if not isinstance(value, int | float) or not low <= value <= high:
            yield FieldError("invalid_field", field, f"{field} must be from {low:g} to {high:g} with {card.id}")
    scheduler, known = asked.get("scheduler"), card.limits.schedulers
    if scheduler is not None and scheduler not in known:
        instead = f"be one of {', '.join(known)}" if known else "be left out"
        yield FieldError("invalid_field", "scheduler", f"scheduler must {instead} with {card.id}")
    if asked["size"] not in card.limits.sizes:
        sizes = ", ".join(card.limits.sizes)
        yield FieldError("invalid_field", "size", f"size must be one of {sizes} with {card.id}")
