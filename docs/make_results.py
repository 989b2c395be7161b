"""Writes the tables of results.md and of the README from benchmarks/results: `python docs/make_results.py`.

A table is a file of rows, one JSON object a line, which a benchmark keeps (`benchmarks/rows.py`), and a dict of
columns. A column is a format of the row's values, or a function of the row. On a page two marks enclose a table and
name it.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = (ROOT / "README.md", ROOT / "docs" / "results.md")
MARKED = re.compile(r"(<!-- table ([a-z0-9_]+): python docs/make_results\.py -->\n).*?(<!-- end -->\n)", re.DOTALL)

Row = Mapping[str, Any]
Column = str | Callable[[Row], str]


def rows(name: str) -> list[Row]:
    """The rows of a file of `benchmarks/results`."""
    return [json.loads(line) for line in (RESULTS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def number(value: float | None) -> str:
    """Whole numbers and those from 1,000 on without decimals, others with one; nothing for None."""
    return "" if value is None else f"{value:,.{int(isinstance(value, float) and value < 1000)}f}"


def decimals(name: str) -> Column:
    """A value as `number` writes it."""
    return lambda row: number(row[name])


def interval(name: str, form: str = ".3f") -> Column:
    """A value with its 95 % interval, where the row has one: {value, low, high} or a number."""

    def cell(row: Row) -> str:
        found = row[name]
        if not isinstance(found, dict):
            return format(found, form)
        return f"{found['value']:{form}} ({found['low']:{form}} to {found['high']:{form}})"

    return cell


def spread(name: str, form: str = ".3f") -> Column:
    """A mean with its standard deviation over seeds, where there are several."""
    return lambda row: format(row[name], form) + (f" ({row[f'{name}_sd']:{form}})" if f"{name}_sd" in row else "")


def peers(row: Row) -> str:
    """`{name: value}` of the other libraries."""
    return ", ".join(f"{number(value)} ({name})" for name, value in row["peers"].items())


def clicks() -> list[Row]:
    """The models of ctr_quality.jsonl, best with ids first; AUC and log loss in both settings, mean and deviation."""
    found: dict[str, dict[str, Any]] = {}
    lines = rows("ctr_quality")
    for model in dict.fromkeys(line["peer"] for line in lines):
        found[model] = {"model": model}
        for setting in "AB":
            own = [line for line in lines if (line["peer"], line["setting"]) == (model, setting)]
            for key in ("auc", "logloss"):
                values = [line[key] for line in own]
                found[model] |= {f"{setting}_{key}": fmean(values), f"{setting}_{key}_sd": stdev(values)}
    first = next(line for line in lines if (line["peer"], line["setting"], line["seed"]) == ("attn AutoInt+", "B", 0))
    name = f"attn AutoInt+ (bundled, the first seed with ids: {share(first['auc'])} / {share(first['logloss'])})"
    found["attn AutoInt+"]["model"] = name
    return sorted(found.values(), key=lambda row: -row["B_auc"])


def share(value: float) -> str:
    """A number below 1 to four digits, without the zero: .9026."""
    return f"{value:.4f}".removeprefix("0")


def auc(setting: str) -> Column:
    """AUC with its standard deviation over seeds."""
    return lambda row: f"{share(row[f'{setting}_auc'])} ({share(row[f'{setting}_auc_sd'])})"


def logloss(setting: str) -> Column:
    """Log loss, the mean over seeds."""
    return lambda row: share(row[f"{setting}_logloss"])


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


def flagged(key: str) -> Column:
    """A share in per cent."""
    return lambda row: f"{100 * row[key]:.1f} %"


def ratio_to(name: str) -> Column:
    """Our time over another's; nothing where it cannot read the syntax."""
    return lambda row: f"{row[key]:.2f}" if (key := f"times_{name}") in row else ""


def reid(part: str) -> list[Row]:
    """A table of reid_tables.jsonl, a row a name: means over seeds, and with one seed the interval over individuals."""
    found: dict[str, list[Row]] = {}
    for line in rows("reid_tables"):
        table, name = line["row"].rsplit(", seed ", 1)[0].split(", ", 1)
        if table == part:
            found.setdefault(name, []).append(line)
    table_rows: list[Row] = []
    for name, lines in found.items():
        own = {**lines[0], "name": name, "seeds": len(lines)}
        for key in ("mAP", "rank1") if len(lines) > 1 else ():
            values = [line[key]["value"] for line in lines]
            own |= {key: fmean(values), f"{key}_sd": stdev(values)}
        table_rows.append(own)
    order = [name for name in REID_ORDER if name in found]
    return sorted(table_rows, key=lambda row: order.index(row["name"]))


