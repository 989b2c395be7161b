"""The card says what the record holds, for new models and for those that ship."""

from pathlib import Path

from core.models.saved import record, state

from attn.core.models.folder import save


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


def test_card_names_the_verb_of_the_record(tmp_path: Path) -> None:
    save(tmp_path, state(), record(app="music", verb="generate"))
    assert "`attn music generate --model FOLDER`" in (tmp_path / "README.md").read_text()
