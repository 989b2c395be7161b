"""Tables of mechanisms: what they cost, their speed beside others', what they are worth at a small budget."""

from result_tables.cells import Column, Row, Tables


def _ms(name: str) -> Column:
    return lambda row: "" if row[name] is None else f"{1000 * row[name]:.1f}"


def _ratio(ours: str, theirs: str) -> Column:
    return lambda row: "" if row[ours] is None else f"{row[theirs] / row[ours]:.2f}"


def _three(name: str, form: str) -> Column:
    return lambda row: " / ".join(format(value, form) for value in row[name])


def _study(measure: str) -> dict[str, Column]:
    def difference(row: Row) -> str:
        return "" if row["difference"] is None else f"{row['difference']:+.3f}"

    def mean(row: Row) -> str:
        return f"{row[measure]:.3f}" + ("" if row["deviation"] is None else f" ± {row['deviation']:.3f}")

    return {
        "mechanism": lambda row: f"`{row['mixer'].replace('+', ',')}`",
        "seeds": "{seeds}",
        measure.replace("_", " "): mean,
        "difference": difference,
        "p": lambda row: "" if row["p"] is None else f"{row['p']:.2f}",
        "parameters": "{parameters:,}",
        "epochs": "{epochs:.0f}",
    }


TABLES: Tables = {
    "mixers_costs": (
        "mixers_costs",
        {
            "mechanism": "{mechanism}",
            "claimed": "{cost}",
            "exponent": "{claimed:g}",
            "of products": "{fitted:.2f}",
            "of time": "{fitted_time:.2f}",
            "a pass, ms": _three("forward_ms", ".1f"),
            "over plain": _three("times", ".2f"),
            "with gradients, ms": _three("step_ms", ".0f"),
            "memory, MiB": _three("memory_mib", ".1f"),
        },
    ),
    "mixers_peers": (
        "mixers_peers",
        {
            "mechanism": "{mechanism}",
            "beside": "{peer}",
            "ours, ms": _ms("ours"),
            "theirs, ms": _ms("theirs"),
            "theirs / ours": _ratio("ours", "theirs"),
            "with gradients, ours": _ms("ours_step"),
            "theirs with gradients": _ms("theirs_step"),
            "theirs / ours, with gradients": _ratio("ours_step", "theirs_step"),
        },
    ),
    "mixers_sampling": (
        "mixers_sampling",
        {
            "tokens": "{tokens:,}",
            "steps, ms a token": lambda row: f"{1000 * row['steps'] / row['tokens']:.2f}",
            "a pass for each, ms a token": lambda row: f"{1000 * row['slow'] / row['tokens']:.2f}",
            "times as fast": lambda row: f"{row['slow'] / row['steps']:.1f}",
        },
    ),
    "mixers_chorales_variants": ("mixers_chorales_variants", _study("nll_per_token")),
    "mixers_chorales": ("mixers_chorales", _study("nll_per_token")),
    "mixers_galaxies": ("mixers_galaxies", _study("balanced_accuracy")),
    "mixers_probing": (
        "mixers_probing",
        {
            "backbone": "{backbone}",
            "probe": "{probe}",
            "tokens": "{tokens} x {channels}",
            "balanced accuracy": lambda row: f"{row['balanced_accuracy']:.3f} ± {row['deviation']:.3f}",
            "parameters": "{parameters:,}",
        },
    ),
    "mixers_clicks": ("mixers_clicks", _study("logloss")),
}
