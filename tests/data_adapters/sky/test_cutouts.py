"""One cut-out or one reason per catalogue row, in order, without reading the whole image."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from attn.core.errors import InputError
from attn.data_adapters.images.cutout import Cutout
from attn.data_adapters.sky.cutouts import catalog_cutouts
from attn.data_adapters.sky.stretch import Stretch, render

HEIGHT, WIDTH = 300, 400
SOURCES = np.array([[50.0, 60.0], [350.0, 250.0], [200.0, 150.0], [20.0, 290.0]])  # x, y


def wcs(galactic: bool = False) -> WCS:
    out = WCS(naxis=2)
    out.wcs.ctype = ["GLON-TAN", "GLAT-TAN"] if galactic else ["RA---TAN", "DEC--TAN"]
    out.wcs.crval, out.wcs.crpix, out.wcs.cdelt = (150.0, 2.0), (200.5, 150.5), (-0.396 / 3600, 0.396 / 3600)
    return out


def field() -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    image = np.random.default_rng(0).normal(10, 1, (HEIGHT, WIDTH))
    for cx, cy in SOURCES:
        image += 80 * np.exp(-np.hypot(x - cx, y - cy) / 5)
    return image.astype(np.float32)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    fits.PrimaryHDU(field(), wcs().to_header()).writeto(tmp_path / "field.fits")
    return tmp_path / "field.fits"


def catalog(tmp_path: Path, suffix: str = ".csv", **columns: object) -> Path:
    path = tmp_path / f"sources{suffix}"
    if suffix == ".fits":
        Table(columns).write(path)
    elif suffix == ".parquet":
        pl.DataFrame(columns).write_parquet(path)
    else:
        pl.DataFrame(columns).write_csv(path)
    return path


def brightest(cutout: Cutout) -> tuple[int, int]:
    """Row, from the top, and column."""
    middle = cutout.pixels[:, :, 0].astype(float)
    return tuple(int(k) for k in np.unravel_index(middle.argmax(), middle.shape))  # type: ignore[return-value]


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".fits"])
def test_sources_stand_in_the_middle_of_their_cutouts(tmp_path: Path, image: Path, suffix: str) -> None:
    ra, dec = wcs().all_pix2world(*SOURCES[:3].T, 0)
    path = catalog(tmp_path, suffix, Name=["a", "b", "c"], RA=ra, DEC=dec)
    cutouts = list(catalog_cutouts(image, path, Stretch()))
    assert [cutout.id for cutout in cutouts] == ["a", "b", "c"]
    for cutout, x in zip(cutouts, SOURCES[:3, 0], strict=True):
        assert cutout.pixels.shape == (64, 64, 3) and cutout.flags == ()
        assert brightest(cutout) == (31, 32)
        assert cutout.values["x"] == pytest.approx(x, abs=1e-6) and cutout.values["ra"] == pytest.approx(ra[0], abs=1)


def test_pixels_are_those_of_the_image(tmp_path: Path, image: Path) -> None:
    path = catalog(tmp_path, x=[200.0], y=[150.0], size=[41])
    (cutout,) = catalog_cutouts(image, path, Stretch())
    expected, _ = render(field()[130:171, 180:221], Stretch())
    np.testing.assert_array_equal(cutout.pixels, expected)
    assert cutout.id == "1"


def test_sextractor_pixels_count_from_one(tmp_path: Path, image: Path) -> None:
    path = catalog(tmp_path, NUMBER=[7], X_IMAGE=[201.0], Y_IMAGE=[151.0])
    (cutout,) = catalog_cutouts(image, path, Stretch())
    assert (cutout.id, brightest(cutout)) == ("7", (31, 32))


def test_an_image_in_galactic_coordinates_is_cut_by_ra_and_dec(tmp_path: Path) -> None:
    fits.PrimaryHDU(field(), wcs(galactic=True).to_header()).writeto(tmp_path / "l.fits")
    lon, lat = wcs(galactic=True).all_pix2world(200.0, 150.0, 0)
    at = SkyCoord(l=float(lon), b=float(lat), unit="deg", frame="galactic").icrs
    path = catalog(tmp_path, ra=[at.ra.deg], dec=[at.dec.deg])
    (cutout,) = catalog_cutouts(tmp_path / "l.fits", path, Stretch())
    assert brightest(cutout) == (31, 32)


def test_size_in_arcseconds(tmp_path: Path, image: Path) -> None:
    ra, dec = wcs().all_pix2world([200.0], [150.0], 0)
    path = catalog(tmp_path, ra=ra, dec=dec, size_arcsec=[0.396 * 50])
    (cutout,) = catalog_cutouts(image, path, Stretch())
    assert cutout.pixels.shape == (50, 50, 3)


def test_every_row_without_a_cutout_has_its_reason_in_its_place(tmp_path: Path) -> None:
    pixels = field()
    pixels[:100, :150] = np.nan
    pixels[120:240, :10] = np.nan
    fits.PrimaryHDU(pixels, wcs().to_header()).writeto(tmp_path / "field.fits")
    (tmp_path / "sources.csv").write_text(
        "id,ra,dec,x,y,size\n"
        "off,,,1000,50,\n"
        "good,,,200,150,\n"
        "masked,,,50,60,\n"
        "antipode,330,-2,,,\n"
        "nowhere,,,,,\n"
        "word,ten,2,,,\n"
        "huge,,,200,150,90000\n"
        "edge,,,20,290,40\n"
        "partly,,,20,180,40\n"
    )
    rows = list(catalog_cutouts(tmp_path / "field.fits", tmp_path / "sources.csv", Stretch()))
    said = {row.where: row.what for row in rows if isinstance(row, InputError)}
    assert said["off"] == "lies at x = 1000.0, y = 50.0, outside the image of 400 x 300 pixels"
    assert said["masked"].startswith("masked: ")
    assert said["huge"] == "its size of 90000 pixels cannot be cut"
    for name in ("nowhere", "word", "antipode"):
        assert said[name] == "has no position in this image"
    good = {row.id: row.flags for row in rows if isinstance(row, Cutout)}
    assert good == {"good": (), "edge": ("edge:25%",), "partly": ("nan_filled:25%",)}
    assert [row.id if isinstance(row, Cutout) else row.where for row in rows] == [
        "off", "good", "masked", "antipode", "nowhere", "word", "huge", "edge", "partly",
    ]  # fmt: skip


def test_an_image_without_a_wcs_cannot_be_cut_by_ra_and_dec(tmp_path: Path) -> None:
    fits.PrimaryHDU(field()).writeto(tmp_path / "bare.fits")
    ra_only = catalog(tmp_path, ra=[150.0], dec=[2.0])
    with pytest.raises(InputError, match="has no WCS"):
        list(catalog_cutouts(tmp_path / "bare.fits", ra_only, Stretch()))


@pytest.mark.parametrize("kind", ["scaled", "cube", "compressed"])
def test_sections_of_scaled_cubes_and_compressed_images(tmp_path: Path, kind: str) -> None:
    pixels = field()
    hdus = [fits.PrimaryHDU()]
    if kind == "scaled":
        hdus = [fits.PrimaryHDU(np.rint((pixels - 100) * 50).astype(np.int16))]
        hdus[0].header["BSCALE"], hdus[0].header["BZERO"] = 0.02, 100.0
        hdus[0].data = None if hdus[0].data is None else hdus[0].data
    elif kind == "cube":
        hdus = [fits.PrimaryHDU(np.stack([pixels] * 3))]
    else:
        hdus.append(fits.CompImageHDU(pixels, compression_type="RICE_1", quantize_level=64))
    fits.HDUList(hdus).writeto(tmp_path / "x.fits")
    path = catalog(tmp_path, x=[200.0], y=[150.0])
    (cutout,) = catalog_cutouts(tmp_path / "x.fits", path, Stretch())
    assert brightest(cutout) == (31, 32)


SURVEY = """
import sys
from pathlib import Path
import numpy as np
from astropy.io import fits
from attn.data_adapters.sky.cutouts import catalog_cutouts
from attn.data_adapters.sky.detect import detected_cutouts
from attn.data_adapters.sky.stretch import Stretch

