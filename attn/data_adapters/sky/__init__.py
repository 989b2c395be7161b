"""Images of the sky: FITS files and surveys, their bands, backgrounds and positions, and labelled galaxies."""

from typing import TYPE_CHECKING

from attn.data_adapters.lazy import lazy

if TYPE_CHECKING:
    from attn.data_adapters.sky.band_files import read_bands as read_bands
    from attn.data_adapters.sky.cutouts import catalog_cutouts as catalog_cutouts
    from attn.data_adapters.sky.detect import detected_cutouts as detected_cutouts
    from attn.data_adapters.sky.fits import describe_fits as describe_fits
    from attn.data_adapters.sky.fits import read_fits as read_fits
    from attn.data_adapters.sky.labelled import open_galaxies as open_galaxies
    from attn.data_adapters.sky.source import open_sky as open_sky
    from attn.data_adapters.sky.stretch import Stretch as Stretch

__all__ = [
    "Stretch",
    "catalog_cutouts",
    "describe_fits",
    "detected_cutouts",
    "open_galaxies",
    "open_sky",
    "read_bands",
    "read_fits",
]

__getattr__ = lazy(
    __name__,
    {
        "Stretch": "stretch",
        "catalog_cutouts": "cutouts",
        "describe_fits": "fits",
        "detected_cutouts": "detect",
        "open_galaxies": "labelled",
        "open_sky": "source",
        "read_bands": "band_files",
        "read_fits": "fits",
    },
)
