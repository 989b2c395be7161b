"""Training: the record it leaves, resuming, what it may not see, and the step's loss in closed form."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from reid_fixtures import Drawn
from torch.nn import functional as F

from attn.apps.reid.augment import AugmentConfig
from attn.apps.reid.data import PictureDataset, datasets, maps_of
from attn.apps.reid.losses import batch_hard_triplet
from attn.apps.reid.model import DCAL
from attn.apps.reid.preprocess import Preprocessing
from attn.apps.reid.split import split_individuals
from attn.apps.reid.start import begin, begin_at_features
from attn.apps.reid.train import SHARES, Recipe, ReIDModule, measure, others, retrieval, train
from attn.apps.reid.variants import DCALConfig, variant
from attn.core.errors import TrainingError, UsageError
from attn.core.models.folder import load_network
from attn.core.settings import stored
from attn.core.training.config import FitConfig

PLAIN = AugmentConfig(aspect=(1, 1), zoom=(1, 1), rotation=0, shift=0, light=0, erase=0)
QUICK = Recipe(batch_size=12, images=3, share_partner=4)
SMALL = variant("smallest")


def load(out: Path) -> DCAL:
    model, _, _ = load_network(out, "reid", lambda record: DCAL(stored(DCALConfig, record.architecture)))
    return model


def test_the_record(tmp_path: Path) -> None:
    source = Drawn(12, 5, flanks=True, test=3)
    record = train(source, tmp_path / "out", SMALL, QUICK, FitConfig(epochs=2))
    assert record.app == "reid" and record.verb == "search" and record.labels == []
    assert record.preprocessing == {"size": [32, 32]} or record.preprocessing == {"size": (32, 32)}
    assert not source.was_read & {row for row, name in enumerate(source.identities) if name < "animal003"}
    used, people = record.data["used"], record.data["used_individuals"]
    assert len(used["train"]) == record.data["trained_on"] == 35
    assert len(used["validation"]) == record.data["validated_on"] == 10
    assert (
        len(people["train"]) == 7
        and len(people["validation"]) == 2
        and not {*people["train"]} & {*people["validation"]}
    )
    assert record.data["within"] and record.metrics["recipe"]["mirror"] == "none"
    assert record.architecture["classes"] == 14  # seven individuals, two flanks each
    assert 0 <= record.metrics["mAP"] <= 1 and 0 <= record.metrics["rank1"] <= 1
    written = (tmp_path / "out" / "model.json").read_text() + (tmp_path / "out" / "run" / "data.json").read_text()
    assert "animal" not in written
    assert load(tmp_path / "out").config.classes == 14
    begun = train(Drawn(12, 5), tmp_path / "begun", SMALL, QUICK, FitConfig(epochs=1), start=tmp_path / "out")
    assert begun.data["start"] == "out"
    assert {*begun.data["used"]["start"]} == {*used["train"], *used["validation"]}
    assert {*begun.data["used_individuals"]["start"]} == {*people["train"], *people["validation"]}


def test_it_learns(tmp_path: Path) -> None:
    """Individuals that it never saw, by their coats: better than before the training, on the same pictures."""
    source, config = Drawn(24, 6), variant("smallest", depth=1, local=0.5)
    recipe = Recipe(batch_size=24, images=4, share_partner=4, learning_rate=1e-2)
    record = train(source, tmp_path / "out", config, recipe, FitConfig(epochs=3, seed=1))
    rows = split_individuals(source.identities, None, None).validation
    code = torch.tensor([int(name[-3:]) for name in source.identities])
    torch.manual_seed(1)
    dataset, anything = PictureDataset(source, rows, code, (32, 32)), np.zeros(len(rows), np.int64)
    before = measure(DCAL(config).eval(), dataset, np.asarray(code)[rows], anything)
    assert record.metrics["mAP"] > before["mAP"] + 0.1


@pytest.mark.parametrize("branches", [{"local": None}, {"pairs": False}, {"local": None, "pairs": False}])
def test_each_row_of_the_table_trains(branches: dict[str, object], tmp_path: Path) -> None:
    train(Drawn(6, 4), tmp_path / "out", variant("smallest", depth=1, **branches), QUICK, FitConfig(epochs=1))
    assert load(tmp_path / "out").config.model_dump().items() >= branches.items()


def test_a_hybrid_learns_from_maps_and_is_no_worse_than_its_start(tmp_path: Path) -> None:
    """Each picture is read once, for its map and that of its mirror image; the answer is on the way from the start."""
    source = Drawn(8, 4)
    config = variant("hybrid", image_size=(32, 32), depth=1, width=24)
    recipe = replace(QUICK, mirror="another")
    record = train(source, tmp_path / "out", config, recipe, FitConfig(epochs=2))
    assert record.architecture["classes"] == 2 * 6 and record.metrics["share"] in SHARES
    model, split = DCAL(config), split_individuals(source.identities, None, None)
    begin(model, None)
    number = {name: i for i, name in enumerate(sorted({source.identities[row] for row in split.train}))}
    targets = torch.tensor([number.get(name, 9) for name in source.identities])
    train_set, validation_set = datasets(model, source, split, targets, recipe.mirror)
    assert train_set[0][0].shape == (2, 112, 2, 2) and validation_set[0][0].shape == (112, 2, 2)
    model = DCAL(config.model_copy(update={"classes": 12}))
    begin(model, None)
    begin_at_features(model, lambda: maps_of(train_set, recipe.mirror, 6))
    code = np.unique([source.identities[row] for row in split.validation], return_inverse=True)[1]
    before = measure(model.eval(), validation_set, code, np.zeros_like(code))
    assert record.metrics["mAP"] >= before["mAP"] - 1e-6


def test_mirror_images_come_as_maps() -> None:
    """Where it is mirrored a picture's part is of the other map."""
    module = module_of(Recipe(batch_size=6, images=2, share_partner=3, augment=PLAIN, mirror="another"))
    maps = torch.stack([torch.zeros(6, 5, 4, 4), torch.ones(6, 5, 4, 4)], dim=1).half()
    mirrored = torch.tensor([True, False, True, False, False, True])
    assert torch.equal(module._views(maps, mirrored), mirrored[:, None, None, None].expand(6, 5, 4, 4).float())


