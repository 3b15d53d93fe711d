"""Every command on the pages that is marked as runnable runs, as written, against a live service."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, commands, name
from tests.stack.live import LUMIERE, LiveStack

RUNNABLE_PAGES = [page for page in PAGES if commands(page)]


def test_the_pages_that_show_commands_are_found() -> None:
    assert {"README.md", "docs/http-api.md", "docs/command-line.md"} <= {name(page) for page in RUNNABLE_PAGES}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", RUNNABLE_PAGES, ids=name)
def test_commands_run_as_written(page: Path, live_stack: LiveStack, tmp_path: Path) -> None:
    """Only the port differs. -e: a command that fails ends the page; curl fails on errors it is not shown for."""
    script = commands(page).replace("127.0.0.1:8000", f"127.0.0.1:{live_stack.port}")
    (tmp_path / ".venv").symlink_to(LUMIERE.parent.parent)
    environment = {
        **os.environ,
        "LUMIERE_URL": live_stack.url,
        "LUMIERE_DATA_DIR": str(live_stack.folder / "data"),
        "PATH": f"{LUMIERE.parent}:{os.environ['PATH']}",
    }

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{live_stack.logs()}"
    videos = list(tmp_path.glob("*.mp4"))
    assert videos or page.name == "access.md"
    for video in videos:
        assert video.read_bytes()[4:8] == b"ftyp", f"{video.name} is not an MP4: {video.read_bytes()[:200]!r}"
    if page == ROOT / "docs" / "http-api.md":
        check_http_api(done.stdout, tmp_path)


def check_http_api(output: str, folder: Path) -> None:
    assert '"status":"queued"' in output
    assert "idempotent-replayed: true" in output.lower()
    assert '"status": "completed"' in output  # the last event of the stream
    assert '"object":"video.deleted"' in output
    assert '"status":"ready"' in output
    assert '"code":"invalid_field"' in output
    assert (folder / "first-100-bytes.bin").read_bytes() == (folder / "video.mp4").read_bytes()[:100]
