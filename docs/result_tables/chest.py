"""Tables of radiographs."""

from statistics import fmean, stdev
from typing import Any

from result_tables.cells import Column, Row, Tables, flagged, interval, rows, spread

NAMES = {
    "thumbnail": "logistic regression on a thumbnail of 12 x 12",
    "border": "logistic regression on the border",
    "shape": "logistic regression on the shape of the file",
    "none": "no countermeasure",
}


def chest(part: str) -> list[Row]:
    """A table of chest_tables.jsonl, a row a name; for `a` mean and deviation over seeds."""
    found: dict[str, dict[str, Any]] = {}
    for line in rows("chest_tables"):
        where, name, _ = line["row"].removeprefix(part).rsplit(", ", 2)
        if line["row"].startswith(f"{part}, "):
            own = found.setdefault(name, {"name": NAMES.get(name, name), "seeds": 0, "all": []})
            own["seeds"] += 1
            own["all"].append(line)
            place = where.removeprefix(", ")
            own |= {f"{place}: {key}" if part == "c" else key: value for key, value in line.items() if key not in own}
    for own in found.values():
        lines = own.pop("all")
        for key in ("auc", "ece", "balanced_accuracy") if part == "a" else ():
            values = [line[key]["value"] for line in lines]
            own |= {key: fmean(values)} | ({f"{key}_sd": stdev(values)} if len(values) > 1 else {})
    return list(found.values())


def one_of(table: str) -> Column:
    """An entry of a row where it is, with its interval; nothing where it is not."""
    return lambda row: interval(table)(row) if table in row else ""


def source(name: str, key: str) -> Column:
    """A measure of one source."""
    return lambda row: interval(key)(row[name])


def ratio_to(name: str) -> Column:
    """Our time over another's; nothing where it cannot read the syntax."""
    return lambda row: f"{row[key]:.2f}" if (key := f"times_{name}") in row else ""


CHEST: dict[str, Column] = {
    "model": "{name}",
    "all sources, AUC": interval("auc"),
    "ECE": interval("ece"),
    "inside Kermany, AUC": source("kermany224", "auc"),
    "inside Cohen, AUC": source("cohen_ieee8023", "auc"),
}


TABLES: Tables = {
    "chest_kermany": (
        lambda: chest("a"),
        {
            "model": "{name}",
            "seeds": "{seeds}",
            "parameters": lambda row: f"{row['parameters_M']:.2f} M" if "parameters_M" in row else "",
            "AUC": spread("auc", ".4f"),
            "ECE": spread("ece"),
            "balanced accuracy": spread("balanced_accuracy"),
        },
    ),
    "chest_differences": (
        "chest_differences",
        {"difference": lambda row: row["row"].removeprefix("a, "), "AUC": interval("auc", "+.4f"), "seeds": "{seeds}"},
    ),
    "chest_pooled": (
        lambda: chest("b"),
        CHEST,
    ),
    "chest_pooled_short": (lambda: [row for row in chest("b") if "parameters_M" in row], CHEST),
    "chest_across": (
        lambda: chest("c"),
        {
            "trained with": "{name}",
            "Cohen: covid against normal": one_of("Cohen: covid against normal"),
            "Cohen: covid against pneumonia": one_of("Cohen: covid against pneumonia"),
            "radiography: covid against normal": one_of("radiography: covid against normal"),
        },
    ),
    "chest_gate": (
        "chest_gate",
        {
            "hospital not seen": "{hospital not seen}",
            "frontal chests flagged": flagged("frontal flagged"),
            "hard negatives flagged": flagged("hard negatives flagged"),
        }
        | {kind: flagged(kind) for kind in ("mirrored", "turned", "inverted", "part", "laterals", "CT", "forms")},
    ),
    "chest_sizes": (
        "chest_sizes",
        {
            "network": "{network}",
            "parameters": "{parameters_M:.1f} M",
            "GMACs": "{GMACs:.1f}",
            "share of the body": lambda row: f"{100 * row['body_share']:.0f} %" if row["body_share"] else "",
        },
    ),
    "chest_reading": (
        "chest_reading",
        {
            "syntax": "{syntax}",
            "files per CPU-s": "{files_per_second:.0f}",
            "time, of the bare decoder": ratio_to("decoder"),
            "of radreader": ratio_to("radreader"),
            "of torchxrayvision": ratio_to("torchxrayvision"),
            "of MONAI": ratio_to("monai"),
        },
    ),
    "chest_prediction": (
        "chest_prediction",
        {
            "files": "{files}",
            "files per CPU-s": "{files_per_second:.0f}",
            "of the bare forward": "{of_the_forward:.2f}",
        },
    ),
    "chest_explain": (
        "chest_explain",
        {
            "map": "{map}",
            "images": "{images}",
            "beats random maps": flagged("beats random"),
            "random maps beaten": flagged("share beaten"),
            "area under deletion": "{deletion:.3f}",
            "under insertion": "{insertion:.3f}",
        },
    ),
    "chest_cases": ("chest_cases", {"reader": "{reader}", "right, of 33": "{right}"}),
}
