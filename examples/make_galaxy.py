"""Write examples/disc_galaxy.fits: a simulated, inclined spiral galaxy in three bands, as from a survey.

    python examples/make_galaxy.py [OUT]

An exponential disc with two logarithmic arms (bluer), a Sersic n = 4 bulge (redder) and a few stars,
blurred by seeing, with Poisson and sky noise; i, r, g planes in nanomaggies, named by BAND1..3, on a TAN
projection with pixels of 0.396 arcsec. The same seed writes the same bytes.
"""

import sys
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

SIDE = 128
SEED = 20
BANDS = ("i", "r", "g")
SKY_NOISE = {"i": 0.020, "r": 0.0115, "g": 0.0075}  # nanomaggies per pixel, as in SDSS
DISC_FLUX = {"i": 0.70, "r": 0.56, "g": 0.32}  # central surface brightness, nanomaggies per pixel
BULGE_FLUX = {"i": 0.40, "r": 0.27, "g": 0.12}  # at the effective radius
ARM_CONTRAST = {"i": 0.55, "r": 0.70, "g": 0.95}
SEEING = {"i": 1.1, "r": 1.2, "g": 1.3}  # sigma in pixels
PHOTONS = 250.0  # per nanomaggie


def galaxy(band: str, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Surface brightness of the model galaxy: inclination 40 degrees, position angle 35 degrees."""
    angle, axis_ratio = np.deg2rad(35), np.cos(np.deg2rad(40))
    along = x * np.cos(angle) + y * np.sin(angle)
    across = (y * np.cos(angle) - x * np.sin(angle)) / axis_ratio
    radius, azimuth = np.hypot(along, across), np.arctan2(across, along)
    pitch = np.tan(np.deg2rad(18))
    phase = 2 * (azimuth - np.log(np.maximum(radius, 1) / 8) / pitch)
    arms = ARM_CONTRAST[band] * np.cos(phase) * np.clip((radius - 5) / 8, 0, 1)
    disc = DISC_FLUX[band] * np.exp(-radius / 14) * (1 + arms)
    round_radius = np.maximum(np.hypot(along, (y * np.cos(angle) - x * np.sin(angle)) / 0.85), 0.5)
    bulge = BULGE_FLUX[band] * np.exp(-7.67 * ((round_radius / 3.0) ** 0.25 - 1))
    return disc + bulge


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian seeing, in Fourier space."""
    fy, fx = np.meshgrid(np.fft.fftfreq(SIDE), np.fft.rfftfreq(SIDE), indexing="ij")
    transfer = np.exp(-2 * (np.pi * sigma) ** 2 * (fx**2 + fy**2))
    return np.fft.irfft2(np.fft.rfft2(image) * transfer, s=image.shape)


def simulate(seed: int = SEED) -> np.ndarray:
    """Planes (3, SIDE, SIDE) float32 in nanomaggies, in the order of BANDS."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    star_yx = rng.integers(4, SIDE - 4, size=(7, 2))
    star_flux = 10 ** rng.uniform(0.2, 1.5, size=7)
    star_colour = rng.uniform(0.35, 1.0, size=7)  # r over i; g over r
    planes = []
    for band in BANDS:
        scene = galaxy(band, y, x)
        power = BANDS.index(band)
        np.add.at(scene, (star_yx[:, 0], star_yx[:, 1]), star_flux * star_colour**power)
        scene = np.maximum(blur(scene, SEEING[band]), 0)
        counted = rng.poisson(scene * PHOTONS) / PHOTONS
        planes.append(counted + rng.normal(0, SKY_NOISE[band], scene.shape))
    return np.asarray(planes, dtype=np.float32)


def header() -> fits.Header:
    """TAN projection, north up, east left, around an empty piece of sky."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.1, 2.2]
    wcs.wcs.crpix = [(SIDE + 1) / 2, (SIDE + 1) / 2]
    wcs.wcs.cdelt = [-0.396 / 3600, 0.396 / 3600]
    cards = wcs.to_header()
    cards["OBJECT"] = ("Simulated disc galaxy", "made by examples/make_galaxy.py")
    cards["BUNIT"] = "nanomaggy"
    for k, band in enumerate(BANDS, start=1):
        cards[f"BAND{k}"] = (band, f"band of plane {k}")
    return cards


def main(out: Path) -> None:
    """Write the file; an older one is replaced."""
    fits.PrimaryHDU(simulate(), header=header()).writeto(out, overwrite=True)
    print(f"{out}: {SIDE} x {SIDE} pixels, bands {' '.join(BANDS)}, {out.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("disc_galaxy.fits"))