NYALA_CARS = {"a": "nyala", "b": "cars"}
REID_ORDER = (
    "HOG",
    "frozen Lite0",
    "ResNet-18 from scratch",
    "Lite0 fine-tuned",
    "hybrid, self-attention",
    "hybrid, + GLCA",
    "hybrid, + PWCA",
    "hybrid, DCAL (both)",
)


def over_seeds(name: str) -> Column:
    """The deviation over seeds in brackets, or the interval over individuals where there is one seed."""
    return lambda row: (interval(name) if isinstance(row[name], dict) else spread(name))(row)


REID_SHORT = ("frozen Lite0", "Lite0 fine-tuned", "hybrid, self-attention", "hybrid, DCAL (both)")
REID: dict[str, Column] = {
    "row": "{name}",
    "seeds": lambda row: str(row["seeds"]) if "parameters_M" in row else "",
    "parameters": lambda row: f"{row['parameters_M']:.2f} M" if "parameters_M" in row else "",
    "CPU-minutes": lambda row: f"{row['cpu_minutes']:.1f}" if "cpu_minutes" in row else "",
    "mAP": over_seeds("mAP"),
    "R1": over_seeds("rank1"),
}
CHEST: dict[str, Column] = {
    "model": "{name}",
    "all sources, AUC": interval("auc"),
    "ECE": interval("ece"),
    "inside Kermany, AUC": source("kermany224", "auc"),
    "inside Cohen, AUC": source("cohen_ieee8023", "auc"),
}
GALAXY = {
    "model": "{model}",
    "balanced accuracy": interval("balanced_accuracy"),
    "macro-F1": interval("macro_f1"),
    "ECE": "{ece:.3f}",
}
LIKELIHOODS = {"validation": "{validation:#.4g} ({validation_pieces} pieces)", "test": "{test:#.4g} ({test_pieces})"}

