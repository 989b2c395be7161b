"""Records and weights that attn 0.1 wrote, read as those of today.

The decoder's mechanisms were three settings (`mixer`, `mixer_options`, `first_mixer`) and are one text. The mechanism
`relative_places` was called `relative_pitch_time`: pitch was the axis across, time the axis along.
"""

from collections.abc import Mapping
from typing import Any

from attn.core.mixers.choice import Choice, with_options

NAMES = {"relative_pitch_time": "relative_places", "max_pitch": "max_across", "max_time": "max_along"}
TENSORS = {"pitch_table": "across_table", "time_table": "along_table"}
MIXER, DEPTH = "relative", 4  # of the layers, where the settings do not say


def old_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a `MusicConfig`, with the older ones folded into `mixer`."""
    today: dict[str, Any] = {"mixer": MIXER} | with_options(settings, MIXER)
    first, depth = today.pop("first_mixer", None), today.get("depth", DEPTH)
    if isinstance(first, str) and isinstance(depth, int) and 1 <= depth <= 256:
        # The first layer took the options only where it had the name of the other layers.
        options = settings.get("mixer_options") or {} if first == settings.get("mixer", MIXER) else {}
        today["mixer"] = "+".join([str(Choice(first, options)), *[str(today["mixer"])] * (depth - 1)])
    if isinstance(today["mixer"], str):
        for old, new in NAMES.items():
            today["mixer"] = today["mixer"].replace(old, new)
    return today


def old_tensor(name: str) -> str:
    """The name that a tensor of the weights has today."""
    *path, last = name.split(".")
    return ".".join([*path, TENSORS.get(last, last)])
