"""What OpenAPI says of an image or a video in a request: ids, data URLs and base64 with the signatures that are taken.

The gateway tells a file by its first bytes, and the first bytes decide how its base64 begins; so a pattern can say it.
"""

from collections.abc import Sequence
from typing import Any

from service.uploads.media import Kind

BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
ANY = "[A-Za-z0-9+/]"
REST = f"({ANY}{{4}})*({ANY}{{2}}==|{ANY}{{3}}=)?"

Signature = Sequence[int | None]
"""The first bytes of a file; None is any byte."""


def signature(*parts: bytes | int) -> Signature:
    """Bytes as they are, numbers for so many unknown ones."""
    return [byte for part in parts for byte in (part if isinstance(part, bytes) else [None] * part)]


SIGNATURES: dict[Kind, tuple[Signature, ...]] = {
    "image": (
        signature(b"\x89PNG\r\n\x1a\n", 4, b"IHDR"),
        signature(b"\xff\xd8\xff"),
        signature(b"RIFF", 4, b"WEBP"),
    ),
    "video": (
        signature(4, b"ftypisom"),
        signature(4, b"ftypmp4", 1),
        signature(4, b"ftypqt  "),
        signature(b"\x1a\x45\xdf\xa3"),
    ),
}
EXAMPLE_FILE = "file_abcdefghijklmnopqrstuvwxyz"
FILE_ID = "^file_[a-z2-7]{26}$"
VIDEO_ID = "^video_[a-z2-7]{26}$"


def base64_pattern(first_bytes: Signature) -> str:
    """A pattern of the base64 of all files, of 3 more bytes at least, that begin so."""
    known = [*first_bytes, *[None] * (-len(first_bytes) % 3)]
    bits = "".join("." * 8 if byte is None else f"{byte:08b}" for byte in known)
    return "".join(characters_of(bits[place : place + 6]) for place in range(0, len(bits), 6))


def characters_of(bits: str) -> str:
    """The base64 characters for 6 bits, of which some may be unknown (`.`)."""
    fitting = [
        character
        for number, character in enumerate(BASE64)
        if all(known in (".", bit) for known, bit in zip(bits, f"{number:06b}", strict=True))
    ]
    if len(fitting) == len(BASE64):
        return ANY
    return fitting[0].replace("+", r"\+") if len(fitting) == 1 else f"[{''.join(fitting)}]"


def media_schema(*kinds: Kind, stored: bool = True) -> dict[str, Any]:
    """The JSON Schema of a field that takes files of these kinds. `stored`: also such as the service has already."""
    beginnings = "|".join(base64_pattern(first) for kind in kinds for first in SIGNATURES[kind])
    content = f"({beginnings}){REST}$"
    names = {
        "url": {"type": "string", "pattern": f"^data:[a-z/-]*;base64,{content}"},
        "data": {"type": "string", "pattern": f"^{content}"},
    }
    names["image_url"] = names["url"]
    if stored:
        names["file_id"] = {"type": "string", "pattern": FILE_ID}
        if "video" in kinds:
            names["id"] = {"type": "string", "pattern": VIDEO_ID}
    described = f"{' or '.join(kinds)}: a data URL, base64" + (", the id of a stored one" if stored else "")
    bare = {"description": f"An {described}; in a form, the file itself." if kinds[0] == "image" else f"A {described}."}
    texts = [part for name, part in names.items() if name != "image_url"]
    return {"anyOf": [{**part, **bare} for part in texts] + [alone(name, names) for name in names]}


def alone(name: str, names: dict[str, Any]) -> dict[str, Any]:
    """An object with only this one of the names; the others may be null."""
    others = {other: {"type": "null"} for other in names if other != name}
    properties = {name: names[name], **others}
    return {"type": "object", "properties": properties, "required": [name], "additionalProperties": False}
