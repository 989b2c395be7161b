"""The map of a model over its image as a colour Secondary Capture (PS3.3 A.8.1), which every viewer shows.

Shapes: H, W the image as it is stored, h, w the map, Y, X the picture.
"""

import numpy as np
from jaxtyping import Float, UInt8
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from attn.data_adapters.dicom.evidence import Evidence
from attn.data_adapters.dicom.flags import Flag
from attn.data_adapters.dicom.report import RESEARCH, Algorithm, Series, equipment

CAPTURE_SERIES = 9002
LONG_SIDE = 512  # pixels: a map has few cells, and 10,000 captures take 8 GB
FOOT, LINE = 48, 18  # rows of the band below the picture, and of a further line in it
OPACITY = 0.4  # of the map's colours


def draw_heat(
    image_hw: Float[np.ndarray, "H W"],
    heat_hw: Float[np.ndarray, "h w"],
    spacing: tuple[float, float] = (1.0, 1.0),
    caption: str = "",
) -> UInt8[np.ndarray, "Y X 3"]:
    """The image in 0..1 with the map over it in colours, and below it the colour bar, `caption` and what it is for.

    `spacing` is the height and the width of a stored pixel: the picture has square ones. The colours span the map's own
    range, which the bar states; a map that is the same everywhere is dark everywhere. Each further line of `caption`
    makes the band LINE rows higher.
    """
    from matplotlib import colormaps
    from PIL import Image, ImageDraw, ImageFont

    height, width = image_hw.shape[0] * spacing[0], image_hw.shape[1] * spacing[1]
    scale = LONG_SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    grey_yx = np.asarray(Image.fromarray(np.uint8(image_hw.clip(0, 1) * 255 + 0.5)).resize(size, Image.Resampling.BOX))
    low, high = float(heat_hw.min()), float(heat_hw.max())
    unit_hw = (heat_hw - low) / (high - low) if high > low else np.zeros_like(heat_hw)
    heat_yx = np.asarray(Image.fromarray(unit_hw.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))
    colours = colormaps["inferno"]
    mixed_yx3 = (1 - OPACITY) * grey_yx[..., None] + OPACITY * 255 * colours(heat_yx)[..., :3]
    top = size[1] + LINE * caption.count("\n")  # of the last rows of the band
    picture = Image.new("RGB", (LONG_SIDE, top + FOOT))
    picture.paste(Image.fromarray(np.uint8(mixed_yx3 + 0.5)), ((LONG_SIDE - size[0]) // 2, 0))
    bar = np.uint8(255 * colours(np.linspace(0, 1, 96))[None, :, :3].repeat(10, 0) + 0.5)
    picture.paste(Image.fromarray(bar), (LONG_SIDE - 166, top + 30))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(14)
    draw.text((8, size[1] + 4), caption, "white", font)
    draw.text((8, top + 26), RESEARCH, "white", font)
    draw.text((LONG_SIDE - 172, top + 26), f"{low:.3g}", "white", font, anchor="ra")
    draw.text((LONG_SIDE - 64, top + 26), f"{high:.3g}", "white", font)
    return np.asarray(picture)


def write_capture(
    evidence: Evidence,
    picture_yx3: UInt8[np.ndarray, "Y X 3"],
    algorithm: Algorithm,
    series: Series | None = None,
    flags: tuple[str, ...] = (),
) -> Dataset:
    """The picture as a Secondary Capture that refers to the image; `save_as` writes it. `flags` are the image's."""
    from highdicom.sc import SCImage
    from highdicom.sr import CodedConcept
    from pydicom.sr.codedict import codes

    series = series or Series()
    capture: Dataset = SCImage(
        pixel_array=picture_yx3,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),  # replaced below: highdicom takes fewer directions than the standard
        study_instance_uid=evidence.study,
        series_instance_uid=series.uid,
        series_number=CAPTURE_SERIES,
        sop_instance_uid=generate_uid(prefix=None),
        instance_number=series.number,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        specific_character_set="ISO_IR 192",
        **equipment(algorithm),
    )
    capture.update(evidence.identity)
    capture.PatientOrientation = list(evidence.orientation or ())
    capture.Laterality = ""  # type 2C, which dciodvfy asks for
    capture.DerivationDescription = f"Map of {algorithm.name} over the image. {RESEARCH}."
    source = Dataset()
    source.ReferencedSOPClassUID = evidence.sop_class
    source.ReferencedSOPInstanceUID = evidence.sop_instance
    if evidence.names_frames:
        source.ReferencedFrameNumber = evidence.frame
    source.PurposeOfReferenceCodeSequence = [CodedConcept.from_code(codes.DCM.SourceImageForImageProcessingOperation)]
    capture.SourceImageSequence = [source]
    if Flag.LOSSY in flags:
        capture.LossyImageCompression = "01"
    if Flag.BURNED_IN in flags:
        capture.BurnedInAnnotation = "YES"
    return capture
