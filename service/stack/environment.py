"""Make or refresh the project's virtual environment: `python3 service/stack/environment.py [--dev]`.

The Makefile runs this file with the machine's own Python before anything is installed, so it uses the standard library
alone. It does nothing (in some 50 ms) while the files and choices that decide the content are those of the last time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from urllib.parse import urljoin

MINIMUM_PYTHON = (3, 11)
PACKAGE_INDEX = "https://pypi.org/simple"
RELEASED_WHEEL = re.compile(r"pip-\d+(\.\d+)*-py3-none-any\.whl")


class SetupFailed(Exception):
    """The environment cannot be made; the message says why and what to do."""


def fingerprint(root: Path, torch_index_url: str) -> str:
    """Digest of everything that decides what gets installed."""
    digest = hashlib.sha256()
    for part in (str(root), torch_index_url):
        digest.update(part.encode() + b"\0")
    for name in ("pyproject.toml", "constraints.txt"):
        digest.update((root / name).read_bytes() + b"\0")
    return digest.hexdigest()


def is_current(environment: Path, stamp: Path, wanted: str, dev: bool) -> bool:
    if not (environment / "bin" / "python").exists():
        return False
    try:
        installed = json.loads(stamp.read_text())
    except (OSError, ValueError):
        return False
    return bool(installed["fingerprint"] == wanted and (installed["dev"] or not dev))


def create(environment: Path) -> None:
    """Create a virtual environment with pip, also without ensurepip (Debian without python3-venv)."""
    if (environment / "bin" / "python").exists() and not runs_pip(environment):
        shutil.rmtree(environment)
    if runs_pip(environment):
        return
    made = subprocess.run([sys.executable, "-m", "venv", str(environment)], capture_output=True, text=True, check=False)
    if made.returncode == 0 and runs_pip(environment):
        return
    shutil.rmtree(environment, ignore_errors=True)
    if shutil.which("virtualenv"):
        subprocess.run(["virtualenv", "-q", "-p", sys.executable, str(environment)], check=False)
        if runs_pip(environment):
            return
        shutil.rmtree(environment, ignore_errors=True)
    bare = [sys.executable, "-m", "venv", "--without-pip", str(environment)]
    if subprocess.run(bare, capture_output=True, check=False).returncode == 0:
        install_pip(environment)
    if not runs_pip(environment):
        shutil.rmtree(environment, ignore_errors=True)
        reason = (made.stderr or made.stdout).strip().splitlines()
        raise SetupFailed(
            f"{sys.executable} cannot make a virtual environment ({reason[-1] if reason else 'no reason given'}); "
            "install python3-venv (Debian: apt-get install python3-venv) or virtualenv"
        )


def runs_pip(environment: Path) -> bool:
    """True if the environment's Python is new enough and has pip."""
    python = environment / "bin" / "python"
    check = f"import sys, pip; sys.exit(sys.version_info < {MINIMUM_PYTHON})"
    try:
        return subprocess.run([str(python), "-c", check], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def install_pip(environment: Path) -> None:
    """Install pip from its own wheel, which runs without being installed; the package index names file and digest."""
    page = os.environ.get("PIP_INDEX_URL", PACKAGE_INDEX).rstrip("/") + "/pip/"
    request = urllib.request.Request(page, headers={"Accept": "application/vnd.pypi.simple.v1+json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            files = {file["filename"]: file for file in json.load(answer)["files"]}
        name = max(filter(RELEASED_WHEEL.fullmatch, files), key=release)
        with urllib.request.urlopen(urljoin(page, files[name]["url"]), timeout=60) as answer:
            content = answer.read()
        digest = files[name]["hashes"]["sha256"]
    except (OSError, ValueError, LookupError):
        return
    if hashlib.sha256(content).hexdigest() != digest:
        return
    with tempfile.TemporaryDirectory() as folder:
        wheel = Path(folder) / name
        wheel.write_bytes(content)
        python = str(environment / "bin" / "python")
        install = [python, f"{wheel}/pip", "install", "-qq", "--no-index", str(wheel)]
        subprocess.run(install, capture_output=True, check=False)


def release(wheel: str) -> list[int]:
    """The version in a wheel's name as numbers: `pip-26.3-py3-none-any.whl` is [26, 3]."""
    return [int(number) for number in wheel.split("-")[1].split(".")]


def install(environment: Path, root: Path, torch_index_url: str, dev: bool) -> None:
    """Install the project in place with the pinned versions of constraints.txt."""
    # Build isolation installs setuptools by a pip of its own, which reads the constraint from the environment.
    variables = {
        **os.environ,
        "PIP_CONSTRAINT": str(root / "constraints.txt"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }
    command = [str(environment / "bin" / "python"), "-m", "pip", "install", "-qq"]
    if torch_index_url:
        command += ["--extra-index-url", torch_index_url]
    command += ["--editable", f"{root}[dev]" if dev else str(root)]
    if subprocess.run(command, env=variables, check=False).returncode != 0:
        raise SetupFailed("pip could not install the packages; its message is above")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--dev", action="store_true", help="also install what tests and checks need")
    dev = parser.parse_args().dev

    if sys.version_info < MINIMUM_PYTHON:
        print(
            f"lumiere needs Python {MINIMUM_PYTHON[0]}.{MINIMUM_PYTHON[1]} or newer, this is {sys.version.split()[0]}",
            file=sys.stderr,
        )
        return 1
    root = Path(__file__).resolve().parents[2]
    environment = root / ".venv"
    stamp = environment / "lumiere-environment.json"
    torch_index_url = os.environ.get("TORCH_INDEX_URL", "")
    wanted = fingerprint(root, torch_index_url)
    if is_current(environment, stamp, wanted, dev):
        return 0

    started = time.monotonic()
    print(f"Setting up .venv with Python {sys.version.split()[0]}: one to three minutes, once", flush=True)
    try:
        create(environment)
        install(environment, root, torch_index_url, dev)
    except SetupFailed as failure:
        print(f"set-up failed: {failure}", file=sys.stderr)
        return 1
    stamp.write_text(json.dumps({"fingerprint": wanted, "dev": dev}))
    print(f"Set-up done in {time.monotonic() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
