"""The set-up is repeated when, and only when, something that decides the environment has changed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from service.stack import environment


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "constraints.txt").write_text("torch==2.13.0\n")
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    return tmp_path


def stamp(project: Path, dev: bool) -> Path:
    path = project / ".venv" / "stamp.json"
    path.write_text(json.dumps({"fingerprint": environment.fingerprint(project, ""), "dev": dev}))
    return path


def current(project: Path, stamp: Path, dev: bool, torch_index_url: str = "") -> bool:
    wanted = environment.fingerprint(project, torch_index_url)
    return environment.is_current(project / ".venv", stamp, wanted, dev)


def test_an_unchanged_project_needs_nothing(project: Path) -> None:
    path = stamp(project, dev=True)

    assert current(project, path, dev=True)
    assert current(project, path, dev=False)


def test_checks_need_more_than_the_service(project: Path) -> None:
    assert not current(project, stamp(project, dev=False), dev=True)


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_changed_file_calls_for_a_new_set_up(project: Path, name: str) -> None:
    path = stamp(project, dev=True)
    (project / name).write_text("changed")

    assert not current(project, path, dev=False)


def test_another_build_of_torch_calls_for_a_new_set_up(project: Path) -> None:
    assert not current(
        project, stamp(project, dev=True), dev=False, torch_index_url="https://download.pytorch.org/whl/cpu"
    )


def test_an_environment_whose_python_has_gone_is_not_current(project: Path) -> None:
    path = stamp(project, dev=True)
    (project / ".venv" / "bin" / "python").unlink()

    assert not current(project, path, dev=False)


def test_the_set_up_uses_the_standard_library_alone(root: Path) -> None:
    """It runs before anything is installed: -S leaves site-packages out."""
    command = [sys.executable, "-I", "-S", str(root / "service" / "stack" / "environment.py"), "--help"]

    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_every_dependency_is_pinned(root: Path) -> None:
    import re
    import tomllib

    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    asked = {re.split(r"[<>=\[ ]", line)[0] for line in project["dependencies"] + extras}
    lines = (root / "constraints.txt").read_text().splitlines()
    pinned = {line.split("==")[0] for line in lines if "==" in line and not line.startswith("#")}

    def plain(names: set[str]) -> set[str]:
        return {re.sub(r"[-_.]+", "-", name).lower() for name in names}

    assert plain(asked) <= plain(pinned)
