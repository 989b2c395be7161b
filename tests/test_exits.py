"""How commands end: one line for a fault, exit codes, what is logged, which process speaks."""

import logging
import shlex
import signal
import subprocess
import sys

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


FAULTY = r"""
import signal
import time
import typer
from attn import console
from attn.cli import Root
from attn.core.errors import InputError, UsageError

app = typer.Typer(cls=Root, rich_markup_mode=None)

@app.command()
def read() -> None:
    raise InputError("has no image", where="a.fits", hint="name one with --hdu")

@app.command()
def clash() -> None:
    raise UsageError("--hdu and --bands exclude each other")

@app.command()
def wait() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with it ignored
    print("waiting", flush=True)
    time.sleep(60)

@app.command()
def many() -> None:
    console.show_table([{"number": number} for number in range(100_000)])

@app.command()
def few() -> None:
    console.show_answer({"one": "line"})

@app.command()
def name() -> None:
    print("caf\xe9 \udce9")

app()
"""


@pytest.mark.parametrize(
    ("command", "code", "line"),
    [
        ("read", 1, "error: a.fits: has no image; name one with --hdu\n"),
        ("clash", 2, "error: --hdu and --bands exclude each other\n"),
    ],
)
def test_fault_of_a_command_is_one_line_and_its_code(command: str, code: int, line: str) -> None:
    done = subprocess.run([sys.executable, "-c", FAULTY, command], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", line)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_command_says_so(sent: signal.Signals) -> None:
    command = [sys.executable, "-c", FAULTY, "wait"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(sent)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.startswith("interrupted")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("shell", "code", "said"),
    [
        ("{attn} many | head -1 >&2", 141, "number\n"),
        ("{attn} many > /dev/full", 1, "error: standard output: No space left on device\n"),
        ("{attn} few > /dev/full", 1, "error: standard output: No space left on device\n"),
        ("{python} -m attn.cli --version > /dev/full", 1, "error: standard output: No space left on device\n"),
        ("{attn} few >&-", 0, ""),
        ("{attn} few 2>&- >&-", 0, ""),
        ("{attn} read 2>&-", 1, ""),
        ("{attn} read 2> /dev/full", 1, ""),
        ("LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 {attn} name 1>&2", 0, "caf\\xe9 \\udce9\n"),
    ],
)
def test_output_that_cannot_be_written_is_one_sentence(shell: str, code: int, said: str) -> None:
    command = shlex.join([sys.executable, "-c", FAULTY])
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {shell.format(attn=command, python=sys.executable)}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, "", said)
