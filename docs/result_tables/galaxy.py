"""Tables of galaxies."""

from result_tables.cells import Column, Row, Tables, decimals, flagged, interval, number, rows, spread

GALAXY = {
    "model": "{model}",
    "balanced accuracy": interval("balanced_accuracy"),
    "macro-F1": interval("macro_f1"),
    "ECE": "{ece:.3f}",
}


def pair(one: str, other: str) -> Column:
    """Two values, where the row has them."""

    def cell(row: Row) -> str:
        return f"{row[one]:.3f}, {row[other]:.3f}" if one in row else ""

    return cell


TABLES: Tables = {
    "galaxy_robust": (
        "galaxy_robust",
        {
            "change": "{change}",
            "one view": flagged("one_view"),
            "aim": "{aim}",
        },
    ),
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
    "galaxy_anomaly": (
        "galaxy_anomaly",
        {
            "pictures": "{pictures}",
            "count": "{count}",
            "unusual": flagged("unusual"),
            "unusual, or a flag of the pixels": flagged("flagged"),
            "AUC against EFIGI, GZ2": pair("auc_EFIGI", "auc_GZ2"),
            "fitted without GZ2 and this kind": pair("auc_EFIGI_unseen", "auc_GZ2_unseen"),
        },
    ),
    "galaxy_cli": (
        "galaxy_cli",
        {
            "command": "{command}",
            "files": lambda row: number(row["files"]),
            "CPU seconds": "{cpu_s:.1f}",
            "of them the start": "{start_s:.1f}",
            "ms each": "{each_ms:.1f}",
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
}
