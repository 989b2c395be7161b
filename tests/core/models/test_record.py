"""`model.json`: what is written comes back, and every broken record is refused in one sentence."""

import json
from pathlib import Path
from typing import Any

import pytest
from core.models.saved import edit, record, state

import attn.core.models.record as model_record
from attn.core.errors import ModelError
from attn.core.models.folder import load_record, save


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("<html>", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[1]", "is not a JSON object"),
        ("{}", "schema_version is None"),
        ('{"schema_version": 99}', r"reads up to 2; update attn"),
        ('{"schema_version": 1}', r"app: field required, name: field required.*and 1 more"),
    ],
)
def test_broken_record_is_one_sentence(folder: Path, text: str, message: str) -> None:
    (folder / "model.json").write_text(text)
    with pytest.raises(ModelError, match=message) as caught:
        load_record(folder)
    assert str(folder / "model.json") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_unknown_key_is_named(folder: Path) -> None:
    edit(folder, temprature=2)
    with pytest.raises(ModelError, match="temprature"):
        load_record(folder)


def test_older_schema_is_migrated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def classes_became_labels(values: dict[str, Any]) -> dict[str, Any]:
        labels = values.pop("classes")
        return values | {"labels": labels}

    monkeypatch.setattr(model_record, "SCHEMA_VERSION", 3)
    monkeypatch.setitem(model_record.MIGRATIONS, 2, classes_became_labels)
    values = json.loads((folder / "model.json").read_text())
    values["classes"] = values.pop("labels")
    (folder / "model.json").write_text(json.dumps(values))
    assert load_record(folder).labels == ["elliptical", "spiral"]
    assert load_record(folder).schema_version == 3


@pytest.mark.parametrize("name", ["../up", "a/b", "a\\b", "", ".hidden", "*.parquet", "model.json", "a\nb", "\ud800"])
def test_files_that_a_record_may_not_name(folder: Path, name: str) -> None:
    edit(folder, files={name: "ab"})
    with pytest.raises(ModelError, match=r"model\.json"):
        load_record(folder)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_not_finite(folder: Path, text: str) -> None:
    path = folder / "model.json"
    path.write_text(path.read_text().replace("1.25", text))
    with pytest.raises(ModelError, match=r"is not JSON.*not a finite number"):
        load_record(folder)


def test_text_that_is_not_unicode(folder: Path) -> None:
    edit(folder, name="x\ud800")
    with pytest.raises(ModelError, match=r"holds text that is not Unicode: '\\ud800'"):
        load_record(folder)
    saved = save(folder, state(), record(name="caf\udce9", data={"held_out": ["caf\udce9.fits"]}))
    assert saved.name == "caf\\udce9"
    assert load_record(folder).data == {"held_out": ["caf\\udce9.fits"]}
