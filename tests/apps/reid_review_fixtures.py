"""A gallery of drawn photographs whose names and individuals are markup, and a page about it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from attn.apps.reid.gallery import Gallery, ModelId, open_gallery
from attn.apps.reid.index import index
from attn.apps.reid.nearest import unit
from attn.apps.reid.review.answers import Shown
from attn.apps.reid.review.page import Page
from attn.apps.reid.search import Query, search
from attn.data_adapters.images.identities import open_individuals

MODEL = ModelId("runs/mine", "ab" * 32, 3)
HOSTILE = '</script><img src=x onerror="window.pwned=1">&\'`${alert(1)}'
PICTURE = "b\"'<img src=x onerror=window.pwned=2>.png"
TABLE = f"""path,identity,time,encounter,camera
1.png,"{HOSTILE.replace('"', '""')}",2024-03-01T08:00:00,10,north
"{PICTURE.replace('"', '""')}",007,2024-03-02T09:00:00,2,north
3.png,007,2024-03-01T10:00:00,2,south
4.png,,2024-05-01T10:00:00,1,south
"""


def embed(pictures: list[np.ndarray]) -> np.ndarray:
    return np.stack([np.asarray(each, np.float32).mean((0, 1)) - 100 for each in pictures])


def colour(red: int, green: int, blue: int) -> np.ndarray:
    return np.full((30, 40, 3), (red, green, blue), np.uint8)


@dataclass
class Scene:
    """Folders of photographs and of the gallery, and a new photograph that is not in it."""

    photos: Path
    folder: Path
    new: np.ndarray

    @property
    def gallery(self) -> Gallery:
        return open_gallery(self.folder)

    def shown(self, id: str, **changed: str) -> Shown:
        """A picture of the gallery as a page has it."""
        row = self.gallery.rows["id"].to_list().index(id)
        return Shown.of_gallery(self.gallery, row).model_copy(update=changed)

    def fresh(self) -> Shown:
        return Shown(id="new/5.png", path="new/5.png", time="2024-03-02T12:00:00", encounter="2", camera="north")

    def page(self, folder: Path) -> Path:
        """Two queries: the new photograph, and the one of nobody known."""
        page = Page(folder, self.gallery)
        for shown, pixels in ((self.fresh(), self.new), (self.shown("4.png"), colour(110, 190, 90))):
            itself = [i for i, id in enumerate(self.gallery.rows["id"]) if id == shown.id]
            query = Query(shown.id, unit(embed([pixels]))[0], itself=(tuple(itself),))
            page.add(search(query, self.gallery, 4), [(shown, pixels)])
        return page.write()


def draw_scene(folder: Path) -> Scene:
    photos = folder / "photos"
    (photos / "new").mkdir(parents=True)
    colours = {"1.png": (200, 90, 80), PICTURE: (80, 190, 90), "3.png": (90, 200, 80), "4.png": (110, 190, 90)}
    for name, (red, green, blue) in colours.items():
        Image.fromarray(colour(red, green, blue)).save(photos / name)
    (photos / "t.csv").write_text(TABLE)
    index(open_individuals(photos / "t.csv"), embed, MODEL, folder / "g")
    Image.fromarray(colour(81, 191, 89)).save(photos / "new/5.png")
    return Scene(photos, folder / "g", colour(81, 191, 89))
