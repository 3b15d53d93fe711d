from pathlib import Path

import httpx

from service.api.app import create_app
from service.settings import Settings
from tests.api.gateway import CARD, write_card


async def test_models_with_what_may_be_asked_of_them(client: httpx.AsyncClient) -> None:
    listed = (await client.get("/v1/models")).json()
    model = (await client.get("/v1/models/lumiere-mini")).json()

    assert listed == {"object": "list", "data": [model]}
    assert (model["id"], model["object"], model["owned_by"]) == ("lumiere-mini", "model", "lumiere")
    assert isinstance(model["created"], int)
    assert {name: model[name] for name in CARD if name != "id"} == {n: v for n, v in CARD.items() if n != "id"}
    assert "folder" not in model


async def test_an_unknown_model(client: httpx.AsyncClient) -> None:
    for model_id in ("sora-2", "..%2f", "%00", "x" * 4096):
        answer = await client.get(f"/v1/models/{model_id}")

        assert answer.status_code == 404
        assert answer.json()["code"] in ("model_not_found", "not_found")
        assert len(answer.content) < 500


async def test_every_folder_is_listed_and_the_first_is_the_default(settings: Settings, tmp_path: Path) -> None:
    other = write_card(tmp_path / "other", {**CARD, "id": "other", "limits": {**CARD["limits"], "sizes": ["128x128"]}})
    app = create_app(settings.model_copy(update={"model_dirs": [*settings.model_dirs, other]}))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        models = (await client.get("/v1/models")).json()["data"]
        videos = [
            (await client.post("/v1/text-to-video", json={"prompt": "a ball", **model})).json()
            for model in ({}, {"model": "other"})
        ]

    assert [(model["id"], len(model["limits"]["sizes"])) for model in models] == [("lumiere-mini", 3), ("other", 1)]
    assert [video["model"] for video in videos] == ["lumiere-mini", "other"]
