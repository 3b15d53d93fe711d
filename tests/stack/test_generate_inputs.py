"""Options of `lumiere generate` as a form."""

import json
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup
from typer.main import get_command

from model.generate import app as model_app
from service.cli.client import ServiceError
from service.cli.inputs import parts_of
from service.cli.main import app as service_app
from service.cli.main import local_command


def test_options_become_fields_and_files(tmp_path: Path) -> None:
    film, end = tmp_path / "film.mp4", tmp_path / "end=1.png"
    film.touch()
    end.touch()
    parts = parts_of(
        {"prompt": "[a] ball", "loop": True, "seed": 7},
        files={"video": film, "mask": None},
        keyframes=[f"-1={end}", f"2.5s={film}"],
        boxes=["0,0,0.5,1", "0,0,1,1,0.5,2"],
        expand="0.1,0,0.1,0",
    )

    assert parts.files == {"video": film, "keyframes[0][image]": end, "keyframes[1][image]": film}
    assert (parts.fields["prompt"], parts.fields["loop"], parts.fields["seed"]) == ("[a] ball", "true", "7")
    assert parts.fields["keyframes[0][frame]"] == "-1"
    assert parts.fields["keyframes[1][time]"] == "2.5"
    assert json.loads(parts.fields["boxes"])[1] == {"x": 0, "y": 0, "width": 1, "height": 1, "start": 0.5, "end": 2}
    assert json.loads(parts.fields["expand"]) == {"left": 0.1, "top": 0, "right": 0.1, "bottom": 0}


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"files": {"image": Path("/nowhere/cat.png")}}, "/nowhere/cat.png"),
        ({"files": {}, "keyframes": ["cat.png"]}, "--keyframe"),
        ({"files": {}, "keyframes": ["first=cat.png"]}, "--keyframe"),
        ({"files": {}, "keyframes": ["-1s=cat.png"]}, "--keyframe"),
        ({"files": {}, "boxes": ["0,0,1"]}, "--box"),
        ({"files": {}, "boxes": ["0,0,1,b"]}, "--box"),
        ({"files": {}, "expand": "0.1"}, "--expand"),
    ],
)
def test_malformed_options_are_named(options: dict[str, object], word: str) -> None:
    with pytest.raises(ServiceError, match=word):
        parts_of({}, **options)  # type: ignore[arg-type]


def test_the_same_options_run_here(tmp_path: Path) -> None:
    request = {"prompt": "-x", "loop": True, "box": ["0,0,1,1", "0,0,1,0.5"], "image": Path("a.png")}
    command = local_command("cinemagraph", request, Path("o.mp4"))

    assert command[-3:] == ["--", "cinemagraph", "-x"]
    assert command[command.index("--loop") + 1] == "--box"
    assert command.count("--box") == 2


def test_every_option_of_a_request_is_one_of_the_program_that_runs_it_here() -> None:
    """The two share no code: the command knows no model, the program no service."""
    sent, run = (flags(app, name) for app, name in ((service_app, "generate"), (model_app, None)))

    assert sent - run == {"--url", "--local", "--cancel-on-interrupt", "--json"}
    assert run - sent == {"--num-inference-steps", "--model-dirs"}


def flags(app: typer.Typer, name: str | None) -> set[str]:
    command = get_command(app)
    if name is not None:
        assert isinstance(command, TyperGroup)
        command = command.commands[name]
    return {flag for parameter in command.params if parameter.param_type_name == "option" for flag in parameter.opts}
