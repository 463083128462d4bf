"""What a file is by its name and by its first bytes, and why it is not trained on where it is not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath

SUFFIXES: Mapping[str, str] = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), "JPEG"),
    **dict.fromkeys((".png", ".apng"), "PNG"),
    **dict.fromkeys((".bmp", ".dib"), "BMP"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    ".webp": "WEBP",
    ".avif": "AVIF",
}
"""File name endings (lower case) that are read -> format."""

HEIF_SUFFIXES = (".heic", ".heif", ".hif")
"""Read as well where the extra `heic` is installed."""

CAPTION_SUFFIXES = (".txt", ".caption")
"""Endings of caption files; where an image has both, the first counts."""

LIST_SUFFIXES = (".jsonl", ".json", ".csv", ".tsv")
"""Endings of lists of captions; where several name an image, the first counts, behind its caption files."""

HEIF_MISSING = "is HEIC: install loratui[heic] to read it, or export it as JPEG"

UNREAD: Mapping[str, str] = {
    **dict.fromkeys(HEIF_SUFFIXES, HEIF_MISSING),
    ".gif": "is a GIF: save the image that you want as PNG",
    ".svg": "is a drawing of lines (SVG): save it as PNG",
    ".jxl": "is JPEG XL, which is not read: save it as PNG",
    **dict.fromkeys((".psd", ".psb", ".xcf", ".kra", ".clip", ".ai"), "is a file of a paint program: save it as PNG"),
    **dict.fromkeys(
        (".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf", ".pef", ".srw", ".raw"),
        "is a raw photo: develop it and save it as JPEG or PNG",
    ),
    **dict.fromkeys(
        (".jp2", ".j2k", ".jpf", ".tga", ".exr", ".hdr", ".ppm", ".pgm", ".pnm", ".ico", ".icns", ".eps", ".dds", ".qoi"),
        "is of a kind of image that is not read: save it as PNG",
    ),
}
"""Endings of images that are not read -> why; HEIC only where its extra is missing."""

ARCHIVES = (".rar", ".7z", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst")
"""Endings of archives that cannot be given in place of a folder, as a zip can."""

NOT_TRAINED_ON: Mapping[str, str] = {
    **dict.fromkeys((".mov", ".mp4", ".m4v", ".avi", ".webm", ".mkv", ".3gp"), "is a film, perhaps of a live photo"),
    **dict.fromkeys((".aae", ".xmp"), "holds edits of a photo app, which are not applied: export the edited photo"),
    **dict.fromkeys(
        (".npz", ".npy", ".safetensors", ".pt", ".ckpt"), "is a cache or model of a trainer; loratui makes its own"
    ),
    **dict.fromkeys(
        (*LIST_SUFFIXES, ".toml", ".yaml", ".yml"),
        "is a recipe of another tool, or a list without captions of images that are here",
    ),
    ".parquet": "is a Parquet table, which is not read: save it as CSV or JSON lines for its captions",
    **dict.fromkeys((".zip", *ARCHIVES), "is an archive: unpack it, or give a zip in place of the folder"),
    ".pdf": "is a document",
}
"""Endings of other files that lie in such folders -> why they are passed over."""

OTHER = "is not an image or caption"
HIDDEN = "is hidden"
SYSTEM = "belongs to the operating system"
MASK = "is a mask, not an image"
MASKS = "holds masks, by its name: give it by itself if its images are meant"
PROMPTS = "is no caption, by its name"
OF_ONE = "says something of one image; captions are read from .txt and .caption files and from lists of many images"
CACHE = "is a cache of ai-toolkit; loratui makes its own"
CONTROLS = "holds control images of ai-toolkit, which are not trained on"

_OWN = re.compile(r"\.loratui-.*|\.captions-before|\.preparing-.*|\.caption-.*")
_SYSTEM = re.compile(
    r"__MACOSX|(eh)?thumbs\.db|desktop\.ini|icon\r|@eadir|lost\+found|\$recycle\.bin|system volume information", re.IGNORECASE
)
_MASK = re.compile(r".*-(masklabel|condlabel)\.\w+", re.IGNORECASE | re.DOTALL)
_CACHE = re.compile(r"_(latent|t_e|clip_vision)_cache")
_NO_CAPTION = re.compile(
    r"(sample[ _-]?|negative[ _-]?)?prompts?([ _-].*)?|read[ _-]?me|licen[cs]e|requirements|notes?|classes|changelog|"
    r"(all[ _-]?)?(captions|tags)|files?[ _-]?list",
    re.IGNORECASE,
)

_RESULTS = re.compile(r"(samples?|logs?|models?|outputs?|checkpoints?|cache|validation|trash|backups?)", re.IGNORECASE)

_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis")
_ANY_IMAGE_BRANDS = (b"mif1", b"msf1")
"""Main brands that HEIC and AVIF share."""
_CONTENTS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<svg", re.IGNORECASE | re.DOTALL), UNREAD[".svg"]),
    (
        re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype|html|head|\?xml|!--)", re.IGNORECASE),
        "is not an image but a web page: the download went wrong",
    ),
    (re.compile(rb"version https://git-lfs"), "is not an image but a pointer of Git LFS: run git lfs pull"),
    (re.compile(rb"GIF8[79]a"), UNREAD[".gif"]),
    (re.compile(rb"8BPS"), UNREAD[".psd"]),
    (re.compile(rb"II\*\0|MM\0\*"), "is a TIFF that cannot be read: of a rare kind, a raw photo, or damaged; save it as PNG"),
    (re.compile(rb"%PDF|%!PS"), "is a document, not an image"),
    (re.compile(rb"PK\x03\x04"), "is a zip, not an image"),
    (re.compile(rb"....ftyp(qt  |mp4|isom|M4V)", re.DOTALL), "is a film, not an image"),
    (re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "), UNREAD[".jxl"]),
    (re.compile(rb"\0+\Z"), "holds nothing but zeros: the copy or the disk is damaged"),
)
"""Beginnings of files that are not what their name says -> what they are."""

HEAD_BYTES = 256
"""How much of a file `told_by_content` wants to see."""


def why_not_read(suffix: str) -> str:
    """Why files with this ending (lower case) are left out; continues the name to a sentence."""
    return UNREAD.get(suffix) or NOT_TRAINED_ON.get(suffix) or OTHER


def is_missed(reason: str) -> bool:
    """Whether a file that is left out for this reason may be missed by a person."""
    return reason not in _EXPECTED


def is_own(name: str) -> bool:
    """Whether it is a file that loratui itself keeps in a folder of images."""
    return _OWN.fullmatch(name) is not None


def why_passed_over(name: str) -> str:
    """Why a file or folder of this name is never looked into; empty if it is."""
    if _SYSTEM.fullmatch(name):
        return SYSTEM
    if name.startswith("."):
        return HIDDEN
    if _CACHE.fullmatch(name):
        return CACHE
    return CONTROLS if name == "_controls" else MASK if _MASK.fullmatch(name) else ""


def is_no_caption(name: str) -> bool:
    """Whether a text file without its image is something else than a caption, such as `sample_prompts.txt`."""
    return _NO_CAPTION.fullmatch(PurePath(name).stem) is not None


def holds_results(name: str) -> bool:
    """Whether a folder of this name holds what trainers write, such as sample images."""
    return _RESULTS.fullmatch(name) is not None


def is_heif(head: bytes) -> bool:
    """Whether a file begins as HEIC does."""
    brand = head[8:12]
    return head[4:8] == b"ftyp" and (brand in _HEIF_BRANDS or (brand in _ANY_IMAGE_BRANDS and b"avif" not in head[16:64]))


def told_by_content(head: bytes) -> str:
    """What a file that is no readable image is, by its first `HEAD_BYTES`; empty if that does not show."""
    return next((reason for pattern, reason in _CONTENTS if pattern.match(head)), "")


_EXPECTED = frozenset((OTHER, HIDDEN, SYSTEM, MASK, MASKS, PROMPTS, OF_ONE, CACHE, CONTROLS, *NOT_TRAINED_ON.values()))
