"""Tables of music."""

from result_tables.cells import Row, Tables, decimals, interval, peers, rows

LIKELIHOODS = {"validation": "{validation:#.4g} ({validation_pieces} pieces)", "test": "{test:#.4g} ({test_pieces})"}


def pieces(measure: str) -> list[Row]:
    """The rows of pieces that have a measure: density of performances, fifths of chorales."""
    return [row for row in rows("music_pieces") if measure in row]


closing = interval("closes", ".2f")


TABLES: Tables = {
    "music_pieces": (
        lambda: pieces("density"),
        {
            "pieces": "{pieces}",
            "notes/s over the motif's": interval("density", ".1f"),
            "off-key at 10 to 20 s": interval("off_key_10_20", ".2f"),
            "at 20 to 30 s": interval("off_key_20_30", ".2f"),
            "motif's figures that return": interval("returning"),
            "ten keys sounding": interval("crowded", ".2f"),
        },
    ),
    "music_harmony": (
        lambda: pieces("fifths"),
        {
            "pieces": "{pieces}",
            "fifths in 100 bars": interval("fifths", ".1f"),
            "octaves": interval("octaves", ".1f"),
            "bars without change": interval("still_bars"),
            "close with V and I": lambda row: closing(row) if "closes" in row else "",
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
    "music_policy": (
        "music_policy",
        {
            "after": "{what}",
            "tokens/s": "{tokens_s:.0f}",
            "NLL, nats a token": "{nll:.4f}",
            "least overlap": lambda row: "" if row["overlap"] is None else f"{row['overlap']:.2f}",
        },
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
}
