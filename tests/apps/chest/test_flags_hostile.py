"""Each flag is met by a drawn file that has what it is about, and stands in the table of docs/chest.md."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chest_fixtures import chest
from dicom_fixtures import compressed, drawn, header, written
from PIL import Image
from pydicom.dataset import Dataset

from attn.apps.chest.predict import ChestPredictor
from attn.data_adapters.dicom.flags import Flag
from attn.data_adapters.dicom.read import read_radiographs
from attn.data_adapters.dicom.studies import list_entries

PAGE = Path(__file__).resolve().parents[3] / "docs" / "chest.md"
FRONTAL = chest("normal", 100)
WINDOW: dict[str, Any] = {"WindowCenter": 127.5, "WindowWidth": 255, "VOILUTFunction": "LINEAR_EXACT"}


def scan(pixels: np.ndarray = FRONTAL, syntax: str = "explicit", **changes: Any) -> bytes:
    """A file without any remark, but for `changes`."""
    return drawn(pixels, syntax, **WINDOW | changes)


def table_of_seven_bits() -> bytes:
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [256, 0, 7], bytes(range(256)) * 2
    item["LUTDescriptor"].VR, item["LUTData"].VR = "US", "OW"
    return scan(VOILUTSequence=[item])


def palette() -> bytes:
    changes: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour in ("Red", "Green", "Blue"):
        changes[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        changes[f"{colour}PaletteColorLookupTableData"] = np.arange(0, 65536, 256, dtype="<u2").tobytes()
    return scan(**changes)


def overlay() -> bytes:
    dataset = header(FRONTAL, **WINDOW)
    dataset.add_new(0x60000010, "US", 64)
    return written(dataset, FRONTAL.tobytes())


def deep() -> bytes:
    file = io.BytesIO()
    Image.fromarray(FRONTAL.astype(np.uint16) * 257).save(file, "PNG")
    return file.getvalue()


FILES: dict[Flag, Callable[[], bytes]] = {
    Flag.WINDOW_MISSING: lambda: scan(WindowCenter=None, WindowWidth=None),
    Flag.WINDOW_UNREADABLE: lambda: scan(WindowCenter=1234).replace(b"1234", b"12,4"),
    Flag.WINDOW_NONSTANDARD: lambda: scan(WindowWidth=0.5, VOILUTFunction="LINEAR"),
    Flag.RESCALE_PARTIAL: lambda: scan(RescaleSlope=2),
    Flag.SLOPE_NEGATIVE: lambda: scan(255 - FRONTAL, RescaleSlope=-1, RescaleIntercept=255),
    Flag.LUT_NONSTANDARD: table_of_seven_bits,
    Flag.POLARITY_CONTRADICTS: lambda: scan(PresentationLUTShape="INVERSE"),
    Flag.LOSSY: lambda: scan(syntax="jpeg"),
    Flag.SYNTAX_CONTRADICTS: lambda: written(header(FRONTAL, **WINDOW), [compressed(FRONTAL, "jpeg")], "lossless"),
    Flag.ENCODING_CONTRADICTS: lambda: scan()[132:],
    Flag.COLOUR: lambda: drawn(np.stack([FRONTAL] * 3, axis=-1)),
    Flag.PALETTE: palette,
    Flag.MULTI_FRAME: lambda: written(header(FRONTAL, NumberOfFrames=2, **WINDOW), FRONTAL.tobytes() * 2),
    Flag.PIXELS_NOT_SQUARE: lambda: scan(PixelSpacing=[0.2, 0.1]),
    Flag.OVERLAY: overlay,
    Flag.BURNED_IN: lambda: scan(BurnedInAnnotation="YES"),
    Flag.FOR_PROCESSING: lambda: scan(PresentationIntentType="FOR PROCESSING"),
    Flag.SECONDARY_CAPTURE: lambda: scan(SOPClassUID="1.2.840.10008.5.1.4.1.1.7"),
    Flag.NOT_XRAY: lambda: scan(Modality="CT"),
    Flag.NOT_CHEST: lambda: scan(BodyPartExamined="HAND"),
    Flag.LATERAL: lambda: scan(ViewPosition="LL"),
    Flag.INVERTED: lambda: scan(255 - FRONTAL),
    Flag.TURNED: lambda: scan(np.ascontiguousarray(np.rot90(FRONTAL))),
    Flag.HEADER_CONTRADICTS_PIXELS: lambda: scan(ViewPosition="LL"),
    Flag.DEEP: deep,
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory, chest_model: Path) -> dict[str, tuple[str, ...]]:
    """The flags that a model's rows have, by the flag for which the file was drawn."""
    folder = tmp_path_factory.mktemp("flags")
    for flag, file in FILES.items():
        (folder / f"{flag}.dcm").write_bytes(file())
    found = ChestPredictor.load(chest_model).predict_many(list_entries([str(folder)]))
    return {Path(row.id).name.split(".dcm")[0]: row.flags for row in found}


@pytest.mark.parametrize("flag", FILES)
def test_a_file_that_has_it_is_flagged(rows: dict[str, tuple[str, ...]], flag: Flag) -> None:
    assert flag in rows[flag]


def test_a_plain_file_has_no_flag() -> None:
    (found,) = read_radiographs(io.BytesIO(scan()), "plain.dcm")
    assert found.flags == ()


def test_every_flag_has_a_file_and_stands_in_the_table_once() -> None:
    assert {*FILES} == {*Flag}
    assert sorted(re.findall(r"^\| `([^`]+)` \| [A-Z].*\. \|$", PAGE.read_text(), re.MULTILINE)) == sorted(Flag)


def test_compressed_by_name_and_not_in_fact() -> None:
    native = written(header(FRONTAL, **WINDOW), FRONTAL.tobytes()).replace(
        b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0"
    )
    (found,) = read_radiographs(io.BytesIO(native), "native.dcm")
    assert found.flags == (Flag.SYNTAX_CONTRADICTS,)
