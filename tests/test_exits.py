"""How commands end: one line for a fault, exit codes, what is logged, which process speaks."""

import logging

import pytest

from attn import console, exits
from attn.core.errors import InputError, ModelError, UsageError


@pytest.mark.parametrize(
    ("error", "code"),
    [(InputError("bad", where="f", hint="mend it"), 1), (ModelError("bad"), 1), (UsageError("bad"), 2)],
)
def test_fault_is_one_line_and_a_code(error: Exception, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> int:
        raise error

    assert exits.run(command) == code
    assert capsys.readouterr() == ("", f"error: {error}\n")


def test_interruption_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> int:
        raise KeyboardInterrupt

    assert exits.run(command) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("interrupted")
    assert err.count("\n") == 1


def test_what_a_reader_logs_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> int:
        logging.getLogger("attn").warning("left out: %s", "a\x1b[2J")
        return 0

    assert (exits.run(command), exits.run(command)) == (0, 0)
    assert capsys.readouterr() == ("", 2 * "left out: a\\x1b[2J\n")


def test_of_the_processes_of_a_training_the_first_speaks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for rank, said in (("0", "hello\n"), ("1", "")):
        monkeypatch.setenv("LOCAL_RANK", rank)
        console.say("hello")
        assert capsys.readouterr() == ("", said)

    def command() -> int:
        raise InputError("is lost", where="a.csv")

    assert exits.run(command) == 1
    assert capsys.readouterr().err == "error: a.csv: is lost\n", "a fault may be that of one process alone"


def test_our_own_bugs_are_not_hidden() -> None:
    def command() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        exits.run(command)
