"""Temperature and shift of the prior against Bayes' rule worked out for classes whose densities are known."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from attn.apps.chest.probabilities import Calibration, OperatingPoint
from attn.core.errors import ModelError
from attn.core.settings import stored

X = np.linspace(-3, 4, 15)
DENSITIES_NK = np.stack([norm.pdf(X, mean) for mean in (-1.0, 0.5, 2.0)], axis=1)


def posterior(prior: tuple[float, ...]) -> np.ndarray:
    joint_nk = DENSITIES_NK * prior
    return joint_nk / joint_nk.sum(1, keepdims=True)


def test_the_shift_turns_the_posterior_of_balanced_samples_into_that_of_the_population() -> None:
    balanced, population = (1 / 3, 1 / 3, 1 / 3), (0.02, 0.8, 0.18)
    shift = tuple(np.log(population) - np.log(balanced))
    log_p_nk = torch.tensor(np.log(posterior(balanced)))
    found = Calibration(temperature=2.0, shift=shift).probabilities(2.0 * log_p_nk)
    np.testing.assert_allclose(found.numpy(), posterior(population), rtol=1e-9)


def test_the_shift_of_a_label_of_its_own() -> None:
    """Half of the samples had the label, one in fifty has it where the model is used."""
    odds_n = DENSITIES_NK[:, 2] / DENSITIES_NK[:, 0]
    shift = float(np.log(0.02 / 0.98) - np.log(0.5 / 0.5))
    found = Calibration(shift=(shift,)).probabilities(torch.tensor(np.log(odds_n))[:, None], exclusive=False)
    expected = 0.02 * DENSITIES_NK[:, 2] / (0.02 * DENSITIES_NK[:, 2] + 0.98 * DENSITIES_NK[:, 0])
    np.testing.assert_allclose(found[:, 0].numpy(), expected, rtol=1e-9)


def test_without_a_calibration_it_is_the_plain_softmax() -> None:
    z_bk = torch.tensor([[1.0, 2.0, -1.0]])
    torch.testing.assert_close(Calibration().probabilities(z_bk), z_bk.softmax(-1))


def test_the_record_keeps_it() -> None:
    point = OperatingPoint(threshold=0.2, sensitivity=0.96, specificity=0.8, target_sensitivity=0.95)
    calibration = Calibration(temperature=1.4, shift=(0.1, -0.1), operating_points={"covid": point})
    assert stored(Calibration, calibration.model_dump() | {"fitted_on": "all rows"}) == calibration
    with pytest.raises(ModelError, match="temperature"):
        stored(Calibration, {"temperature": 0})
