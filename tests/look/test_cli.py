"""`attn look` on the galaxy model that ships: the page, the numbers, and what is refused in one sentence."""

import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import chromium
import pytest
from chromium import Chromium
from typer.testing import CliRunner

from attn.cli import app

EXAMPLES = Path(__file__).parents[2] / "examples"
SPIRAL, ELLIPTICAL = (str(EXAMPLES / "galaxies" / f"{name}_0.jpg") for name in ("spiral", "elliptical"))
GALAXY = str(EXAMPLES / "disc_galaxy.fits")


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    out = tmp_path_factory.mktemp("look") / "look.html"
    pair = ["--clean", SPIRAL, "--corrupt", ELLIPTICAL]
    arguments = ["bundled:galaxy", GALAXY, *pair, "--scale", "1.0=1.5", "--against", "bundled:galaxy"]
    done = CliRunner().invoke(app, ["look", *arguments, "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    yield out, json.loads(done.stdout)


def test_json_has_a_row_for_each_head(looked: tuple[Path, dict[str, Any]]) -> None:
    _, report = looked
    assert [row["name"] for row in report["heads"]] == [f"{layer}.{head}" for layer in (0, 1) for head in range(6)]
    for row in report["heads"]:
        assert sum(ring["share"] for ring in row["distance"]["rings"].values()) == pytest.approx(1)
        assert [*row["partial"]] == ["0.25", "0.5", "0.75", "1.0"] and row["partial"]["1.0"]["drop"] == row["drop"]
    assert report["inputs"][0]["input"] == GALAXY and 0 < report["inputs"][0]["probability"] <= 1
    assert report["cannot"] is None


def test_the_same_pair_and_the_same_model_have_the_same_circuit(looked: tuple[Path, dict[str, Any]]) -> None:
    _, report = looked
    circuits = report["circuits"]
    assert len(circuits) == 2 and {tuple(each["circuit"]) for each in circuits} == {tuple(circuits[0]["circuit"])}
    assert (circuits[0]["correct"], circuits[0]["wrong"]) == ("spiral", "elliptical")
    assert circuits[0]["ld_clean"] > 0 > circuits[0]["ld_corrupt"]
    assert circuits[0]["ld_scaled"] != circuits[0]["ld_clean"] and report["scaled"]["js"] > 0
    assert report["overlaps"][0]["overlap"] == (1 if circuits[0]["circuit"] else None)


class Pictures(HTMLParser):
    """The pictures of a page without a text, and what the page would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.silent, self.fetched, self.pictures = [], [], 0  # type: ignore[var-annotated]
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("img", "svg"):
            self.pictures += 1
            if not given.get("alt" if tag == "img" else "aria-label"):
                self.silent.append(tag)
        links = [given.get(name) or "" for name in ("src", "href", "srcset", "data")]
        self.fetched += [link for link in links if link and not link.startswith("data:image/png")]


def test_the_page_fetches_nothing_and_its_pictures_have_a_text(looked: tuple[Path, dict[str, Any]]) -> None:
    text = looked[0].read_text(encoding="utf-8")
    found = Pictures(text)
    assert (found.silent, found.fetched) == ([], []) and found.pictures >= 4
    assert "<script" not in text and "default-src 'none'" in text


@pytest.mark.skipif(chromium.BINARY is None, reason="no Chromium here")
def test_in_a_browser_also_on_a_telephone(looked: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    with Chromium(tmp_path / "profile") as browser:
        browser.ask("Emulation.setDeviceMetricsOverride", width=400, height=800, deviceScaleFactor=1, mobile=False)
        browser.open(looked[0].as_uri())
        assert browser.run("[...document.images].every(i => i.complete && i.naturalWidth > 0)") is True
        assert browser.run("document.documentElement.scrollWidth") <= 400
        asked = [
            event["params"]["request"]["url"]
            for event in browser.events
            if event.get("method") == "Network.requestWillBeSent"
        ]
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bundled:galaxies", GALAXY], "bundled:galaxies: no such model ships; there are bundled:chest"),
        (["bundled:music/jazz", GALAXY], "bundled:music/chorale"),
        (["nowhere", GALAXY], "nowhere: is not a model folder: no model.json; there is no such folder"),
        (["bundled:galaxy", "missing.fits"], "missing.fits"),
        (["bundled:ctr", str(EXAMPLES / "clicks.csv")], "clicks.csv"),
        (["bundled:galaxy"], "there are no inputs"),
        (["bundled:galaxy", GALAXY, "--scale", "2.0=1.5"], "this model has no head '2.0'; its heads are 0.0, 0.1"),
        (["bundled:galaxy", GALAXY, "--scale", "1.0=inf"], "--scale is HEAD=FACTOR with a factor from 0 to 100"),
        (["bundled:galaxy", GALAXY, "--clean", SPIRAL], "--clean is given 1 times and --corrupt 0 times"),
        (["bundled:galaxy", GALAXY, "--clean", SPIRAL, "--corrupt", SPIRAL], "have the same answer, 'spiral'"),
        (["bundled:galaxy", GALAXY, "--against", "bundled:galaxy"], "--against compares circuits"),
        (["bundled:galaxy", GALAXY, "--hunt", "joy"], "has no objective 'joy'; there are true"),
        (["bundled:galaxy", GALAXY, "--hunt", "true"], "a hunt compares at least 4 inputs, not 1; give more of them"),
        (["bundled:ctr", "colour=red"], "the row has none of the columns user_id"),
    ],
)
def test_what_cannot_be_looked_at_is_one_sentence(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["look", *arguments, "--out", str(tmp_path / "x.html")])
    assert done.exit_code != 0 and not (tmp_path / "x.html").exists()
    assert "Traceback" not in done.output and said in done.output and done.output.count("\n") == 1


@pytest.mark.parametrize("out", [".", "", "heads.json", "page"])
def test_a_page_is_an_html_file(out: str) -> None:
    done = CliRunner().invoke(app, ["look", "bundled:galaxy", GALAXY, "--hunt", "true", "--out", out])
    assert done.exit_code == 2 and "does not end in .html; give a name such as look.html" in done.output
