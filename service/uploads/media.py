"""What an upload is, told from its first bytes: neither its name nor its declared type is believed."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["image", "video"]

HEAD_BYTES = 64
"""How many bytes `sniff` wants to see."""

STILL_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"heim", b"mif1", b"msf1")
ACCEPTED = "PNG, JPEG and WebP images; MP4, MOV, WebM and Matroska videos"


class UnknownMedia(ValueError):
    """The bytes are none of the accepted formats."""


@dataclass(frozen=True, slots=True)
class MediaType:
    name: str
    suffix: str

    @property
    def kind(self) -> Kind:
        return "image" if self.name.startswith("image/") else "video"


PNG = MediaType("image/png", ".png")
JPEG = MediaType("image/jpeg", ".jpg")
WEBP = MediaType("image/webp", ".webp")
MP4 = MediaType("video/mp4", ".mp4")
QUICKTIME = MediaType("video/quicktime", ".mov")
WEBM = MediaType("video/webm", ".webm")
MATROSKA = MediaType("video/x-matroska", ".mkv")

MEDIA_TYPES = {media.name: media for media in (PNG, JPEG, WEBP, MP4, QUICKTIME, WEBM, MATROSKA)}


def sniff(head: bytes) -> MediaType:
    """The format whose signature `head`, the first HEAD_BYTES of a file, carries. Raises UnknownMedia."""
    if head.startswith(b"\x89PNG\r\n\x1a\n") and head[12:16] == b"IHDR":
        return PNG
    if head.startswith(b"\xff\xd8\xff"):
        return JPEG
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return WEBP
    if head[4:8] == b"ftyp" and head[8:12] not in STILL_BRANDS:
        return QUICKTIME if head[8:12] == b"qt  " else MP4
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return WEBM if b"webm" in head else MATROSKA
    raise UnknownMedia(f"must be one of: {ACCEPTED}")
