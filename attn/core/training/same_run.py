"""The folder of a run, and in it what the run was started on, so that no other data or settings resume it.

out/                 the model: what people use and upload
out/run/             the run: checkpoints, metrics.csv, curves.png, data.json, tokens; not needed afterwards
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attn.core.errors import TrainingError, UsageError
from attn.core.files import claim, claimed, replacing, sweep

RUN = "data.json"
EARLIER = ("checkpoints", "metrics.csv", "data.json")  # lay beside the model before there was a folder for the run


def run_folder(out: Path) -> Path:
    """Claim `out` for a model, and make the folder inside it that the training keeps its own files in.

    Raises UsageError where `out` holds what attn did not write, or has a name that is not UTF-8, which safetensors
    cannot open; TrainingError for a run that lies beside its model.
    """
    _check(out)
    claim(out)
    run = out / "run"
    run.mkdir(exist_ok=True)
    sweep(run)
    ignore = run / ".gitignore"
    if not ignore.exists():
        with replacing(ignore) as part:  # training data; git and the Hub then leave it where it is
            part.write_text("*\n", encoding="utf-8")
    return run


@contextmanager
def starting(out: Path) -> Iterator[Path]:
    """`run_folder` for the time of a training: one that ends before its first checkpoint leaves nothing new behind."""
    _check(out)
    with claimed(out):
        fresh = not (out / "run").exists()
        try:
            yield run_folder(out)
        except BaseException:
            if fresh and not (out / "run" / "checkpoints").exists():
                shutil.rmtree(out / "run", ignore_errors=True)
            raise


def remember(run: Path, settings: dict[str, Any], *, resume: bool) -> None:
    """Write down what a new run is started on in its folder; compare that with `settings` when it is resumed.

    Folders may be renamed and moved between the two; a run that wrote nothing down is trusted. Raises TrainingError
    that names the first difference.
    """
    path = run / RUN
    if resume and path.exists():
        before = _leaves(_read(path))
        now = _leaves(json.loads(json.dumps(settings)))
        for name in [*before, *now]:
            there, here = before.get(name, "absent"), now.get(name, "absent")
            if there != here and not name.endswith(".source"):
                before_now = f"{shortened(name)} = {shortened(there)}, now it is {shortened(here)}"
                raise TrainingError(
                    f"the earlier run was started with {before_now}",
                    where=path,
                    hint="resume with the earlier run's data and settings, or use another --out",
                )
    elif not resume and not (run / "metrics.csv").exists():  # else `fit` refuses to write over the run that is there
        run.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            part.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _check(out: Path) -> None:
    if os.fsencode(out).decode(errors="ignore") != str(out):
        raise UsageError("has a name that is not UTF-8", where=out, hint="give another --out")
    earlier = [name for name in EARLIER if (out / name).exists()]
    if "checkpoints" in earlier:
        raise TrainingError(
            f"holds a run whose {', '.join(earlier)} lie beside the model, as attn 0.1.0 left them",
            where=out,
            hint=f"move them into {out / 'run'}, or use another --out",
        )


def shortened(value: object) -> str:
    """What a message repeats of a value that a file holds."""
    text = str(value)
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _read(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        settings = None
    if not isinstance(settings, dict):
        raise TrainingError("is not a JSON object", where=path, hint="remove it to resume unchecked")
    return settings


def _leaves(tree: dict[str, Any], above: str = "") -> dict[str, Any]:
    """The values of a nested dict under dotted names."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        leaves |= _leaves(value, f"{above}{name}.") if isinstance(value, dict) else {above + name: value}
    return leaves