def test_classes(tmp_path: Path) -> None:
    config = variant("smallest", depth=1, task="classify", pool="mean")
    record = train(Drawn(4, 8), tmp_path / "out", config, replace(QUICK, partners="batch"), FitConfig(epochs=1))
    assert record.verb == "predict" and record.labels == [f"animal00{i}" for i in range(4)]
    assert 0 <= record.metrics["accuracy"] <= 1 and record.architecture["classes"] == 4
    with pytest.raises(UsageError, match="mirror images are of the same class"):
        train(Drawn(4, 8), tmp_path / "no", config, replace(QUICK, mirror="another"), FitConfig(epochs=1))


def test_a_resumed_run_is_the_run_and_not_another(tmp_path: Path) -> None:
    source = Drawn(6, 4)
    train(source, tmp_path / "once", SMALL, QUICK, FitConfig(epochs=2))
    train(source, tmp_path / "twice", SMALL, QUICK, FitConfig(epochs=1))
    with pytest.raises(TrainingError, match=r"margin = 0.3, now it is None"):
        train(source, tmp_path / "twice", SMALL, replace(QUICK, margin=None), FitConfig(epochs=2), resume=True)
    train(source, tmp_path / "twice", SMALL, QUICK, FitConfig(epochs=2), resume=True)
    rows = [(tmp_path / name / "run" / "metrics.csv").read_text().splitlines() for name in ("once", "twice")]
    header = rows[0][0].split(",")
    timed = {header.index("seconds")}
    for one, other in zip(*rows, strict=True):
        cells = [[cell for i, cell in enumerate(row.split(",")) if i not in timed] for row in (one, other)]
        assert cells[0] == cells[1]


def module_of(recipe: Recipe, **changes: object) -> ReIDModule:
    torch.manual_seed(0)
    module = ReIDModule(
        DCAL(variant("smallest", classes=6, **changes)).train(), recipe, 6 // (1 + (recipe.mirror == "another"))
    )
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    return module


