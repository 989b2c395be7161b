"""Labelled galaxies: FITS files and pictures in a folder or a table, or a Galaxy10 HDF5 file."""

from pathlib import Path
from typing import Any

from attn.core.errors import InputError, UsageError
from attn.data_adapters.images.cutout import Cutout
from attn.data_adapters.images.labelled import LabelledImages, fingerprint_of, open_labelled
from attn.data_adapters.images.pictures import PICTURE_SUFFIXES, read_picture
from attn.data_adapters.sky.kinds import FITS_SUFFIXES, HDF5_SUFFIXES, is_picture
from attn.data_adapters.sky.stretch import Stretch, render

_DEFAULT_STRETCH = Stretch()


def read_image(path: str | Path, stretch: Stretch = _DEFAULT_STRETCH, *, hdu: int | str | None = None) -> Cutout:
    """A picture or a FITS file, told by its first bytes, as a cut-out with the path as id. InputError: not readable."""
    if is_picture(path):
        return Cutout(id=str(path), pixels=read_picture(path))
    from attn.data_adapters.sky.fits import read_fits  # astropy, which pictures do without

    image = read_fits(path, hdu=hdu)
    pixels, flags = render(image.data, stretch)
    return Cutout(id=str(path), pixels=pixels, flags=(*image.flags, *flags))


def open_galaxies(
    source: str | Path, *, image: str | None = None, label: str | None = None, hdu: int | str | None = None
) -> LabelledImages:
    """The labelled galaxies of a folder, table or Galaxy10 file; see `open_labelled` for what is raised.

    `hdu` is the image to take of FITS files, as `read_fits` takes it.
    """
    source = Path(source)
    if not (source.is_file() and source.name.lower().endswith(HDF5_SUFFIXES)):
        settings = {} if hdu is None else {"hdu": hdu}
        suffixes = FITS_SUFFIXES + PICTURE_SUFFIXES
        return open_labelled(source, read_image, suffixes, image=image, label=label, settings=settings)
    if hdu is not None:
        raise UsageError("has no HDUs to choose", where=source, hint="leave --hdu out")
    if image is not None or label is not None:
        raise UsageError("has no columns to choose", where=source, hint="leave --image and --label out")
    return Galaxy10Images(source)


class Galaxy10Images:
    """A Galaxy10 file as labelled images; ids are `<file>#<row>`."""

    def __init__(self, source: Path) -> None:
        from attn.data_adapters.sky.galaxy10 import Galaxy10  # h5py

        self.rows = Galaxy10(source)
        self.classes = list(self.rows.class_names)
        self.ids = [f"{source.name}#{row}" for row in range(len(self.rows))]
        self.labels = [self.classes[k] for k in self.rows.labels]

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, i: int, *how: Any) -> Cutout:
        """Row `i`; its pixels are display values already."""
        return self.rows.read(i)

    def column(self, name: str) -> list[str | None]:
        """A Galaxy10 file has only the class."""
        raise InputError(f"no column {name!r}; it has classes only", where=self.rows.path)

    def fingerprint(self) -> dict[str, Any]:
        """See `LabelledImages`; the size of each image is that of its pixels."""
        height, width, planes = self.rows.shape[1:]
        return fingerprint_of(self.rows.path, self.ids, self.labels, [height * width * planes] * len(self))
