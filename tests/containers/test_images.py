"""How `make images` reads a Dockerfile. It takes minutes itself, and is no part of the tests."""

from pathlib import Path

import pytest

from tests.containers.images import commands, installs, instructions

TEXT = """
# syntax=docker/dockerfile:1
FROM python:3.11
RUN apt-get update \\
    # in between
    && pip install --constraint constraints.txt \\
       one two \\
    && useradd x
CMD ["a"]
"""


def test_lines_are_joined_and_comments_left_out() -> None:
    base, run, command = instructions(TEXT)
    assert (base.keyword, base.text) == ("FROM", "python:3.11")
    assert command.text == '["a"]'
    assert commands(run.text) == ["apt-get update", "pip install --constraint constraints.txt one two", "useradd x"]
    assert [installs(each) for each in commands(run.text)] == [False, True, False]


@pytest.mark.parametrize(("image", "number"), [("gateway", 1), ("worker", 2)])
def test_all_that_an_image_installs_is_pinned(root: Path, image: str, number: int) -> None:
    runs = [
        each.text for each in instructions((root / f"docker/{image}.Dockerfile").read_text()) if each.keyword == "RUN"
    ]
    found = [command for run in runs for command in commands(run) if installs(command)]
    assert len(found) == number
    assert all("--constraint constraints.txt" in command for command in found)
    assert sum("pip" in command for run in runs for command in commands(run)) == number, "none is written another way"