Source = str | Callable[[], list[Row]]
TABLES: dict[str, tuple[Source, Mapping[str, Column]]] = {
    "galaxy_efigi": ("galaxy_efigi", GALAXY),
    "galaxy_efigi_short": (lambda: rows("galaxy_efigi")[:2], GALAXY),
    "galaxy_networks": (
        "galaxy_networks",
        {
            "network": "{network}",
            "seeds": "{seeds}",
            "parameters": "{parameters_M:.1f} M",
            "epochs": "{epochs:.0f}",
            "balanced accuracy": spread("colour_balanced_accuracy"),
            "macro-F1": spread("colour_macro_f1"),
            "grey": "{grey_balanced_accuracy:.3f} / {grey_macro_f1:.3f}",
            "small in the frame": "{small_balanced_accuracy:.3f} / {small_macro_f1:.3f}",
            "GZ2": "{gz2_accuracy:.3f}",
        },
    ),
    "galaxy_speed": (
        "galaxy_speed",
        {
            "what": "{what}",
            "images/s": decimals("ours"),
            "peer's images/s": lambda row: f"{number(row['theirs'])} ({row['peer']})".strip(),
            "ratio": "{ratio:.2f}",
            "aim": "{aim}",
        },
    ),
    "music_bundled": (
        "music_bundled",
        {
            "bundled model": "{model} ({architecture})",
            "parameters": "{parameters_M:.1f} M",
            "trained, one shared core": "{minutes:.0f} minutes",
            "context": "{context}",
            **LIKELIHOODS,
        },
    ),
    "music_bundled_short": ("music_bundled", {"bundled model": "{model}", **LIKELIHOODS}),
    "music_mechanisms": (
        "music_mechanisms",
        {
            "mechanism": "{mechanism}",
            "validation": "{validation:.3f}",
            "test": "{test:.3f}",
            "the paper's validation": "{paper:.3f}",
        },
    ),
    "music_motifs": (
        "music_motifs",
        {
            "histogram": "{histogram}",
            "own motif": "{own:.3f}",
            "other motifs": "{others:.3f}",
            "difference": interval("difference"),
        },
    ),
    "music_speed": (
        "music_speed",
        {"what": "{what}", "ours": decimals("ours"), "peers": peers, "ratio": "{ratio}", "aim": "{aim}"},
    ),
    "music_memory": (
        "music_memory",
        {
            "tokens": "{tokens:,}",
            "relative": decimals("relative"),
            "plain": decimals("plain"),
            "the L x L x D form": decimals("naive"),
        },
    ),
    "ctr_quality": (
        clicks,
        {
            "model": "{model}",
            "A, no user or movie id: AUC": auc("A"),
            "log loss, A": logloss("A"),
            "B, with ids: AUC": auc("B"),
            "log loss, B": logloss("B"),
        },
    ),
    "ctr_quality_short": (
        lambda: clicks()[:-1],
        {"model": "{model}", "AUC": lambda row: share(row["B_auc"]), "log loss": logloss("B")},
    ),
    "ctr_table_types": ("ctr_table_types", {"table": "{type}", "MB": "{MB:.2f}", "AUC": "{auc:.5f}"}),
    "ctr_large": (
        "ctr_large",
        {"step": "{step}", "minutes": "{minutes:.0f}", "largest memory, GB": "{memory_GB:.2f}", "aim": lambda _: "3"},
    ),
    "ctr_speed": (
        "ctr_speed",
        {
            "library": "{library}",
            "raw file to first batch, CPU-s": "{first_batch:.1f}",
            "rows trained per CPU-s": "{trained:,.0f}",
            "rows scored per CPU-s": "{scored:,.0f}",
            "largest memory, MB": "{memory_MB:,.0f}",
        },
    ),
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
    "reid_nyala": (lambda: reid("a"), REID),
    "reid_nyala_short": (
        lambda: [row for row in reid("a") if row["name"] in REID_SHORT],
        {title: column for title, column in REID.items() if title in ("row", "mAP", "R1")},
    ),
    "reid_cars": (lambda: reid("b"), REID),
    "reid_differences": (
        "reid_differences",
        {
            "difference to self-attention alone": lambda row: NYALA_CARS[row["row"][0]] + row["row"][1:],
            "seeds": "{seeds}",
            "mAP": interval("mAP", "+.4f"),
            "R1": interval("rank1", "+.4f"),
        },
    ),
    "reid_verify": (
        "reid_verify",
        {
            "vectors": "{global features}",
            "mAP": "{mAP:.3f}",
            "verified": "{mAP verified:.3f}",
            "gain": interval("mAP gain", "+.3f"),
            "R1": "{rank1:.3f}",
            "R1 verified": "{rank1 verified:.3f}",
            "R1 gain": interval("rank1 gain", "+.3f"),
            "CPU-s of a query": "{seconds of a query:.2f}",
        },
    ),
    "reid_speed": (
        "reid_speed",
        {
            "what": "{what}",
            "ours": lambda row: f"{row['ours']:.4g}",
            "theirs": lambda row: "" if row["theirs"] is None else f"{row['theirs']:.4g}",
            "ratio": lambda row: "" if row["ratio"] is None else f"{row['ratio']:.2f}",
            "aim": "{aim}",
        },
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
    "before_after": (
        "before_after",
        {
            "work": "{work}",
            "CPU seconds before": "{before:.3f}",
            "now": "{after:.3f}",
            "now / before (each turn)": lambda row: (
                f"{row['after'] / row['before']:.2f} ({row['least']:.2f} to {row['most']:.2f})"
            ),
        },
    ),
    "chest_cases": ("chest_cases", {"reader": "{reader}", "right, of 33": "{right}"}),
}


def table(name: str) -> str:
    """The table in Markdown."""
    source, columns = TABLES[name]
    lines = ["|" + "|".join(f" {title} " for title in columns) + "|", "|" + "---|" * len(columns)]
    for row in rows(source) if isinstance(source, str) else source():
        cells = [column.format(**row) if isinstance(column, str) else column(row) for column in columns.values()]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def renewed(page: str) -> str:
    """The page with its tables as they are now."""
    return MARKED.sub(lambda found: found[1] + table(found[2]) + found[3], page)


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")
