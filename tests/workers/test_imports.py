"""The service starts without torch and the job system without a web framework; the supervisor without torch."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        (
            "service.jobs.record, service.jobs.events, service.jobs.reaper, service.jobs.retention, service.storage",
            {"fastapi", "starlette", "torch", "diffusers", "transformers", "model", "workers", "rq"},
        ),
        ("service.jobs.attempts, service.jobs.queue", {"fastapi", "torch", "diffusers", "model", "workers"}),
        ("workers.main, workers.horse, workers.tasks", {"fastapi", "torch", "diffusers", "transformers", "model"}),
    ],
)
def test_nothing_heavy_is_imported(modules: str, absent: set[str]) -> None:
    program = f"import sys, {modules}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "service" in loaded
    assert not loaded & absent
