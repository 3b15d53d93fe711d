"""The command, on a model that draws nothing in particular: tables, JSON, contact sheets, and going on where it was."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from model.evaluation.__main__ import app
from model.evaluation.learned_styles import learned_styles
from model.evaluation.made import MadeVideos, digest
from model.evaluation.pairs_and_cameras import camera, drawn_pairs, pair_rows, two_subjects
from model.evaluation.prompts import drawn_prompts, sentence
from model.evaluation.report import SECTIONS, figure, prompt_sheet
from model.evaluation.section import Bench, Row
from model.evaluation.text_to_video import prompt_swaps
from model.training.scenes.attributes import ATTRIBUTES, CAMERAS, CORE, RELATIONS, STYLES, is_held_out
from model.training.scenes.captions import Caption

OPTIONS = ["--prompts", "2", "--steps", "1"]


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, [*arguments])
    return done.exit_code, done.output


@pytest.fixture(scope="module")
def evaluated(tiny_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluation")
    code, output = run(*OPTIONS, "--model", str(tiny_folder), "--sections", "text-to-video,inpaint", "--out", str(out))
    assert code == 0, output
    return out, output


def test_a_section_gives_a_table_json_and_a_contact_sheet(evaluated) -> None:
    out, output = evaluated
    document = json.loads((out / "text-to-video.json").read_text())
    rows = {row["measure"]: row for row in document["rows"]}

    assert {f"{name} as said" for name in CORE} <= rows.keys()
    assert rows["colour as said"]["rendered"] == 1
    distance = rows["Fréchet distance to rendered clips, judge's features"]
    assert distance["model"] > 2 * distance["rendered"], "noise is farther away than rendered clips are"
    assert len(document["videos"]) == document["settings"]["prompts"] == 2
    assert "setting as said" in output
    assert (out / "text-to-video-1.png").exists()


def test_known_pixels_stay_in_inpainting(evaluated) -> None:
    out, _ = evaluated
    rows = {row["measure"]: row for row in json.loads((out / "inpaint.json").read_text())["rows"]}

    assert rows["known pixels against the given ones (99: exact)"]["model"] == 99
    assert rows["subject as said, in an empty setting"]["rendered"] is not None


def test_videos_that_were_made_are_not_made_again(evaluated, tiny_folder) -> None:
    out, first = evaluated
    before = {path: path.stat().st_mtime_ns for path in (out / "videos").iterdir()}
    assert len(before) == 4

    _, again = run(*OPTIONS, "--model", str(tiny_folder), "--sections", "inpaint", "--out", str(out))

    assert {path: path.stat().st_mtime_ns for path in (out / "videos").iterdir()} == before
    assert again.splitlines()[-1] == first.splitlines()[-1]


def test_a_video_is_made_anew_for_anything_else(tiny_folder, tmp_path) -> None:
    made = MadeVideos(tiny_folder, tmp_path, steps=1)
    image = np.zeros((32, 32, 3), np.uint8)
    mask = np.ones((1, 32, 32), bool)
    first = made.video("cinemagraph", "a", 1, image=image, mask=mask, num_frames=2)

    assert np.array_equal(made.video("cinemagraph", "a", 1, image=image, mask=mask, num_frames=2), first)
    assert len(list(tmp_path.iterdir())) == 1
    assert len(made.seconds) == 2
    made.video("cinemagraph", "a", 2, image=image, mask=mask, num_frames=2)
    made.video("cinemagraph", "a", 1, image=image + np.uint8(9), mask=mask, num_frames=2)
    assert len(list(tmp_path.iterdir())) == 3


def test_digests_tell_contents_apart(tmp_path) -> None:
    file = tmp_path / "style.safetensors"
    file.write_bytes(b"one")
    one = digest(file)
    file.write_bytes(b"other")

    assert digest(file) != one
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest(np.zeros(4)) != digest(np.zeros((2, 2)))


def test_a_style_is_learned_once_and_used(tiny_folder, tmp_path) -> None:
    bench = Bench(MadeVideos(tiny_folder, tmp_path, steps=1), prompts=12, seed=3)
    section = learned_styles(bench, steps=1)
    styles = {path: path.stat().st_mtime_ns for path in tmp_path.glob("style-*.safetensors")}

    assert len(styles) == 3
    assert {row.measure for row in section.rows} >= {"style as said", "styles told apart by their features"}
    learned_styles(bench, steps=1)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("style-*.safetensors")} == styles


def test_every_word_of_a_prompt_is_swapped(tiny_folder, tmp_path) -> None:
    section = prompt_swaps(Bench(MadeVideos(tiny_folder, tmp_path, steps=1), prompts=2, seed=3))
    rows = {row.measure: row for row in section.rows}

    assert len(rows) == 3 * len(CORE)
    shown = [rows[f"{name} swapped: shown"].rendered or 0 for name in CORE]
    assert min(shown) > 0
    assert sum(shown) / len(CORE) >= 0.9, "the judge may be wrong about one of ten"
    changes = {name: rows[f"{name} swapped: change, in changes of seed"].model or 0 for name in CORE}
    assert changes["colour"] > 0
    assert changes["setting"] < changes["colour"], "it comes last in a sentence, of which this model reads 22 letters"
    assert len(list(tmp_path.iterdir())) == 2 * (2 + len(CORE))


def test_the_interval_of_a_share() -> None:
    low, high = Row("colour", 0.9, None, 100, "share").interval or (0, 0)

    assert (round(low, 3), round(high, 3)) == (0.826, 0.945)
    assert Row("jerk", 1.5, None, 100).interval is None
    assert Row("colour", 1.0, None, 10, "share").interval == pytest.approx((0.722, 1), abs=0.001)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sections", "text-to-video,sound"], "sections must be some of judges, text-to-video"),
        (["--split", "all"], "split must be held-out, train, any, got 'all'"),
        (["--model", "/nowhere"], "/nowhere"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(arguments: list[str], message: str, tmp_path) -> None:
    code, output = run(*arguments, "--out", str(tmp_path / "out"))

    assert code == 1
    assert message in output
    assert "Traceback" not in output


def test_prompts_are_of_the_split() -> None:
    prompts = drawn_prompts(20, seed=5)
    assert is_held_out(indices(prompts)).all()
    assert not is_held_out(indices(drawn_prompts(20, seed=5, split="train"))).any()
    assert {prompt.says["style"] for prompt in prompts} == {"plain"}
    assert len({prompt.says["style"] for prompt in drawn_prompts(40, seed=5, plain_share=0.2)}) > 3


def indices(prompts: list[Caption]) -> dict[str, torch.Tensor]:
    """What prompts leave out of pairs and cameras is the first of its values: none."""
    return {
        name: torch.tensor([values.index(prompt.says.get(name, values[0])) for prompt in prompts])
        for name, values in ATTRIBUTES.items()
    }


def test_prompts_of_two_subjects_are_of_the_split() -> None:
    prompts = drawn_pairs(20, seed=5)

    assert is_held_out(indices(prompts)).all()
    assert not is_held_out(indices(drawn_pairs(20, seed=5, split="train"))).any()
    assert {prompt.says["relation"] for prompt in prompts} == {*RELATIONS[1:]}
    assert all({"other_subject", "other_colour"} <= prompt.says.keys() for prompt in prompts)


def test_two_subjects_are_right_only_together() -> None:
    said = {"subject": "car", "other_subject": "ball", "colour": "red", "other_colour": "blue", "relation": "above"}
    said |= {"setting": "beach", "motion": "still"}
    exchanged = {**said, "colour": "blue", "other_colour": "red"}
    rows = {row.measure: (row.model, row.rendered) for row in pair_rows([said] * 2, [said, exchanged], [said] * 2)}

    assert rows["both subjects as said"] == (1, 1)
    assert rows["both colours as said"] == (0.5, 1)
    assert rows["relation as said"] == (1, 1)
    assert rows["all of these as said"] == (0.5, 1)


def test_pairs_and_cameras_are_measured(tiny_folder, tmp_path) -> None:
    bench = Bench(MadeVideos(tiny_folder, tmp_path, steps=1), prompts=8, seed=3)
    rows = {row.measure: row for row in two_subjects(bench).rows}
    filmed = camera(bench)

    assert rows["all of these as said"].count == 4
    assert (rows["all of these as said"].rendered or 0) > (rows["all of these as said"].model or 0)
    assert {row.measure for row in filmed.rows} >= {"camera as said", "subject as said"}
    assert all(video["says"]["camera"] in CAMERAS[1:] for video in filmed.videos)


def test_a_sentence_differs_where_its_attributes_do() -> None:
    named = {"subject": "car", "colour": "red", "setting": "beach", "motion": "left", "style": "plain"}

    assert sentence(named) == "a red car moving left on the beach"
    assert sentence({**named, "colour": "blue"}) == "a blue car moving left on the beach"
    assert len({sentence({**named, "style": style}) for style in STYLES}) == len(STYLES)


def test_a_sheet_has_a_row_per_prompt() -> None:
    clips = [np.full((10, 8, 8, 3), level, np.uint8) for level in (10, 200)]
    sheet = np.asarray(prompt_sheet(clips, ["dark", "bright"], scale=2))

    assert sheet.shape == (2 * (16 + 14), 8 * 16, 3)
    assert (sheet[14:30] == 10).all()
    assert (sheet[-16:] == 200).all()


def test_figures_are_printed_with_their_units() -> None:
    assert [figure(0.953, "share"), figure(99, "dB"), figure(6.61, "s"), figure(1.4812, ""), figure(None, "")] == [
        "95.3%",
        "99.0 dB",
        "6.6 s",
        "1.48",
        "",
    ]
    assert len(SECTIONS) == 11
