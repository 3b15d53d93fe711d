"""A model folder that has a card and nothing else: enough for everything that loads no weights."""

import json
from pathlib import Path

CARD = {
    "id": "lumiere-mini",
    "tasks": ["text-to-video"],
    "defaults": {"num_frames": 16, "fps": 16, "size": "64x64", "num_inference_steps": 4, "guidance_scale": 5.0},
    "limits": {
        "num_frames": [8, 80],
        "fps": [8, 60],
        "sizes": ["64x64", "128x128"],
        "num_inference_steps": [1, 1000],
        "guidance_scale": [1.0, 20.0],
        "prompt_characters": 1000,
    },
    "upscale": "bicubic",
}


def write_model_folder(folder: Path, **changes: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lumiere.json").write_text(json.dumps({**CARD, **changes}))
    return folder
