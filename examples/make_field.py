"""Write examples/field.fits with its catalogue field.csv, and 40 labelled galaxies in examples/galaxies/.

    python examples/make_field.py [FOLDER]

All is drawn: ellipticals, lenticulars, spirals and irregulars, blurred by seeing, with Poisson and sky noise, in the
bands i, r and g as in SDSS. The field has stars as well; its catalogue names the galaxies. `smooth_frac` stands for the
share of people who would call the galaxy smooth. The same seed draws the same.
"""

import csv
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image

from attn.data_adapters.sky.stretch import Stretch, render

SEED = 17
PIXEL = 0.396  # arcsec
FIELD = 400  # pixels a side
CELLS, STARS = 4, 30  # galaxies a side of the field, one in each cell
STAMP = 64  # pixels a side of a labelled galaxy
EACH = 10  # labelled galaxies of a kind
SMOOTH = {"elliptical": 0.9, "lenticular": 0.7, "spiral": 0.15, "irregular": 0.3}
KINDS = tuple(SMOOTH)
BANDS = ("i", "r", "g")
SKY_NOISE = {"i": 0.020, "r": 0.0115, "g": 0.0075}  # nanomaggies per pixel, as in SDSS
SEEING = {"i": 1.1, "r": 1.2, "g": 1.3}  # sigma in pixels
OLD = {"i": 1.0, "r": 0.66, "g": 0.28}  # colours of stars
YOUNG = {"i": 1.0, "r": 0.76, "g": 0.46}
PHOTONS = 250.0  # per nanomaggie


