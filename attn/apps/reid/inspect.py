"""What is in photographs and in labelled sets before any model sees them: sizes, flags, individuals, copies."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from attn.core.errors import AttnError
from attn.data_adapters.images.copies import find_copies
from attn.data_adapters.images.identities import LabelledIndividuals
from attn.data_adapters.images.identity_layouts import METADATA, layout_of
from attn.data_adapters.images.photographs import photographs_below, read_photograph
from attn.data_adapters.tables.small import TABLE_SUFFIXES

COLUMNS = ("pixels", "flags")


def is_labelled(path: str) -> bool:
    """Whether `path` is a labelled set rather than an input: a table, a published layout, a folder with folders in it.

    `index` takes such folders for individuals, and what lies beside them for pictures of nobody known.
    """
    place = Path(path)
    if not place.is_dir():
        return path.lower().endswith(TABLE_SUFFIXES)
    if (place / METADATA).is_file() or layout_of(place) is not None:
        return True
    return any(path.parent != place for path in photographs_below(place)[0])


def inspect_file(path: Path) -> dict[str, object]:
    """The cells of COLUMNS for a photograph. Raises InputError for one that cannot be read."""
    found = read_photograph(path, str(path))
    return {"pixels": "{1} x {0}".format(*found.pixels.shape), "flags": ";".join(found.flags)}


@dataclass(frozen=True)
class Inspected:
    """A row per individual, the last for pictures of nobody known; and sentences about the whole set."""

    rows: list[dict[str, object]]
    remarks: list[str]


def inspect_labelled(source: LabelledIndividuals) -> Inspected:
    """Count pictures, encounters and cameras of each individual, and how many pictures cannot be read, with the first
    reason; name pictures that are copies of one another."""
    reasons: dict[int, str] = {}
    for i in range(len(source)):
        try:
            source.read(i)
        except AttnError as error:
            reasons[i] = str(error)
    members: dict[str, list[int]] = {name: [] for name in (*source.individuals, "")}
    for i, name in enumerate(source.identities):
        members[name].append(i)
    rows = [_row(name, mine, source, reasons) for name, mine in members.items() if mine]
    return Inspected(rows, [*counted(source), *source.notices, *_copies(source)])


def _row(name: str, mine: list[int], source: LabelledIndividuals, reasons: dict[int, str]) -> dict[str, object]:
    def distinct(values: list[str] | None) -> int | None:
        return None if values is None else len({values[i] for i in mine} - {""})

    bad = [reasons[i] for i in mine if i in reasons]
    return {
        "individual": name,
        "images": len(mine),
        "encounters": distinct(source.encounters),
        "cameras": distinct(source.cameras),
        "within": None if source.within is None else ";".join(sorted({source.within[i] for i in mine})),
        "splits": None if source.splits is None else ";".join(sorted({source.splits[i] for i in mine})),
        "unreadable": len(bad),
        "reason": bad[0] if bad else None,
    }


def counted(source: LabelledIndividuals) -> list[str]:
    """How many pictures and individuals there are, and of what little is known, in sentences."""
    often = Counter(source.identities)
    unknown = often.pop("", 0)
    single = sum(count == 1 for count in often.values())
    said = [f"{len(source)} images of {len(often)} individuals; {single} have one image only"]
    said += [f"{unknown} images are of nobody known"] * (unknown > 0)
    return said + gaps(source)


def gaps(source: LabelledIndividuals) -> list[str]:
    """How many pictures have no camera or no encounter where others have one, in sentences."""
    said = []
    for what, values in (("camera", source.cameras), ("encounter", source.encounters)):
        if values is not None and (missing := values.count("")):
            said.append(f"{missing} images have no {what}; none equals that of another image")
    return said


def _copies(source: LabelledIndividuals) -> list[str]:
    said = []
    for copy in find_copies(source):
        pair = f"{source.ids[copy.first]} and {source.ids[copy.second]} are {_KINDS[copy.kind]}"
        if copy.conflict:
            pair += f", and are labelled {source.identities[copy.first]!r} and {source.identities[copy.second]!r}"
        said.append(pair)
    return said


_KINDS = {"exact": "exact copies", "near": "nearly the same picture"}
