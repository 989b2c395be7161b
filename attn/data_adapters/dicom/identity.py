"""Who a DICOM file says it is about, for one purpose: to see whether its path says it too.

Nothing else in this program reads these elements of a patient to show them, and an `Identity` shows nothing either.
"""

import re
import unicodedata
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import BinaryIO, Literal

import numpy as np

from attn.data_adapters.library_warnings import caught_warnings

HEAD = 1 << 18  # bytes of a file in which its patient is looked for
LONG = 6  # letters or digits; shorter names and ids count only where they stand alone in a path
NO_NAMES = frozenset((
    "anon", "anonymized", "anonymous", "case", "chest", "copy", "data", "demo", "dicom", "example", "file", "image",
    "images", "name", "none", "noname", "patient", "patients", "phantom", "sample", "series", "study", "subject",
    "test", "tests", "unknown", "xray",
))  # fmt: skip
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_CHARACTER_SETS = (0x00080005,)
_NAMES = (0x00100010, 0x00101001, 0x00101005)  # the patient's, other, birth
_IDS = (0x00100020, 0x00101000, 0x00080050)  # the patient's, other, accession number
_ORDERS: tuple[Literal["little", "big"], ...] = ("little", "big")
_STARTS = {
    (tag >> 16).to_bytes(2, order) + (tag & 0xFFFF).to_bytes(2, order): (tag, order)
    for tag in (*_CHARACTER_SETS, *_NAMES, *_IDS)
    for order in _ORDERS
}
_WORDS = np.array([int.from_bytes(start, "little") for start in _STARTS], np.uint32)
_GROUPS = np.unique(_WORDS & 0xFFFF).astype(np.uint16)
_WORD = re.compile(r"[^\W_]+")
_GERMAN = str.maketrans(dict(zip("äöüøåæ", ("ae", "oe", "ue", "oe", "aa", "ae"), strict=True)))


@dataclass(frozen=True)
class Identity:
    """The words of a patient's names, and the ids, in plain letters."""

    names: frozenset[str] = field(default=frozenset(), repr=False)
    ids: frozenset[str] = field(default=frozenset(), repr=False)

    def stands_in(self, path: str) -> bool:
        """Whether a name or an id of the patient is part of `path`.

        Long ones count anywhere in the name of a file or a folder, short ones as a word of their own. Signs within an
        id, case, accents and the German spelling of umlauts make no difference.
        """
        return any(self._is_in(_WORD.findall(plain)) for part in re.split(r"[/\\]", path) for plain in _spellings(part))

    def _is_in(self, words: list[str]) -> bool:
        whole = "".join(words)
        runs = {"".join(words[first:last]) for first in range(len(words)) for last in range(first + 1, first + 7)}
        return any(said in (whole if _is_long(said) else runs) for said in self.names | self.ids)


def read_identity(stream: BinaryIO) -> Identity:
    """The patient in a DICOM file; nobody for other files. Leaves the stream where it was, and raises nothing new.

    The elements are looked for by their tags, also in sequences, and the data set is not followed: damaged files have a
    patient too, and their errors name their path.
    """
    here = stream.tell()
    head = stream.read(HEAD)
    stream.seek(here)
    if _DEFLATED in head[:1024]:
        start = 144 + int.from_bytes(head[140:144], "little")  # after the file meta information
        with suppress(zlib.error):
            head += zlib.decompressobj(-zlib.MAX_WBITS).decompress(head[start:], HEAD)
    found = [*_elements(head)]
    sets = [value.decode("ascii", "replace") for tag, value in found if tag in _CHARACTER_SETS]
    names = (text for tag, value in found if tag in _NAMES for text in _decoded(value, sets))
    ids = (text for tag, value in found if tag in _IDS for text in _decoded(value, sets))
    return identity_of(names, ids)


def identity_of(names: Iterable[str], ids: Iterable[str]) -> Identity:
    """The identity that these texts give, which are written as DICOM writes names and ids."""
    components = {plain for text in names for one in re.split(r"[\\^=]", text) for plain in _spellings(one)}
    words = {word for plain in components for word in (*_WORD.findall(plain), _joined(plain))}
    numbers = {_joined(plain) for text in ids for one in text.split("\\") for plain in _spellings(one)}
    # A short word with a digit in it, such as RG1, is the name of no person, and often that of a file.
    return Identity(_telling(word for word in words if word.isalpha() or _is_long(word)), _telling(numbers))


def _elements(head: bytes) -> Iterator[tuple[int, bytes]]:
    """The text elements of `_STARTS`, tag and value: explicit or implicit VR, either byte order, at any depth."""
    for at in _places(head):
        tag, order = _STARTS[head[at : at + 4]]
        vr = head[at + 4 : at + 6]
        explicit = vr.isalpha() and vr.isupper()
        length = int.from_bytes(head[at + 6 : at + 8] if explicit else head[at + 4 : at + 8], order)
        if 0 < length <= 1024 and (explicit or order == "little"):  # no standard has the fourth way
            yield tag, head[at + 8 : at + 8 + length].rstrip(b"\0 ")


def _places(head: bytes) -> list[int]:
    """Where an element of `_STARTS` begins. Its group is looked for first: few pairs of bytes are one."""
    found: list[int] = []
    if len(head) < 8:
        return found
    for odd in (0, 1):
        pairs = np.frombuffer(head, "<u2", (len(head) - odd) // 2, odd)
        group = np.zeros(len(pairs) - 1, bool)
        for one in _GROUPS:
            group |= pairs[:-1] == one
        at = np.flatnonzero(group)
        starts = pairs[at].astype(np.uint32) | (pairs[at + 1].astype(np.uint32) << 16)
        found += (2 * at[np.isin(starts, _WORDS)] + odd).tolist()
    return found


def _decoded(value: bytes, sets: list[str]) -> Iterator[str]:
    """The text in every character set that it may be in: many files declare a wrong one or none."""
    from pydicom.charset import convert_encodings, decode_bytes

    for encoding in ("utf-8", "latin-1"):
        with suppress(UnicodeError):
            yield value.decode(encoding)
    for declared in sets:
        with suppress(Exception), caught_warnings():
            yield decode_bytes(value, convert_encodings(declared.split("\\")), set(b"^=\\"))


def _telling(words: Iterable[str]) -> frozenset[str]:
    """Those that tell somebody: of two letters or more in Chinese, Japanese or Korean, of three in other scripts."""
    return frozenset(word for word in words if len(word) >= (3 if word.isascii() else 2) and word not in NO_NAMES)


def _is_long(said: str) -> bool:
    return len(said) >= LONG or not said.isascii()


def _joined(plain: str) -> str:
    return "".join(_WORD.findall(plain))


def _spellings(text: str) -> tuple[str, str]:
    """In lower case without accents, and with ä, ö, ü as ae, oe, ue."""
    lower = unicodedata.normalize("NFC", text).casefold()
    return _plain(lower), _plain(lower.translate(_GERMAN))


def _plain(text: str) -> str:
    apart = unicodedata.normalize("NFKD", text)
    return unicodedata.normalize("NFC", "".join(letter for letter in apart if not unicodedata.combining(letter)))
