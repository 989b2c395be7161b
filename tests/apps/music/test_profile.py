"""What a profile measures, planted layers that are all reused, and policies that do not fit."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from music_fixtures import tiny_generator
from typer.testing import CliRunner

from attn.apps.music import profile as module
from attn.apps.music.profile import able_layers, profile, sites_of
from attn.apps.music.styles import EDGE, Piano
from attn.cli import app
from attn.core.attention.watch import record
from attn.core.decoding.policy import COMPUTE
from attn.core.errors import UsageError
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.writer import write_midi

IDS = np.concatenate([[EDGE], np.random.default_rng(0).integers(3, 300, 99)])


def attn(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["music", *map(str, arguments)])
    assert "Traceback" not in done.output + done.stderr
    return done.exit_code, done.stderr


def test_overlap_is_that_of_the_largest_tokens_of_a_whole_pass() -> None:
    generator = tiny_generator(Piano(), mixer="relative", depth=3)
    found = profile(generator, [IDS], keys=8)
    with torch.inference_mode(), record(generator.model) as seen:
        generator.model(torch.from_numpy(IDS)[None])
    sets = []
    for site in sites_of(generator.model):
        weights_qn = seen[site].weights[0].sum(0)[-25:]
        sets.append([{*row.argsort(descending=True)[:8].tolist()} for row in weights_qn])
    for layer, row in enumerate(found.overlap):
        expected = [np.mean([len(a & b) / 8 for a, b in zip(sets[layer], each, strict=True)]) for each in sets]
        assert row == pytest.approx(expected)
    assert all(nats is not None and nats > 0 for nats in found.sensitivity)


def test_planted_layers_with_the_same_weights_are_all_reused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries and keys that are all alike: each layer's weights are the table's, and the tables are one."""
    generator = tiny_generator(Piano(), mixer="relative", depth=3)
    with torch.no_grad():
        for block in generator.model.layers:
            block.mixer.qkv.weight[:32] = 0  # queries and keys are their biases
            block.mixer.qkv.bias[:32] = torch.linspace(-1, 1, 32)
            block.mixer.table.copy_(generator.model.layers[0].mixer.table * 3)
        for block in generator.model.layers[1:]:
            block.mixer.table.copy_(generator.model.layers[0].mixer.table)
    monkeypatch.setattr(module, "SENSITIVE", np.inf)
    assert profile(generator, [IDS], keys=16).layers == (COMPUTE, 0, 0)
    monkeypatch.setattr(module, "SENSITIVE", -1.0)
    assert profile(generator, [IDS], keys=16).layers == (COMPUTE, COMPUTE, COMPUTE)


def test_with_all_keys_nothing_is_lost_and_nothing_can_be_told() -> None:
    with pytest.raises(UsageError, match="of 100 tokens none are left out with 80 keys"):
        profile(tiny_generator(Piano(), mixer="relative"), [IDS], keys=80)
    with pytest.raises(UsageError, match="fewer than two layers of tiny decode over all tokens so far"):
        able_layers(tiny_generator(Piano(), mixer="relative_local:block=8"))


def test_what_cannot_be_profiled_is_said_before_the_work(music_models: dict[str, Path], tmp_path: Path) -> None:
    write_midi(tmp_path / "none.mid", Notes.none())
    for arguments, said in {
        ("--out", tmp_path): "is a folder, not a file",
        ("--length", 100_000): "a model writes at most 72,000 tokens; give a shorter --length",
        (tmp_path / "none.mid",): "none.mid: has no notes",
    }.items():
        code, stderr = attn("profile", music_models["piano"], "--out", tmp_path / "p.json", *arguments)
        assert code in (1, 2) and said in stderr
    code, stderr = attn("profile", "bundled:music/chorale", tmp_path / "none.mid", "--out", tmp_path / "p.json")
    assert code in (1, 2) and "none.mid: has no notes" in stderr


def test_a_policy_is_written_and_decoded_with(music_models: dict[str, Path], tmp_path: Path) -> None:
    out, model = tmp_path / "new" / "policy.json", music_models["piano"]
    assert attn("profile", model, "--keys", 8, "--overlap", 0, "--length", 64, "--out", out)[0] == 0
    written = json.loads(out.read_text())
    pieces = {}
    for name, more in {"plain": (), "reused": ("--policy", out)}.items():
        code, _ = attn("generate", "--model", model, "--seconds", 0.5, "--out", tmp_path / f"{name}.mid", *more)
        assert code == 0
        pieces[name] = (tmp_path / f"{name}.mid").read_bytes()
    assert pieces["plain"] != pieces["reused"]
    (tmp_path / "short.json").write_text(json.dumps(written | {"layers": [-1]}))
    (tmp_path / "other.json").write_text(json.dumps(written | {"fingerprint": "0"}))
    (tmp_path / "wrong.json").write_text(json.dumps(written | {"layers": [0, 0]}))
    for name, said in {
        "missing": "missing.json: there is no such file; `attn music profile MODEL` writes one",
        "short": "short.json: has 1 layers, not 2",
        "other": "other.json: is a policy of the model 'piano', not of 'piano'; profile this model",
        "wrong": "wrong.json: is no policy",
    }.items():
        code, stderr = attn(
            "generate", "--model", model, "--policy", tmp_path / f"{name}.json", "--out", tmp_path / "x.mid"
        )
        assert code in (1, 2) and said in stderr and not (tmp_path / "x.mid").exists()
