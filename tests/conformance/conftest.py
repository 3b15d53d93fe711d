"""OpenAI's own client, unmodified, against a whole service: gateway, Redis, worker, a tiny model."""

import warnings
from collections.abc import Iterator

import openai
import pytest

from tests.stack.live import LiveStack

Client = openai.OpenAI


def connect(stack: LiveStack, **options: object) -> Client:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return openai.OpenAI(base_url=f"{stack.url}/v1", api_key="none", **options)  # type: ignore[arg-type]


@pytest.fixture
def client(live_stack: LiveStack) -> Iterator[Client]:
    with connect(live_stack) as client:
        yield client


@pytest.fixture(scope="module")
def finished(live_stack: LiveStack) -> "openai.types.Video":
    """A completed video that tests may look at."""
    with connect(live_stack) as client:
        video = client.videos.create_and_poll(prompt="a red ball", extra_body={"num_inference_steps": 2, "seed": 3})
    assert video.status == "completed", video
    return video
