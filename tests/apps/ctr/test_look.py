"""What `attn look` is given of a click model: its own probabilities, fields as tokens, labels where there are some."""

from pathlib import Path

import pytest

from attn.apps.ctr.folder import BUNDLED_MODEL
from attn.apps.ctr.look import probe
from attn.apps.ctr.predict import CTRPredictor
from attn.core.errors import InputError
from attn.look.sites import find_sites

ROW = {"user_id": "7", "movie_id": "1193", "gender": "F"}


def test_the_answer_is_the_models_for_a_row_and_for_a_table(tmp_path: Path) -> None:
    looked, predictor = probe(BUNDLED_MODEL, "cpu"), CTRPredictor.load(device="cpu")
    (batch,) = looked.examples([",".join(f"{name}={value}" for name, value in ROW.items())])
    assert looked.answer(batch)[0, 0].exp().tolist() == pytest.approx([*predictor.predict(ROW).probabilities.values()])
    names = [place.field.name for place in predictor.codebook.places]
    for site in find_sites(looked, batch):
        layout = batch.layout(site.name, site.tokens)
        assert layout is not None and [*layout.tokens] == names
    table = tmp_path / "rows.csv"
    columns = predictor.codebook.columns
    table.write_text(",".join([*columns, "liked"]) + "\n" + ",".join(["1"] * len(columns) + ["0"]) + "\n")
    (batch,) = looked.examples([str(table)])
    assert batch.targets_br is not None and batch.targets_br.tolist() == [[0]] and batch.ids == (f"row 1 of {table}",)


def test_a_row_may_be_longer_than_the_name_of_a_file() -> None:
    row = ",".join([*(f"{name}={value}" for name, value in ROW.items()), f"zip={'9' * 300}"])
    (batch,) = probe(BUNDLED_MODEL, "cpu").examples([row])
    assert batch.ids == (row,)


def test_what_is_no_row_and_no_table_is_refused() -> None:
    with pytest.raises(InputError, match="write a row as in"):
        probe(BUNDLED_MODEL, "cpu").examples(["user_id=7,gender"])
