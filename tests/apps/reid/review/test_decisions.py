"""The log: applied any number of times it says the same, what was corrected by hand stays, undo goes step by step."""

from pathlib import Path

import polars as pl
import pytest

from attn.apps.reid.review.decisions import LOG, Decision, add_to_log, read_log, taken_back, with_decisions
from attn.core.errors import InputError, UsageError


def decided(batch: int, picture: str, old: str, new: str, answer: str = "yes") -> Decision:
    made = {"batch": batch, "who": "Ana", "when": "2026-01-01T00:00:00Z", "picture": picture, "old": old, "new": new}
    return Decision.model_validate(made | {"answer": answer})


def rows(**identities: str) -> pl.DataFrame:
    return pl.DataFrame({"id": [*identities], "identity": [*identities.values()]})


def named(table: pl.DataFrame) -> dict[str, str]:
    return dict(table.select("id", "identity").iter_rows())


def test_a_log_applied_twice_says_the_same() -> None:
    log = [decided(1, "a", "", "X"), decided(2, "a", "X", "Y"), decided(2, "b", "", "X")]
    once = with_decisions(rows(a="", b="", c="Z"), log)
    assert named(once) == {"a": "Y", "b": "X", "c": "Z"} == named(with_decisions(once, log))
    assert named(with_decisions(rows(a="X", b=""), log)) == {"a": "Y", "b": "X"}  # killed after the first half


def test_a_table_that_was_corrected_since_is_right() -> None:
    assert named(with_decisions(rows(a="W"), [decided(1, "a", "", "X")])) == {"a": "W"}


def test_undo_goes_back_step_by_step() -> None:
    log = [decided(1, "a", "", "X"), decided(2, "a", "X", "Y"), decided(2, "b", "Z", "Z", "no")]
    states = []
    for _ in range(2):
        log += taken_back(log, "Bo", "2026-01-02T00:00:00Z")
        states.append(named(with_decisions(rows(a="", b="Z"), log)))
        assert states[-1] == named(with_decisions(rows(a="Y", b="Z"), log))  # from the state before as well
    assert states == [{"a": "X", "b": "Z"}, {"a": "", "b": "Z"}]
    assert [each.batch for each in log] == [1, 2, 2, 3, 3, 4] and log[-1].who == "Bo"
    with pytest.raises(UsageError, match="there is no decision to take back"):
        taken_back(log, "Bo", "")
    log.append(decided(5, "a", "", "V"))
    assert [each.old for each in taken_back(log, "Bo", "")] == ["V"]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert read_log(tmp_path) == []
    odd = "é\u2028\u0085\x0b<\"'\\"
    log = add_to_log(tmp_path, [], [decided(1, odd, "", odd)])
    log = add_to_log(tmp_path, log, [decided(2, "b", odd, "Y")])
    assert read_log(tmp_path) == log and len(log) == 2 and log[0].picture == odd


@pytest.mark.parametrize("line", ["{", "[]", '{"batch": 0}', "\xff"])
def test_a_damaged_log_is_refused_by_line(tmp_path: Path, line: str) -> None:
    add_to_log(tmp_path, [], [decided(1, "a", "", "X")])
    with (tmp_path / LOG).open("ab") as file:
        file.write(line.encode("latin-1") + b"\n")
    with pytest.raises(InputError, match=r"decisions\.jsonl.* is not a (log|decision)"):
        read_log(tmp_path)
