"""What the header says the image is: flags, and the values that may be shown. Free text is never passed on.

Every value that leaves this module is a number, or stands in a list here, or is a name of the standard's own.
"""

import math

from pydicom.uid import UID

from attn.data_adapters.dicom.decode import syntax_name
from attn.data_adapters.dicom.file import OVERLAYS, DicomFile
from attn.data_adapters.dicom.flags import Flag
from attn.data_adapters.dicom.frame_layout import COLOUR, Layout
from attn.data_adapters.dicom.header import Header

XRAY = ("CR", "DX", "RG")
MODALITIES = (
    *XRAY, "BMD", "CT", "DG", "ECG", "EPS", "ES", "GM", "IO", "IVOCT", "IVUS", "MG", "MR", "NM", "OCT", "OP", "OT",
    "PT", "PX", "REG", "RF", "RTDOSE", "RTIMAGE", "SC", "SEG", "SM", "TG", "US", "XA", "XC",
)  # fmt: skip
CHEST = ("CHEST", "THORAX", "LUNG", "LUNGS")
BODY_PARTS = (
    *CHEST, "ABDOMEN", "ANKLE", "ARM", "BREAST", "CALCANEUS", "CLAVICLE", "CSPINE", "ELBOW", "EXTREMITY", "FEMUR",
    "FINGER", "FOOT", "FOREARM", "HAND", "HEAD", "HIP", "HUMERUS", "JAW", "KNEE", "LEG", "LSPINE", "NECK", "PELVIS",
    "RIB", "RIBS", "SHOULDER", "SKULL", "SPINE", "TOE", "TOOTH", "TSPINE", "WRIST",
)  # fmt: skip
FRONTAL = ("AP", "PA")
SIDE = ("LL", "RL", "LATERAL", "LAT")
_LATERAL_WORDS = ("lateral", "latéral", "seitlich", "profil", "lat", "ll", "rl", "lat.")
_FRONTAL_WORDS = ("pa", "ap", "p.a.", "a.p.", "frontal", "p-a", "a-p")
_LATERAL_CODES = ("399067008", "399198007", "399173006", "R-10228", "R-10230", "R-10232", "R-10236")


def allowed(file: DicomFile, layout: Layout) -> tuple[dict[str, str | float], tuple[Flag, ...]]:
    """What may be shown of the header, and the flags of the header and the pixels' form."""
    header = Header(file.dataset)
    modality, part = header.text("Modality").upper(), header.text("BodyPartExamined").upper()
    kind = UID(header.text("SOPClassUID"))
    view = view_of(header)
    values: dict[str, str | float] = {
        "modality": _listed(modality, MODALITIES),
        "sop_class": kind.name if kind.is_valid and kind.name != str(kind) else "",
        "body_part": _listed(part, BODY_PARTS),
        "view": view,
        "view_position": _listed(header.text("ViewPosition").upper(), (*FRONTAL, *SIDE, "LLD", "RLD", "LLO", "RLO")),
        "photometric": layout.photometric,
        "rows": float(layout.rows),
        "columns": float(layout.columns),
        "frames": float(layout.frames),
        "bits_allocated": float(layout.bits),
        "bits_stored": float(layout.stored),
        "signed": "yes" if layout.signed else "no",
        "transfer_syntax": syntax_name(file.syntax),
    }
    types = {text.upper() for text in header.texts("ImageType")}
    high, wide = spacing(header)
    marks = {
        Flag.COLOUR: layout.photometric in COLOUR,
        Flag.MULTI_FRAME: layout.frames > 1,
        Flag.PIXELS_NOT_SQUARE: abs(high / wide - 1) > 1e-3,
        Flag.LOSSY: header.text("LossyImageCompression") == "01",
        Flag.OVERLAY: any(tag in file.dataset for tag in OVERLAYS),
        Flag.BURNED_IN: header.text("BurnedInAnnotation").upper() == "YES" or "SCREEN SAVE" in types,
        Flag.FOR_PROCESSING: header.text("PresentationIntentType").upper() == "FOR PROCESSING"
        or "For Processing" in kind.name,
        Flag.SECONDARY_CAPTURE: "Secondary Capture" in kind.name
        or bool(modality not in XRAY and header.text("ConversionType")),
        Flag.NOT_XRAY: modality not in (*XRAY, "OT", "") or ("X-Ray" not in kind.name and _other_modality(kind)),
        Flag.NOT_CHEST: part not in (*CHEST, ""),
        Flag.LATERAL: view == "lateral",
    }
    return values, tuple(flag for flag, true in marks.items() if true)


def view_of(header: Header) -> str:
    """ "frontal", "lateral", or "" when the header does not say: by position, code, orientation, description."""
    position = header.text("ViewPosition").upper()
    if position in FRONTAL:
        return "frontal"
    if position in SIDE:
        return "lateral"
    for item in header.items("ViewCodeSequence")[:1]:
        if str(item.get("CodeValue", "")) in _LATERAL_CODES or "lateral" in str(item.get("CodeMeaning", "")).lower():
            return "lateral"
    rows = header.text("PatientOrientation").upper()[:1]  # the direction of a row: forwards, or to a side
    if rows in ("A", "P"):
        return "lateral"
    if rows in ("L", "R"):
        return "frontal"
    words = header.text("SeriesDescription").lower().replace(",", " ").replace("/", " ").replace("_", " ").split()
    if any(word in _LATERAL_WORDS for word in words):
        return "lateral"
    return "frontal" if any(word in _FRONTAL_WORDS for word in words) else ""


def spacing(header: Header) -> tuple[float, float]:
    """The height and the width of a pixel, in mm or as a ratio; (1, 1) when nothing says it."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio"):
        found = header.numbers(keyword)
        if len(found) == 2 and all(math.isfinite(value) and value > 0 for value in found):
            high, wide = found
            if 0.05 < high / wide < 20:
                return high, wide
    return 1.0, 1.0


def _listed(text: str, known: tuple[str, ...]) -> str:
    return text if text in known or not text else "other"


def _other_modality(kind: UID) -> bool:
    names = ("CT Image", "MR Image", "Ultrasound", "Nuclear", "Positron", "RT ", "Mammography", "Microscop", "Ophthalm")
    return any(name in kind.name for name in names)
