"""A client of the service's HTTP interface, for the command line: submit, follow, download, cancel."""

import ipaddress
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

Video = Mapping[str, Any]
"""The Video object as the service sent it."""
Style = Mapping[str, Any]

ENDED = frozenset({"completed", "failed", "cancelled"})
PATIENCE_SECONDS = 120.0
"""How long a service that went away may take to come back before we give up."""
LONGEST_PAUSE = 5.0
UPLOAD_TIMEOUT = httpx.Timeout(30.0, write=600.0)


class ServiceError(Exception):
    """The service refused, or does not answer; one line for the user."""


@dataclass(frozen=True)
class Event:
    """One server-sent event of a job's stream; `data` has status, stage, step, steps, progress, eta_seconds, …"""

    id: str
    name: str
    data: Mapping[str, Any]


class Service:
    """The service at `url`. Requests that may be repeated safely are repeated while it is away for a moment.

    Every method raises ServiceError. `api_key`: `LUMIERE_API_KEY` when not given.
    """

    def __init__(self, url: str, patience: float = PATIENCE_SECONDS, api_key: str | None = None) -> None:
        self.url = url.rstrip("/")
        self.patience = patience
        # Proxies from the environment are for the outside world, not for this machine.
        self.http = httpx.Client(base_url=self.url, timeout=httpx.Timeout(30.0), trust_env=not is_local(self.url))
        if token := api_key or os.environ.get("LUMIERE_API_KEY"):
            self.http.headers["Authorization"] = f"Bearer {token}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()

    def submit(self, task: str, request: Mapping[str, Any]) -> Video:
        """Queue a job. It is accepted once even if the answer is lost, because repeats carry the same key."""
        return self.ask("POST", f"/v1/{task}", json=request, headers={"Idempotency-Key": str(uuid.uuid4())})

    def submit_form(self, task: str, fields: Mapping[str, str], files: Mapping[str, Path]) -> Video:
        """The same with files."""
        try:
            parts = {name: (path.name, path.read_bytes()) for name, path in files.items()}
        except OSError as error:
            raise ServiceError(f"cannot read {error.filename}: {error.strerror}") from error
        key = {"Idempotency-Key": str(uuid.uuid4())}
        return self.ask("POST", f"/v1/{task}", data=dict(fields), files=parts, headers=key, timeout=UPLOAD_TIMEOUT)

    def video(self, video_id: str) -> Video:
        return self.ask("GET", f"/v1/videos/{segment(video_id)}")

    def cancel(self, video_id: str) -> Video:
        return self.ask("POST", f"/v1/videos/{segment(video_id)}/cancel")

    def delete(self, video_id: str) -> Video:
        """Delete a job and its video; one that runs is cancelled first, which takes a step of it."""
        give_up = time.monotonic() + self.patience
        while True:
            try:
                return self.ask("DELETE", f"/v1/videos/{segment(video_id)}")
            except Refused as error:
                if error.status != 409 or time.monotonic() > give_up:
                    raise
                time.sleep(error.retry_after or 1.0)

    def create_style(self, fields: Mapping[str, str], image: Path) -> Style:
        """Have a style learned from a picture. Repeats find the one that the first has made."""
        try:
            parts = {"image": (image.name, image.read_bytes())}
        except OSError as error:
            raise ServiceError(f"cannot read {error.filename}: {error.strerror}") from error
        return self.ask("POST", "/v1/styles", data=dict(fields), files=parts, timeout=UPLOAD_TIMEOUT)

    def style(self, name: str) -> Style:
        return self.ask("GET", f"/v1/styles/{segment(name)}")

    def styles(self) -> list[Style]:
        return list(self.ask("GET", "/v1/styles")["data"])

    def delete_style(self, name: str) -> Style:
        return self.ask("DELETE", f"/v1/styles/{segment(name)}")

    def models(self) -> list[Mapping[str, Any]]:
        return list(self.ask("GET", "/v1/models")["data"])

    def videos(self, limit: int) -> list[Video]:
        """The latest videos, newest first."""
        answer = self.ask("GET", "/v1/videos", params={"limit": limit, "order": "desc"})
        return list(answer["data"])

    def follow(self, video_id: str) -> Iterator[Event]:
        """The job's events up to its end; a broken connection is taken up again where it broke."""
        last_id: str | None = None
        heard, pause = time.monotonic(), 0.2
        while True:
            headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
            try:
                path = f"/v1/videos/{segment(video_id)}/events"
                with self.http.stream("GET", path, headers=headers, timeout=httpx.Timeout(10.0, read=60.0)) as answer:
                    if answer.status_code != 200:
                        answer.read()
                        raise refusal(answer)
                    for event in server_sent_events(answer.iter_lines()):
                        heard, pause = time.monotonic(), 0.2
                        last_id = event.id or last_id
                        yield event
                        if event.name == "state" and event.data.get("status") in ENDED:
                            return
            except Refused as error:
                if not error.retryable or time.monotonic() > heard + self.patience:
                    raise
            except httpx.TransportError as error:
                if time.monotonic() > heard + self.patience:
                    raise unreachable(self.url, error) from error
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def download(self, video_id: str, path: Path) -> int:
        """Save the MP4 under `path`, which holds either nothing or all of it; returns the size in bytes."""
        part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
        try:
            with self.http.stream("GET", f"/v1/videos/{segment(video_id)}/content") as answer:
                if answer.status_code != 200:
                    answer.read()
                    raise refusal(answer)
                with part.open("wb") as file:
                    for chunk in answer.iter_bytes():
                        file.write(chunk)
            part.replace(path)
        except httpx.TransportError as error:
            raise unreachable(self.url, error) from error
        except OSError as error:
            raise ServiceError(f"cannot write {path}: {error.strerror}") from error
        finally:
            part.unlink(missing_ok=True)
        return path.stat().st_size

    def ask(self, method: str, path: str, **options: Any) -> Video:
        """One request; repeated within `patience` while the service answers that it may be repeated.

        A service that cannot be connected to at all is an error at once: most likely none runs there.
        """
        begun, pause, connected = time.monotonic(), 0.5, False
        while True:
            try:
                answer = self.http.request(method, path, **options)
                if answer.is_success:
                    return dict(answer.json())
                connected = True
                error: ServiceError = refusal(answer)
                again = isinstance(error, Refused) and error.retryable
            except httpx.TransportError as failure:
                error = unreachable(self.url, failure)
                again = connected or not isinstance(failure, httpx.ConnectError)
            except ValueError:
                raise ServiceError(f"{self.url} is not a lumiere service: its answer is not JSON") from None
            if not again or time.monotonic() + pause > begun + self.patience:
                raise error
            time.sleep(error.retry_after or pause if isinstance(error, Refused) else pause)
            pause = min(2 * pause, LONGEST_PAUSE)


