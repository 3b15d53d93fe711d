"""make hands on what it is given, and says clearly what it lacks."""

import subprocess
from pathlib import Path

import pytest


def make(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", "--no-print-directory", *arguments], cwd=root, capture_output=True, text=True)


@pytest.mark.parametrize("prompt", ["a red car", 'a ball\'s "bounce"', "$5 and `date` and $(HOME)", "ein Ballon: ü"])
def test_a_prompt_is_taken_literally(root: Path, prompt: str) -> None:
    """What the demo's recipe uses is the environment variable PROMPT."""
    shown = make(root, "--eval", 'show: ; @printf %s "$$PROMPT"', "show", f"PROMPT={prompt}")

    assert shown.stdout == prompt


def test_without_a_recent_python_the_error_says_so(root: Path) -> None:
    failed = make(root, "setup", "PYTHON=")

    assert failed.returncode != 0
    assert "Python 3.11 or newer" in failed.stderr


def test_help_is_what_make_alone_shows(root: Path) -> None:
    shown = make(root)

    assert shown.returncode == 0
    assert "make demo" in shown.stdout
