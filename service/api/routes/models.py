"""`/v1/models`: what can be asked for, with limits and defaults."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import structlog
from fastapi import APIRouter, Path

from service.api.errors import ApiError
from service.api.model_schemas import Model, ModelList
from service.api.openapi import problems
from service.api.resources import Held, Resources, in_time
from service.jobs.connection import RedisUnavailable

router = APIRouter(tags=["models"])
log = structlog.get_logger(__name__)


@router.get("/v1/models", summary="List models", responses=problems())
async def list_models(held: Held) -> ModelList:
    """The first model is the default. `workers` says how many workers hold a model now."""
    workers = await workers_of(held, tuple(held.catalogue))
    return ModelList(data=[Model.of(card, workers.get(card.id)) for card in held.catalogue.values()])


@router.get("/v1/models/{model_id}", summary="Look at a model", responses=problems("model_not_found"))
async def get_model(model_id: Annotated[str, Path()], held: Held) -> Model:
    card = held.catalogue.get(model_id)
    if card is None:
        raise ApiError("model_not_found", "there is no model with this id", param="model_id")
    return Model.of(card, (await workers_of(held, [card.id])).get(card.id))


async def workers_of(held: Resources, models: Sequence[str]) -> Mapping[str, int]:
    """How many workers hold each model; nothing while Redis does not answer: the models are known without it."""
    try:
        return await in_time(held.records.warm_workers(models))
    except RedisUnavailable as error:
        log.warning("workers_not_told", reason=str(error))
        return {}
