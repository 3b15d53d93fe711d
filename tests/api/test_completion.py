"""The shell completes ids of jobs from the running service, and says nothing where there is none."""

import os

import httpx

from tests.stack.live import run_lumiere


def completed(url: str, *words: str) -> list[str]:
    environment = {
        **os.environ,
        "LUMIERE_URL": url,
        "_LUMIERE_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(("lumiere", *words)),
        "COMP_CWORD": str(len(words)),
    }
    return run_lumiere(environment=environment, timeout=60).stdout.split()


def test_ids_and_states_are_completed(url: str) -> None:
    answer = httpx.post(f"{url}/v1/text-to-video", json={"prompt": "a ball"}, trust_env=False)

    assert completed(url, "jobs", "show", "video_") == [answer.json()["id"]]
    assert completed(url, "jobs", "show", "x") == []
    assert completed("http://127.0.0.1:1", "jobs", "show", "video_") == []
    assert completed(url, "jobs", "ls", "--status", "c") == ["completed", "cancelled"]
