"""Pictures as display pixels, and labelled sets of images in folders and tables."""

from typing import TYPE_CHECKING

from attn.data_adapters.lazy import lazy

if TYPE_CHECKING:
    from attn.data_adapters.images.cutout import Cutout as Cutout
    from attn.data_adapters.images.identities import LabelledIndividuals as LabelledIndividuals
    from attn.data_adapters.images.identities import open_individuals as open_individuals
    from attn.data_adapters.images.labelled import LabelledImages as LabelledImages
    from attn.data_adapters.images.labelled import open_labelled as open_labelled
    from attn.data_adapters.images.pictures import read_picture as read_picture

__all__ = ["Cutout", "LabelledImages", "LabelledIndividuals", "open_individuals", "open_labelled", "read_picture"]

__getattr__ = lazy(
    __name__,
    {
        "Cutout": "cutout",
        "LabelledImages": "labelled",
        "LabelledIndividuals": "identities",
        "open_individuals": "identities",
        "open_labelled": "labelled",
        "read_picture": "pictures",
    },
)
