"""`attn music generate --guide`: nothing where nothing is guided, other bytes where it is, and what is refused."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from attn.cli import app
from attn.core.models.record import fingerprint, load_record
from attn.look.hunting import FoundHead, FoundHeads


def generate(model: Path, out: Path, *arguments: object) -> Result:
    command = ["music", "generate", "--model", model, "--seconds", 0.1, "--out", out, *arguments]
    done = CliRunner().invoke(app, [*map(str, command)])
    assert "Traceback" not in done.output + done.stderr
    return done


@pytest.fixture(scope="module")
def heads(music_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of a head of the untrained piano model."""
    path = tmp_path_factory.mktemp("heads") / "heads.json"
    found(music_models["piano"]).save(path)
    return path


def found(model: Path, **changes: object) -> FoundHeads:
    head = FoundHead(name="1.0", site="blocks.1.mixer", head=0, value=2.0)
    values = {"app": "music", "model": "piano", "fingerprint": fingerprint(load_record(model)), "heads": (head,)}
    values |= {"objective": "density", "start": 1.0, "strength": 3.0, "softness": 1.0}
    return FoundHeads.model_validate(values | changes)


def test_strength_0_or_softness_0_gives_the_same_bytes(
    heads: Path, music_models: dict[str, Path], tmp_path: Path
) -> None:
    def written(*arguments: object) -> bytes:
        done = generate(music_models["piano"], tmp_path / "p.mid", *arguments)
        assert done.exit_code == 0, done.output
        return (tmp_path / "p.mid").read_bytes()

    plain = written()
    assert written("--guide", heads, "--guide-strength", 0) == plain
    assert written("--guide", heads, "--guide-softness", 0) == plain
    assert written("--guide", heads) != plain


def test_a_file_without_heads_says_that_it_guides_nothing(music_models: dict[str, Path], tmp_path: Path) -> None:
    found(music_models["piano"], heads=()).save(tmp_path / "none.json")
    done = generate(music_models["piano"], tmp_path / "p.mid", "--guide", tmp_path / "none.json")
    assert done.exit_code == 0 and "none.json: the hunt found no heads, so nothing is guided" in done.stderr


def test_what_cannot_guide_is_one_sentence(heads: Path, music_models: dict[str, Path], tmp_path: Path) -> None:
    model = music_models["piano"]
    (tmp_path / "text.json").write_text("no heads")
    found(model, fingerprint="another").save(tmp_path / "another.json")
    elsewhere = FoundHead(name="1.9", site="blocks.1.mixer", head=9, value=2.0)
    found(model, heads=(elsewhere,)).save(tmp_path / "elsewhere.json")
    for arguments, said in {
        ("--guide", tmp_path / "missing.json"): "missing.json: there is no such file; `attn look MODEL INPUT --hunt",
        ("--guide", tmp_path / "text.json"): "text.json: is no file of heads",
        ("--guide", tmp_path / "another.json"): "holds heads of the model 'piano', not of 'piano'; hunt in this",
        ("--guide", tmp_path / "elsewhere.json"): "elsewhere.json: names a head that the model has not",
        ("--guide", heads, "--guide-strength", 101): "--guide-strength",
        ("--guide", heads, "--guide-softness", "nan"): "--guide-softness",
        ("--guide-strength", 1): "--guide-strength has no effect without --guide",
    }.items():
        done = generate(model, tmp_path / "p.mid", *arguments)
        assert done.exit_code in (1, 2) and said in done.stderr and done.stderr.strip().count("\n") == 0
    assert not (tmp_path / "p.mid").exists()
