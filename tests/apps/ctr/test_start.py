"""A training that begins from another model: what its vocabulary and its fields share with the new table is kept."""

import json
import re
from pathlib import Path

import polars as pl
import pytest
import torch
from ctr_fixtures import click_log, click_model, click_table
from tolerances import assert_close
from typer.testing import CliRunner

from attn.apps.ctr.folder import save_model
from attn.apps.ctr.model import AutoInt, configure
from attn.apps.ctr.predict import CTRPredictor
from attn.apps.ctr.start import architecture, begin
from attn.cli import app
from attn.core.errors import UsageError
from attn.core.models.folder import ModelRecord
from attn.data_adapters.tables.codes import VALUES, Codebook, Scale
from attn.data_adapters.tables.fields import Field

FIELDS = (
    Field(name="site", column="site", kind="category"),
    Field(name="price", column="price", kind="number"),
    Field(name="tags", column="tags", kind="multi", most=3),
    Field(name="hour", column="at", kind="time"),
    Field(name="user", column="user_id", kind="number", transform="standard"),
)
SCALES = {
    "price": Scale(low=0, high=60, knots=(1.0, 2.0, 4.0, 8.0)),
    "user": Scale(low=100, high=160, mean=130.0, deviation=20.0),
}
VOCABULARIES = {
    "site": pl.Series(["s0", "s1", "s2", "s3"]),
    "tags": pl.Series(["jazz", "news", "film"]),
    "hour": pl.Series([str(hour) for hour in range(24)]),
}
SIZES = {"embedding": 4, "widths": (8, 8), "heads": 2, "dnn": (6,)}


@pytest.fixture
def start() -> CTRPredictor:
    return predictor(Codebook(FIELDS, VOCABULARIES, SCALES))


def predictor(codebook: Codebook, seed: int = 0, **sizes: object) -> CTRPredictor:
    """An untrained model whose answers differ from field to field and from value to value."""
    torch.manual_seed(seed)
    config = configure(codebook, **SIZES | sizes)
    model = AutoInt(config).eval()
    torch.nn.init.normal_(model.embedding.table.weight)
    with torch.no_grad():
        model.embedding.table.weight[0] = 0
    preprocessing = {"label": "click", "columns": [*codebook.columns], **codebook.described()}
    record = ModelRecord(
        app="ctr",
        name=f"seed-{seed}",
        architecture=config.model_dump(mode="json"),
        labels=["not click", "click"],
        preprocessing=preprocessing,
    )
    return CTRPredictor(model, codebook, record)


def rows_of(model: AutoInt, codebook: Codebook, name: str) -> torch.Tensor:
    """The rows of a field."""
    (place,) = (place for place in codebook.places if place.field.name == name)
    return model.embedding.table.weight.detach()[place.first : place.first + place.rows]


def test_another_order_of_values_fields_and_finer_knots_change_no_answer(start: CTRPredictor):
    """Values and fields in another order, knots between knots, and a unit half as long: the same function of a row."""
    scales = {
        "price": Scale(low=0, high=60, knots=(1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0, 8.0)),
        "user": Scale(low=100, high=160, mean=130.0, deviation=40.0),
    }
    codebook = Codebook(FIELDS[::-1], {name: values.reverse() for name, values in VOCABULARIES.items()}, scales)
    begun = predictor(codebook, seed=1)
    carried = begin(begun.model, codebook, start)
    assert carried == {"site": (6, 6), "price": (9, 9), "tags": (5, 5), "hour": (26, 26), "user": (2, 2)}
    frame = click_log(400)
    assert frame.null_count().sum_horizontal()[0] > 50  # missing cells too
    before_n, now_n = (one.logits(one.codebook.encode(frame)) for one in (start, begun))
    assert before_n.std() > 0.1
    assert_close(torch.from_numpy(now_n), torch.from_numpy(before_n))


