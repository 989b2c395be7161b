"""Tables of the house: the speed of all apps before and after a change."""

from result_tables.cells import Tables

TABLES: Tables = {
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
}
