"""The record of a model that was just trained: what it is, and which images it has seen."""

from pathlib import Path
from typing import Any, cast

from torch.utils.data import ConcatDataset

from attn.apps.galaxy.data import GalaxyData, PixelDataset, Split
from attn.apps.galaxy.model import AstroformerConfig
from attn.core.models.folder import ModelRecord
from attn.core.models.record import licence_after
from attn.core.models.used import used_by
from attn.data_adapters.images.labelled import LabelledImages


def trained_record(
    out: Path,
    config: AstroformerConfig,
    source: LabelledImages,
    split: Split,
    data: GalaxyData,
    *,
    before: ModelRecord | None,
    fingerprint: dict[str, Any],
    **facts: Any,
) -> ModelRecord:
    """That of a training on `data`, the rows of `source` that `split` gives it, and perhaps further ones.

    `before` is the record of the model from which it began, `fingerprint` what is said of the set. `facts` are further
    fields of the record.
    """
    train = data.train_set
    parts = cast(list[PixelDataset], train.datasets if isinstance(train, ConcatDataset) else [train])
    hashes = [hash for part in parts for hash in part.hashes()]
    return ModelRecord(
        app="galaxy",
        name=out.resolve().name,
        architecture=config.model_dump(mode="json"),
        data=fingerprint
        | {"trained_on": len(parts[0]), "held_out": [source.ids[row] for row in split.held_out]}
        | used_by(before, train=hashes, validation=data.validation_set.hashes())
        | ({"skipped": data.skipped} if data.skipped else {}),
        licence=licence_after(before),
        **facts,
    )
