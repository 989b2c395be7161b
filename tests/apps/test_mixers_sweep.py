"""Each (app, mixer) pair that fits: two steps of training, saved, loaded, and the same predictions."""

import copy

import pytest
import torch
from music_fixtures import tiny_generator
from torch.nn import functional as F

from attn.apps.chest.model import Medusa, MedusaConfig
from attn.apps.ctr.export import Scorer
from attn.apps.ctr.model import AutoInt, AutoIntConfig
from attn.apps.galaxy.model import Astroformer, AstroformerConfig
from attn.apps.music.export import export
from attn.apps.music.model import MusicConfig, MusicTransformer
from attn.apps.music.styles import Piano
from attn.apps.reid.model import DCAL
from attn.apps.reid.variants import DCALConfig
from attn.core import mixers
from attn.core.errors import UsageError
from attn.core.models.folder import ModelRecord, load_network, save
from attn.core.models.onnx import to_onnx, write_onnx
from attn.mixers.forms import FORMS

FIELDS = [{"name": str(i), "kind": "category", "first": 1 + 4 * i, "rows": 4, "column": i} for i in range(4)]
TINY = {
    "chest": {"backbone": "lite0", "scales": 1, "image_size": 32, "body": (8, 8, 64), "head": 8},
    "ctr": {"fields": FIELDS, "rows": 17, "embedding": 8, "widths": (8, 8)},
    "galaxy": {
        "stem": 8,
        "widths": (8, 8, 8, 64),
        "depths": (1, 1, 1, 1),
        "head": 8,
        "strides": (2, 2, 2, 1),
        "image_size": 32,
    },
    "reid": {"image_size": (32, 32), "patch": 8, "width": 16, "depth": 2, "heads": 4, "pool": "mean"}
    | {"local": None, "pairs": False, "task": "classify"},
    "music": {"vocabulary": 20, "width": 16, "depth": 2, "heads": 2, "hidden": 32, "length": 24},
}
KINDS = {
    "chest": (MedusaConfig, Medusa),
    "ctr": (AutoIntConfig, AutoInt),
    "galaxy": (AstroformerConfig, Astroformer),
    "music": (MusicConfig, MusicTransformer),
    "reid": (DCALConfig, DCAL),
}
OPTIONS = ["axial:width=4", "selective:of=relative", "deconstructed:variant=mlp", "deconstructed:variant=random"]
PAIRS = [
    (app, info.name)
    for app, form in FORMS.items()
    for info in mixers.available()
    if form.dims in info.dims and info.has(form.causal)
] + [("music", text) for text in OPTIONS]


def inputs(app):
    drawn = torch.Generator().manual_seed(0)
    if app == "music":
        return (torch.randint(20, (2, 20), generator=drawn),)
    if app == "ctr":
        return torch.randint(4, (8, 4), generator=drawn) + torch.tensor([1, 5, 9, 13]), torch.zeros(8, 0)
    return (torch.rand(2, 1 if app == "chest" else 3, 32, 32, generator=drawn),)


def answer(app, model):
    return model.branches(*inputs(app)).sa.logits_bk if app == "reid" else model(*inputs(app))


def loss_of(app, y):
    if app == "ctr":
        return F.binary_cross_entropy_with_logits(y, (torch.arange(8) % 2).float())
    if app == "music":
        return F.cross_entropy(y[:, :-1].flatten(0, 1), inputs("music")[0][:, 1:].flatten())
    return F.cross_entropy(y, torch.arange(2))


@pytest.mark.parametrize(("app", "mixer"), PAIRS, ids=str)
def test_two_steps_of_training_saved_and_loaded_predict_the_same(app, mixer, tmp_path):
    config, network = KINDS[app]
    torch.manual_seed(0)
    made = network(config.model_validate(TINY[app] | {"mixer": mixer}))
    before = copy.deepcopy(made.state_dict())
    optimizer = torch.optim.AdamW(made.parameters(), lr=0.002 if app == "reid" else 0.01)
    losses = []
    for _ in range(2):
        torch.manual_seed(1)  # the same units are dropped
        loss = loss_of(app, answer(app, made))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[1] < losses[0]
    assert any(not torch.equal(value, before[name]) for name, value in made.state_dict().items() if ".mixer." in name)

    architecture = made.config.model_dump(mode="json")
    record = ModelRecord(app=app, name="tiny", architecture=architecture, labels=["a", "b"])
    save(tmp_path, made.state_dict(), record)
    loaded, _, _ = load_network(tmp_path, app, lambda record: network(config.model_validate(record.architecture)))
    with torch.inference_mode():
        expected, actual = answer(app, made.eval()), answer(app, loaded.eval())
    assert expected.isfinite().all()
    assert torch.equal(actual, expected)


def test_every_mechanism_fits_an_app():
    assert {mixer.partition(":")[0] for _, mixer in PAIRS} == {info.name for info in mixers.available()}


class Answers(torch.nn.Module):
    """A network as the app exports it: pixels to the vector or the logits of its task."""

    def __init__(self, app, model):
        super().__init__()
        self.app, self.model = app, model

    def forward(self, x):
        return self.model.probabilities(x) if self.app == "reid" else self.model(x)


@pytest.mark.slow
@pytest.mark.parametrize(("app", "mixer"), [pair for pair in PAIRS if pair[0] in ("chest", "galaxy", "reid")], ids=str)
def test_each_is_exported_with_the_same_answers(app, mixer, tmp_path):
    config, network = KINDS[app]
    torch.manual_seed(0)
    model = network(config.model_validate(TINY[app] | {"mixer": mixer})).eval()
    path = tmp_path / "m.onnx"
    assert to_onnx(Answers(app, model).eval(), *inputs(app), path, (1, 3), input_name="image") < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("mixer", [mixer for app, mixer in PAIRS if app == "ctr"])
def test_each_is_exported_with_the_same_clicks(mixer, tmp_path):
    torch.manual_seed(0)
    scorer = Scorer(AutoInt(AutoIntConfig(**TINY["ctr"], mixer=mixer)).eval(), 1.1, -0.2, ids=True, numbers=False)

    def difference(session):
        answers = ((session.run(None, {"ids": ids.numpy()})[0], scorer(ids)) for ids in (ids_bc[:1], ids_bc))
        return max(float((torch.from_numpy(theirs) - ours).abs().max()) for theirs, ours in answers)

    ids_bc, _ = inputs("ctr")
    free = {"ids": {0: "rows"}}
    assert write_onnx(scorer, {"ids": ids_bc}, ["probability"], tmp_path / "m.onnx", difference, free=free) < 1e-5


# Their past is more than keys and values, or none at all.
NOT_EXPORTED = {"axial", "large_kernel", "relative_convolutional", "routing"}
NOT_EXPORTED |= {"axial:width=4", "deconstructed:variant=mlp", "deconstructed:variant=random"}


@pytest.mark.slow
@pytest.mark.parametrize("mixer", [mixer for app, mixer in PAIRS if app == "music"])
def test_each_is_exported_as_a_step_of_decoding_or_refused(mixer, tmp_path):
    generator = tiny_generator(Piano(), mixer=mixer, depth=1)
    if mixer in NOT_EXPORTED:
        with pytest.raises(UsageError, match="is not exported"):
            export(generator, tmp_path / "m.onnx")
    else:
        assert export(generator, tmp_path / "m.onnx")["largest_difference"] < 1e-4
