"""Classify galaxies with model.onnx of this folder: pictures and FITS cut-outs, without attn and torch.

    python score.py m51.fits ngc1300.jpg

Prints one JSON object a line: the file, the label and the probabilities, or the error. Needs numpy, scipy, pillow and
onnxruntime, and astropy for FITS. The stretch and the framing are attn's; `framing.py` and `background.py` beside this
script are its own files. Of a FITS file the only image is read: one band, or a cube of red, green and blue.
What attn does besides is not here. A file that needs it is an error: one with several images, with names of bands for
its planes, with an extension that is not called as an image, with holes or fills, or as large as a survey image.

Shapes: H height, W width, C bands, S model side.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    from background import measure_sky  # type: ignore[import-not-found]
    from framing import frame, galaxy_share, laid, lifted, orientation  # type: ignore[import-not-found]
else:
    from attn.data_adapters.sky.background import measure_sky
    from attn.data_adapters.sky.framing import frame, galaxy_share, laid, lifted, orientation

FITS = (b"SIMPLE", b"\x1f\x8b")
BANDS = re.compile(r"(BANDS?|FILTERS?|FILT|PLANE|CHAN|COLOR|WAVE|WAVELEN|LAMBDA)_?\d*|CTYPE3")
"""Cards that may say which bands the planes of a cube are."""
IMAGES = ("", "PRIMARY", "SCI", "SCIENCE", "IMAGE", "DATA", "COMPRESSED_IMAGE")
"""Names of an extension that is no map of weights or errors."""
LARGEST = 1024  # pixels of a side
LEAST_FILL = 16  # pixels of one value, from which on it may be a fill


def read(path: Path, stretch: dict[str, Any]) -> np.ndarray:
    """Display pixels (H, W, 3) uint8 of a file. Raises ValueError and OSError."""
    with path.open("rb") as file:
        if not file.read(6).startswith(FITS):
            with Image.open(path) as picture:
                if picture.mode not in ("RGB", "L"):
                    raise ValueError(f"a picture of mode {picture.mode!r}; RGB and L are read")
                return np.array(picture.convert("RGB"))
    from astropy.io import fits

    with fits.open(path) as hdus:
        found = [hdu for hdu in hdus if hdu.is_image and hdu.data is not None and hdu.data.ndim in (2, 3)]
        images, names = [hdu.data for hdu in found], [str(hdu.name) for hdu in found]
        named = [key for hdu in hdus for key in hdu.header if BANDS.fullmatch(key)]
    if len(images) != 1:
        raise ValueError(f"{len(images)} images of two or three dimensions; attn tells masks and maps from them")
    if names[0].strip().upper() not in IMAGES:
        raise ValueError(f"its extension is called {names[0]}; attn tells images from maps")
    data = images[0][:, :, None] if images[0].ndim == 2 else np.moveaxis(images[0], 0, 2)
    if data.shape[2] not in (1, 3):
        raise ValueError(f"{data.shape[2]} planes; one is read, or red, green and blue")
    if max(data.shape) > LARGEST:
        raise ValueError(f"{data.shape[1]} x {data.shape[0]} pixels; attn finds the galaxies in larger images")
    if data.shape[2] == 3 and named:
        raise ValueError(f"the card {named[0]} names its bands; attn puts them in order")
    if data.dtype.kind == "f" and not np.isfinite(data).all():
        raise ValueError("pixels without a value; attn fills them")
    if data.shape[2] == 3 and data.min() >= 0 and 64 <= data.max() <= 255 and (data == np.rint(data)).all():
        data = data.astype(np.uint8)  # a picture that was stretched before
    elif any(filled(data[:, :, band].astype(np.float64)) for band in range(data.shape[2])):
        raise ValueError("many pixels of one value far from all others; attn fills them")
    return render(data, stretch)


def filled(plane_hw: np.ndarray) -> bool:
    """Whether many pixels have the lowest or the highest value of a band, far from the others or from the sky."""
    for values in (plane_hw, -plane_hw):
        others = values[values > values.min()]
        count = values.size - others.size
        if count < LEAST_FILL or not others.size:
            continue
        nearest, sky = others.min(), measure_sky(others[None])
        below = values is plane_hw and count > 0.01 * values.size and 0 < 4 * sky.sigma < sky.level - values.min()
        if nearest - values.min() > np.median(others) - nearest > 0 or below:
            return True
    return False


def render(data_hwc: np.ndarray, stretch: dict[str, Any]) -> np.ndarray:
    """Display pixels (H, W, 3) uint8 of counts: `attn.data_adapters.sky.stretch` explains the curve."""
    if data_hwc.dtype == np.uint8:
        return three_planes(data_hwc[::-1])
    softening, black, white = (stretch[name] for name in ("softening", "black", "white"))
    height, width, count = data_hwc.shape
    s = data_hwc.astype(np.float64)
    centre = s[height // 4 : height - height // 4, width // 4 : width - width // 4]
    peaks = np.percentile(centre, stretch["percentile"], axis=(0, 1))
    balance = stretch["balance"] if count == 3 else [1.0]
    for band in range(count):
        sky = measure_sky(data_hwc[:, :, band])
        top = max(peaks[band], float(s[:, :, band].max()) if sky.sigma == 0 else peaks[band])
        unit = (max(sky.sigma, (top - sky.level) * 1e-4) or 1.0) / balance[band]
        s[:, :, band] = (s[:, :, band] - sky.level) / unit
        peaks[band] = (peaks[band] - sky.level) / unit
    s = np.clip(s / max(1.0, peaks.mean() / white), -1e6, 1e6)

    def curve(x: np.ndarray) -> np.ndarray:
        return np.asarray(np.arcsinh((x + black) / softening) / np.arcsinh((white + black) / softening))

    if stretch["kind"] == "lupton" and count > 1:
        raised = np.maximum(s + black, 0)
        intensity = raised.mean(axis=2, keepdims=True)
        y = raised * curve(intensity - black) / np.maximum(intensity, 1e-6)
        y /= np.maximum(y.max(axis=2, keepdims=True), 1)
    else:
        y = curve(s)
    return three_planes(np.rint(np.clip(y, 0, 1) * 255).astype(np.uint8)[::-1])


def three_planes(pixels_hwc: np.ndarray) -> np.ndarray:
    """One band as grey, three as they are."""
    return np.ascontiguousarray(np.broadcast_to(pixels_hwc, (*pixels_hwc.shape[:2], 3)))


def model_input(pixels_hwc: np.ndarray, preprocessing: dict[str, Any]) -> np.ndarray:
    """What the file model.onnx takes: (1, 3, S, S) float32 in 0..1, framed to the galaxy in the middle."""
    pixels_hwc = lifted(pixels_hwc, preprocessing["least_sky"])
    share = galaxy_share(pixels_hwc) if preprocessing["framed"] else 1.0
    framed = frame(pixels_hwc, preprocessing["side"], share)
    framed = laid(framed, orientation(framed)) if preprocessing["upright"] else framed
    return np.asarray(np.moveaxis(framed, 2, 0)[None] / 255, np.float32)


def main(paths: list[str]) -> int:
    """Print a line for each file; 1 if one of them could not be read."""
    import onnxruntime

    session = onnxruntime.InferenceSession(HERE / "model.onnx", providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    labels, preprocessing = json.loads(about["labels"]), json.loads(about["preprocessing"])
    failed = 0
    for path in paths:
        row: dict[str, Any] = {"id": path}
        try:
            pixels = read(Path(path), preprocessing["stretch"])
        except (ValueError, OSError) as error:
            row["error"], failed = str(error), 1
        else:
            (p_k,) = session.run(None, {"image": model_input(pixels, preprocessing)})[0].tolist()
            row |= {"label": labels[int(np.argmax(p_k))]} | {f"p_{k}": p for k, p in zip(labels, p_k, strict=True)}
        print(json.dumps(row), flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
