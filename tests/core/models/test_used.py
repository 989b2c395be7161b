"""Which images a model has seen: known by what they show, whatever their record was made to say."""

import numpy as np
import torch

from attn.core.errors import InputError
from attn.core.models.record import ModelRecord
from attn.core.models.used import answer_unseen, array_hash, in_words, start_unknown, used_by, uses_of


def record(**changes: object) -> ModelRecord:
    return ModelRecord(app="galaxy", name="m", architecture={}, labels=["a", "b"], **changes)


def test_a_hash_tells_pixels_shape_and_type_apart_and_no_memory_layout() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    others = [pixels + 1, pixels.reshape(4, 3), pixels.astype(np.int8), pixels.T]
    hashes = {array_hash(other) for other in [pixels, *others]}
    assert len(hashes) == 5 and all(len(hash) == 16 for hash in hashes)
    assert array_hash(np.asfortranarray(pixels)) == array_hash(pixels)


def test_uses_come_from_the_training_and_from_the_calibration() -> None:
    used = record(data={"used": {"train": ["1", "2"], "validation": ["3"]}}, calibration={"used": ["4"]})
    assert uses_of(used) == {"1": "train", "2": "train", "3": "validation", "4": "calibration"}
    assert uses_of(used, calibration=False).keys() == {"1", "2", "3"} and uses_of(used, training=False).keys() == {"4"}


def test_what_a_start_has_seen_is_handed_on_from_training_to_training() -> None:
    first = record(data=used_by(None, train=["1"], validation=["2"]), calibration={"used": ["3"]})
    second = record(data=used_by(first, train=["4", "1"], validation=["5"]))
    third = record(data=used_by(second, train=["6"], validation=[]))
    assert uses_of(second) == {"1": "train", "2": "start", "3": "start", "4": "train", "5": "validation"}
    assert uses_of(second, training=False) == {"1": "start", "2": "start", "3": "start"}
    assert uses_of(third) == dict.fromkeys("12345", "start") | {"6": "train"}
    assert not start_unknown(first.data) + start_unknown(second.data) + start_unknown(third.data)


def test_what_nobody_knows_of_a_start_stays_unknown() -> None:
    old = record(data={})
    second = record(data=used_by(old, train=["1"], validation=[]))
    third = record(data=used_by(second, train=["2"], validation=[]))
    for one in (second, third):
        assert start_unknown(one.data) == "; the training began from m, and what that model has seen is not known"
        assert uses_of(one).keys() == {*one.data["used"]["train"]}


def test_a_record_that_anybody_wrote_gives_what_it_has() -> None:
    assert uses_of(record(data={"used": 3}, calibration={"used": "4"})) == {}
    assert uses_of(record(data={"used": {"train": ["1", 2, None]}})) == {"1": "train"}


def test_words() -> None:
    assert in_words(["calibration", "train", "train"]) == "2 that the model was trained on, 1 that it was calibrated on"


def test_a_model_is_asked_about_unseen_rows_alone_and_every_row_has_one_outcome() -> None:
    asked: list[int] = []

    def read(row: int) -> tuple[int, str]:
        if row % 5 == 4:
            raise InputError(f"row {row} is broken")
        return row, str(row)

    def answer(images: list[int]) -> torch.Tensor:
        asked.extend(images)
        return torch.tensor([[image, -image] for image in images]).float()

    seen: list[int] = []
    uses = {"0": "train", "6": "calibration", "7": "train", "8": "train"}
    found = answer_unseen(range(10), read, answer, uses, batch_size=3, advance=lambda: seen.append(1))
    assert asked == [*found.logits] == [*found.hashes] == [1, 2, 3, 5] and len(seen) == 10
    assert [logits.tolist() for logits in found.logits.values()] == [[1, -1], [2, -2], [3, -3], [5, -5]]
    assert found.used == {0: "train", 6: "calibration", 7: "train", 8: "train"}
    assert found.failed == {4: "row 4 is broken", 9: "row 9 is broken"}
    nothing = answer_unseen([0], read, answer, uses, batch_size=3)
    assert not nothing.logits and nothing.used == {0: "train"}
