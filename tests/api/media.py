"""Small files of every accepted format, made by the libraries that people make them with."""

import base64
import io
from pathlib import Path

import av
import numpy as np
from PIL import Image


def picture(format: str = "PNG", size: tuple[int, int] = (32, 24), color: str = "orange") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, format)
    return file.getvalue()


def movie(folder: Path, suffix: str = ".mp4", frames: int = 8) -> bytes:
    path = folder / f"movie{suffix}"
    with av.open(path, "w") as container:
        stream = container.add_stream("libvpx-vp9" if suffix == ".webm" else "libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in np.linspace(0, 255, frames).astype(np.uint8):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), level, np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path.read_bytes()


def data_url(content: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
