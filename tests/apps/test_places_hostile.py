"""Places that cannot be written: a full disk, a folder that nobody may write to, a device, a pipe; and no home.

Each is one sentence that names the place, and nothing is left there.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ctr_fixtures import click_model, click_table
from typer.testing import CliRunner

import attn
from attn.cli import app


@pytest.fixture(scope="module")
def full_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A disk without a free byte."""
    disk = tmp_path_factory.mktemp("disk")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount a small disk here: {done.stderr.strip()}")
    try:
        with pytest.raises(OSError, match="No space left"), (disk / "full").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.fixture(scope="module")
def commands(
    labelled_table: Path,
    chest_table: Path,
    performances: Path,
    micro_model: Path,
    chest_model: Path,
    music_models: dict[str, Path],
    photographs: Path,
    reid_model: Path,
) -> dict[str, list[object]]:
    """Commands that write, but for the --out that comes last."""
    galaxy, chest, click = ("--model", micro_model), ("--model", chest_model), ("--model", click_model())
    piano = ("--model", music_models["piano"])
    picture, radiograph = (min(table.parent.glob("*.png")) for table in (labelled_table, chest_table))
    performance = min(performances.iterdir())
    animal, reid = photographs.parent / "animal000_0.png", ("--model", reid_model)
    return {
        "chest inspect": [radiograph],
        "chest train": [chest_table, "--size", 32],
        "chest evaluate": [chest_table, *chest],
        "chest predict": [radiograph, *chest],
        "ctr inspect": [click_table()],
        "ctr train": [click_table(), "--label", "click"],
        "ctr evaluate": [click_table(), *click],
        "ctr predict": [click_table(), *click],
        "ctr explain": [click_table(), "--rows", 50, *click],
        "ctr calibrate": [click_table(), *click],
        "galaxy inspect": [picture],
        "galaxy train": [labelled_table, "--label", "kind", "--size", 32],
        "galaxy evaluate": [labelled_table, "--label", "kind", *galaxy],
        "galaxy predict": [picture, *galaxy],
        "galaxy explain": [picture, *galaxy],
        "galaxy similar": [picture, "--among", labelled_table.parent, *galaxy],
        "galaxy anomalies": [labelled_table.parent, *galaxy],
        "galaxy calibrate": [labelled_table, "--label", "kind", *galaxy],
        "music inspect": [performance],
        "music train": [performances, "--width", 8, "--depth", 1, "--heads", 1],
        "music generate": ["--seconds", 1, *piano],
        "music explain": [performance, *piano],
        "reid inspect": [animal],
        "reid train": [photographs, "--variant", "smallest"],
        "reid index": [photographs, *reid],
        "reid search": [animal, "--gallery", photographs, *reid],
    }


COMMANDS = (
    "chest inspect",
    "chest train",
    "chest evaluate",
    "chest predict",
    "ctr inspect",
    "ctr train",
    "ctr evaluate",
    "ctr predict",
    "ctr explain",
    "ctr calibrate",
    "galaxy inspect",
    "galaxy train",
    "galaxy evaluate",
    "galaxy predict",
    "galaxy similar",
    "galaxy anomalies",
    "galaxy explain",
    "galaxy calibrate",
    "music inspect",
    "music train",
    "music generate",
    "music explain",
    "reid inspect",
    "reid train",
    "reid index",
    "reid search",
)
OUT = {
    "inspect": "table.csv",
    "search": "table.csv",
    "similar": "table.csv",
    "anomalies": "table.csv",
    "predict": "table.parquet",
    "generate": "piece.mid",
}


def refused(command: str, arguments: list[object], place: Path) -> str:
    """What a command says that cannot write to `place`: its last line, which is the only one about a fault."""
    verb = command.split()[1]
    out = place / OUT.get(verb, "out")
    done = CliRunner().invoke(app, [*command.split(), *map(str, arguments), "--out", str(out)])
    assert isinstance(done.exception, SystemExit) and done.exit_code in (1, 2), done.exception
    *said, last = done.stderr.splitlines()
    assert done.stdout == "" and last.startswith("error: "), done.stderr
    assert not any("error" in line or "Traceback" in line for line in said)
    return last


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_one_sentence(command: str, commands: dict[str, list[object]], full_disk: Path) -> None:
    last = refused(command, commands[command], full_disk)
    assert re.fullmatch(rf"error: {re.escape(str(full_disk))}/\S+: .*No space left on device\)?", last)
    assert [path.name for path in full_disk.iterdir()] == ["full"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_place_where_nothing_can_be_made_is_one_sentence(
    command: str, commands: dict[str, list[object]], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    for place in (Path("/proc/attn"), tmp_path / "file"):  # not even root can make a folder there
        last = refused(command, commands[command], place)
        assert re.fullmatch(rf"error: {re.escape(str(place))}\S*: .+", last) and len(last) < 300
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_no_file_takes_the_place_of_a_pipe_or_a_device(
    kind: str, commands: dict[str, list[object]], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "table.csv")
    out = tmp_path / "table.csv"
    if kind == "device":
        out.unlink()
        out.symlink_to("/dev/full")
    before = out.lstat()
    done = CliRunner().invoke(app, ["galaxy", "predict", *map(str, commands["galaxy predict"]), "--out", str(out)])
    assert done.exit_code == 2
    assert done.stderr == f"error: {out}: is a device or a pipe, not a file; give another --out\n"
    assert os.path.samestat(out.lstat(), before) and out.lstat().st_mode == before.st_mode
    assert [*tmp_path.iterdir()] == [out]


VERBS = ["chest predict", "ctr predict", "galaxy predict", "music inspect"]


@pytest.mark.slow
@pytest.mark.parametrize("command", VERBS)
def test_a_process_without_home_or_output(command: str, commands: dict[str, list[object]], tmp_path: Path) -> None:
    """What `env -i` leaves: no HOME. Standard output is full, closed, or read by nobody."""
    arguments = [sys.executable, "-m", "attn.cli", *command.split(), *map(str, commands[command])]
    nowhere = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(attn.__file__).parents[1])}
    for environment in (nowhere, nowhere | {"HOME": str(tmp_path / "nowhere")}):
        done = subprocess.run(arguments, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0 and done.stdout, done.stderr
        assert "Traceback" not in done.stderr and "Error" not in done.stderr
    for target, code, said in (
        ("> /dev/full", 1, "error: standard output: No space left on device"),
        (">&-", 0, ""),
        ("| head -c 1 >/dev/null", 141, ""),
    ):
        shell = f"set -o pipefail; {shlex.join(arguments)} --json {target}"
        done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=200)
        lines = [line for line in done.stderr.splitlines() if "research use" not in line]
        assert "\n".join(lines) == said and done.returncode in {code, 0 if "head" in target else code}, done.stderr
    assert [*tmp_path.iterdir()] == []
