"""Broken, lying and hostile files: a gateway refuses them or keeps them as what their bytes say, and never fails."""

import io
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from tests.api.media import movie, picture

PARTS = (0.0, 0.25, 0.5, 0.75, 0.99)
FIRST_BYTES = (0, 1, 8)
FLIPS = 50


def sound(folder: Path) -> dict[str, bytes]:
    files = {name: picture(name) for name in ("PNG", "JPEG", "WEBP")}
    return {**files, "MP4": movie(folder), "WEBM": movie(folder, ".webm")}


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)  # type: ignore[arg-type]
    return file.getvalue()


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("index.php", "<?php system($_GET[0]); ?>")
    return file.getvalue()


def broken(files: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Truncations and flipped bits of every format, the same each time."""
    chance = random.Random(3)
    for name, content in files.items():
        for size in (*FIRST_BYTES, *(int(len(content) * part) for part in PARTS)):
            yield f"{name} cut at {size}", content[:size]
        for number in range(FLIPS):
            damaged = bytearray(content)
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
            yield f"{name} flip {number}", bytes(damaged)
        yield f"{name} of zeros", bytes(len(content))
        yield f"{name} and a ZIP", content + archive()
        yield f"{name} and a script", content + b"<script>alert(1)</script>"


def odd() -> Iterator[tuple[str, bytes]]:
    """Sound files of unusual kinds; some are none of the accepted formats."""
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        yield f"PNG {mode}", saved(Image.new(mode, (5, 3)), "PNG")
    for size in ((1, 1), (1, 999), (16_383, 1), (997, 13)):
        yield f"PNG {size}", saved(Image.new("L", size), "PNG")
    yield "CMYK JPEG", saved(Image.new("CMYK", (8, 8)), "JPEG")
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield f"JPEG turned {orientation}", saved(Image.new("RGB", (8, 4)), "JPEG", exif=exif)
    yield "JPEG with PHP", saved(Image.new("RGB", (8, 8)), "JPEG", comment=b"<?php phpinfo(); ?>")
    yield "bogus ICC", saved(Image.new("RGB", (8, 8)), "PNG", icc_profile=bytes(200_000))
    frames = [Image.fromarray(np.full((8, 8), level, np.uint8)) for level in (0, 255)]
    for format in ("PNG", "WEBP", "GIF", "TIFF"):
        yield f"animated {format}", saved(frames[0], format, save_all=True, append_images=frames[1:])
    yield "GIF and JavaScript", b"GIF89a/*" + bytes(40) + b"*/=alert(1)"
    yield "SVG", b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    yield "HLS", b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/secret.ts\n"
    yield "ffconcat", b"ffconcat version 1.0\nfile /etc/passwd\n"
    yield "AVIF", b"\x00\x00\x00\x18ftypavif" + bytes(200)
    yield "ftyp alone", b"\x00\x00\x00\x08ftyp"
    yield "text", b"hello"


async def test_every_file_is_refused_or_kept_as_what_it_is(client: httpx.AsyncClient, tmp_path: Path) -> None:
    corpus = [*broken(sound(tmp_path)), *odd()]
    taken = 0
    for number, (name, content) in enumerate(corpus):
        lie = ("cat.png", "image/png") if number % 2 else ("../../etc/cron.d/x.mp4", "text/html")
        answer = await client.post("/v1/files", files={"file": (lie[0], content, lie[1])})
        assert answer.status_code in (200, 400), (name, answer.status_code, answer.text[:300])
        if answer.status_code == 400:
            assert answer.json()["param"] == "file", name
            continue
        taken += 1
        file = answer.json()
        assert file["bytes"] == len(content), name
        if "flip" in name:
            continue  # as any other file of this length
        served = await client.get(f"/v1/files/{file['id']}/content")
        assert served.content == content, name
        assert served.headers["content-type"] == file["media_type"], name
        assert served.headers["x-content-type-options"] == "nosniff"
        assert served.headers["content-disposition"].startswith(f'attachment; filename="{file["id"]}')
        assert "/" not in file["filename"], name
    assert len(corpus) > 300
    assert taken > 200
