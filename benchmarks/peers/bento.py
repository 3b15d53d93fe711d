"""A BentoML service with one task that does nothing: what is measured is its submission.

BentoML runs a task on the connection that brought it, so a task of any length would also keep its client waiting.
"""

import bentoml


@bentoml.service(workers=1, traffic={"timeout": 60, "max_concurrency": 1_000_000}, metrics={"enabled": False})
class Videos:
    @bentoml.task
    async def text_to_video(self, prompt: str, seed: int = 0, num_frames: int = 80) -> str:
        return prompt
