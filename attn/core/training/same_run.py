"""What a training was started on, kept beside its checkpoints, so that no other data or settings resume it."""

import json
from pathlib import Path
from typing import Any

from attn.core.errors import TrainingError
from attn.core.files import replacing

RUN = "data.json"


def remember(out: Path, run: dict[str, Any], *, resume: bool) -> None:
    """Write down what a new run is started on; compare it with `run` when one goes on.

    Folders may be renamed and moved between the two; a run that wrote nothing down is trusted. Raises TrainingError
    that names the first difference.
    """
    path = out / RUN
    if resume and path.exists():
        before = _leaves(_read(path))
        now = _leaves(json.loads(json.dumps(run)))
        for name in [*before, *now]:
            there, here = before.get(name, "absent"), now.get(name, "absent")
            if there != here and not name.endswith(".source"):
                raise TrainingError(
                    f"the earlier run was started with {name} = {there}, now it is {here}",
                    where=path,
                    hint="resume with the earlier run's data and settings, or use another --out",
                )
    elif not resume and not (out / "metrics.csv").exists():  # else `fit` refuses to write over the run that is there
        out.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            part.write_text(json.dumps(run, indent=2) + "\n", encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_bytes())
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise TrainingError("is not a JSON object", where=path, hint="remove it to resume unchecked")
    return told


def _leaves(tree: dict[str, Any], above: str = "") -> dict[str, Any]:
    """The values of a nested dict under dotted names."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        leaves |= _leaves(value, f"{above}{name}.") if isinstance(value, dict) else {above + name: value}
    return leaves
