"""The page in a real browser: what is clicked is what is saved, it is kept, it asks no network, and names stay text."""

import json
import time
from pathlib import Path

import chromium
import pytest
from chromium import Chromium
from reid_review_fixtures import HOSTILE, MODEL, PICTURE, Scene, embed

from attn.apps.reid.review.answers import read_answers
from attn.apps.reid.review.confirm import confirm
from attn.apps.reid.review.page import PICTURES


def test_names_are_nowhere_markup(scene: Scene, tmp_path: Path) -> None:
    page = scene.page(tmp_path / "page")
    text = page.read_text()
    assert text.count("</script>") == 2 and "<img" not in text and "onerror" in text
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])
    assert [each["query"] for each in data["queries"]] == ["new/5.png", "4.png"]
    assert HOSTILE in {each["individual"] for each in data["queries"][0]["answers"]}
    assert "http" not in text.replace("http-equiv", "")


def test_pictures_are_written_once_and_old_ones_go(scene: Scene, tmp_path: Path) -> None:
    folder = tmp_path / "page"

    def shown() -> dict[str, str]:
        data = json.loads(scene.page(folder).read_text().split('id="data">')[1].split("</script>")[0])
        pictures = [each for query in data["queries"] for each in query["pictures"]]
        pictures += [each["of"] for query in data["queries"] for each in query["answers"]]
        assert {each["image"] for each in pictures} == {
            f"{PICTURES}/{path.name}" for path in (folder / PICTURES).iterdir()
        }
        return {each["id"]: each["image"] for each in pictures}

    first = shown()
    assert first.keys() >= {"1.png", "4.png", "new/5.png"} and len({*first.values()}) == len(first)
    (folder / PICTURES / "old.jpg").write_bytes(b"")
    (scene.photos / "1.png").unlink()  # its thumbnail is shown
    assert shown().keys() == first.keys()


@pytest.mark.skipif(chromium.BINARY is None, reason="no Chromium here")
def test_in_a_browser(scene: Scene, tmp_path: Path) -> None:
    page = scene.page(tmp_path / "page #1")  # a name that a browser would take for a place in the page
    saved = tmp_path / "down" / "answers.json"
    saved.parent.mkdir()
    with Chromium(tmp_path / "profile") as browser:
        browser.ask("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(saved.parent))
        browser.open(page.as_uri())
        width = "i => { i.loading = 'eager'; return i.decode().then(() => i.naturalWidth); }"
        assert (
            browser.run(f"Promise.all([...document.images].map({width}))") == [40] * 7
            and browser.run("window.pwned") is None
        )
        shown = browser.run("[...document.querySelectorAll('figcaption')].map(e => e.textContent).join('|')")
        assert HOSTILE in shown and PICTURE in shown and "(no name yet)" in shown
        said = "document.getElementById('said').textContent"
        assert browser.run(said) == "0 of 2 decided"

        # The first query is 007: yes to it, and no to another. A yes to another takes the first one back.
        click = "[...document.querySelectorAll('section')][{}].querySelectorAll('button.{}')[{}].click()"
        names = "page.queries[{}].answers.map(a => a.individual)"
        known = browser.run(names.format(0))
        browser.run(click.format(0, "yes", known.index(HOSTILE)))
        browser.run(click.format(0, "yes", known.index("007")))
        browser.run(click.format(0, "no", known.index(HOSTILE)))
        assert browser.run("document.querySelectorAll('figure.yes').length") == 1
        # The second is new, and has no name yet.
        browser.run(click.format(1, "new", 0))
        assert browser.run(said) == "1 of 2 decided, 1 without a name"
        browser.run(
            "{ const name = document.querySelectorAll('section')[1].querySelector('input');"
            " name.value = ' Ágnes '; name.oninput(); }"
        )
        assert browser.run(said) == "2 of 2 decided"

        end = time.monotonic() + 20
        while True:  # the browser has kept all of it; it writes what it keeps a moment later than the script says so
            browser.open("about:blank")
            browser.open(page.as_uri())
            if browser.run(said) == "2 of 2 decided" or time.monotonic() > end:
                break
            time.sleep(0.5)
        assert browser.run(said) == "2 of 2 decided"
        browser.run("document.getElementById('save').click()")
        assert browser.run(said) == "say first who decides" and not saved.exists()
        browser.run("{ const i = document.getElementById('who'); i.value = 'Ana'; i.oninput(); }")
        browser.run("document.getElementById('save').click()")
        end = time.monotonic() + 20
        while not saved.exists() and time.monotonic() < end:
            time.sleep(0.1)
        browser.screenshot(tmp_path / "page.png")
        asked = [
            each["params"]["request"]["url"] for each in browser.events if each["method"] == "Network.requestWillBeSent"
        ]
        wrong = [each for each in browser.events if each["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")]
    assert wrong == [] and {url.split(":")[0] for url in asked} <= {"file", "about", "blob"}
    answers = read_answers(saved)
    assert answers.who == "Ana" and [each.answer for each in answers.queries] == ["yes", "new"]
    assert answers.queries[0].individual == "007" and answers.queries[0].rejected == [HOSTILE]
    rows = confirm(answers, scene.folder, lambda: (embed, MODEL))
    assert [row["error"] for row in rows] == [None, None]
    named = dict(scene.gallery.rows.select("id", "identity").iter_rows())
    assert named["new/5.png"] == "007" and named["4.png"] == "Ágnes"
