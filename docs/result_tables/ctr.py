"""Tables of click-through rates."""

from statistics import fmean, stdev
from typing import Any

from result_tables.cells import Column, Row, Tables, rows, share


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


def auc(setting: str) -> Column:
    """AUC with its standard deviation over seeds."""
    return lambda row: f"{share(row[f'{setting}_auc'])} ({share(row[f'{setting}_auc_sd'])})"


def logloss(setting: str) -> Column:
    """Log loss, the mean over seeds."""
    return lambda row: share(row[f"{setting}_logloss"])


def numbers() -> list[Row]:
    """The tables of ctr_numbers.jsonl: AUC and log loss as numbers, as categories and as guessed, over seeds."""
    lines, found = rows("ctr_numbers"), []
    for table in dict.fromkeys(line["table"] for line in lines):
        row: dict[str, Any] = {"table": table}
        for way in ("number", "category", "guessed"):
            own = [line for line in lines if (line["table"], line["as"]) == (table, way)]
            row |= {f"{way}_auc": "", f"{way}_logloss": ""}
            if own:
                aucs = [line["auc"] for line in own]
                row[f"{way}_auc"] = f"{share(fmean(aucs))} ({share(stdev(aucs))})"
                row[f"{way}_logloss"] = share(fmean(line["logloss"] for line in own))
        found.append(row)
    return found


def sequence() -> list[Row]:
    """The rows of ctr_sequence.jsonl: AUC and log loss without and with the history, over seeds."""
    lines, found = rows("ctr_sequence"), []
    for way in ("without", "with"):
        own = [line for line in lines if line["history"] == way]
        aucs = [line["auc"] for line in own]
        logloss = share(fmean(line["logloss"] for line in own))
        found.append({"history": way, "auc": f"{share(fmean(aucs))} ({share(stdev(aucs))})", "logloss": logloss})
    return found


TABLES: Tables = {
    "ctr_rare": (
        "ctr_rare",
        {
            "model": "{model}",
            "AUC": lambda row: share(row["auc"]),
            "log loss": lambda row: share(row["logloss"]),
            "epochs": lambda row: "" if row["epochs"] is None else f"{row['epochs']:g}",
        },
    ),
    "ctr_sequence": (sequence, {"history": "{history}", "AUC": "{auc}", "log loss": "{logloss}"}),
    "ctr_numbers": (
        numbers,
        {
            "table": "{table}",
            "AUC as numbers": "{number_auc}",
            "as categories": "{category_auc}",
            "as guessed": "{guessed_auc}",
            "log loss as numbers": "{number_logloss}",
            "log loss as categories": "{category_logloss}",
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
}
