"""How the pixels of a DICOM file are laid out, checked before anything is read or decoded (PS3.3 C.7.6.3)."""

from dataclasses import dataclass

from pydicom.tag import Tag

from attn.core.errors import InputError
from attn.data_adapters.dicom.file import UNDEFINED, DicomFile, size
from attn.data_adapters.dicom.header import Header

MAX_PIXELS = 256_000_000  # of one frame
GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT")
_FLOAT = {0x7FE00008: 32, 0x7FE00009: 64}
_NAMES = {"Rows": "Rows", "Columns": "Columns", "BitsAllocated": "Bits Allocated", "NumberOfFrames": "Number of Frames"}


@dataclass(frozen=True)
class Layout:
    """The form of each frame. `bits` are allocated to a sample; the lowest of `stored` bits is at `shift`."""

    rows: int
    columns: int
    samples: int
    bits: int
    stored: int
    shift: int
    signed: bool
    planar: bool
    photometric: str
    frames: int
    real: bool

    @property
    def pixels(self) -> int:
        """Pixels of one frame."""
        return self.rows * self.columns

    @property
    def subsampled(self) -> bool:
        """Two pixels share one pair of colours, as they are stored without compression (PS3.3 C.7.6.3.1.2)."""
        return self.photometric == "YBR_FULL_422"

    @property
    def frame_bytes(self) -> int:
        """The length of one frame without compression."""
        samples = 2 * self.pixels if self.subsampled else self.samples * self.pixels
        return samples * self.bits // 8


def read_layout(file: DicomFile) -> Layout:
    """The layout that the header declares. InputError when no picture can have it."""
    header = Header(file.dataset)
    real = file.pixels_tag in _FLOAT
    rows, columns = _count(file, header, "Rows"), _count(file, header, "Columns")
    frames = _count(file, header, "NumberOfFrames", absent=1, least=0) or 1  # 0 is written for one frame
    samples = _count(file, header, "SamplesPerPixel", absent=1)
    photometric = header.text("PhotometricInterpretation").upper() or ("RGB" if samples == 3 else "MONOCHROME2")
    bits = _count(file, header, "BitsAllocated", absent=_FLOAT.get(file.pixels_tag))
    if rows * columns > MAX_PIXELS:
        raise _refused(file, f"{rows:,} rows of {columns:,} pixels are more than the {MAX_PIXELS:,} pixels allowed")
    if bits not in (8, 16, 32, 64) or (real and bits != _FLOAT[file.pixels_tag]) or (not real and bits == 64):
        raise _refused(file, f"(0028,0100) Bits Allocated is {bits}; 8, 16 and 32 are read")
    stored = bits if real else _count(file, header, "BitsStored", absent=bits)
    high = stored - 1 if real else _count(file, header, "HighBit", absent=stored - 1, least=0)
    if stored > bits or not stored - 1 <= high < bits:
        raise _refused(
            file, f"(0028,0101) Bits Stored {stored} and (0028,0102) High Bit {high} do not fit in {bits} bits"
        )
    if photometric not in (*GREY, *COLOUR, "PALETTE COLOR"):
        raise _refused(file, "(0028,0004) Photometric Interpretation is none that is read")
    if samples != (3 if photometric in COLOUR else 1):
        raise _refused(file, f"(0028,0002) Samples per Pixel is {samples}, and (0028,0004) is {photometric}")
    layout = Layout(
        rows,
        columns,
        samples,
        bits,
        stored,
        high + 1 - stored,
        header.number("PixelRepresentation") == 1,
        header.number("PlanarConfiguration") == 1,
        photometric,
        frames,
        real,
    )
    _check_length(file, layout)
    return layout


def _check_length(file: DicomFile, layout: Layout) -> None:
    """Compare what is declared with what is there."""
    length, rest = file.pixels_length, size(file.stream) - file.pixels_at
    if length == 0 or rest <= 0:
        raise _refused(file, f"{file.pixels_name} is empty", "get the file again")
    if length == UNDEFINED:
        if layout.frames > max(rest // 8, 1):
            raise _refused(
                file, f"(0028,0008) Number of Frames is {layout.frames:,}: more than {rest:,} bytes can hold"
            )
        return
    needed = layout.frames * layout.frame_bytes
    if min(length, rest) < needed:
        need = "1 frame needs" if layout.frames == 1 else f"{layout.frames:,} frames need"
        raise _refused(
            file,
            f"{file.pixels_name} has {min(length, rest):,} bytes, and {need} {needed:,} "
            f"for {layout.rows} x {layout.columns} pixels",
            "the file is not complete; get it again",
        )


def _count(file: DicomFile, header: Header, keyword: str, absent: int | None = None, least: int = 1) -> int:
    tag = Tag(keyword)
    name = f"({tag.group:04X},{tag.element:04X}) {_NAMES.get(keyword, keyword)}"
    value = header.number(keyword)
    if value is None:
        if absent is None:
            raise _refused(file, f"{name} is missing")
        return absent
    if value != value or value != int(value) or value < least:
        raise _refused(file, f"{name} is no whole number of at least {least}")
    return int(value)


def _refused(file: DicomFile, what: str, hint: str | None = None) -> InputError:
    return InputError(what, where=file.id, hint=hint)
