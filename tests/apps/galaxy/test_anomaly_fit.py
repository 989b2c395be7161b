"""Fitting an anomaly: the regression, the threshold's rate of false alarms, and what a training leaves behind."""

from pathlib import Path

import numpy as np
from galaxy_fixtures import write_set
from sklearn.metrics import roc_auc_score

from attn.apps.galaxy.anomaly import FALSE_ALARMS, LIMIT, load_anomaly
from attn.apps.galaxy.anomaly_fit import against, fit_anomaly, measured, shown
from attn.apps.galaxy.negatives import KINDS, picture
from attn.core.models.record import load_record
from attn.data_adapters.sky.labelled import open_galaxies
from attn.data_adapters.sky.stretch import Stretch


def test_weights_are_for_measures_in_deviations() -> None:
    draw = np.random.default_rng(0)
    scale, shift = draw.uniform(0.1, 10, 6), draw.normal(0, 5, 6)
    galaxies, others = draw.normal(0, 1, (300, 6)), draw.normal(1.2, 1, (90, 6))
    plain = against(galaxies, others, galaxies)
    moved = against(galaxies * scale + shift, others * scale + shift, galaxies * scale + shift)
    both = np.concatenate([galaxies, others])
    np.testing.assert_allclose(moved.score(both * scale + shift), plain.score(both), atol=0.02)
    assert roc_auc_score(np.repeat([0, 1], [300, 90]), plain.score(both)) > 0.95
    assert (plain.score(galaxies) > LIMIT).sum() == 2  # of 300, FALSE_ALARMS of them


def test_the_threshold_leaves_the_stated_share_of_held_out_galaxies(tmp_path: Path) -> None:
    source = open_galaxies(write_set(tmp_path / "set", 20), image="path", label="kind")
    (tmp_path / "set" / source.ids[3]).write_bytes(b"")  # what cannot be read is left out
    rows = np.random.default_rng(1).permutation(60)
    anomaly, facts = fit_anomaly(Stretch(), source, rows[:40].tolist(), rows[40:].tolist(), seed=2)
    assert facts["false_alarms"] == FALSE_ALARMS
    assert facts["fitted_on"] == f"40 training rows and {10 * len(KINDS)} drawn pictures of no galaxy"
    again, _ = fit_anomaly(Stretch(), source, rows[:40].tolist(), rows[40:].tolist(), seed=2)
    assert np.array_equal(anomaly.weight, again.weight) and anomaly.threshold == again.threshold
    held = measured(shown(Stretch(), source, rows[40:], np.random.default_rng(9), 4))
    assert (anomaly.score(held) > LIMIT).mean() < 0.08
    drawn = measured(picture("trail", 500 + seed) for seed in range(10))
    score = [anomaly.score(each) for each in (held, drawn)]
    truth = np.repeat([0, 1], [len(held), len(drawn)])
    assert roc_auc_score(truth, np.concatenate(score)) > 0.8


def test_further_images_add_only_their_own_rows(tmp_path: Path, monkeypatch) -> None:
    source, extra = (open_galaxies(write_set(tmp_path / name, 6), image="path", label="kind") for name in "ab")
    read: dict[int, list[int]] = {id(source): [], id(extra): []}
    whole = type(source).read

    def noted(self, row, *how):
        read[id(self)].append(row)
        return whole(self, row, *how)

    monkeypatch.setattr(type(source), "read", noted)
    _, facts = fit_anomaly(Stretch(), source, [3, 4, 9, 14], [17], extra=extra)
    assert sorted(read[id(source)]) == [3, 4, 9, 14, 17] and sorted(read[id(extra)]) == list(range(18))
    assert facts["fitted_on"].startswith("22 training rows")


def test_a_training_leaves_an_anomaly_and_says_what_it_was_fitted_to(micro_model: Path) -> None:
    record = load_record(micro_model)
    assert load_anomaly(micro_model, record) is not None
    facts = record.calibration["anomaly"]
    assert facts["false_alarms"] == FALSE_ALARMS and "validation rows" in facts["calibrated_on"]
    assert f"false alarms {FALSE_ALARMS}" in (micro_model / "README.md").read_text()
