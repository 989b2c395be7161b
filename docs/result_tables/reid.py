"""Tables of individuals."""

from statistics import fmean, stdev

from result_tables.cells import Column, Row, Tables, interval, rows, spread


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
    "Lite0 projected",
    "Lite0 fine-tuned",
    "hybrid, self-attention",
    "hybrid, + GLCA",
    "hybrid, + PWCA",
    "hybrid, DCAL (both)",
)


def over_seeds(name: str) -> Column:
    """The deviation over seeds in brackets, or the interval over individuals where there is one seed."""
    return lambda row: (interval(name) if isinstance(row[name], dict) else spread(name))(row)


REID_SHORT = ("frozen Lite0", "Lite0 projected", "Lite0 fine-tuned", "hybrid, self-attention", "hybrid, DCAL (both)")

REID: dict[str, Column] = {
    "row": "{name}",
    "seeds": lambda row: str(row["seeds"]) if "parameters_M" in row else "",
    "parameters": lambda row: f"{row['parameters_M']:.2f} M" if "parameters_M" in row else "",
    "CPU-minutes": lambda row: f"{row['cpu_minutes']:.1f}" if "cpu_minutes" in row else "",
    "mAP": over_seeds("mAP"),
    "R1": over_seeds("rank1"),
}


TABLES: Tables = {
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
    "reid_classes": (
        "reid_classes",
        {
            "row": "{row}",
            "classes": "{classes}",
            "trained on": "{trained_on}",
            "held out": "{held_out}",
            "accuracy": interval("accuracy"),
            "among five": interval("top5"),
            "epochs": "{epochs}",
            "CPU-minutes": "{cpu_minutes:.1f}",
        },
    ),
    "reid_explain": (
        "reid_explain",
        {
            "model, individuals": "{row}",
            "pairs of photographs": "{pairs_of_photographs}",
            "cosine": "{cosine:.3f}",
            "falls by, ten strongest greyed": "{strongest:.3f}",
            "ten random": "{random:.3f}",
            "ratio": "{ratio:.2f}",
            "falls further than by random": "{strongest_falls_further:.2f}",
            "both greyed": "{both:.3f}",
            "both, random": "{both_random:.3f}",
        },
    ),
    "reid_verify": (
        "reid_verify",
        {
            "vectors": "{global features}",
            "queries": "{queries}",
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
}