@dataclass(frozen=True)
class Galaxy:
    """One galaxy: `size` is the half-light radius of what is smooth in pixels, `seed` draws its details."""

    kind: str
    size: float
    axis_ratio: float
    angle: float
    brightness: float
    seed: int

    def light(self, band: str, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Surface brightness at the offsets y, x from its middle, in nanomaggies per pixel."""
        rng = np.random.default_rng(self.seed)
        along = x * np.cos(self.angle) + y * np.sin(self.angle)
        across = (y * np.cos(self.angle) - x * np.sin(self.angle)) / self.axis_ratio
        radius = np.hypot(along, across)
        disc = np.exp(-1.68 * radius / self.size)
        inner = np.hypot(along, across * self.axis_ratio / max(self.axis_ratio, 0.8))
        if self.kind == "elliptical":
            return self.brightness * OLD[band] * _sersic(radius, self.size)
        if self.kind == "lenticular":
            return self.brightness * OLD[band] * (0.8 * _sersic(inner, self.size / 3) + 1.2 * disc)
        if self.kind == "spiral":
            pitch, turn = np.tan(np.deg2rad(rng.uniform(14, 24))), rng.uniform(0, 2 * np.pi)
            hand = rng.choice([-1, 1])
            phase = 2 * (hand * np.arctan2(across, along) - np.log(np.maximum(radius, 1) / 8) / pitch) + turn
            arms = np.cos(phase) * np.clip((radius - self.size / 3) / (self.size / 2), 0, 1)
            bulge = OLD[band] * _sersic(inner, self.size / 5)
            return self.brightness * (bulge + YOUNG[band] * 2.2 * disc * (1 + 0.8 * arms))
        scene = np.exp(-((radius / self.size) ** 2) / 1.5)
        for _ in range(rng.integers(12, 20)):  # knots of young stars
            place = rng.normal(0, 0.5 * self.size, 2)
            far = np.hypot(along - place[0], (across - place[1]) * self.axis_ratio)
            scene = scene + rng.uniform(0.2, 1.5) * np.exp(-((far / rng.uniform(1.0, 2.2)) ** 2) / 2)
        return self.brightness * YOUNG[band] * scene


def _sersic(radius: np.ndarray, half_light: float) -> np.ndarray:
    """The law of de Vaucouleurs, 1 at `half_light`."""
    return np.exp(-7.67 * ((np.maximum(radius, 0.5) / half_light) ** 0.25 - 1))


def draw(kind: str, rng: np.random.Generator, size: float) -> Galaxy:
    """A galaxy of the kind, at random in all else."""
    flat, faint = {
        "elliptical": (0.65, 0.60),
        "lenticular": (0.35, 0.45),
        "spiral": (0.50, 0.22),
        "irregular": (0.35, 0.07),
    }[kind]
    brightness = faint * rng.uniform(0.8, 1.4)
    return Galaxy(kind, size, rng.uniform(flat, 0.95), rng.uniform(0, np.pi), brightness, int(rng.integers(1 << 30)))


def expose(scene: np.ndarray, band: str, rng: np.random.Generator) -> np.ndarray:
    """The scene (H, W) as a camera sees it: seeing, photons, sky."""
    fy, fx = np.meshgrid(*(np.fft.fftfreq(side) for side in scene.shape), indexing="ij")
    transfer = np.exp(-2 * (np.pi * SEEING[band]) ** 2 * (fx**2 + fy**2))
    light = np.maximum(np.fft.ifft2(np.fft.fft2(scene) * transfer).real, 0)
    return rng.poisson(light * PHOTONS) / PHOTONS + rng.normal(0, SKY_NOISE[band], scene.shape)


def field(seed: int = SEED) -> tuple[np.ndarray, list[dict[str, object]]]:
    """Planes (3, FIELD, FIELD) in the order of BANDS, and the rows of the catalogue."""
    rng = np.random.default_rng(seed)
    kinds = rng.permutation([KINDS[k % len(KINDS)] for k in range(CELLS**2)])
    step = FIELD // CELLS
    placed = []
    for k, kind in enumerate(kinds):
        middle = np.array(divmod(k, CELLS)) * step + step / 2 + rng.uniform(-12, 12, 2)
        placed.append((draw(str(kind), rng, rng.uniform(8, 13)), *middle))
    star_yx = rng.integers(3, FIELD - 3, size=(STARS, 2))
    middle_yx = np.array([middle for _, *middle in placed])
    far = np.hypot(*(star_yx[:, None] - middle_yx).T).min(0) > 20
    star_yx = star_yx[far]
    star_flux, star_age = 10 ** rng.uniform(0, 1.8, len(star_yx)), rng.uniform(0, 1.2, len(star_yx))
    y, x = np.mgrid[:FIELD, :FIELD].astype(float)
    planes = []
    for band in BANDS:
        scene = sum(galaxy.light(band, y - at_y, x - at_x) for galaxy, at_y, at_x in placed)
        np.add.at(scene, tuple(star_yx.T), star_flux * (YOUNG[band] + star_age * (OLD[band] - YOUNG[band])))
        planes.append(expose(scene, band, rng))
    sky = WCS(header())
    rows = []
    for number, (galaxy, at_y, at_x) in enumerate(placed, start=1):
        ra, dec = sky.celestial.wcs_pix2world(at_x, at_y, 0)
        rows.append(
            {
                "id": f"F{number:02}",
                "ra": f"{ra:.6f}",
                "dec": f"{dec:.6f}",
                "size": round(6 * galaxy.size),
                "drawn": galaxy.kind,
            }
        )
    return np.array(planes, np.float32), rows


def header() -> fits.Header:
    """TAN projection, north up, east left, around an empty piece of sky."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.3, 2.4]
    wcs.wcs.crpix = [(FIELD + 1) / 2, (FIELD + 1) / 2]
    wcs.wcs.cdelt = [-PIXEL / 3600, PIXEL / 3600]
    cards = wcs.to_header()
    cards["OBJECT"] = ("Simulated field", "made by examples/make_field.py")
    cards["BUNIT"] = "nanomaggy"
    for k, band in enumerate(BANDS, start=1):
        cards[f"BAND{k}"] = (band, f"band of plane {k}")
    return cards


def labelled(seed: int = SEED) -> list[tuple[dict[str, object], np.ndarray]]:
    """Rows of the table of labels, and display pixels (STAMP, STAMP, 3) of each."""
    rng = np.random.default_rng(seed + 1)
    y, x = np.mgrid[:STAMP, :STAMP] - (STAMP - 1) / 2
    rows = []
    for number in range(EACH):
        for kind in KINDS:
            galaxy = draw(kind, rng, rng.uniform(9, 12))
            planes = [expose(galaxy.light(band, y, x), band, rng) for band in BANDS]
            pixels, _ = render(np.stack(planes, axis=2).astype(np.float32), Stretch())
            share = np.clip(rng.normal(SMOOTH[kind], 0.07), 0, 1)
            row = {"path": f"{kind}_{number}.jpg", "label": kind, "smooth_frac": f"{share:.2f}"}
            rows.append((row, pixels))
    return rows


def main(out: Path) -> None:
    """Write all; older files are replaced."""
    planes, rows = field()
    image = fits.CompImageHDU(planes, header(), compression_type="RICE_1", quantize_level=4, dither_seed=SEED)
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(out / "field.fits", overwrite=True)
    _write(out / "field.csv", rows)
    (out / "galaxies").mkdir(exist_ok=True)
    stamps = labelled()
    for row, pixels in stamps:
        Image.fromarray(pixels).save(out / "galaxies" / str(row["path"]), quality=90)
    _write(out / "galaxies" / "labels.csv", [row for row, _ in stamps])
    print(f"{out}: a field of {len(rows)} galaxies among stars, and {len(stamps)} labelled galaxies")


def _write(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