def test_values_that_the_start_does_not_know_stay_as_they_were(start: CTRPredictor):
    new = {"site": pl.Series(["s9", "s2", "s8", "s0"]), "tags": pl.Series(["toys"]), "day": pl.Series(["1", "2"])}
    fields = (*(one for one in FIELDS if one.name in new), Field(name="day", column="at", kind="time", part="weekday"))
    codebook = Codebook(fields, new, {})
    begun, fresh = predictor(codebook, seed=1), predictor(codebook, seed=1)
    carried = begin(begun.model, codebook, start)
    assert carried == {"site": (4, 6), "tags": (2, 3), "day": (0, 4)}
    site, was, now = (rows_of(one.model, one.codebook, "site") for one in (fresh, start, begun))
    assert torch.equal(now[:VALUES], was[:VALUES]), "unknown and missing"
    assert torch.equal(now[VALUES:], torch.stack([site[2], was[VALUES + 2], site[4], was[VALUES]]))
    day, now = (rows_of(one.model, codebook, "day") for one in (fresh, begun))
    assert torch.equal(now, day)
    assert torch.equal(begun.model.embedding.table.weight[0], torch.zeros(4)), "the padding"
    # Of the output, the known fields' weights are the start's, whose third field is `tags`; those of `day` are fresh.
    out, was, now = (one.model.out.weight.detach().unflatten(1, (-1, 8))[0] for one in (fresh, start, begun))
    assert torch.equal(now, torch.stack([was[0], was[2], out[2]]))


def test_what_is_of_another_shape_stays_as_it_was(start: CTRPredictor):
    begun = predictor(start.codebook, seed=1, embedding=5, widths=(8, 6), dnn=())
    fresh = {name: value.clone() for name, value in begun.model.state_dict().items()}
    carried = begin(begun.model, start.codebook, start)
    assert {rows for rows, _ in carried.values()} == {0}
    was = start.model.state_dict()
    for name, value in begun.model.state_dict().items():
        same = name in was and was[name].shape == value.shape
        assert torch.equal(value, was[name] if same else fresh[name]), name


def test_a_number_that_was_a_category_begins_anew(start: CTRPredictor):
    fields = (Field(name="site", column="site", kind="number"), FIELDS[1].model_copy(update={"transform": "log2"}))
    codebook = Codebook(fields, {}, {"site": Scale(low=0, high=1, knots=(0.0,)), "price": Scale(low=0, high=60)})
    begun = predictor(codebook, seed=1)
    fresh = rows_of(begun.model, codebook, "price").clone()
    assert begin(begun.model, codebook, start) == {"site": (0, 2), "price": (1, 2)}
    was, now = (rows_of(one.model, one.codebook, "price") for one in (start, begun))
    assert torch.equal(now, torch.stack([was[0], fresh[1]])), "what is missing needs no scale"


def test_the_architecture_is_that_of_the_start_unless_asked_otherwise(start: CTRPredictor):
    kept = start.model.config.model_dump(exclude={"fields", "rows"})
    assert architecture(start) == kept
    assert architecture(start, width=16)["widths"] == (16, 16)
    assert architecture(start, depth=3)["widths"] == (8, 8, 8)
    assert architecture(start, dropout=0.2, dnn=()) == kept | {"embedding_dropout": 0.2, "dnn_dropout": 0.4, "dnn": ()}
    official = architecture(None)
    assert official["residual_bias"] and official["widths"] == (32, 32, 32) and official["embedding_dropout"] == 0.1
    assert not architecture(None, preset="paper").get("residual_bias")
    assert architecture(None, mixer="softmax")["mixer"] == "softmax"
    with pytest.raises(UsageError, match="no preset 'mine'"):
        architecture(start, preset="mine")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """The rows that `click_model` was trained on, of which some have a site that it does not know."""
    path = tmp_path / "later.parquet"
    frame = click_log()
    new = pl.when(pl.int_range(len(frame)) % 10 == 0).then(pl.lit("new")).otherwise(pl.col("site"))
    frame.select("tags", "site", "price", "at", "user_id", "click").with_columns(new.alias("site")).write_parquet(path)
    return path