def batch_of(count: int, size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(256, (count, 3, size, size), generator=generator, dtype=torch.uint8), torch.arange(count) % 3


def test_the_steps_loss_written_out() -> None:
    """Half of the sum, over the three branches, of cross-entropy and triplet loss; the last rows are the partners."""
    recipe = Recipe(
        batch_size=6, images=2, share_partner=3, augment=PLAIN, label_smoothing=0.2, margin=0.5, mirror="none"
    )
    module, (pixels, class_b) = module_of(recipe), batch_of(8)
    loss = module.training_step((pixels, class_b), 0)
    found = module_of(recipe).model.branches(pixels[:6] / 255, pixels[6:] / 255)
    wanted = torch.zeros(())
    for branch in found:
        assert branch is not None
        log_p = branch.logits_bk.log_softmax(1)
        soft = F.one_hot(class_b[:6], 6) * 0.8 + 0.2 / 6
        wanted = wanted - (soft * log_p).sum(1).mean() + batch_hard_triplet(branch.features_bc, class_b[:6], 0.5)
    torch.testing.assert_close(loss, wanted / 2, atol=1e-4, rtol=1e-4)
    loss.backward()
    assert all(p.grad is not None for p in module.parameters() if p.requires_grad)


def test_an_individual_with_one_picture_is_not_its_own_positive() -> None:
    """It is repeated to fill the batch: it has a cross-entropy, and serves the others as a negative alone."""
    recipe = Recipe(batch_size=6, images=2, share_partner=3, label_smoothing=0, margin=9.0)
    module, (pixels, _) = module_of(recipe, local=None, pairs=False), batch_of(8)
    class_b = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    pixels = pixels[[0, 0, 1, 1, 2, 2, 3, 4]]
    seen = []
    module.model.head.register_forward_hook(lambda _, __, branch: seen.append(branch.logits_bk))
    loss = module.training_step((pixels, class_b), 0)
    entropy = F.cross_entropy(seen[0].float(), class_b[:6])
    torch.testing.assert_close(loss, entropy / 2)


def test_partners_of_the_batch() -> None:
    for count in (2, 5, 8):
        order = others(count, torch.device("cpu"))
        assert sorted(order.tolist()) == [*range(count)] and not (order == torch.arange(count)).any()
    recipe = Recipe(batch_size=6, images=2, share_partner=1, partners="batch")
    assert module_of(recipe).training_step(batch_of(6), 0).isfinite()


def test_mirror_images_that_are_others() -> None:
    """Classes behind those of the data, all images of a class alike; the picture is mirrored where the class is."""
    module = module_of(Recipe(batch_size=6, images=2, share_partner=3, mirror="another"))
    class_b, both = torch.arange(300) % 3, set()
    for seed in range(20):
        torch.manual_seed(seed)
        mirrored, seen = module._mirrored(class_b)
        assert torch.equal(seen, class_b + 3 * mirrored)
        assert all(len({*seen[class_b == label].tolist()}) == 1 for label in range(3))
        both |= {*seen.tolist()}
    assert both == {*range(6)}
    for mirror, least, most in (("none", 0, 0), ("same", 100, 200)):
        module = module_of(Recipe(batch_size=6, images=2, share_partner=3, mirror=mirror))
        mirrored, seen = module._mirrored(class_b)
        assert torch.equal(seen, class_b) and least <= int(mirrored.sum()) <= most


def test_what_is_measured_is_compared_within() -> None:
    """The nearest picture is of the other flank, which is not in the gallery."""
    vectors = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.5], [1.0, 0.01], [0.0, 1.0]]))
    code, anything = np.array([0, 0, 1, 2]), np.zeros(4, np.int64)
    assert retrieval(vectors, code, np.array([0, 0, 1, 0]))["rank1"] == 1
    assert retrieval(vectors, code, anything)["rank1"] == 0


def test_a_batch_that_cannot_be_divided() -> None:
    with pytest.raises(UsageError, match="a batch of 10 images is no multiple of images = 4"):
        Recipe(batch_size=10)


@pytest.mark.slow
@pytest.mark.real_data
def test_a_short_training_on_nyala(data_dir: Path, tmp_path: Path) -> None:
    from attn.data_adapters.images.identities import open_individuals

    whole = open_individuals(
        data_dir / "reid" / "nyala" / "labels.csv", within="flank", encounter="encounter", split="train"
    )
    few = {*whole.individuals[:60]}
    source = whole.take(row for row, name in enumerate(whole.identities) if name in few)
    config = variant("hybrid", image_size=(64, 64), depth=1)
    record = train(source, tmp_path / "out", config, Recipe(), FitConfig(epochs=1), start="lite0")
    assert record.metrics["mAP"] > 0
    model = load(tmp_path / "out").eval()
    with torch.inference_mode():
        x = Preprocessing(size=config.image_size).pixels(source.read(0))[None] / 255
        torch.testing.assert_close(model(x).norm(dim=1), torch.ones(1))
    assert json.loads((tmp_path / "out" / "model.json").read_text())["data"]["individuals"] == 60
