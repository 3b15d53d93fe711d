"""From a request to a job: defaults of the model filled in, its limits held, the seed drawn."""

import secrets
from collections.abc import Iterator, Mapping

from service.api.errors import ApiError, FieldError
from service.api.schemas import MAX_SEED, TextToVideoRequest
from service.jobs.contract import JobSpec
from service.jobs.models import ModelCard

RANGED_FIELDS = ("num_frames", "fps", "num_inference_steps", "guidance_scale")


def text_to_video_spec(request: TextToVideoRequest, catalogue: Mapping[str, ModelCard]) -> JobSpec:
    """The job that the request asks for.

    Raises:
        ApiError: `unknown_model`, or every field outside the model's limits with field and limit.
    """
    card = chosen_card(request.model, "text-to-video", catalogue)
    given = request.model_dump(exclude_none=True)
    asked = {**card.defaults.model_dump(), **given}
    errors = list(outside_limits(asked, card))
    if errors:
        raise ApiError.of_fields(errors)
    width, height = map(int, asked["size"].split("x"))
    return JobSpec(
        task="text-to-video",
        model=card.id,
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        seed=secrets.randbelow(MAX_SEED + 1) if request.seed is None else request.seed,
        width=width,
        height=height,
        **{field: asked[field] for field in RANGED_FIELDS},
    )


def chosen_card(model: str | None, task: str, catalogue: Mapping[str, ModelCard]) -> ModelCard:
    """The card of the named model, or of the first one that can do the task."""
    if model is None:
        able = (card for card in catalogue.values() if task in card.tasks)
    else:
        able = (card for card in catalogue.values() if card.id == model)
    card = next(able, None)
    if card is None:
        raise ApiError("unknown_model", "model is not one of this service", param="model")
    if task not in card.tasks:
        raise ApiError("invalid_field", f"model {card.id} does not do {task}", param="model")
    return card


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
    if asked["size"] not in card.limits.sizes:
        sizes = ", ".join(card.limits.sizes)
        yield FieldError("invalid_field", "size", f"size must be one of {sizes} with {card.id}")
