"""The picture of groups: a row of photographs for each of the largest groups."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from attn.core.files import replacing

if TYPE_CHECKING:
    from attn.apps.reid.cluster import Grouping

GROUPS, PICTURES, SIDE = 12, 8, 112
RIGHT, WRONG, UNKNOWN = "#009e73", "#d55e00", "#bebebe"  # as in the picture of ranks
LEGEND = (
    "green frame: the individual that most named pictures of the group show. "
    "orange: another, or no majority. grey: nobody knows."
)


def draw(grouping: "Grouping", path: Path) -> None:
    """Write a PNG. Where individuals are known, that of a group's majority has a green frame, others orange."""
    pictures, report = grouping.found.individuals, grouping.report()
    shown = [*grouping.sizes][:GROUPS]
    figure = Figure(figsize=(1.3 * (PICTURES + 1), 1.4 * len(shown) + 0.7), layout="constrained")
    axes = figure.subplots(len(shown), PICTURES + 1, squeeze=False)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for line, group in zip(axes, shown, strict=True):
        rows = np.flatnonzero(grouping.group == group).tolist()
        names = [pictures.identities[row] for row in rows if pictures.identities[row]]
        most = majority(names)
        more = f"\n+ {len(rows) - PICTURES} not shown" if len(rows) > PICTURES else ""
        shows = f"\n{most[:16] or 'no majority'}" if names else ""
        words = f"group {group + 1}\n{_pictures(len(rows))}{more}{shows}"
        line[0].text(0, 0.5, words, va="center", fontsize=9)
        for axis, row in zip(line[1:], rows[:PICTURES], strict=False):
            photograph = Image.fromarray(pictures.read(row))
            photograph.thumbnail((SIDE, SIDE))
            axis.imshow(np.asarray(photograph))
            name = pictures.identities[row]
            axis.spines[:].set(visible=True, linewidth=2.5, color=_colour(name, most))
    truth = report["truth"]
    said = f"{report['groups']} groups of {_pictures(report['pictures'])}, {report['alone']} alone"
    if truth:
        said += f"; {truth['true_groups']} in truth, ARI {truth['ari']:.2f}"
    if len(grouping.sizes) > GROUPS:
        said += f"; the {GROUPS} largest"
    figure.suptitle(said)
    if truth:
        figure.supxlabel(LEGEND, fontsize=9)
    with replacing(path) as part:
        figure.savefig(part, dpi=80, format="png")


def majority(names: Sequence[str]) -> str:
    """The name that more than half are; "" where none is."""
    name, count = Counter(names).most_common(1)[0] if names else ("", 0)
    return name if 2 * count > len(names) else ""


def _pictures(count: int) -> str:
    return f"{count} picture{'s' if count > 1 else ''}"


def _colour(name: str, most: str) -> str:
    return UNKNOWN if not name else RIGHT if name == most else WRONG
