"""Opening a DICOM file: its encoding, the header elements on an allow-list, and where its pixels are.

Only the elements in `KEYWORDS` are read: names, ids, dates and UIDs of a patient never enter memory. pydicom quotes
values in its messages and its log, so that nothing of what it says leaves this module.
"""

import io
import logging
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import UID

from attn.core.errors import AttnError, InputError
from attn.data_adapters.dicom.flags import Flag
from attn.data_adapters.dicom.radiograph import NotAnImageError
from attn.data_adapters.library_warnings import caught_warnings

MAX_INFLATED = 512 << 20  # bytes of a deflated data set
MAX_EXPANSION = 100  # times its length: radiographs reach 10
ALWAYS_INFLATED = 64 << 20  # bytes that it may have whatever its length, as an empty picture does
UNDEFINED = 0xFFFFFFFF  # the length of encapsulated pixel data
PIXELS = {0x7FE00008: "Float Pixel Data", 0x7FE00009: "Double Float Pixel Data", 0x7FE00010: "Pixel Data"}
KEYWORDS = (
    "SpecificCharacterSet", "ImageType", "SOPClassUID", "Modality", "PresentationIntentType", "SeriesDescription",
    "BodyPartExamined", "ViewPosition", "ViewCodeSequence", "PatientOrientation", "ImageLaterality",
    "ConversionType", "BurnedInAnnotation", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration",
    "NumberOfFrames", "Rows", "Columns", "PixelAspectRatio", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "LossyImageCompression", "PixelSpacing", "ImagerPixelSpacing",
    "NominalScannedPixelSpacing", "PixelPaddingValue", "PixelPaddingRangeLimit", "FloatPixelPaddingValue",
    "FloatPixelPaddingRangeLimit", "DoubleFloatPixelPaddingValue", "DoubleFloatPixelPaddingRangeLimit",
    "RescaleIntercept", "RescaleSlope", "ModalityLUTSequence", "WindowCenter", "WindowWidth",
    "WindowCenterWidthExplanation", "VOILUTFunction", "VOILUTSequence", "PresentationLUTShape",
    "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData", "SegmentedRedPaletteColorLookupTableData",
    "SegmentedGreenPaletteColorLookupTableData", "SegmentedBluePaletteColorLookupTableData",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
)  # fmt: skip
_TAGS = [tag for tag in map(tag_for_keyword, KEYWORDS) if tag is not None]
OVERLAYS = [(group << 16) | 0x0010 for group in range(0x6000, 0x6020, 2)]  # Overlay Rows
_BIG = "1.2.840.10008.1.2.2"
_IMPLICIT = "1.2.840.10008.1.2"
_DEFLATED = "1.2.840.10008.1.2.1.99"

logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)  # it logs values of the header


@dataclass(frozen=True)
class DicomFile:
    """An open DICOM file. `pixels_at` and `pixels_length` say where in `stream` the pixels are."""

    id: str
    dataset: Dataset
    stream: BinaryIO
    syntax: UID | None  # None: nowhere said
    little_endian: bool
    flags: tuple[Flag, ...]
    pixels_tag: int
    pixels_vr: str
    pixels_at: int
    pixels_length: int

    @property
    def pixels_name(self) -> str:
        """The tag and the name of the pixel element, for messages."""
        tag = self.pixels_tag
        return f"({tag >> 16:04X},{tag & 0xFFFF:04X}) {PIXELS[tag]}"


@contextmanager
def sealed(where: str, what: str, *, warns: bool = True) -> Iterator[None]:
    """Run library calls: an AttnError passes, every other exception becomes `InputError(what)` without its message.

    `what` is a fixed sentence: what a library says may quote a patient's name. Warnings reach nobody; where the calls
    give none (`warns=False`), threads do not wait for each other.
    """
    try:
        with caught_warnings() if warns else nullcontext():
            yield
    except AttnError:
        raise
    except MemoryError:
        raise InputError("does not fit in memory", where=where) from None
    except Exception:
        raise InputError(what, where=where) from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of Rust, which derives it from BaseException
            raise
        raise InputError(what, where=where) from None


@contextmanager
def open_dicom(source: Path | BinaryIO, id: str) -> Iterator[DicomFile]:
    """Open `source`; InputError when it is no DICOM file, NotAnImageError when it has no pixels and is not to have."""
    with ExitStack() as stack:
        if isinstance(source, Path):
            with sealed(id, "cannot be opened; check the path and its access rights"):
                source = stack.enter_context(source.open("rb"))
        with sealed(id, "is not a readable DICOM file"):
            file = _parsed(source, id)
        yield file


