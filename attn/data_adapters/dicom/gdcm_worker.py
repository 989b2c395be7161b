"""What the worker process decodes for `attn.data_adapters.dicom.decode`; nothing else may import it.

gdcm's libjpeg ends the process on some damaged streams, and on others writes a complaint and fills the rest.
"""

import os
import tempfile
from collections.abc import Callable

import numpy as np

from attn.core.errors import InputError

_HARMLESS = (b"Unsupported JPEG data precision", b"Invalid SOS parameters")  # it tries 8 bits before 12
_SYNTAX = {"jpeg": "1.2.840.10008.1.2.4.51", "lossless": "1.2.840.10008.1.2.4.57"}


def decode(data: np.ndarray, shape: np.ndarray, precision: np.ndarray, kind: np.ndarray) -> dict[str, np.ndarray]:
    """`pixels` (H, W) or (H, W, 3) of a JPEG codestream of so many bits a sample."""
    rows, columns, samples = [*map(int, shape), 1][:3]
    import gdcm

    for quiet in (gdcm.Trace.DebugOff, gdcm.Trace.WarningOff, gdcm.Trace.ErrorOff):
        quiet()
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(data.tobytes())
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((columns, rows, 1))
    image.SetDataElement(element)
    photometry = gdcm.PhotometricInterpretation
    image.SetPhotometricInterpretation(photometry(photometry.MONOCHROME2 if samples == 1 else photometry.RGB))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(_SYNTAX[str(kind)])))
    bits = int(precision)
    width = 1 if bits <= 8 else 2
    image.SetPixelFormat(gdcm.PixelFormat(samples, 8 * width, bits, bits - 1, 0))
    said, pixels = _overheard(lambda: image.GetBuffer().encode("utf-8", "surrogateescape"))
    complaints = [line for line in said.splitlines() if not line.startswith(_HARMLESS)]
    if complaints or len(pixels) != rows * columns * samples * width:
        raise InputError("its JPEG codestream is damaged")
    return {"pixels": np.frombuffer(pixels, f"<u{width}").reshape(shape)}


def _overheard(run: Callable[[], bytes]) -> tuple[bytes, bytes]:
    """What `run` writes to standard error, and what it returns."""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            answer = run()
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        file.seek(0)
        return file.read(), answer