def train(*arguments: object) -> tuple[dict, str]:
    done = CliRunner().invoke(app, ["ctr", "train", *map(str, arguments), "--json"])
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_the_command_says_what_was_carried_over_and_begins_there(table: Path, tmp_path: Path):
    was = json.loads((click_model() / "model.json").read_text())
    short = ("--epochs", 1, "--learning-rate", 1e-9, "--start", click_model())
    record, said = train(click_table(), "--label", "click", "--out", tmp_path / "same", *short)
    assert record["architecture"] == was["architecture"]
    assert record["metrics"]["logloss"] == pytest.approx(was["metrics"]["logloss"], abs=1e-5)
    record, said = train(table, "--label", "click", "--out", tmp_path / "later", *short)
    (line,) = (line for line in said.splitlines() if line.startswith("rows carried over from model: "))
    counts = dict(part.rsplit(" ", 3)[::3] for part in line.partition(": ")[2].split(", "))
    assert line.count(" of ") == len(record["architecture"]["fields"])
    sites = record["preprocessing"]["values"]["site"] + VALUES
    assert f"site {sites - 1} of {sites}" in line and counts["site"] == str(sites)
    assert record["data"]["start"] == "model"


def measured_on(model: Path, table: Path) -> str:
    done = CliRunner().invoke(app, ["ctr", "evaluate", str(table), "--model", str(model), "--json"])
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)["measured_on"]


def test_rows_that_the_start_has_seen_are_not_called_held_out(tmp_path: Path):
    """The start was trained on the click log; the training that begins from it holds some of those rows out."""
    some = pl.concat([click_log(400, seed=8), click_log()[:400]])  # which are dealt by their numbers
    some.write_parquet(tmp_path / "some.parquet")
    given = ("--label", "click", "--epochs", 1, "--start", click_model())
    record, _ = train(tmp_path / "some.parquet", *given, "--out", tmp_path / "m")
    clause = r"; (\d+) of (\d+) sampled rows equal rows that the model it began from has seen"
    (found,) = re.findall(clause, record["metrics"]["measured_on"])
    assert 0.3 < int(found[0]) / int(found[1]) < 0.7
    assert re.findall(clause, measured_on(tmp_path / "m", tmp_path / "some.parquet")) == [found]
    click_log()[400:].write_parquet(tmp_path / "start.parquet")
    (found,) = re.findall(clause, measured_on(tmp_path / "m", tmp_path / "start.parquet"))
    assert 0.85 < int(found[0]) / int(found[1]) < 0.95  # a tenth was for the start's test
    click_log(300, seed=9).write_parquet(tmp_path / "new.parquet")
    assert measured_on(tmp_path / "m", tmp_path / "new.parquet").endswith("was not trained on this table")

    # Rows of other columns cannot be compared.
    some.drop("price").write_parquet(tmp_path / "less.parquet")
    train(tmp_path / "less.parquet", *given, "--out", tmp_path / "less")
    assert measured_on(tmp_path / "less", tmp_path / "less.parquet").endswith(
        "the training began from model, and what that model has seen is not known"
    )


def test_a_start_that_is_no_click_model_is_one_sentence(table: Path, tmp_path: Path, micro_model: Path):
    for source, said in ((micro_model, "this is a galaxy model"), (tmp_path, "is not a model folder")):
        given = ["--label", "click", "--out", str(tmp_path / "m"), "--start", str(source)]
        done = CliRunner().invoke(app, ["ctr", "train", str(table), *given])
        assert done.exit_code == 1 and said in done.stderr.splitlines()[-1]
        assert not (tmp_path / "m").exists()


def test_a_start_is_saved_and_read_like_any_model(start: CTRPredictor, tmp_path: Path):
    save_model(tmp_path / "m", start.model.state_dict(), start.record, start.codebook)
    again = CTRPredictor.load(tmp_path / "m")
    begun = predictor(again.codebook, seed=1)
    begin(begun.model, again.codebook, again)
    for name, value in begun.model.state_dict().items():
        assert torch.equal(value, start.model.state_dict()[name]), name
