"""What a DICOM file shows, whatever way its pixels are stored in."""

import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from dicom_fixtures import SYNTAXES, compressed, drawn, header, picture, written
from PIL import Image
from pydicom.dataset import Dataset

from attn.core.errors import InputError
from attn.data_adapters.dicom.flags import Flag
from attn.data_adapters.dicom.pixels import describe_dicom, read_dicom
from attn.data_adapters.dicom.radiograph import Radiograph
from attn.data_adapters.dicom.read import read_radiographs

FULL = {"WindowCenter": 2048, "WindowWidth": 4096}  # of 12 bits, to the value
DEEP = [name for name in SYNTAXES if name != "jpeg"]  # which Pillow writes with 8 bits
LUMINANCE = np.array([0.299, 0.587, 0.114])


def read(data: bytes, **options: Any) -> Radiograph:
    (found,) = read_radiographs(io.BytesIO(data), "drawn.dcm", **options)
    return found


def saved(pixels: np.ndarray, form: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def lut(bits: int) -> Dataset:
    """A VOI LUT that maps 12 bits to `bits`, as its values say: all of them."""
    item = Dataset()
    item.LUTDescriptor = [4096, 0, bits]
    item["LUTDescriptor"].VR = "US"
    item.LUTData = np.rint(np.arange(4096) / 4095 * (2**bits - 1)).astype("<u2").tobytes()
    item["LUTData"].VR = "OW"
    return item


def twelve() -> dict[str, bytes]:
    """One picture of 256 levels of grey in twelve encodings; the last two are lossy."""
    eight = picture(bits=8)
    ten, sixteen = eight.astype(np.uint16) * 4, eight.astype(np.uint16) * 257
    dirt = np.random.default_rng(1).integers(0, 64, ten.shape, dtype=np.uint16) << 10
    deep = {"BitsStored": 16, "WindowCenter": 32768, "WindowWidth": 65536}
    exact = {"VOILUTFunction": "LINEAR_EXACT", "WindowCenter": 127.5, "WindowWidth": 255}
    return {
        "png 8": saved(eight, "PNG"),
        "png 16": saved(sixteen, "PNG"),
        "MONOCHROME1": drawn(255 - eight, PhotometricInterpretation="MONOCHROME1", **exact),
        "signed": drawn(
            (sixteen.astype(np.int32) - 32768).astype(np.int16), PixelRepresentation=1, **deep | {"WindowCenter": 0}
        ),
        "10 of 16 with dirt above": drawn(
            ten | dirt, BitsStored=10, WindowCenter=510, WindowWidth=1020, VOILUTFunction="LINEAR_EXACT"
        ),
        "VOI LUT": drawn(np.rint(eight / 255 * 4095).astype(np.uint16), VOILUTSequence=[lut(16)]),
        "RLE": drawn(sixteen, "rle", **deep),
        "JPEG 2000": drawn(sixteen, "j2k", **deep),
        "JPEG-LS": drawn(eight, "jpegls", **exact),
        "JPEG lossless": drawn(sixteen, "lossless", **deep),
        "deflated": drawn(eight, "deflated", **exact),
        "JPEG baseline": drawn(eight, "jpeg", **exact),
        "JPEG 2000, lossy": drawn(eight, "j2k-lossy", **exact),
    }


@pytest.mark.parametrize("name", twelve())
def test_one_picture_in_many_encodings(name: str) -> None:
    found = read(twelve()[name])
    lossy = name in ("JPEG baseline", "JPEG 2000, lossy")
    assert np.abs(found.pixels_hw - picture(bits=8) / 255).max() < (0.05 if lossy else 2e-4)
    assert (Flag.LOSSY in found.flags) == lossy
    assert found.pixels_hw.dtype == np.float32


@pytest.mark.parametrize(("syntax", "bits"), [*((name, 8) for name in SYNTAXES), *((name, 12) for name in DEEP)])
def test_syntaxes(syntax: str, bits: int) -> None:
    pixels = picture(bits=bits)
    found = read(drawn(pixels, syntax, WindowCenter=2 ** (bits - 1), WindowWidth=2**bits))
    lossy = syntax in ("jpeg", "jpegls-near", "j2k-lossy")
    assert np.abs(found.pixels_hw - pixels / (2**bits - 1)).max() < (0.03 if lossy else 1e-6)
    assert found.header["transfer_syntax"].endswith(f"({SYNTAXES[syntax]})")
    names = {"jpeg": "Pillow", "lossless": "gdcm", "jpegls": "pyjpegls", "j2k": "openjpeg", "rle": "pylibjpeg-rle"}
    assert found.header["decoder"] == names.get(syntax.split("-")[0], "none")


@pytest.mark.parametrize("syntax", [name for name in SYNTAXES if name != "lossless"])
def test_colours(syntax: str) -> None:
    grey = picture(bits=8)
    pixels = np.stack([grey, grey[::-1], grey[:, ::-1]], -1)
    found = read(drawn(pixels, syntax))
    assert np.abs(found.pixels_hw - pixels @ LUMINANCE / 255).max() < (0.03 if Flag.LOSSY in found.flags else 1e-6)
    assert Flag.COLOUR in found.flags and Flag.WINDOW_MISSING not in found.flags


def test_colours_by_planes_and_as_ybr() -> None:
    grey = picture(bits=8)
    pixels = np.stack([grey, grey[::-1], grey[:, ::-1]], -1)
    planes = written(header(pixels, PlanarConfiguration=1), pixels.transpose(2, 0, 1).tobytes())
    assert np.abs(read(planes).pixels_hw - pixels @ LUMINANCE / 255).max() < 1e-6
    ybr = np.asarray(Image.fromarray(pixels).convert("YCbCr"))
    full = drawn(ybr, PhotometricInterpretation="YBR_FULL")
    assert np.abs(read(full).pixels_hw - pixels @ LUMINANCE / 255).max() < 2.1 / 255, "to the rounding of Y"
    pairs = np.stack([ybr[:, 0::2, 0], ybr[:, 1::2, 0], ybr[:, 0::2, 1], ybr[:, 0::2, 2]], -1)
    half = written(header(ybr, PhotometricInterpretation="YBR_FULL_422"), pairs.tobytes())
    assert np.array_equal(read(half).pixels_hw, read(full).pixels_hw)


def test_palette() -> None:
    pixels = picture(bits=8)
    names = [f"{colour}PaletteColorLookupTable" for colour in ("Red", "Green", "Blue")]
    entries = [np.arange(256) * 257, np.arange(256)[::-1] * 257, np.full(256, 65535)]
    table = {f"{name}Descriptor": [256, 0, 16] for name in names}
    table |= {f"{name}Data": column.astype("<u2").tobytes() for name, column in zip(names, entries, strict=True)}
    found = read(drawn(pixels, PhotometricInterpretation="PALETTE COLOR", **table))
    expected = (pixels * 0.299 + (255 - pixels.astype(int)) * 0.587 + 255 * 0.114) / 255
    assert np.abs(found.pixels_hw - expected).max() < 1e-6
    assert {Flag.PALETTE, Flag.COLOUR} <= set(found.flags)


def test_only_the_stored_bits_count() -> None:
    """The words of docs/chest.md, unsigned and signed."""
    words = np.array([[0xF1F4, 0x0F38]], np.uint16)
    window = {"WindowCenter": 0, "WindowWidth": 8192, "VOILUTFunction": "LINEAR_EXACT"}
    for signed, expected in ((0, [500, 3896]), (1, [500, -200])):
        found = read(drawn(words, PixelRepresentation=signed, **window)).pixels_hw[0] * 8192 - 4096
        assert found.tolist() == pytest.approx(expected, abs=0.01)


def test_high_bit_above_the_stored_bits() -> None:
    pixels = picture(bits=12)
    found = read(drawn((pixels << 4) | 0xA, HighBit=15, **FULL))
    assert np.abs(found.pixels_hw - pixels / 4095).max() < 1e-6


def test_values_of_32_bits_and_floats() -> None:
    pixels = picture(bits=12)
    plain = read(drawn(pixels)).pixels_hw
    wide = read(drawn(pixels.astype(np.uint32) * 1000, BitsStored=32))
    assert np.abs(wide.pixels_hw - plain).max() < 1e-6 and Flag.WINDOW_MISSING in wide.flags
    dataset = header(pixels.astype(np.float32), BitsStored=None, HighBit=None, PixelRepresentation=None)
    values = np.where(pixels == 0, np.float32(-9999), pixels.astype(np.float32))
    values[5, 5] = np.nan
    dataset.FloatPixelPaddingValue = -9999.0
    dataset.WindowCenter, dataset.WindowWidth, dataset.VOILUTFunction = 2047.5, 4095, "LINEAR_EXACT"
    dataset.FloatPixelData = values.tobytes()
    found = read(written(dataset, b"")).pixels_hw
    expected = np.where(np.isnan(values), 0, pixels / 4095)
    assert np.abs(found - expected).max() < 1e-6


def test_padding_is_black_and_counts_for_nothing() -> None:
    pixels = picture(bits=12)
    inner = read(drawn(pixels[10:, 10:], PhotometricInterpretation="MONOCHROME1")).pixels_hw
    framed = np.full_like(pixels, 7)
    framed[10:, 10:] = np.maximum(pixels[10:, 10:], 16)
    found = read(drawn(framed, PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=0, PixelPaddingRangeLimit=15))
    assert found.pixels_hw[:10].max() == 0 == found.pixels_hw[:, :10].max()
    assert np.abs(found.pixels_hw[10:, 10:] - inner).max() < 0.01
    signed = drawn(np.array([[-2000, 100]], np.int16), PixelRepresentation=1, BitsStored=16, PixelPaddingValue=-2000)
    assert read(signed, window="0,4000").pixels_hw[0].tolist() == pytest.approx([0, 0.525], abs=1e-3)


def test_constant_picture() -> None:
    for value in (0, 7, 4095):
        assert read(drawn(np.full((8, 8), value, np.uint16))).pixels_hw.tolist() == [[0.0] * 8] * 8


def test_frames() -> None:
    frames = [picture(bits=8), picture(bits=8)[::-1].copy(), picture(bits=8)[:, ::-1].copy()]
    form = {"NumberOfFrames": 3, "WindowCenter": 128, "WindowWidth": 256}
    data = written(header(frames[0], **form), b"".join(frame.tobytes() for frame in frames))
    rle = written(header(frames[0], **form), [compressed(frame, "rle") for frame in frames], "rle")
    for file in (data, rle):
        found = list(read_dicom(io.BytesIO(file), "study/a.dcm"))
        assert [item.id for item in found] == ["study/a.dcm#1", "study/a.dcm#2", "study/a.dcm#3"]
        for item, frame in zip(found, frames, strict=True):
            assert np.abs(item.pixels_hw - frame / 255).max() < 1e-6 and Flag.MULTI_FRAME in item.flags
        (second,) = read_dicom(io.BytesIO(file), "a", frame=2)
        assert np.array_equal(second.pixels_hw, found[1].pixels_hw)
        with pytest.raises(InputError, match="has 3 frames, no frame 4"):
            list(read_dicom(io.BytesIO(file), "a", frame=4))


def test_frames_in_several_fragments_by_offsets_and_by_their_first_bytes() -> None:
    from pydicom.encaps import encapsulate

    frames = [picture(bits=8), picture(bits=8)[::-1].copy()]
    streams = [compressed(frame, "j2k") for frame in frames]
    for offsets in (True, False):
        dataset = header(frames[0], NumberOfFrames=2, WindowCenter=128, WindowWidth=256)
        body = encapsulate(streams, fragments_per_frame=3, has_bot=offsets)
        file = written(dataset, streams, "j2k")
        at = file.index(encapsulate(streams))
        found = list(read_dicom(io.BytesIO(file[:at] + body), "a"))
        for item, frame in zip(found, frames, strict=True):
            assert np.abs(item.pixels_hw - frame / 255).max() < 1e-6


def test_functional_groups_of_a_frame() -> None:
    """Enhanced objects keep rescale and window per frame, in sequences."""
    pixels = picture(bits=12)

    def group(center: float) -> Dataset:
        window, rescale, outer = Dataset(), Dataset(), Dataset()
        window.WindowCenter, window.WindowWidth, window.VOILUTFunction = center, 8190, "LINEAR_EXACT"
        rescale.RescaleSlope, rescale.RescaleIntercept = 2, 0
        outer.FrameVOILUTSequence, outer.PixelValueTransformationSequence = [window], [rescale]
        return outer

    dataset = header(pixels, NumberOfFrames=2, PerFrameFunctionalGroupsSequence=[group(4095), group(4095 * 2)])
    first, second = read_dicom(io.BytesIO(written(dataset, pixels.tobytes() * 2)), "a")
    assert np.abs(first.pixels_hw - pixels / 4095).max() < 1e-6
    assert np.abs(second.pixels_hw - np.clip(pixels / 4095 - 0.5, 0, 1)).max() < 1e-6


def test_description() -> None:
    windows: dict[str, Any] = {"WindowCenter": [512, 300], "WindowWidth": [1024, 400]}
    windows["WindowCenterWidthExplanation"] = ["SHARP", "SOFT"]
    described = describe_dicom(io.BytesIO(drawn(picture(), "j2k", PixelSpacing=[0.2, 0.1], **windows)), "a")
    assert described["decoder"] == "openjpeg" and described["view"] == "frontal" and described["body_part"] == "CHEST"
    assert described["windows"] == (
        "0: LINEAR window SHARP, center 512, width 1024; 1: LINEAR window SOFT, center 300, width 400"
    )
    assert described["voi_step"] == "LINEAR window SHARP, center 512, width 1024"
    assert described["modality_step"] == "rescale slope 1, intercept 0" and described["polarity"] == "as stored"
    assert (described["pixel_height"], described["pixel_width"]) == (0.2, 0.1)
    assert described["flags"] == ["pixels-not-square"]
    assert "TEST" not in str(described)


def test_threads_read_at_once_without_a_warning() -> None:
    files = [drawn(picture(bits=8), syntax) for syntax in ("jpeg", "j2k", "rle", "explicit")] * 6
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(read, files))
    for ours, file in zip(found, files, strict=True):
        assert np.array_equal(ours.pixels_hw, read(file).pixels_hw)
