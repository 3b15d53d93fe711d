"""Settings come from the environment and are refused with one clear line; model cards say which field is wrong."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from service.jobs.contract import JobSpec, is_job_id, new_job_id
from service.jobs.models import CatalogueError, read_catalogue
from service.jobs.record import JobRecords
from service.settings import Settings, SettingsError, load_settings
from tests.jobs.examples import example_spec
from tests.model_folder import CARD, write_model_folder


def test_defaults() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.data_dir) == ("127.0.0.1", 8000, Path("data"))
    assert settings.model_dirs[0].parts[-3:] == ("model", "weights", "lumiere-mini")
    assert settings.redis_url is None


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LUMIERE_MODEL_DIRS", f"{tmp_path}/a{os.pathsep}{tmp_path}/b")
    monkeypatch.setenv("LUMIERE_PORT", "9000")
    monkeypatch.setenv("LUMIERE_REDIS_URL", "unix:///run/redis.sock")
    monkeypatch.setenv("LUMIERE_SOMETHING_NEW", "1")
    settings = load_settings(port=9001)
    assert settings.model_dirs == [tmp_path / "a", tmp_path / "b"]
    assert (settings.port, settings.redis_url) == (9001, "unix:///run/redis.sock")


@pytest.mark.parametrize(
    ("name", "value", "limit"),
    [
        ("PORT", "70000", "less than or equal to 65535"),
        ("PORT", "http", "valid integer"),
        ("REDIS_URL", "http://localhost", "redis://"),
        ("STORAGE_URL", "ftp://videos", "s3://"),
        ("STORAGE_URL", "s3://videos?endpoint=http://127.0.0.1:9", "no meaning"),
        ("STORAGE_ENDPOINT", "http://127.0.0.1:9", "LUMIERE_STORAGE_URL"),
        ("STORAGE_ENDPOINT", "127.0.0.1:9", "pattern"),
        ("STORAGE_PRESIGN", "true", "LUMIERE_STORAGE_URL"),
        ("MAX_ATTEMPTS", "0", "greater than or equal to 1"),
        ("LEASE_SECONDS", "0.1", "greater than or equal to 0.5"),
        ("LEASE_SECONDS", "nan", "less than or equal to 600"),
        ("QUEUE_NAME", "a:b", "pattern"),
        ("MODEL_DIRS", "", "at least 1"),
        ("LOG_LEVEL", "loud", "pattern"),
    ],
)
def test_bad_settings_are_one_line(monkeypatch: pytest.MonkeyPatch, name: str, value: str, limit: str) -> None:
    monkeypatch.setenv(f"LUMIERE_{name}", value)
    with pytest.raises(SettingsError) as error:
        load_settings()
    message = str(error.value)
    assert message.startswith(f"LUMIERE_{name}: ") and limit in message and "\n" not in message


def test_records_need_an_address() -> None:
    with pytest.raises(SettingsError, match="LUMIERE_REDIS_URL"):
        JobRecords.connect(Settings())


def test_catalogue(tmp_path: Path) -> None:
    first = write_model_folder(tmp_path / "a")
    second = write_model_folder(tmp_path / "b", id="other", note="from a newer release")
    catalogue = read_catalogue([first, second])
    assert list(catalogue) == ["lumiere-mini", "other"]
    card = catalogue["lumiere-mini"]
    assert (card.folder, card.defaults.size, card.limits.num_frames) == (first, "64x64", (8, 80))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "../x"}, "id: "),
        ({"tasks": []}, "tasks: "),
        ({"defaults": {**CARD["defaults"], "num_frames": 81}}, r"defaults\.num_frames is outside limits\.num_frames"),  # type: ignore[dict-item]
        ({"defaults": {**CARD["defaults"], "size": "32x32"}}, r"defaults\.size is not one of limits\.sizes"),  # type: ignore[dict-item]
        ({"limits": {}}, r"limits\.num_frames: "),
    ],
)
def test_a_bad_card_names_the_file_and_the_field(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    folder = write_model_folder(tmp_path / "a", **changes)
    with pytest.raises(CatalogueError, match=message) as error:
        read_catalogue([folder])
    assert str(folder / "lumiere.json") in str(error.value) and "\n" not in str(error.value)


def test_unusable_folders(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="nowhere"):
        read_catalogue([tmp_path / "nowhere"])
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "lumiere.json").write_text("[1]")
    with pytest.raises(CatalogueError, match=r"list/lumiere\.json: "):
        read_catalogue([tmp_path / "list"])
    with pytest.raises(CatalogueError, match="is in both"):
        read_catalogue([write_model_folder(tmp_path / "a"), write_model_folder(tmp_path / "b")])


def test_job_ids() -> None:
    ids = {new_job_id() for _ in range(1000)}
    assert len(ids) == 1000 and all(map(is_job_id, ids))
    for bad in ("video_", "video_" + "A" * 26, "video_" + "a" * 27, "video_" + "1" * 26, "video_" + "a" * 26 + "\n"):
        assert not is_job_id(bad)


def test_specs_round_trip_and_ignore_what_a_newer_release_wrote() -> None:
    spec = example_spec(seed=2**32 - 1, guidance_scale=7.25)
    text = spec.model_dump_json()
    assert JobSpec.read(text) == spec
    assert JobSpec.read(json.dumps({**json.loads(text), "camera": "orbit"})) == spec
    with pytest.raises(ValueError, match="camera"):
        example_spec(camera="orbit")
