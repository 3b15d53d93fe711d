"""The usual job server of a demonstration: FastAPI, one dictionary, nothing that outlives the process."""

import time
import uuid

from fastapi import FastAPI
from pydantic import BaseModel, Field

app = FastAPI()
jobs: dict[str, dict[str, object]] = {}


class TextToVideo(BaseModel):
    prompt: str = Field(min_length=1, max_length=1000)
    seed: int | None = None
    num_frames: int = Field(80, ge=8, le=80)


@app.post("/v1/text-to-video", status_code=202)
async def text_to_video(asked: TextToVideo) -> dict[str, object]:
    job = {"id": uuid.uuid4().hex, "status": "queued", "created_at": time.time(), **asked.model_dump()}
    jobs[str(job["id"])] = job
    return job