class Refused(ServiceError):
    """The service answered with an error."""

    def __init__(self, message: str, status: int, retryable: bool, retry_after: float | None) -> None:
        super().__init__(message)
        self.status = status
        self.retryable = retryable
        self.retry_after = retry_after


def refusal(answer: httpx.Response) -> Refused:
    """The problem document (RFC 9457) of an answer as an exception."""
    problem: Mapping[str, Any] = {}
    with suppress(ValueError):
        content = answer.json()
        problem = content if isinstance(content, dict) else {}
    message = problem.get("detail") or problem.get("title") or f"{answer.request.url} answered {answer.status_code}"
    field = f"{problem['param']}: " if problem.get("param") and problem["param"] not in str(message) else ""
    code = f" ({problem['code']})" if problem.get("code") else ""
    retry_after = None
    with suppress(KeyError, ValueError):
        retry_after = min(float(answer.headers["retry-after"]), 30.0)
    retryable = answer.status_code in (429, 502, 503, 504)
    return Refused(f"{field}{message}{code}", answer.status_code, retryable, retry_after)


def unreachable(url: str, error: httpx.TransportError) -> ServiceError:
    reason = str(error) or type(error).__name__
    return ServiceError(f"no answer from {url} ({reason}); start it with `lumiere serve` or set LUMIERE_URL")


def server_sent_events(lines: Iterator[str]) -> Iterator[Event]:
    """Parse a text/event-stream (HTML standard, section 9.2.6); comments and events without data are skipped."""
    name, identifier, data = "message", "", list[str]()
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event" and line:
            name = value
        elif field == "id":
            identifier = value
        elif field == "data":
            data.append(value)
        elif not line:
            if data:
                yield Event(identifier, name, json.loads("\n".join(data)))
            name, data = "message", []


def segment(video_id: str) -> str:
    """The id as part of a path. Raises ServiceError for text that would change the path."""
    if not video_id or not all(character.isalnum() or character in "_-" for character in video_id):
        raise ServiceError(f"{video_id!r} is not a video id")
    return video_id


def is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def default_url() -> str:
    """`LUMIERE_URL`, else this machine at `LUMIERE_PORT`."""
    return os.environ.get("LUMIERE_URL") or f"http://127.0.0.1:{os.environ.get('LUMIERE_PORT') or 8000}"
