"""The table of `attn lab`: what each experiment measured beside what was predicted."""

from result_tables.cells import Row, Tables, rows


def _predicted(row: Row) -> str:
    return f"{row['predicted']}" if row["tolerance"] is None else f"{row['predicted']} ± {row['tolerance']:.3g}"


def _seconds() -> list[Row]:
    found = {row["experiment"]: row for row in rows("lab")}
    counts = {name: [row["holds"] for row in rows("lab") if row["experiment"] == name] for name in found}
    return [{**row, "held": f"{sum(counts[name])} of {len(counts[name])}"} for name, row in found.items()]


TABLES: Tables = {
    "lab": (
        "lab",
        {
            "experiment": "`{experiment}`",
            "quantity": lambda row: row["quantity"].replace("<", "&lt;"),
            "predicted": _predicted,
            "measured": "{measured:.4g}",
            "holds": lambda row: "yes" if row["holds"] else "**no**",
            "by": "{source}",
        },
    ),
    "lab_seconds": (_seconds, {"experiment": "`{experiment}`", "held": "{held}", "CPU seconds": "{seconds:.0f}"}),
}