def peak():  # of this process: ru_maxrss begins at that of the process that started it
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

side, folder = int(sys.argv[1]), Path(sys.argv[2])
header = fits.PrimaryHDU(np.zeros((8, 8), np.float32)).header
header["NAXIS1"] = header["NAXIS2"] = side
start = len(header.tostring())
y, x = np.mgrid[:64, :64] - 32
rng = np.random.default_rng(0)
places = rng.integers(100, side - 100, (200, 2))
with (folder / "survey.fits").open("wb") as stream:
    stream.write(header.tostring().encode())
    stream.truncate(start + -(-side * side * 4 // 2880) * 2880)  # sparse
    for px, py in places:
        stamp = (50 * np.exp(-np.hypot(y, x) / 5) + rng.normal(0, 1, (64, 64))).astype(">f4")
        for k, row in enumerate(stamp):
            stream.seek(start + 4 * ((int(py) - 32 + k) * side + int(px) - 32))
            stream.write(row.tobytes())
rows = "\\n".join(f"{px},{py}" for px, py in places)
(folder / "sources.csv").write_text("x,y\\n" + rows)
before = peak()
cut = [c.pixels.max() for c in catalog_cutouts(folder / "survey.fits", folder / "sources.csv", Stretch())]
assert len(cut) == 200 and min(cut) > 100
if sys.argv[3] == "detect":
    assert sum(1 for _ in detected_cutouts(folder / "survey.fits", Stretch())) > 150
print(before, peak())
"""


def resident(tmp_path: Path, side: int, mode: str) -> tuple[int, int]:
    """Megabytes resident at most, before and after the work, in a process of its own."""
    command = [sys.executable, "-c", SURVEY, str(side), str(tmp_path), mode]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    before, after = (int(word) // 1024 for word in done.stdout.split())
    return before, after


def test_cutting_takes_the_memory_of_a_cutout(tmp_path: Path) -> None:
    before, after = resident(tmp_path, 6000, "cut")  # 144 MB of pixels
    assert after - before < 60


@pytest.mark.slow
def test_a_survey_image_is_cut_and_searched_within_its_memory(tmp_path: Path) -> None:
    _, after = resident(tmp_path, 20_000, "detect")
    assert after < 1500
