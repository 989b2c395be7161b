"""The model card: `README.md` of a model folder, made from its record and from nothing else."""

from collections.abc import Iterator
from typing import Any


def write_card(record: dict[str, Any]) -> str:
    """Markdown with the metadata block the Hugging Face Hub reads. `record` is what `model.json` holds."""
    sections = [
        ("Labels", _bullets(record["labels"])),
        ("Training data", _bullets(_facts(record["data"]))),
        ("Metrics", _metrics(record["metrics"])),
        ("Preprocessing", _bullets(_facts(record["preprocessing"]))),
        ("Calibration", _bullets(_facts(record["calibration"]))),
        ("Limits", _bullets(_limits(record))),
        ("Licence", record["licence"]),
        ("Made with", _bullets([*_facts(record["versions"]), *_facts({"seed": record["seed"]})])),
    ]
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections if text)
    return f"{_front_matter(record)}\n\n# {record['name']}\n\n{_summary(record)}\n\n{body}\n"


def _front_matter(record: dict[str, Any]) -> str:
    """YAML. A licence in words is `other`: the Hub knows licences by their identifiers, which are one word."""
    licence = "other" if " " in record["licence"] else record["licence"].lower()
    return f"---\nlicense: {licence}\nlibrary_name: attn\ntags: [attn, {record['app']}]\n---"


def _summary(record: dict[str, Any]) -> str:
    parameters = record["weights"].get("parameters", 0)
    shape = ", ".join(_facts(record["architecture"]))
    return (
        f"A model for `attn {record['app']}` with {parameters:,} parameters ({shape}). "
        f"Use it with `attn {record['app']} {record['verb']} --model FOLDER`."
    )


def _limits(record: dict[str, Any]) -> list[str]:
    general = "Its metrics hold for data like the training data. Measure them again on other data with `evaluate`"
    fit = ", and fit the probabilities to them with `calibrate`" if record["labels"] else ""
    return [*record["limits"], f"{general}{fit}."]


def _metrics(metrics: dict[str, Any]) -> str:
    """Numbers as a table; one with a 95 % interval is a dict of value, low and high."""
    rows = []
    for name, value in metrics.items():
        if isinstance(value, dict) and {"value", "low", "high"} <= value.keys():
            rows.append(f"| {_words(name)} | {value['value']:.3f} | {value['low']:.3f} to {value['high']:.3f} |")
        elif isinstance(value, int | float):
            rows.append(f"| {_words(name)} | {_short(value)} | |")
    return "\n".join(["| metric | value | 95 % interval |", "|---|---|---|", *rows]) if rows else ""


def _facts(values: dict[str, Any]) -> list[str]:
    """`name: value` of everything that has a value; long lists are counted."""
    return [f"{_words(name)}: {_short(value)}" for name, value in values.items() if value not in (None, {}, [], "")]


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(_shorts(value))
    if isinstance(value, list | tuple):
        value = [each.get("name", each) if isinstance(each, dict) else each for each in value]
        return ", ".join(map(str, value)) if len(value) <= 12 else f"{len(value)} entries, listed in model.json"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _shorts(values: dict[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        yield f"{_words(name)} {_short(value)}"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _bullets(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
