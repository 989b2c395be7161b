"""Pseudonyms under a key, and paths that tell no patient.

Health data leave the reader by an allow-list: of the elements that are read (`file.KEYWORDS`), and of the values that
are shown (`view.allowed`). What is left is the path of a file, which people name after patients.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from attn.core.errors import InputError
from attn.data_adapters.boundary import boundary
from attn.data_adapters.dicom.identity import Identity
from attn.data_adapters.dicom.studies import Entry

LEAST_KEY, MOST_KEY = 16, 4096  # bytes
KEPT_SUFFIXES = (".dcm", ".dicom", ".dic", ".ima", ".png", ".jpg", ".jpeg", ".tif", ".tiff")


@dataclass(frozen=True)
class Key:
    """A secret. Equal texts have equal pseudonyms under one key, and no pseudonym tells its text without the key."""

    secret: bytes = field(repr=False)

    def digest(self, kind: str, text: str) -> bytes:
        """HMAC-SHA-256 of `text`, 32 bytes; another one for another `kind` of text."""
        return hmac.digest(self.secret, f"{kind}\0{text}".encode("utf-8", "surrogateescape"), hashlib.sha256)

    def pseudonym(self, kind: str, text: str) -> str:
        """16 digits from 0 to f in place of `text`."""
        return self.digest(kind, text)[:8].hex()


def read_key(path: Path | None) -> Key:
    """The key in a file, without blanks around it; a new random one when no file is given.

    InputError: not to be read, or not of 16 to 4,096 bytes.
    """
    if path is None:
        return Key(secrets.token_bytes(32))
    hint = "write 32 random letters into the file, and keep it secret"
    with boundary(path, "cannot be read as a key", hint), path.open("rb") as file:
        secret = file.read(MOST_KEY + 1).strip()
    if not LEAST_KEY <= len(secret) <= MOST_KEY:
        raise InputError(f"is no key: it is to have {LEAST_KEY} to {MOST_KEY:,} bytes", where=path, hint=hint)
    return Key(secret)


def hash_name(id: str, key: Key) -> str:
    """A pseudonym in place of a path; the suffix stays where it says what kind of file it is."""
    suffix = next((suffix for suffix in KEPT_SUFFIXES if id.lower().endswith(suffix)), "")
    return key.pseudonym("file", id) + suffix


def private_id(entry: Entry, identity: Identity, key: Key) -> str:
    """The id of an entry as it may be written: a pseudonym when the patient's name or id stands in it."""
    return hash_name(entry.id, key) if identity.stands_in(entry.id) else entry.id
