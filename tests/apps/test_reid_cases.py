"""The cases of `reid/cases`, made after public bug reports: read, measured, searched, and on the command line."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from typer.testing import CliRunner

from attn.apps.reid.gallery import ModelId, open_gallery
from attn.apps.reid.groups import groups
from attn.apps.reid.index import index
from attn.apps.reid.nearest import nearest, unit
from attn.apps.reid.predict import ReIDPredictor
from attn.apps.reid.probabilities import Calibration, fit_pairs
from attn.apps.reid.rerank import rerank
from attn.cli import app
from attn.core.errors import AttnError, InputError, ModelError
from attn.core.measures.retrieval import Retrieval, Rules, evaluate_retrieval
from attn.data_adapters.images.copies import copy_groups, find_copies
from attn.data_adapters.images.heif import formats
from attn.data_adapters.images.identities import LabelledIndividuals, open_individuals
from attn.data_adapters.images.photographs import Flag, read_photograph

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def cases(data_dir: Path) -> Path:
    return data_dir / "reid" / "cases"


def read(path: Path) -> np.ndarray:
    return read_photograph(path, path.name).pixels


RED = (200, 30, 30)


def test_exif6_box(cases: Path) -> None:
    folder = cases / "exif6_box"
    shown = open_individuals(folder / "boxes_shown.csv").read(0)
    stored = open_individuals(folder / "boxes_stored.csv", box_frame="stored").read(0)
    for pixels in (shown, stored):
        assert pixels.shape == (16, 16, 3)
        np.testing.assert_allclose(pixels.mean(axis=(0, 1)), RED, atol=12)


@pytest.mark.parametrize("name", ["o0.jpg", "o9.jpg", "text.jpg", "cut.jpg"])
def test_exif_broken(cases: Path, name: str) -> None:
    assert read(cases / "exif_broken" / name).shape == (120, 160, 3)


def test_png_16bit(cases: Path) -> None:
    twin = read(cases / "png_16bit/ramp8.png").astype(int)
    for name in ("ramp16.png", "ramp16.tif"):
        pixels = read(cases / "png_16bit" / name)
        assert np.abs(pixels - twin).max() <= 2 and pixels.mean() == pytest.approx(127.5, abs=1)
        assert len(np.unique(pixels)) >= 200


def test_cmyk_jpeg(cases: Path) -> None:
    rgb, cmyk = (read(cases / "cmyk_jpeg" / name).astype(int) for name in ("rgb.jpg", "cmyk.jpg"))
    assert np.abs(rgb - cmyk)[60, 80].max() < 25 and np.corrcoef(rgb.ravel(), cmyk.ravel())[0, 1] > 0.98


def test_odd_modes(cases: Path) -> None:
    paths = sorted((cases / "odd_modes").iterdir())
    assert len(paths) == 8
    assert all(read(path).shape == (120, 160, 3) for path in paths)
    assert read(cases / "odd_modes/float01.tif").mean() > 60


@pytest.mark.parametrize(("name", "frames"), [("a.gif", 2), ("a.webp", 2), ("a.tif", 3)])  # the files say so
def test_animated_and_pages(cases: Path, name: str, frames: int) -> None:
    found = read_photograph(cases / "animated_and_pages" / name, name)
    first, other = (read(cases / "animated_and_pages/ref" / f"{k}.jpg").astype(int) for k in (13, 14))
    assert Flag.SEVERAL_FRAMES in found.flags and found.values == {"frames": frames}
    assert np.abs(found.pixels - first).mean() < np.abs(found.pixels - other).mean() / 2


@pytest.mark.parametrize("name", ["IMG_0001.heic", "IMG_0002.jpg"])
def test_heic(cases: Path, name: str) -> None:
    if formats():
        twin = read(cases / "heic/twin.png").astype(int)
        assert np.corrcoef(read(cases / "heic" / name).ravel(), twin.ravel())[0, 1] > 0.98
        return
    with pytest.raises(InputError, match=rf"{name}: is a HEIC picture; pip install attn\[heif\]"):
        read(cases / "heic" / name)


def test_broken_files(cases: Path) -> None:
    good, reasons = [], {}
    for path in sorted((cases / "broken_files").iterdir()):
        try:
            read(path)
            good.append(path.name)
        except AttnError as error:
            reasons[path.name] = error.what
    assert good == ["good1.jpg", "good2.jpg", "really_png.jpg"] and len(reasons) == 5
    assert "empty" in reasons["zero.jpg"] and "truncated" in reasons["cut.jpg"]
    assert "not a picture" in reasons["error.jpg"] and "not a picture" in reasons["text.png"]


def test_tiny(cases: Path) -> None:
    flags = {path.name: read_photograph(path, "x").flags for path in sorted((cases / "tiny").iterdir())}
    tiny = {name for name, each in flags.items() if Flag.TINY in each}
    assert tiny == {"1x1.png", "1x500.png", "3x2000.png"}
    assert {name for name, each in flags.items() if Flag.BLANK in each} >= {"black.jpg", "white.jpg", "1x1.png"}


def test_names(cases: Path) -> None:
    found = open_individuals(cases / "names")
    assert found.paths == sorted(path.name for path in (cases / "names").iterdir())
    assert all(found.read(i).size for i in range(len(found)))


def test_not_pictures(cases: Path) -> None:
    found = open_individuals(cases / "not_pictures")
    assert found.paths == [f"cam1/{k}.jpg" for k in range(4)]
    assert found.notices == ["6 other files left out"]


def test_same_picture_two_individuals(cases: Path) -> None:
    found = open_individuals(cases / "same_picture_two_individuals/labels.csv")
    named = {(found.ids[c.first], found.ids[c.second]): (c.kind, c.conflict) for c in find_copies(found)}
    assert named["mara1.jpg", "juma1.jpg"] == ("exact", True)
    assert named["mara1.jpg", "mara3.jpg"] == ("exact", False)
    assert named["mara1.jpg", "mara2.jpg"] == ("near", False)
    assert not any("juma2.jpg" in pair or "mara4.jpg" in pair for pair in named)
    codes = {name: k for k, name in enumerate(found.individuals)}
    who, copies = np.array([codes[name] for name in found.identities]), np.array(copy_groups(found))
    same = evaluate_retrieval(np.zeros((7, 7)), who, who, Rules(copies={"copies": (copies, copies)}))
    assert same.dropped == {"copies": 3 * 3 + 4}  # three exact copies, each without all three; four without themselves


def test_csv_bom_semicolon(cases: Path) -> None:
    found = open_individuals(cases / "csv_bom_semicolon/labels.csv")
    assert (len(found), len(found.individuals), len({*(found.cameras or [])})) == (6, 2, 2)
    assert found.table.columns == ["path", "identity", "camera"]


def test_identity_strings(cases: Path) -> None:
    found = open_individuals(cases / "identity_strings/labels.csv")
    names = {"007", "7", "0007", "1e3", "1000", "NA", "None", "nan", "null", "True", "-", "x "}
    assert {*found.individuals} == names and found.identities.count("") == 2


def test_unknown_individuals(cases: Path) -> None:
    source = cases / "unknown_individuals/labels.csv"
    with pytest.raises(InputError, match="8 pictures have an identity that reads like nobody"):
        open_individuals(source)
    found = open_individuals(source, unknown=["unknown", "Unidentified", "?", "unk"])
    assert found.individuals == ["A", "B", "C"] and found.identities.count("") == 10


def test_two_animals_one_picture(cases: Path) -> None:
    found = open_individuals(cases / "two_animals_one_picture/labels.csv")
    assert found.ids[:2] == ["pair.jpg [0,0,160,120]", "pair.jpg [160,0,160,120]"]
    assert not np.array_equal(found.read(0), found.read(1))
    with pytest.raises(InputError, match=r"one.jpg: is listed as 'Mara' \(line 4\) and 'Juma' \(line 5\)"):
        found.read(found.paths.index("one.jpg"))


def test_missing_and_extra(cases: Path) -> None:
    found = open_individuals(cases / "missing_and_extra/labels.csv")
    assert found.paths == [f"p{k}.jpg" for k in range(5)]
    reasons = {}
    for i, path in enumerate(found.paths):
        try:
            found.read(i)
        except InputError as error:
            reasons[path] = str(error)
    assert sorted(reasons) == ["p2.jpg", "p3.jpg", "p4.jpg"] and all(
        "no such file" in each for each in reasons.values()
    )
    assert "'p2.JPG'" in reasons["p2.jpg"] and "p3.JPG" not in reasons["p3.jpg"]
    assert "1 repeated rows count once" in found.notices
    assert any("pictures beside the listed ones are not in the table" in each for each in found.notices)


def codes(texts: Any, table: dict[str, int]) -> np.ndarray:
    return np.array([table.setdefault(str(text), len(table)) if str(text) else -1 for text in texts])


def leave_one_out(found: LabelledIndividuals) -> Retrieval:
    names, cameras = dict[str, int](), dict[str, int]()
    who, rows = codes(found.identities, names), np.arange(len(found))
    camera = codes(found.cameras, cameras) if found.cameras else None
    apart = {} if camera is None else {"camera": (camera, camera)}
    distances = np.random.default_rng(0).random((len(found), len(found)))
    return evaluate_retrieval(distances, who, who, Rules(apart=apart, copies={"itself": (rows, rows)}))


def test_cameras_partly_missing(cases: Path) -> None:
    found = open_individuals(cases / "cameras_partly_missing/labels.csv")
    assert found.cameras is not None and found.cameras.count("") == 6
    measured = leave_one_out(found)
    assert measured.dropped == {"itself": 8, "camera": 0} and measured.valid.all()
    assert open_individuals(cases / "cameras_partly_missing/labels_no_camera.csv").cameras is None


def test_one_image_each(cases: Path) -> None:
    found = open_individuals(cases / "one_image_each/labels.csv", split="train")
    assert sorted(found.identities.count(name) for name in found.individuals) == [1] * 6 + [3] * 2


def test_layout_market1501(cases: Path) -> None:
    found = open_individuals(cases / "layout_market1501")
    parts = {split: found.select(split) for split in ("train", "query", "gallery")}
    assert {split: len(part) for split, part in parts.items()} == {"train": 4, "query": 2, "gallery": 5}
    assert parts["train"].individuals == ["0002", "0007"] and parts["gallery"].identities.count("") == 1
    assert "2 junk pictures (-1) left out" in found.notices
    assert parts["query"].cameras == ["1", "6"] and parts["query"].column("sequence") == ["1", "1"]


def test_layout_msmt17(cases: Path) -> None:
    found = open_individuals(cases / "layout_msmt17")
    assert found.cameras is not None and found.cameras[0] == "12" and len(found.individuals) == 4
    assert {s: (found.splits or []).count(s) for s in ("train", "query", "gallery")} == {
        "train": 2,
        "query": 1,
        "gallery": 2,
    }
    assert all((found.root / path).is_file() for path in found.paths)


def test_box_formats(cases: Path) -> None:
    folder = cases / "box_formats"
    crops = [
        open_individuals(folder / f"{name}.csv", box_format=name).read(0)  # type: ignore[arg-type]
        for name in ("coco", "voc", "yolo", "megadetector")
    ]
    crops += [open_individuals(folder / "coco.csv").read(0), open_individuals(folder / "bbox_list.csv").read(0)]
    detected = open_individuals(folder, box=str(folder / "megadetector.json"))
    crops.append(detected.read(detected.paths.index("a.png")))
    for pixels in crops:
        assert pixels.shape == (90, 120, 3)
        np.testing.assert_allclose(pixels.mean(axis=(0, 1)), RED, atol=1)
    with pytest.raises(InputError, match="all within 0 and 1; say what they are: --box-format"):
        open_individuals(folder / "megadetector.csv")


def evaluated(cases: Path, name: str) -> tuple[dict[str, Any], Retrieval]:
    """The case with its junk, -1, out of the gallery, as the layout leaves it out, and 0000 as nobody."""
    case = json.loads((cases / name / "case.json").read_text())
    kept = [i for i, who in enumerate(case["gallery_identity"]) if who != "-1"]
    who, camera = dict[str, int](), dict[str, int]()
    gallery = ["" if case["gallery_identity"][i] == "0000" else case["gallery_identity"][i] for i in kept]
    cameras = codes(case["query_camera"], camera), codes(np.array(case["gallery_camera"])[kept], camera)
    distances = np.array(case["distances"], float)[:, kept]
    rules = Rules(apart={"camera": cameras})
    depths = (1, 2, 3, 5, 10)
    return case, evaluate_retrieval(distances, codes(case["query_identity"], who), codes(gallery, who), rules, depths)


@pytest.mark.parametrize("name", ["eval_market", "eval_no_match", "eval_small_gallery"])
def test_evaluation(cases: Path, name: str) -> None:
    case, found = evaluated(cases, name)
    expected = {key: float(Fraction(value)) for key, value in case["expected_exact"].items()}
    summary = found.summary()
    assert (summary["queries"], sum(summary["left_out"].values())) == (expected["valid"], expected["left_out"])
    for key, mine in [("mAP", "mAP"), ("mINP", "mINP"), *((f"cmc{k}", f"rank{k}") for k in (1, 2, 3, 5, 10))]:
        assert summary[mine] == pytest.approx(expected[key], abs=1e-9)
    for q, one in enumerate(case["per_query"]):
        assert (
            np.isnan(found.ap[q]) if one is None else found.ap[q] == pytest.approx(float(Fraction(one["AP"])), abs=1e-9)
        )


def test_eval_no_match_counts_the_two_reasons_apart(cases: Path) -> None:
    left_out = evaluated(cases, "eval_no_match")[1].left_out
    assert left_out == {"unlabelled": 0, "absent": 1, "within": 0, "apart": 2}


def test_eval_ties(cases: Path) -> None:
    case, found = evaluated(cases, "eval_ties")
    assert found.summary()["mAP"] == pytest.approx(float(Fraction(case["tie_rules"]["expected"]["exact"])), abs=1e-9)
    for q, one in enumerate(case["tie_rules_per_query"]):
        assert found.ap[q] == pytest.approx(float(Fraction(one["expected"])), abs=1e-9)
        assert found.cmc[q, 0] == pytest.approx(float(Fraction(one["rank1_expected"])), abs=1e-9)
    shuffled = np.load(cases / "eval_ties/case_shuffled.npz")
    who = dict[str, int]()
    query, gallery = codes(shuffled["query_identity"], who), codes(shuffled["gallery_identity"], who)
    again = evaluate_retrieval(shuffled["distances"], query, gallery)
    np.testing.assert_array_equal(again.ap, found.ap)


def test_eval_none_valid(cases: Path) -> None:
    with pytest.raises(InputError, match=r"0 of 3; 3 have only such as are left out"):
        evaluated(cases, "eval_none_valid")[1].summary()


def test_vectors_zero_nan(cases: Path) -> None:
    case = np.load(cases / "vectors_zero_nan/case.npz")
    gallery, usable = unit(case["gallery"])
    rows, cosines = nearest(unit(case["query"])[0], gallery, 7)
    assert [str(case["path"][row]) for row in rows[0] if row >= 0] == ["b_copy", "f_small", "g_large", "a_normal"]
    np.testing.assert_allclose(cosines[0, :4], [1, 1, 1, 0.6], atol=1e-6)
    assert np.nanmax(cosines) <= 1 and int((~usable).sum()) == 3


def test_rerank_tiny(cases: Path) -> None:
    case = json.loads((cases / "rerank_tiny/case.json").read_text())
    points = np.array(case["points"])
    found = rerank(points[:3], points[3:], case["k1"], case["k2"], case["lam"])(slice(None))
    np.testing.assert_allclose(found, case["published"], atol=1e-5)
    assert np.argsort(found, axis=1).tolist() == case["rank_after"]


@pytest.mark.parametrize("block", [1, 7, 64, 997])
def test_topk_and_blocks(cases: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    case = np.load(cases / "topk_and_blocks/case.npz")
    monkeypatch.setattr("attn.apps.reid.nearest.BLOCK_BYTES", block * 4 * 997)
    rows, _ = nearest(unit(case["query"])[0], unit(case["gallery"])[0], 20)
    expected = json.loads((cases / "topk_and_blocks/case.json").read_text())["sha256"]
    assert hashlib.sha256(rows.tobytes()).hexdigest() == expected


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("a", "of the same individual and 0 of different individuals"),
        ("b", "0 of the same individual and"),
        ("d", "2 of the same individual and 1 of different individuals"),
        ("e", "no more alike than those of different ones"),
    ],
)
def test_calibrate_one_class_is_refused(cases: Path, case: str, says: str) -> None:
    pairs = json.loads((cases / "calibrate_one_class/pairs.json").read_text())[case]
    with pytest.raises(InputError, match=says):
        fit_pairs(np.array(pairs["score"]), np.array(pairs["same"], bool))


def test_calibrate_one_class_perfectly_separated(cases: Path) -> None:
    pairs = json.loads((cases / "calibrate_one_class/pairs.json").read_text())["c"]
    score = np.array(pairs["score"])
    slope, intercept = fit_pairs(score, np.array(pairs["same"], bool))
    p = Calibration(slope=slope, intercept=intercept).pair(score)
    assert ((p > 0) & (p < 1)).all() and (np.diff(p[np.argsort(score)]) >= 0).all()


@pytest.mark.parametrize(("case", "count"), [("a", 1), ("b", 1), ("c", 1), ("d", 12), ("e", 3)])
def test_cluster_small(cases: Path, case: str, count: int) -> None:
    vectors = unit(np.load(cases / "cluster_small/case.npz")[case])[0]
    found = groups(vectors, None, 0.5)
    assert len({*found.tolist()}) == count and found.min() == 0


MODEL = ModelId("runs/new", "ab" * 32, 48)


def colours(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """A stand-in for a model: the colours of 16 places, less grey."""
    small = [Image.fromarray(each).resize((4, 4), Image.Resampling.BOX) for each in pictures]
    return np.stack([np.asarray(each, np.float32).ravel() - 127.3 for each in small])


def test_names_in_a_gallery(cases: Path, tmp_path: Path) -> None:
    found = open_individuals(cases / "names")
    gallery, done = index(found, colours, MODEL, tmp_path / "g")
    assert (
        gallery.rows["path"].to_list() == sorted(path.name for path in (cases / "names").iterdir())
        and not done.left_out
    )
    rows, _ = gallery.search(colours([found.read(i) for i in range(len(found))]), 1)
    assert [gallery.rows["path"][int(row)] for row in rows[:, 0]] == found.paths


def test_an_index_of_broken_files(cases: Path, tmp_path: Path) -> None:
    gallery, done = index(open_individuals(cases / "broken_files"), colours, MODEL, tmp_path / "g")
    assert gallery.rows["path"].to_list() == ["good1.jpg", "good2.jpg", "really_png.jpg"] and len(done.left_out) == 5


def test_tiny_pictures_have_finite_distances(cases: Path, tmp_path: Path) -> None:
    gallery, _ = index(open_individuals(cases / "tiny"), colours, MODEL, tmp_path / "g")
    assert len(gallery) == 5 and np.isfinite(gallery.search(gallery.vectors, 5)[1]).all()


def test_gallery_of_one(cases: Path, tmp_path: Path) -> None:
    gallery, _ = index(open_individuals(cases / "gallery_of_one/photos"), colours, MODEL, tmp_path / "g")
    query = colours([read(cases / "gallery_of_one" / name) for name in ("query_same.jpg", "query_other.jpg")])
    rows, cosines = gallery.search(query, 10)
    assert (rows >= 0).sum(axis=1).tolist() == [1, 1] and cosines[0, 0] > cosines[1, 0]
    assert np.isfinite(rerank(unit(query)[0], gallery.vectors)(slice(None))).all()


def test_other_model_gallery(cases: Path, tmp_path: Path) -> None:
    index(open_individuals(cases / "gallery_of_one/photos"), colours, MODEL, tmp_path / "g")
    described = json.loads((tmp_path / "g/gallery.json").read_text())
    hint = json.loads((cases / "other_model_gallery/hint.json").read_text())
    (tmp_path / "g/gallery.json").write_text(json.dumps({**described, **hint}))
    with pytest.raises(ModelError) as caught:
        open_gallery(tmp_path / "g", MODEL)
    for part in ("runs/old", "512 channels", "runs/new", "48 channels", "attn reid index PHOTOS --out"):
        assert part in str(caught.value)


def run(*arguments: object, code: int = 0) -> tuple[str, str]:
    """What a command of `attn reid` prints, and what it says."""
    done = CliRunner().invoke(app, ["reid", *map(str, arguments)])
    assert done.exit_code == code, done.stderr
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def reid(reid_model: Path) -> ReIDPredictor:
    return ReIDPredictor.load(reid_model, "cpu")


def test_pictures_that_are_alike_have_embeddings_that_are_alike(cases: Path, reid: ReIDPredictor) -> None:
    assert reid.similarity(cases / "cmyk_jpeg/rgb.jpg", cases / "cmyk_jpeg/cmyk.jpg") >= 0.98
    for name in ("a.gif", "a.webp", "a.tif"):
        query = cases / "animated_and_pages" / name
        first, other = (reid.similarity(query, cases / "animated_and_pages/ref" / f"{k}.jpg") for k in (13, 14))
        assert first > other
    boxed = open_individuals(cases / "two_animals_one_picture/labels.csv")
    assert not np.allclose(*reid.embed([boxed.read(0), boxed.read(1)]))


def test_each_file_of_odd_modes_has_a_row(cases: Path, reid_model: Path, tmp_path: Path) -> None:
    out, _ = run("index", cases / "odd_modes", "--out", tmp_path / "g", "--model", reid_model, "--json")
    assert json.loads(out)["images"] == 8


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_names_on_the_command_line(cases: Path, reid_model: Path, tmp_path: Path, suffix: str) -> None:
    """Each file finds itself: it lies in the gallery, is left out for that, and is then compared with the others."""
    paths = sorted((cases / "names").iterdir())
    run("index", cases / "names", "--out", tmp_path / "g", "--model", reid_model)
    table, drawn = tmp_path / f"r.{suffix}", tmp_path / "ranks.png"
    _, said = run("search", *paths, "--gallery", tmp_path / "g", "--model", reid_model, "--top", 2, "--out", table,
                  "--picture", drawn)  # fmt: skip
    assert f"{len(paths)} queries lie in the gallery themselves" in said
    with Image.open(drawn) as picture:
        assert picture.height > 1000
    read_table = {"csv": pl.read_csv, "jsonl": pl.read_ndjson, "parquet": pl.read_parquet}[suffix]
    found = read_table(table)
    assert found["id"].unique(maintain_order=True).to_list() == [str(path) for path in paths]
    assert {*found["picture"]} <= {path.name for path in paths}
    copies = tmp_path / "copies"
    shutil.copytree(cases / "names", copies)
    run("search", copies, "--gallery", tmp_path / "g", "--model", reid_model, "--top", 1, "--out", table)
    found = read_table(table)
    assert found["picture"].to_list() == [Path(id).name for id in found["id"]]
    assert all("copy" in flags.split(";") for flags in found["flags"])


def test_broken_files_on_the_command_line(cases: Path, reid_model: Path, tmp_path: Path) -> None:
    out, _ = run("index", cases / "broken_files", "--out", tmp_path / "g", "--model", reid_model, "--json", code=1)
    assert json.loads(out)["images"] == 3 and len(json.loads(out)["left_out"]) == 5
    good = cases / "broken_files/good1.jpg"
    rows = json.loads(run("search", good, "--gallery", tmp_path / "g", "--model", reid_model, "--json")[0])
    assert {row["picture"] for row in rows} == {"good2.jpg", "really_png.jpg"}


def test_tiny_and_blank_pictures_name_nobody(cases: Path, reid_model: Path, tmp_path: Path) -> None:
    shutil.copytree(reid_model, tmp_path / "m", ignore=shutil.ignore_patterns("run"))
    record = json.loads((tmp_path / "m/model.json").read_text())
    calibrated = record | {"calibration": {"slope": 50, "intercept": 0, "threshold": 0.01}}
    (tmp_path / "m/model.json").write_text(json.dumps(calibrated))
    command = ("search", cases / "tiny", "--gallery", cases / "tiny", "--model", tmp_path / "m", "--json")
    rows = json.loads(run(*command)[0])
    assert len({row["id"] for row in rows}) == 5 and all(np.isfinite(row["similarity"]) for row in rows)
    blank = [row for row in rows if Path(row["id"]).name in ("black.jpg", "white.jpg")]
    assert len(blank) == 8 and all(row["answer"] == "nobody known" and row["probability"] is None for row in blank)


def test_not_pictures_on_the_command_line(cases: Path, reid_model: Path, tmp_path: Path) -> None:
    out, said = run("index", cases / "not_pictures", "--out", tmp_path / "g", "--model", reid_model, "--json")
    assert json.loads(out)["images"] == 4 and said.count("other files left out") == 1


def test_inspect_names_copies(cases: Path) -> None:
    _, said = run("inspect", cases / "same_picture_two_individuals/labels.csv")
    assert "mara1.jpg and juma1.jpg are exact copies, and are labelled 'Mara' and 'Juma'" in said
    assert "mara1.jpg and mara2.jpg are nearly the same picture" in said


def test_identities_are_written_back(cases: Path, reid_model: Path, tmp_path: Path) -> None:
    table = cases / "identity_strings/labels.csv"
    out, _ = run("index", table, "--out", tmp_path / "g", "--model", reid_model, "--json")
    assert (json.loads(out)["individuals"], json.loads(out)["unnamed"]) == (12, 2)
    run("search", table, "--gallery", tmp_path / "g", "--model", reid_model, "--out", tmp_path / "r.csv", "--top", 20)
    found = {line.split(",")[2].strip('"') for line in (tmp_path / "r.csv").read_text().splitlines()[1:]}
    assert {"007", "7", "0007", "1e3", "1000", "NA", "None", "nan", "null", "True", "-", "x "} <= found


def test_unknown_words_are_asked_about(cases: Path, reid_model: Path, tmp_path: Path) -> None:
    table = cases / "unknown_individuals/labels.csv"
    assert "say --unknown" in run("index", table, "--out", tmp_path / "g", "--model", reid_model, code=1)[1]
    words = [each for word in ("unknown", "Unidentified", "?", "unk") for each in ("--unknown", word)]
    out, _ = run("index", table, "--out", tmp_path / "g", "--model", reid_model, "--json", *words)
    assert (json.loads(out)["individuals"], json.loads(out)["unnamed"]) == (3, 10)


def test_two_animals_and_missing_files_are_rows_with_a_reason(cases: Path, reid_model: Path, tmp_path: Path) -> None:
    command = ("index", "--model", reid_model, "--json", "--out")
    out, _ = run(*command, tmp_path / "two", cases / "two_animals_one_picture/labels.csv", code=1)
    reasons = [row["error"] for row in json.loads(out)["left_out"]]
    assert json.loads(out)["images"] >= 2 and any("'Mara' (line 4) and 'Juma' (line 5)" in each for each in reasons)
    out, said = run(*command, tmp_path / "missing", cases / "missing_and_extra/labels.csv", code=1)
    assert len(json.loads(out)["left_out"]) == 3 and "1 repeated rows count once" in said


def test_one_image_each_trains(cases: Path, tmp_path: Path) -> None:
    source = cases / "one_image_each/labels.csv"
    options = ["--variant", "smallest", "--epochs", 1, "--batch-size", 16, "--per-individual", 4]
    done = CliRunner().invoke(app, ["reid", "train", str(source), *map(str, options), "--out", str(tmp_path / "m")])
    assert done.exit_code == 0 and "8 individuals; 6 have one image only" in done.stderr, done.stderr


@pytest.mark.parametrize(("query", "answers"), [("query_same.jpg", 1), ("query_other.jpg", 1)])
def test_gallery_of_one_on_the_command_line(cases: Path, reid_model: Path, query: str, answers: int) -> None:
    folder = cases / "gallery_of_one"
    out, _ = run("search", folder / query, "--gallery", folder / "photos", "--model", reid_model, "--json")
    rows = json.loads(out)
    assert len(rows) == answers and rows[0]["margin"] is None
