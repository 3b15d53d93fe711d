"""An inflated model beside another in one worker."""

import json
import shutil

from service.jobs.models import read_catalogue
from tests.jobs.examples import example_spec
from workers.inputs import Inputs
from workers.runtime import PipelineRuntime


def test_a_worker_holds_both_and_makes_the_video_of_the_one_asked_for(inflated, tiny_model, tmp_path):
    folder = shutil.copytree(inflated.folder, tmp_path / inflated.family)
    card = json.loads((folder / "lumiere.json").read_text())
    card["defaults"]["num_frames"] = 4  # what the worker warms up with
    (folder / "lumiere.json").write_text(json.dumps(card))
    runtime = PipelineRuntime(read_catalogue([tiny_model, folder]))
    width, height = map(int, card["defaults"]["size"].split("x"))
    spec = example_spec(model=card["id"], num_frames=3, width=width, height=height, num_inference_steps=2, fps=8)

    rendering = runtime.run(spec, Inputs(), tmp_path, lambda *_: None)

    assert (rendering.width, rendering.height, rendering.num_frames) == (width, height, 3)
    assert rendering.upscale == "none"
    assert rendering.prompt_tokens_max == 77
    assert rendering.path.stat().st_size > 0
