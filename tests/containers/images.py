"""Does what the Dockerfiles do, without Docker: `make images`, or

    python -m tests.containers.images --image gateway

For each image, in a clean virtual environment and a folder of its own: files are copied as COPY says, `pip install` is
run as RUN says, with the pinned constraints, and the image's command is started as far as it goes without a network:
the gateway until it answers, the worker until it asks for a Redis. What needs root or another system (apt-get, useradd)
is left out, and told.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from service.stack.serve import free_port

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ("gateway", "worker")
START_SECONDS = 120.0


class Instruction(NamedTuple):
    """One instruction of a Dockerfile: its keyword and the rest, lines joined."""

    keyword: str
    text: str


def instructions(dockerfile: str) -> list[Instruction]:
    """Comments are left out, also those between the lines of an instruction."""
    lines = [line for line in dockerfile.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n", " ", "\n".join(lines))
    return [Instruction(*line.split(maxsplit=1)) for line in whole.splitlines()]


def commands(run: str) -> list[str]:
    """The commands of a RUN, which stand between `&&`."""
    return [" ".join(command.split()) for command in run.split("&&")]


def installs(command: str) -> bool:
    return command.startswith("pip install ")


class Image:
    """A folder that stands for /app, and a virtual environment that stands for the image's interpreter."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.app = folder / "app"
        self.app.mkdir(parents=True)
        self.environment = folder / "venv"
        venv.create(self.environment, with_pip=True)
        self.variables = {
            "PATH": f"{self.environment / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
            **{name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))},
        }
        self.variables.pop("PYTHONPATH", None)

    def build(self) -> Iterator[str]:
        """What is done and what is left out, as it happens."""
        for keyword, text in instructions((ROOT / "docker" / f"{self.name}.Dockerfile").read_text()):
            if keyword == "COPY":
                self.copy(text)
            elif keyword == "ENV":
                self.set(text)
            elif keyword == "RUN":
                for command in commands(text):
                    if installs(command):
                        yield command
                        self.install(command)
                    else:
                        yield f"(left out) {command}"

    def copy(self, text: str) -> None:
        *sources, target = text.split()
        for source in sources:
            origin = ROOT / source
            place = self.app / target / (origin.name if target.endswith("./") or target == "./" else "")
            if origin.is_dir():
                shutil.copytree(origin, self.app / target, dirs_exist_ok=True)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(origin, place)

    def set(self, text: str) -> None:
        """ENV, with the image's folders as those that stand for them. The cache of pip is kept on."""
        for pair in shlex.split(text):
            name, value = pair.split("=", 1)
            if name not in ("PATH", "PIP_NO_CACHE_DIR") and not name.startswith("LUMIERE_"):
                self.variables[name] = value.replace("/app", str(self.app))

    def install(self, command: str) -> None:
        """TORCH_INDEX_URL, as for `make`: where torch comes from instead, such as a build without CUDA's libraries."""
        words = shlex.split(command)
        index = os.environ.get("TORCH_INDEX_URL")
        if index and words[-1] == "torch":
            words += ["--index-url", index]
        subprocess.run(words, cwd=self.app, env=self.variables, check=True, stdout=subprocess.DEVNULL)

    def start(self) -> str:
        """What the image's command does. Raises AssertionError when it is something else than it should."""
        return self.start_gateway() if self.name == "gateway" else self.start_worker()

    def start_gateway(self) -> str:
        port = free_port()
        variables = {
            **self.variables,
            "LUMIERE_REDIS_URL": "unix:///nowhere",
            "LUMIERE_DATA_DIR": str(self.app / "data"),
        }
        words = ["uvicorn", "--factory", "service.api.app:from_environment", "--host", "127.0.0.1", "--port", str(port)]
        process = subprocess.Popen(words, cwd=self.app, env=variables, stderr=subprocess.PIPE, text=True)
        try:
            give_up = time.monotonic() + START_SECONDS
            while True:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=5) as answer:
                        return f"/livez answers {answer.status}"
                except urllib.error.URLError:
                    assert process.poll() is None and time.monotonic() < give_up, process.communicate()[1]
                    time.sleep(0.2)
        finally:
            process.kill()
            process.communicate()

    def start_worker(self) -> str:
        """It needs a Redis, and says so; the model and all that runs it can be read in."""
        words = ["python", "-c", "import workers.runtime, workers.main; workers.main.main()"]
        variables = {**self.variables, "LUMIERE_DATA_DIR": str(self.app / "data")}
        done = subprocess.run(words, cwd=self.app, env=variables, capture_output=True, text=True, check=False)
        last = done.stderr.strip().splitlines()[-1]
        assert done.returncode == 1 and "LUMIERE_REDIS_URL" in last, done.stderr
        return f"ends with: {last}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", choices=IMAGES, help="only this one")
    only = parser.parse_args().image
    for name in [only] if only else IMAGES:
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="lumiere-image-") as folder:
            image = Image(name, Path(folder))
            for step in image.build():
                print(f"{name}: {step[:110]}", flush=True)
            subprocess.run(["pip", "check"], env=image.variables, check=True, stdout=sys.stderr)
            print(f"{name}: {image.start()}, after {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
