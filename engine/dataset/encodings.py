"""Encodings of caption files: what bytes are read as that are no UTF-8, and text that was read wrong before it was saved."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache

SAMPLE_BYTES = 64 * 1024
"""So much of all captions of a folder is looked at to tell their encoding: together they say more than each alone."""

NAMES = {
    "gb18030": "GBK",
    "big5": "Big5",
    "cp932": "Shift-JIS (cp932)",
    "euc_jp": "EUC-JP",
    "cp949": "EUC-KR (cp949)",
    "koi8_r": "KOI8-R",
    "utf-16-le": "UTF-16",
    "utf-16-be": "UTF-16",
}
"""What people call a codec, where that is not its own name."""

BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins as that of UTF-16 does, so it is looked for first
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

LOST = ("\ufffd", "锟斤拷")
"""What stands for a letter that could not be read: the sign itself, and two of it read as GBK."""

_CANDIDATES = (
    *("gb18030", "big5", "cp932", "euc_jp", "cp949"),
    *("cp1251", "koi8_r", "cp866", "cp1252", "cp1250", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp874"),
)
_LATIN = ("cp1250", "cp1252", "cp1254", "cp1257")
_WESTERN = re.compile(r"[\x00-\x7f\xa0¡£§©ª«®°´·º»¿\xc0-\xffŒœŸ–—‘’“”…€•™]*")
"""What is written in the languages of Western Europe; cp1252 has š and ž too, which the languages of cp1250 use."""
_SIGNS = frozenset("\xa0¡£§©«®°´·»½×‚„–—‘’“”…€•™")
"""Beyond ASCII, and part of no language's words."""
_ALPHABETS = (
    *(("cp1252", letters) for letters in ("äöüß", "éèàâæçêëîïôœùûüÿ", "áéíñóúü¿ªº", "ãáàâçéêíóôõúªº", "àèéìíòóùº")),
    *(("cp1252", letters) for letters in ("åäöé", "æøåé", "éëïöü", "àçéèíïóòúü·", "äöüõšž")),
    ("cp1254", "çğıöşüİ"),
    ("cp1252", "áéíóúýþæöð"),
    ("cp1252", "áíóúýæðø"),
    *(("cp1250", letters) for letters in ("ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "áéíóöőúüű", "čćđšž", "ăâîşţ")),
    *(("cp1257", letters) for letters in ("ąčęėįšųūž", "āčēģīķļņšūž")),
)
"""Codecs of the languages in Latin letters -> their letters beyond ASCII. The same bytes can be words of several (`ý` is
`ı` in Turkish): the first whose letters they are is taken, so those with more readers come first."""
_CYRILLIC = ("cp1251", "koi8_r", "cp866")
_SCRIPTS = {
    **dict.fromkeys(_CYRILLIC, ("\u0400", "\u04ff")),
    "cp1253": ("\u0370", "\u03ff"),
    "cp1255": ("\u0590", "\u05ff"),
    "cp1256": ("\u0600", "\u06ff"),
    "cp874": ("\u0e00", "\u0e7f"),
}
"""Codecs of one script -> its first and last character."""
_COMMON = {"gb18030": (0xA1, 0xD7), "big5": (0xA1, 0xC6)}
"""Chinese codecs -> first and last leading byte of signs in daily use."""
_PARTING = re.compile(rb".*[\n\r !,.]", re.DOTALL)
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_LONE_ACCENTS = re.compile(rb"(?:[\x00-\x7f]|(?<![\x80-\xff])[\x80-\xff](?![\x80-\xff]))*")
"""No two bytes beyond ASCII side by side: accented letters in words of plain ones."""
_ACCENTS = re.compile(r"[^\W\x00-\x7f]{3,}")
_FOREIGN_RUN = re.compile(r"[^\x00-\x7f]{3,}")


def named(codec: str) -> str:
    """What people call this codec."""
    return NAMES.get(codec, codec)


def utf16_without_mark(data: bytes) -> str:
    """The UTF-16 in which these bytes are plain text; empty if they are not.

    Control bytes, above all zeros, give it away: no other encoding has them in captions.
    """
    controls = len(_CONTROLS.findall(data))
    if len(data) < 2 or len(data) % 2 or not controls or (data.isascii() and 4 * controls < len(data)):
        return ""
    fitting = [
        codec
        for codec in ("utf-16-le", "utf-16-be")
        if (text := _strictly(data, codec)) and all(char.isprintable() or char in "\t\n\r\f\v" for char in text)
    ]
    # Text keeps to few scripts; with its bytes swapped it is strewn over all of them.
    return min(fitting, key=lambda codec: len({ord(char) >> 8 for char in data.decode(codec)}), default="")


def is_no_text(data: bytes) -> bool:
    """Whether these bytes, which are no Unicode, hold zeros, or more control bytes than any text does."""
    controls = len(_CONTROLS.findall(data))
    return b"\0" in data or 20 * controls > len(data)


def likely(sample: bytes) -> tuple[str, ...]:
    """Codecs in which these bytes, which are no UTF-8, can be text; the likeliest first."""
    from charset_normalizer import from_bytes

    found = from_bytes(sample, cp_isolation=list(_CANDIDATES), threshold=0.9, enable_fallback=False)
    ranked = [match.encoding for match in found]
    ranked.sort(key=lambda codec: _is_odd(_strictly(sample, codec) or "", codec))  # stable: else the library's order
    western = _strictly(sample, "cp1252")
    in_latin = _LONE_ACCENTS.fullmatch(sample) or (bool(ranked) and ranked[0] in _LATIN)
    if in_latin and (codec := _by_alphabet(sample)):
        ranked.insert(0, codec)
    elif in_latin and western is not None and _WESTERN.fullmatch(western) and not _is_odd(western, "cp1252"):
        ranked.insert(0, "cp1252")
    rest = (codec for codec in _CANDIDATES if _strictly(sample, codec) is not None)
    return tuple(dict.fromkeys((*ranked, *rest)))


def unmixed(text: str) -> str:
    """The text without damage by a wrong encoding: `cafÃ©` becomes `café`; as it is where nothing is wrong."""
    return text if text.isascii() else _unmixed(text)


@lru_cache(maxsize=20_000)
def _unmixed(text: str) -> str:
    import ftfy

    fixed = "\n".join(ftfy.fix_encoding(line) for line in text.split("\n"))
    return _FOREIGN_RUN.sub(lambda run: _through_double_bytes(run.group()), fixed)


def _through_double_bytes(run: str) -> str:
    """UTF-8 that was read as GBK or Shift-JIS; such runs are real text in so few cases that three signs decide."""
    for codec in ("gbk", "cp932"):
        try:
            repaired = run.encode(codec).decode("utf-8")
        except UnicodeError:
            continue
        if all(unicodedata.category(char)[0] in "LMP" for char in repaired):
            return repaired
    return run


def sampled(captions: Iterable[bytes]) -> bytes:
    """So much of these captions as is looked at, a line each."""
    taken: list[bytes] = []
    left = SAMPLE_BYTES
    for data in captions:
        if left <= 0:
            break
        taken.append(beginning(data, left))
        left -= len(data) + 1
    return b"\n".join(taken)


def beginning(data: bytes, most: int) -> bytes:
    """At most so many of these bytes, up to a space or sign of ASCII if there is one: a character is not to be split.

    No encoding has those bytes within others.
    """
    if len(data) <= most:
        return data
    found = _PARTING.match(data[:most])
    return found.group() if found else data[:most]


def _by_alphabet(sample: bytes) -> str:
    """The codec of the first language whose letters nearly all of these are; empty if they are those of none."""
    for codec, letters in _ALPHABETS:
        signs = [char for char in _strictly(sample, codec) or "" if not char.isascii() and char not in _SIGNS]
        own = letters + letters.upper()
        if signs and sum(char in own for char in signs) >= 0.95 * len(signs):
            return codec
    return ""


def _is_odd(text: str, codec: str) -> bool:
    """Whether nobody would have written this in the language of this codec, though its bytes allow it."""
    letters = [char for char in text if not char.isascii() and char.isalpha()]

    def within(first: str, last: str) -> int:
        return sum(first <= char <= last for char in letters)

    if codec in _SCRIPTS:
        odd = within(*_SCRIPTS[codec]) < 0.8 * len(letters)
        # Where upper case is lower case of the other Cyrillic encoding.
        return odd or (codec in _CYRILLIC and 2 * sum(char.isupper() for char in letters) > len(letters))
    if codec == "cp949":  # nobody mixes Chinese signs into Korean words any more, and most syllables are never used
        return within("\u4e00", "\u9fff") + within("\uf900", "\ufaff") > 0.1 * len(letters) or not _fits(text, "euc_kr")
    if codec in ("cp932", "euc_jp"):
        return within("\uff61", "\uff9f") > 0.5 * len(letters) or (codec == "euc_jp" and not within("\u3040", "\u30ff"))
    if codec in _LATIN:  # words of accents alone are words of another script
        return 2 * sum(map(len, _ACCENTS.findall(text))) > len(letters)
    if codec in _COMMON:
        return sum(not _is_common(char, codec) for char in letters) > 0.3 * len(letters)
    return any(unicodedata.category(char) in ("Co", "Cn") for char in text)


def _is_common(char: str, codec: str) -> bool:
    """Whether it is among the signs of daily use, which stand first in these encodings."""
    try:
        encoded = char.encode(codec)
    except UnicodeError:
        return False
    first, last = _COMMON[codec]
    return len(encoded) == 2 and first <= encoded[0] <= last


def _fits(text: str, codec: str) -> bool:
    try:
        text.encode(codec)
    except UnicodeError:
        return False
    return True


def _strictly(data: bytes, codec: str) -> str | None:
    try:
        return data.decode(codec)
    except UnicodeError:
        return None


def candidates(first: Iterable[str]) -> Iterator[str]:
    """These codecs, and then every other that captions are met in."""
    yield from dict.fromkeys((*first, *_CANDIDATES))
