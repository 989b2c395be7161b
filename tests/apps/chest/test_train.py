"""Training: the record it leaves, the prior it gives back, resuming, and the step's loss in closed form."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from chest_fixtures import write_set
from torch import Tensor, nn
from torch.nn import functional as F

from attn.apps.chest.augment import AugmentConfig
from attn.apps.chest.data import image_hash
from attn.apps.chest.evaluate import evaluate
from attn.apps.chest.model import Medusa, MedusaConfig
from attn.apps.chest.predict import ChestPredictor
from attn.apps.chest.probabilities import SENSITIVITY
from attn.apps.chest.start import architecture
from attn.apps.chest.train import Balance, ChestModule, Recipe, train
from attn.core.errors import InputError, TrainingError
from attn.core.models.folder import load_network
from attn.core.settings import stored
from attn.core.training.config import FitConfig
from attn.data_adapters.dicom.labelled import LabelledStudies, open_studies

PLAIN = AugmentConfig(
    aspect=(1, 1), zoom=(1, 1), rotation=0, shift=0, gamma=0, contrast=0, brightness=0, blur=0, noise=0, border=0, mix=0
)
SMALL = architecture(None, "lite0", image_size=32, scales=2, body=(8, 8, 16), head=16)
QUICK = Recipe(batch_size=8, balance_classes=1.0, balance_sources=1.0)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> LabelledStudies:
    return open_studies(write_set(tmp_path_factory.mktemp("chest") / "set", 8))


def test_the_record(source: LabelledStudies, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    record = train(source, tmp_path / "out", SMALL, QUICK, FitConfig(epochs=1), by="source", start="lite0")
    assert "too few patients" in caplog.text and "'covid' (2 to train on, 1 to validate on)" in caplog.text
    assert record.app == "chest" and record.labels == ["covid", "normal", "pneumonia"]
    assert record.preprocessing == {"side": 32}
    used = record.data["used"]
    assert len(used["train"]) == record.data["trained_on"] and len({*used["train"]} & {*used["validation"]}) == 0
    assert len(used["train"]) + len(used["validation"]) + record.data["held_out"] == len(source)
    assert len(record.calibration["shift"]) == 3 and record.calibration["temperature"] > 0
    assert 0 <= record.metrics["balanced_accuracy"] <= 1
    assert any("not a medical device" in limit for limit in record.limits)
    # What the record says of the held-out images is what `evaluate` says of them.
    report = evaluate(ChestPredictor.load(tmp_path / "out", device="cpu"), source).report()
    for measure in ("accuracy", "balanced_accuracy", "ece"):
        assert record.metrics[measure] == pytest.approx(report[measure]["value"], abs=1e-5), measure
    points = record.calibration["operating_points"]
    assert [*points] == record.labels and all(point["sensitivity"] >= SENSITIVITY for point in points.values())
    assert [row["threshold"] for row in report["per_class"]] == [point["threshold"] for point in points.values()]
    # File names may be names of people.
    text = (tmp_path / "out" / "model.json").read_text() + (tmp_path / "out" / "run" / "data.json").read_text()
    assert not any(id_ in text for id_ in source.ids) and not any(patient in text for patient in source.patients)
    model, _, _ = load_network(
        tmp_path / "out", "chest", lambda record: Medusa(stored(MedusaConfig, record.architecture))
    )
    assert model.config == SMALL


def test_patients_whom_the_start_has_seen_are_not_called_held_out(
    untrained: Path, studies: LabelledStudies, tmp_path: Path
) -> None:
    record = train(studies, tmp_path / "out", SMALL, QUICK, FitConfig(epochs=1), start=untrained)
    hashes = [image_hash(studies.read(row)) for row in range(len(studies))]
    assert {*record.data["used"]["start"]} == {hash for row, hash in enumerate(hashes) if row % 12 < 6}
    seen = {studies.groups[row] for row in range(36) if row % 12 < 6}
    used = {*record.data["used"]["train"], *record.data["used"]["validation"]}
    held_out = [row for row in range(36) if hashes[row] not in used]
    new = [row for row in held_out if studies.groups[row] not in seen]
    assert 0 < len(new) < len(held_out) == record.data["held_out"]
    assert record.metrics["measured_on"] == (
        f"{len(new)} held-out rows of 36; left out: {len(held_out) - len(new)} of patients "
        "that the model it began from has seen"
    )
    assert evaluate(ChestPredictor.load(tmp_path / "out"), studies).rows == new


def test_a_refused_training_leaves_nothing_behind(tmp_path: Path) -> None:
    table = write_set(tmp_path / "set", 8)
    for picture in table.parent.glob("*_1.png"):  # whichever of the parts they are in
        whole = picture.read_bytes()
        picture.write_bytes(b"no picture")
        with pytest.raises(InputError, match=r"labels\.csv, image \d+: holds text"):
            train(open_studies(table), tmp_path / "out", SMALL, QUICK, FitConfig(epochs=1))
        picture.write_bytes(whole)
    with pytest.raises(TrainingError, match="has only 1 patients"):
        train(open_studies(write_set(tmp_path / "few", 2)), tmp_path / "out", SMALL, QUICK, FitConfig(epochs=1))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_resumed_run_is_the_run_and_not_another(source: LabelledStudies, tmp_path: Path) -> None:
    train(source, tmp_path / "once", SMALL, QUICK, FitConfig(epochs=2))
    train(source, tmp_path / "twice", SMALL, QUICK, FitConfig(epochs=1))
    with pytest.raises(TrainingError, match=r"batch_size = 8, now it is 4"):
        train(source, tmp_path / "twice", SMALL, Recipe(batch_size=4), FitConfig(epochs=2), resume=True)
    again = train(source, tmp_path / "twice", SMALL, QUICK, FitConfig(epochs=2), resume=True)
    assert again.metrics["epochs"] == 2
    first, second = (json.loads((tmp_path / name / "model.json").read_text()) for name in ("once", "twice"))
    assert first["calibration"].keys() == second["calibration"].keys()


def test_several_findings_with_unknown_ones(tmp_path: Path) -> None:
    """A table of findings as NIH writes them: classes that do not exclude each other."""
    table = write_set(tmp_path / "set", 8)
    rows = table.read_text().splitlines()
    renamed = [row.replace(",covid,", ",Effusion|Mass,").replace(",pneumonia,", ",Mass,") for row in rows[1:]]
    table.write_text("\n".join([rows[0], *renamed]) + "\n")
    source = open_studies(table)
    if source.exclusive:
        pytest.skip("the table is read as exclusive classes")
    record = train(source, tmp_path / "out", SMALL, QUICK, FitConfig(epochs=1))
    assert record.architecture["exclusive"] is False and len(record.calibration["shift"]) == len(source.classes)
    assert {"auc", "ece", "brier"} <= record.metrics.keys()
    assert [each["label"] for each in record.metrics["findings"]] == source.classes
    held_out = int(record.metrics["measured_on"].split()[0])
    assert all(each["known"] == held_out >= each["there"] for each in record.metrics["findings"])


def test_the_shift_is_the_log_of_the_shares_before_over_those_after() -> None:
    """30 rows of a, 10 of b: fully balanced they are drawn alike, so the posterior odds are too small by 3."""
    targets = F.one_hot(torch.tensor([0] * 30 + [1] * 10), 2).float()
    labels = ["a"] * 30 + ["b"] * 10
    for recipe in (
        Recipe(balance_classes=1.0, balance_sources=0.0),
        Recipe(balance_classes=0.0, balance_sources=0.0, class_weight=1.0),
    ):
        shift = Balance.of(targets, recipe, labels, [""] * 40).shift
        assert float(shift[0] - shift[1]) == pytest.approx(np.log(3), rel=1e-5)
    none = Balance.of(targets, Recipe(balance_classes=0, balance_sources=0), labels, [""] * 40)
    torch.testing.assert_close(none.shift, torch.zeros(2))
    torch.testing.assert_close(none.weight, torch.ones(2))


def test_the_shift_of_findings_is_the_log_of_the_odds_among_known_rows() -> None:
    """Of 40 rows 10 have a, 5 of which have b as well; b is unknown in 20. Drawn by what they have, odds change."""
    a, b = torch.zeros(40), torch.zeros(40)
    a[:10], b[:5], b[20:] = 1, 1, torch.nan
    strata = ["b"] * 5 + ["a"] * 5 + [""] * 30
    recipe = Recipe(balance_classes=1.0, balance_sources=0.0)
    balance = Balance.of(torch.stack([a, b], 1), recipe, strata, [""] * 40, exclusive=False)
    # Each of the three strata is drawn as often: a has two thirds of the draws; known rows of b are 1, 1 and 10 / 30.
    expected = [np.log(10 / 30) - np.log(2 / 1), np.log(5 / 15) - np.log(1 / (1 + 10 / 30))]
    torch.testing.assert_close(balance.shift, torch.tensor(expected, dtype=torch.float32))
    heavy = Balance.of(
        torch.stack([a, b], 1), Recipe(balance_classes=0, balance_sources=0, class_weight=1.0), strata, [""] * 40,
        exclusive=False,
    )  # fmt: skip
    torch.testing.assert_close(heavy.shift, -heavy.weight.log())


class Constant(nn.Module):
    """The same logits for every picture."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([0.5, -0.2, 1.0]))
        self.seen: list[Tensor] = []

    def forward(self, x_b1ss: Tensor) -> Tensor:
        self.seen.append(x_b1ss)
        return self.logits.expand(len(x_b1ss), 3)


