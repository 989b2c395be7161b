"""The card says what the record holds, for new models and for those that ship."""

import runpy
from pathlib import Path

import pytest
from core.models.saved import record, state

from attn.core.models.folder import save

SCRIPT = runpy.run_path(str(Path(__file__).resolve().parents[3] / "docs" / "make_cards.py"))


def test_card_tells_what_the_record_holds(folder: Path) -> None:
    card = (folder / "README.md").read_text()
    for line in (
        "license: apache-2.0",
        "# tiny-efigi",
        "- spiral",
        "| accuracy | 0.900 | 0.850 to 0.940 |",
        "- temperature: 1.25",
        "- held out: 50 entries, listed in model.json",
        "- Not tried on radio maps.",
        "- seed: 7",
    ):
        assert line in card.splitlines()
    assert "nan" not in card


def test_licence_in_words_is_other_to_the_hub(folder: Path) -> None:
    told = record().model_copy(update={"licence": "trained on what states none: research use"})
    save(folder, state(), told)
    lines = (folder / "README.md").read_text().splitlines()
    assert "license: other" in lines and told.licence in lines


def test_card_names_the_verb_of_the_record(tmp_path: Path) -> None:
    save(tmp_path, state(), record(app="music", verb="generate"))
    assert "`attn music generate --model FOLDER`" in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize("folder", SCRIPT["folders"](), ids=lambda folder: folder.parent.name + "-" + folder.name)
def test_the_card_of_a_bundled_model_is_that_of_its_record(folder: Path) -> None:
    card, text = SCRIPT["renewed"](folder)
    assert (folder / "README.md").read_text(encoding="utf-8") == card, "python docs/make_cards.py"
    assert (folder / "model.json").read_text(encoding="utf-8") == text, "python docs/make_cards.py"


def test_the_bundled_models_were_found() -> None:
    assert {folder.name for folder in SCRIPT["folders"]()} >= {"weights", "chorale", "piano", "accompany"}


def test_only_a_model_with_labels_can_be_calibrated(tmp_path: Path) -> None:
    for labels in ([], ["a", "b"]):
        save(tmp_path, state(), record(labels=labels))
        assert ("`calibrate`" in (tmp_path / "README.md").read_text()) == bool(labels)