def _parsed(stream: BinaryIO, id: str) -> DicomFile:
    start = stream.read(132)
    stream.seek(132 if start[128:] == b"DICM" else 0)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
    syntax = _said(meta)
    flags = []
    if syntax is None or start[128:] != b"DICM":
        flags.append(Flag.ENCODING_CONTRADICTS)
    if syntax == _DEFLATED:
        stream = _inflated(stream, id)
    implicit, little = _encoding(stream, syntax)
    found: list[tuple[int, str, int, int]] = []

    def at_pixels(tag: int, vr: str | None, length: int) -> bool:
        if tag in PIXELS:
            found.append((int(tag), vr or "OW", stream.tell(), length))
        return tag in PIXELS

    dataset = read_dataset(
        stream,
        implicit,
        little,
        stop_when=at_pixels,
        specific_tags=[*_TAGS, *OVERLAYS],
    )
    if dataset.original_encoding[0] != implicit and Flag.ENCODING_CONTRADICTS not in flags:
        flags.append(Flag.ENCODING_CONTRADICTS)
    if not found:
        raise _without_pixels(dataset, meta, id)
    return DicomFile(id, dataset, stream, syntax, little, tuple(flags), *found[-1])


def _said(meta: Dataset) -> UID | None:
    """The transfer syntax that the file meta information names."""
    name = str(meta.get("TransferSyntaxUID") or "")
    return UID(name) if name else None


def _encoding(stream: BinaryIO, syntax: UID | None) -> tuple[bool, bool]:
    """Whether the data set is implicit VR, and whether it is little endian; guessed from it where nothing says so."""
    if syntax is not None:
        return syntax == _IMPLICIT, syntax != _BIG
    peek = stream.read(6)
    stream.seek(-len(peek), io.SEEK_CUR)
    explicit = peek[4:6].isalpha() and peek[4:6].isupper()
    return not explicit, not (explicit and int.from_bytes(peek[:2], "little") >= 0x400)


def _inflated(stream: BinaryIO, id: str) -> BinaryIO:
    """The deflated rest of `stream`, expanded in pieces; InputError when it grows as no picture does."""
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    whole, taken = io.BytesIO(), 0
    while piece := inflate.unconsumed_tail or stream.read(1 << 16):
        whole.write(inflate.decompress(piece, 1 << 20))
        taken += len(piece) - len(inflate.unconsumed_tail)
        if whole.tell() > min(MAX_INFLATED, ALWAYS_INFLATED + MAX_EXPANSION * taken):
            grown = f"from {taken:,} bytes to {whole.tell():,} and more"
            raise InputError(f"its deflated data set expands {grown}, as no picture does", where=id)
        if inflate.eof:
            break
    if not inflate.eof:
        raise InputError("its deflated data set ends early; the file is not complete", where=id)
    whole.seek(0)
    return whole


def _without_pixels(dataset: Dataset, meta: Dataset, id: str) -> InputError:
    kinds = [UID(str(said or "")) for said in (dataset.get("SOPClassUID"), meta.get("MediaStorageSOPClassUID"))]
    # The first may be cut off with the file, so that it is the name of nothing.
    name = next((kind.name for kind in kinds if kind.is_valid and kind.name != str(kind)), "")
    image = "Image Storage" in name or "Rows" in dataset
    if not name and not image and len(dataset) == 0:
        return InputError("is not a readable DICOM file: no data element of an image is found", where=id)
    if image:
        return InputError("has no (7FE0,0010) Pixel Data", where=id, hint="the file is not complete; get it again")
    return NotAnImageError(f"holds no image but {name or 'an object of a private kind'}", where=id)


def bytes_at(file: DicomFile, at: int, length: int) -> bytes:
    """So many bytes of the file; InputError when it ends before."""
    file.stream.seek(at)
    data = file.stream.read(length)
    if len(data) < length:
        raise InputError(
            f"{file.pixels_name} is to have {length:,} bytes and ends after {len(data):,}",
            where=file.id,
            hint="the file is not complete; get it again",
        )
    return data


def size(stream: BinaryIO) -> int:
    """The length of a stream in bytes."""
    here = stream.tell()
    end = stream.seek(0, io.SEEK_END)
    stream.seek(here)
    return end
