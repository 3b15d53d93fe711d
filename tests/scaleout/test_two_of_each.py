"""Two gateways, two workers, one Redis and an S3 server behave as one service, also while parts of it are restarted."""

import json
import signal
import threading
from collections.abc import Iterator

import httpx
import pytest

from service.storage import video_key
from tests.scaleout.deployment import Deployment, Gateway, wait_for
from tests.scaleout.following import follow
from tests.workers.scripted import expected_bytes

JOBS = 20


def post(gateway: Gateway, steps: int = 4, seed: int = 7, **script: object) -> str:
    """The id of a new job."""
    body = {"prompt": json.dumps(script), "num_inference_steps": steps, "seed": seed}
    answer = gateway.http.post("/v1/text-to-video", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def status(gateway: Gateway, job_id: str) -> str:
    answer = gateway.http.get(f"/v1/videos/{job_id}")
    assert answer.status_code == 200, answer.text
    return str(answer.json()["status"])


def stored(deployment: Deployment, job_id: str) -> list[str]:
    """Keys of the objects of a job, as the S3 server itself lists them."""
    endpoint = deployment.settings.storage_endpoint
    listing = httpx.get(f"{endpoint}/videos?list-type=2&prefix=deployment/videos/{job_id}/", trust_env=False).text
    return [part.partition("</Key>")[0].removeprefix("deployment/") for part in listing.split("<Key>")[1:]]


def test_a_job_of_one_gateway_is_followed_and_downloaded_at_the_other(deployment: Deployment) -> None:
    here, there = deployment.gateways
    job_id = post(here, steps=6, step_seconds=0.1)
    assert status(there, job_id) in ("queued", "in_progress")
    events = list(follow(there.url, job_id))
    assert [data["status"] for _, data in events][-1] == "completed"
    assert max(data["step"] for _, data in events) == 6

    whole = expected_bytes(7, 6)
    answer = there.http.get(f"/v1/videos/{job_id}/content")
    part = here.http.get(f"/v1/videos/{job_id}/content", headers={"Range": "bytes=2-5"})
    known = there.http.get(f"/v1/videos/{job_id}/content", headers={"If-None-Match": answer.headers["etag"]})
    assert answer.content == whole
    assert (part.status_code, part.content) == (206, whole[2:6])
    assert known.status_code == 304
    for gateway in deployment.gateways:
        assert job_id in [video["id"] for video in gateway.http.get("/v1/videos").json()["data"]]

    assert stored(deployment, job_id) == [video_key(job_id, 1)]
    assert here.http.delete(f"/v1/videos/{job_id}").status_code == 200
    assert there.http.get(f"/v1/videos/{job_id}").status_code == 404
    assert stored(deployment, job_id) == []


def test_a_job_of_one_gateway_is_cancelled_at_the_other(deployment: Deployment) -> None:
    here, there = deployment.gateways
    job_id = post(here, steps=600, step_seconds=0.05)
    states = iter(follow(here.url, job_id))
    while next(states)[1]["step"] < 2:
        pass
    assert there.http.post(f"/v1/videos/{job_id}/cancel").status_code == 200
    assert [data["status"] for _, data in states][-1] == "cancelled"
    assert status(there, job_id) == "cancelled"
    assert stored(deployment, job_id) == []


def test_an_idempotency_key_holds_for_all_gateways(deployment: Deployment) -> None:
    answers = [
        gateway.http.post("/v1/text-to-video", json={"prompt": "{}"}, headers={"Idempotency-Key": "once"})
        for gateway in (*deployment.gateways, *deployment.gateways)
    ]
    assert len({answer.json()["id"] for answer in answers}) == 1


@pytest.fixture
def follower(deployment: Deployment) -> Iterator["Follower"]:
    follower = Follower(deployment)
    yield follower
    follower.join()


class Follower:
    """A client that follows one job, at the other gateway when one breaks off."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.ids: list[str] = []
        self.statuses: list[str] = []
        self.thread: threading.Thread | None = None

    def begin(self, job_id: str) -> None:
        self.thread = threading.Thread(target=self.run, args=(job_id,))
        self.thread.start()

    def run(self, job_id: str) -> None:
        gateways = [gateway.url for gateway in self.deployment.gateways]
        while not self.statuses or self.statuses[-1] != "completed":
            gateways.reverse()
            try:
                for event_id, data in follow(gateways[0], job_id, self.ids[-1] if self.ids else None):
                    self.ids.append(event_id)
                    self.statuses.append(data["status"])
            except httpx.TransportError:
                continue

    def join(self) -> None:
        if self.thread is not None:
            self.thread.join(60)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_restarts_in_the_middle_of_twenty_jobs(deployment: Deployment, follower: Follower, how: signal.Signals) -> None:
    here, there = deployment.gateways
    jobs = [post((here, there)[n % 2], steps=5, seed=n, step_seconds=0.04) for n in range(JOBS)]
    follower.begin(jobs[-1])
    wait_for(lambda: status(here, jobs[0]) == "completed", "the first job")

    there.end(how)
    deployment.workers[0].end(how)
    assert all(status(here, job) for job in jobs)
    there.start()
    deployment.workers[0].start()
    there.wait()
    assert all(status(there, job) for job in jobs)

    wait_for(lambda: all(status(there, job) == "completed" for job in jobs), "all jobs")
    rows = deployment.terminal_rows()
    assert [rows[job] for job in jobs] == [1] * JOBS
    assert [deployment.terminal_events(job) for job in jobs] == [1] * JOBS
    for n, job in enumerate(jobs):
        assert there.http.get(f"/v1/videos/{job}/content").content == expected_bytes(n, 5)
        assert stored(deployment, job), "of a killed attempt something may lie beside it, until it is swept"
    follower.join()
    assert follower.statuses[-1] == "completed"
    assert len(set(follower.ids)) == len(follower.ids), "each event is seen once"
    deployment.wait_for_workers()
