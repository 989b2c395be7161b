"""Writes the cards of the bundled models from their records: `python docs/make_cards.py`."""

import hashlib
import json
from pathlib import Path

from attn.core.models.card import write_card
from attn.core.models.record import CARD, RECORD, load_record

APPS = Path(__file__).resolve().parents[1] / "attn" / "apps"


def folders() -> list[Path]:
    """The folders of the models that ship."""
    return sorted(path.parent for path in APPS.glob(f"*/weights/**/{RECORD}"))


def renewed(folder: Path) -> tuple[str, str]:
    """The card that the record describes, and the record with the hash of this card."""
    record = load_record(folder)
    card = write_card(json.loads(record.text()))
    files = record.files | {CARD: hashlib.sha256(card.encode()).hexdigest()}
    return card, record.model_copy(update={"files": files}).text()


if __name__ == "__main__":
    for folder in folders():
        card, text = renewed(folder)
        (folder / CARD).write_text(card, encoding="utf-8")
        (folder / RECORD).write_text(text, encoding="utf-8")
