"""The sections of an evaluation, and what is written of them: a table, JSON, and contact sheets."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from rich.table import Table

from model.evaluation.direct import direct_accuracy
from model.evaluation.edits import cinemagraph, image_to_video, inpaint, stylize
from model.evaluation.finder import overlap
from model.evaluation.judge_training import judge_accuracy
from model.evaluation.learned_styles import learned_styles
from model.evaluation.pairs_and_cameras import camera, two_subjects
from model.evaluation.section import Bench, Row, Section
from model.evaluation.text_to_video import diversity, prompt_swaps, text_to_video
from model.video_io import Frames, contact_sheet

SHEET_COLUMNS = 8
SHEET_ROWS = 16
CAPTION_HEIGHT = 14
UNSEEN = 424_242
"""Seed of the rendered clips on which judge and finder are tried; no training draws it."""


def judges(bench: Bench, clips: int = 512) -> Section:
    """What those who judge are worth, on rendered clips that they have not seen."""
    accuracy = judge_accuracy(bench.judge, clips, UNSEEN)
    found = overlap(bench.finder, clips, UNSEEN)
    return Section(
        [
            *(Row(f"judge: {name}", None, share, clips, "share") for name, share in accuracy.items()),
            Row("finder: overlap with the subject", None, found, clips, "share"),
            *direct_accuracy(bench.finder, clips // 2, UNSEEN, bench.made.size),
        ]
    )


SECTIONS: dict[str, Callable[[Bench], Section]] = {
    "judges": judges,
    "text-to-video": text_to_video,
    "two-subjects": two_subjects,
    "camera": camera,
    "prompt-swaps": prompt_swaps,
    "diversity": diversity,
    "image-to-video": image_to_video,
    "inpaint": inpaint,
    "cinemagraph": cinemagraph,
    "stylize": stylize,
    "learned-styles": learned_styles,
}


def write_section(name: str, section: Section, settings: dict[str, object], folder: Path) -> None:
    """`NAME.json`, and `NAME-1.png`, … with the clips: beside those of other sections, over those of this one."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{**asdict(row), "interval": row.interval} for row in section.rows]
    document = {"settings": settings, "rows": rows, "videos": section.videos}
    (folder / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")
    for page, start in enumerate(range(0, len(section.sheet), SHEET_ROWS)):
        texts, clips = zip(*section.sheet[start : start + SHEET_ROWS], strict=True)
        prompt_sheet(list(clips), list(texts)).save(folder / f"{name}-{page + 1}.png")


def section_table(name: str, section: Section) -> Table:
    table = Table(title=name, title_justify="left")
    table.add_column("measure")
    for column in ("model", "95 %", "rendered clips", "of"):
        table.add_column(column, justify="right")
    for row in section.rows:
        interval = "" if row.interval is None else f"{row.interval[0]:.0%}-{row.interval[1]:.0%}"
        model, rendered = figure(row.model, row.unit), figure(row.rendered, row.unit)
        table.add_row(row.measure, model, interval, rendered, str(row.count))
    return table


def figure(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return {"share": f"{value:.1%}", "dB": f"{value:.1f} dB", "s": f"{value:.1f} s"}.get(unit, f"{value:.3g}")


def prompt_sheet(clips: Sequence[Frames], texts: Sequence[str], scale: int = 2) -> Image.Image:
    """One row of SHEET_COLUMNS frames per clip, its prompt above."""
    height, width = clips[0].shape[1] * scale, clips[0].shape[2] * scale
    sheet = Image.new("RGB", (width * SHEET_COLUMNS, (height + CAPTION_HEIGHT) * len(clips)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (clip, text) in enumerate(zip(clips, texts, strict=True)):
        top = row * (height + CAPTION_HEIGHT)
        draw.text((3, top + 1), text, fill="black")
        shown = np.linspace(0, len(clip) - 1, SHEET_COLUMNS).round().astype(int)
        frames = contact_sheet(clip[shown], columns=SHEET_COLUMNS)
        sheet.paste(frames.resize((sheet.width, height), Image.Resampling.BICUBIC), (0, top + CAPTION_HEIGHT))
    return sheet
