"""`lumiere keys`: make, list, rotate and revoke the API keys of a service. Talks to its Redis, not to its gateway."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from service.access.keys import ApiKeys, KeyRecord, NoSuchKey
from service.access.scopes import DEFAULT_SCOPES, Scope
from service.cli.client import ServiceError
from service.cli.generate import as_json
from service.jobs.connection import RedisUnavailable, connect
from service.settings import SettingsError, load_settings
from service.stack.data_folder import redis_address

keys = typer.Typer(no_args_is_help=True, help="Make, list, rotate and revoke API keys.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
KeyId = Annotated[str, typer.Argument(metavar="KEY_ID", show_default=False)]
DURATION = re.compile(r"(\d+)([smhdw])")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
Result = TypeVar("Result")


def seconds_of(text: str) -> float:
    """Seconds of a duration such as `90d`, `12h`, `30m`."""
    match = DURATION.fullmatch(text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is no duration: give a number with s, m, h, d or w, such as 90d")
    return float(int(match[1]) * UNITS[match[2]])


def ask(question: Callable[[ApiKeys], Awaitable[Result]]) -> Result:
    """The answer of the keys in the service's Redis.

    Raises:
        ServiceError: Redis does not answer, or there is no such key.
        SettingsError: it is not known where Redis is.
    """
    settings = load_settings()
    url = settings.redis_url or redis_address(settings.data_dir)
    if url is None:
        raise SettingsError(
            f"no service runs on {settings.data_dir}; "
            "set LUMIERE_DATA_DIR to its folder, or LUMIERE_REDIS_URL to its Redis"
        )

    async def answer() -> Result:
        redis = connect(url)
        try:
            return await question(ApiKeys(redis))
        finally:
            await redis.aclose()

    try:
        return asyncio.run(answer())
    except RedisUnavailable as error:
        raise ServiceError(str(error)) from error
    except NoSuchKey as error:
        raise ServiceError(f"there is no key with the id {error.args[0]!r}; see: lumiere keys list") from error


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Option(help="For people: whose or what the key is for.")] = "",
    owner: Annotated[
        str | None, typer.Option(help="Keys of one owner see the same videos; an owner of its own if not given.")
    ] = None,
    scope: Annotated[list[Scope] | None, typer.Option(help="What it may do; repeat for several.")] = None,
    expires: Annotated[str | None, typer.Option(help="How long it is taken, e.g. 90d; for ever if not given.")] = None,
    weight: Annotated[float, typer.Option(help="Its share of the workers beside other keys.")] = 1.0,
    requests_per_minute: Annotated[float | None, typer.Option(help="Jobs per minute; 0 is no limit.")] = None,
    active_jobs: Annotated[int | None, typer.Option(help="Jobs that wait or run at once; 0 is no limit.")] = None,
    cost_per_hour: Annotated[
        float | None, typer.Option(help="Megapixels denoised per hour; 0 is no limit.", show_default=False)
    ] = None,
    json: AsJson = False,
) -> None:
    """Make a key and print it: this is the only time that it can be seen."""
    lifetime = None if expires is None else seconds_of(expires)
    try:
        record, token = ask(
            lambda store: store.create(
                name=name,
                owner=owner,
                scopes=scope or DEFAULT_SCOPES,
                lifetime_seconds=lifetime,
                weight=weight,
                requests_per_minute=requests_per_minute,
                cost_per_hour=cost_per_hour,
                active_jobs=active_jobs,
            )
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise typer.BadParameter(first["msg"], param_hint=f"--{str(first['loc'][0]).replace('_', '-')}") from None
    show_token(record, token, json)


@keys.command("rotate")
def rotate_key(
    key_id: KeyId,
    overlap: Annotated[str, typer.Option(help="How long the old token goes on, e.g. 24h.")] = "24h",
    json: AsJson = False,
) -> None:
    """Give a key a new token; id, owner, videos, limits and usage stay."""
    seconds = seconds_of(overlap)
    record, token = ask(lambda store: store.rotate(key_id, seconds))
    show_token(record, token, json)


@keys.command("revoke")
def revoke_key(key_id: KeyId, json: AsJson = False) -> None:
    """End a key for good, within a second; its videos and its usage stay."""
    record = ask(lambda store: store.revoke(key_id))
    typer.echo(as_json(facts(record)) if json else f"{record.id} is revoked")


@keys.command("list")
def list_keys(json: AsJson = False) -> None:
    """All keys, oldest first; never their tokens."""
    listed = ask(lambda store: store.list())
    if json:
        typer.echo(as_json([facts(record, used) for record, used in listed]))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("id", "name", "owner", "scopes", "state", "last used"):
        table.add_column(column, overflow="fold")
    now = datetime.now(UTC).timestamp()
    for record, used in listed:
        scopes = " ".join(record.scopes)
        table.add_row(record.id, record.name, record.owner, scopes, state(record, now), day_and_time(used) or "never")
    Console().print(table)


def show_token(record: KeyRecord, token: str, json: bool) -> None:
    if json:
        typer.echo(as_json({**facts(record), "token": token}))
        return
    typer.echo(token)
    typer.echo(f"key {record.id} of {record.owner}; keep the token, it is not shown again", err=True)


def facts(record: KeyRecord, used: float | None = None) -> dict[str, Any]:
    """A key as JSON, without its hashes."""
    return {**record.model_dump(mode="json", exclude={"secret_hash", "previous_hash"}), "last_used_at": used}


def state(record: KeyRecord, now: float) -> str:
    if record.revoked_at is not None:
        return f"revoked {day_and_time(record.revoked_at)}"
    if record.expires_at is None:
        return "valid"
    return f"{'valid until' if now < record.expires_at else 'expired'} {day_and_time(record.expires_at)}"


def day_and_time(seconds: float | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