def test_the_steps_loss_in_closed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(label_smoothing=0.3, augment=PLAIN, focal=0.0)
    model, balance = Constant(), Balance(torch.ones(4), torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.1, 0.2, -0.3]))
    module = ChestModule(model, 16, recipe, balance)
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    pixels, target = torch.full((4, 20, 20), 128, dtype=torch.uint8), torch.eye(3)[[0, 1, 2, 2]]
    loss = module.training_step((pixels, target), 0)
    log_p, soft = model.logits.log_softmax(0), target * 0.7 + 0.1
    by_hand = -(soft * torch.tensor([1.0, 2, 3]) * log_p).sum() / (soft * torch.tensor([1.0, 2, 3])).sum()
    torch.testing.assert_close(loss, by_hand)
    assert model.seen[0].shape == (4, 1, 16, 16)
    inside = model.seen[0][..., 2:-2, 2:-2]
    torch.testing.assert_close(inside, torch.full_like(inside, 128 / 255), atol=1e-3, rtol=0)


@pytest.mark.slow
@pytest.mark.real_data
def test_a_short_training_on_real_radiographs(data_dir: Path, tmp_path: Path) -> None:
    """300 images of the labelled set; what is written loads and beats chance on the held-out ones."""
    lines = (data_dir / "chest" / "labels.csv").read_text().splitlines()
    chosen = [line for line in lines[1::25] if ",other," not in line]
    folder = (data_dir / "chest").resolve()
    table = tmp_path / "labels.csv"
    table.write_text("\n".join([lines[0], *(f"{folder}/{line}" for line in chosen)]) + "\n")
    config = architecture(None, "lite0", image_size=64)
    record = train(
        open_studies(table), tmp_path / "out", config, Recipe(), FitConfig(epochs=2), by="source", start="lite0"
    )
    assert record.metrics["balanced_accuracy"] > 0.4
