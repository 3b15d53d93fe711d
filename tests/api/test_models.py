import httpx

from tests.api.gateway import CARD


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
