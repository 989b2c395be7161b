"""Tables of music."""

from result_tables.cells import Tables, decimals, interval, peers

LIKELIHOODS = {"validation": "{validation:#.4g} ({validation_pieces} pieces)", "test": "{test:#.4g} ({test_pieces})"}


TABLES: Tables = {
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
}
