"""Writes the page: index.html and the pictures beside it. It opens from the disk, and asks no network.

What comes from names of files and individuals is data to the page, which shows it as text. Beyond that, the page's
policy lets no script run but its own, and nothing be loaded but the pictures beside it.
"""

import base64
import hashlib
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from attn.apps.reid.gallery import Gallery
from attn.apps.reid.review.answers import Shown
from attn.apps.reid.search import Answer
from attn.core.errors import AttnError
from attn.core.files import replacing

PAGE, PICTURES = "index.html", "pictures"
SIDE = 480  # pixels of the longer side of a picture on the page


class Page:
    """A page in a folder of attn's, about the answers that are added to it one by one."""

    def __init__(self, folder: Path, gallery: Gallery) -> None:
        self.folder, self.gallery = folder, gallery
        self.queries: list[dict[str, Any]] = []

    def add(self, answer: Answer, pictures: Sequence[tuple[Shown, np.ndarray]]) -> None:
        """Add an answer; of each of the query's pictures, what is known of it and its pixels (H, W, 3)."""
        (self.folder / PICTURES).mkdir(parents=True, exist_ok=True)
        self.queries.append(_query(self.folder, answer, pictures, self.gallery))

    def write(self) -> Path:
        """Write index.html, and remove the pictures of an older page; returns its path."""
        kept = {picture["image"] for query in self.queries for picture in query["pictures"]}
        kept |= {answer["of"]["image"] for query in self.queries for answer in query["answers"]}
        with replacing(self.folder / PAGE) as part:
            part.write_text(filled(self.queries), encoding="utf-8")
        for path in (self.folder / PICTURES).glob("*.jpg"):
            if f"{PICTURES}/{path.name}" not in kept:
                path.unlink(missing_ok=True)
        return self.folder / PAGE


def filled(queries: Sequence[dict[str, Any]]) -> str:
    """The page with its data. `key` is by what the browser keeps the answers to these queries."""
    template = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    key = hashlib.sha256(json.dumps(queries, sort_keys=True).encode()).hexdigest()[:16]
    data = json.dumps({"key": key, "queries": queries})  # in ASCII, so that nothing is left to how text is encoded
    data = data.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return template.replace("@POLICY@", _policy(template)).replace("@DATA@", data)


def _policy(template: str) -> str:
    own = {tag: re.findall(rf"<{tag}>(.*?)</{tag}>", template, re.DOTALL) for tag in ("script", "style")}
    hashed = {
        tag: " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts)
        for tag, texts in own.items()
    }
    return f"default-src 'none'; script-src {hashed['script']}; style-src {hashed['style']}; img-src 'self' file:"


def _query(
    folder: Path, answer: Answer, pictures: Sequence[tuple[Shown, np.ndarray]], gallery: Gallery
) -> dict[str, Any]:
    asked = [{**shown.model_dump(), "image": _picture(folder, pixels)} for shown, pixels in pictures]
    answers = []
    for each in answer.ranked:
        said = [] if each.probability is None else [f"probability {each.probability:.2f}"]
        said += [f"similarity {each.similarity:.3f}"] + [f"{each.inliers} inliers"] * (each.inliers is not None)
        of = {**Shown.of_gallery(gallery, each.row).model_dump(), "image": _picture(folder, _pixels(gallery, each.row))}
        answers.append({"individual": each.individual, "said": ", ".join(said), "of": of})
    return {"query": answer.query.id, "pictures": asked, "answers": answers}


def _pixels(gallery: Gallery, row: int) -> np.ndarray:
    """Those of the photograph, or of its thumbnail where the photograph is no longer there."""
    try:
        return gallery.photograph(row).pixels
    except AttnError:
        return np.asarray(Image.open(io.BytesIO(gallery.rows["thumbnail"][row])).convert("RGB"))


def _picture(folder: Path, pixels: np.ndarray) -> str:
    """Write a picture under the hash of what is in it, once; the name by which the page finds it."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    name = f"{PICTURES}/{hashlib.sha256(buffer.getvalue()).hexdigest()[:24]}.jpg"
    if not (folder / name).exists():
        with replacing(folder / name) as part:
            part.write_bytes(buffer.getvalue())
    return name
