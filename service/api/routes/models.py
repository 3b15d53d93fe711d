"""`/v1/models`: what can be asked for, with limits and defaults."""

from typing import Annotated

from fastapi import APIRouter, Path

from service.api.errors import ApiError
from service.api.model_schemas import Model, ModelList
from service.api.openapi import problems
from service.api.resources import Held

router = APIRouter(tags=["models"])


@router.get("/v1/models", summary="List models", responses=problems())
async def list_models(held: Held) -> ModelList:
    """The first model is the default."""
    return ModelList(data=[Model.of(card) for card in held.catalogue.values()])


@router.get("/v1/models/{model_id}", summary="Look at a model", responses=problems("model_not_found"))
async def get_model(model_id: Annotated[str, Path()], held: Held) -> Model:
    card = held.catalogue.get(model_id)
    if card is None:
        raise ApiError("model_not_found", "there is no model with this id", param="model_id")
    return Model.of(card)
