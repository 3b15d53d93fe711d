"""The gallery's pages: what they ask for was kept away from training, and each shows world and model side by side."""

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.gallery import CAPTION, GAP, MOMENTS, PAGES, SHOWN, captions_of, main, sheet, shown_on
from model.training.scenes.attributes import ATTRIBUTES, CAMERAS, MOTIONS, SETTINGS, STYLES, is_held_out


@pytest.mark.parametrize("page", PAGES)
def test_every_row_was_kept_away_from_training(page: str) -> None:
    shown = shown_on(page)
    fields = {name: torch.tensor([values.index(each[name]) for each in shown]) for name, values in ATTRIBUTES.items()}

    assert is_held_out(fields).all()
    assert len(set(captions_of(shown))) == len(shown)


def test_pages_show_the_whole_world() -> None:
    everything = [named for page in PAGES for named in shown_on(page)]

    for name, values in (("setting", SETTINGS), ("motion", MOTIONS), ("style", STYLES), ("camera", CAMERAS)):
        assert {named[name] for named in everything} == set(values)


def test_world_and_model_stand_side_by_side() -> None:
    dark, bright = (np.full((9, 32, 32, 3), level, np.uint8) for level in (40, 200))
    page = np.asarray(sheet(["one", "two"], [dark, bright], [bright, dark]))
    half, first, second = MOMENTS * SHOWN, 2 * CAPTION, 3 * CAPTION + SHOWN

    assert page.shape == (CAPTION + 2 * (SHOWN + CAPTION), 2 * half + GAP, 3)
    assert (page[first : first + SHOWN, :half] == 40).all()
    assert (page[first : first + SHOWN, half + GAP :] == 200).all()
    assert (page[second:, :half] == 200).all()


def test_a_page_is_drawn_by_a_model(tiny_folder, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("benchmarks.gallery.DRAWN", 32)
    monkeypatch.setitem(PAGES, "cameras", lambda: iter([{"subject": "car", "camera": "zoom in"}]))

    main(
        [
            "--model",
            str(tiny_folder),
            "--out",
            str(tmp_path),
            "--pages",
            "cameras",
            "--size",
            "32",
            "--steps",
            "1",
            "--frames",
            "8",
        ]
    )

    assert [path.name for path in tmp_path.iterdir()] == ["cameras.png"]
    assert Image.open(tmp_path / "cameras.png").width == 2 * MOMENTS * SHOWN + GAP
