"""Radiographs: DICOM files and pictures as what a display would show, studies as people keep them."""

from typing import TYPE_CHECKING

from attn.data_adapters.lazy import lazy

if TYPE_CHECKING:
    from attn.data_adapters.dicom.flags import Flag as Flag
    from attn.data_adapters.dicom.radiograph import Radiograph as Radiograph

__all__ = ["Flag", "Radiograph"]

__getattr__ = lazy(__name__, {"Flag": "flags", "Radiograph": "radiograph"})
