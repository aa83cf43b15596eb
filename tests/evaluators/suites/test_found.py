"""Data roots in the published layouts, whole and damaged."""

import gzip
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluators.suites.assemble import suites_of
from evaluators.suites.catalogue import ClassList, SetSpec, catalogue
from evaluators.suites.found import Audit, FoundSet, find
from evaluators.suites.kinds import Classification, Probe, Retrieval

COLOURS = {"red": (200, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 200)}


def picture(name: str, seed: int = 0, kind: str = "png") -> bytes:
    array = np.random.default_rng(seed).integers(0, 50, (24, 24, 3)) + np.array(COLOURS[name])
    out = io.BytesIO()
    Image.fromarray(array.astype(np.uint8)).save(out, kind)
    return out.getvalue()


def spec(**changes) -> SetSpec:
    values = {
        "name": "colours",
        "title": "Colours",
        "kind": "classification",
        "n_classes": 3,
        "sizes": {"train": 6, "test": 3},
        "metric": "top1",
        "templates": ("a {} thing",),
        "classes": ClassList(tuple(COLOURS)),
        "wds": "colours",
        "layouts": (),
        "get": "fetch colours to ROOT",
    }
    return SetSpec(**(values | changes))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for split, count in (("train", 2), ("test", 1)):
        for name in COLOURS:
            folder = tmp_path / "root/colours" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                (folder / f"{i}.png").write_bytes(picture(name, i))
    return tmp_path / "root"


def found(one: SetSpec, root: Path, tmp_path: Path) -> FoundSet:
    it = find(one, root, str(tmp_path / "sets"))
    assert isinstance(it, FoundSet), it
    return it


def rows(it: FoundSet) -> list[tuple[str, int, str]]:
    table = it.dataset.table(["group", "label", "class_name"]).to_pylist()
    return sorted((row["group"], row["label"], row["class_name"]) for row in table)


def test_a_whole_root_is_ok(root, tmp_path: Path):
    it = found(spec(), root, tmp_path)
    assert it.audit.status == "ok" and it.audit.sizes == {"train": 6, "test": 3}
    assert rows(it)[:3] == [("test", 0, "red"), ("test", 1, "green"), ("test", 2, "blue")]


def test_a_missing_set_says_how_to_get_it(tmp_path: Path):
    it = find(spec(), tmp_path, str(tmp_path / "sets"))
    assert it == Audit("colours", "missing", get=f"fetch colours to {tmp_path}")


def test_every_damage_is_named_and_counted(root, tmp_path: Path):
    (root / "colours/test/green/0.png").unlink()
    (root / "colours/test/green").rmdir()
    whole = picture("red", 7, "jpeg")
    (root / "colours/test/red/0.png").write_bytes(whole[: len(whole) * 2 // 3])
    (root / "colours/train/purple").mkdir()
    (root / "colours/train/purple/0.png").write_bytes(picture("red"))
    it = found(spec(), root, tmp_path)
    damage = {(d.kind, d.count, d.examples[0].split(":")[0]) for d in it.audit.damage}
    assert it.audit.status == "damaged"
    assert damage == {
        ("missing_class", 1, "test"),
        ("corrupt_image", 1, "colours/test/red/0.png"),
        ("unknown_class", 1, "colours/train/purple/0.png"),
        ("wrong_size", 1, "test"),
    }
    assert it.dataset.manifest.rows == 6 + 2  # the corrupt one stays, to be unanswered
    assert [s.name for s in suites_of([it], ["zero-shot"], (1,), 1)] == ["zero-shot"]
    assert list(suites_of([it], ["zero-shot"], (1,), 1)[0].sets) == ["colours-damaged"]


def test_classes_matched_by_order_must_all_be_there(root, tmp_path: Path):
    named = spec(classes=ClassList(("Rosso", "Verde", "Blu")))
    assert found(named, root, tmp_path).classes == ("Rosso", "Verde", "Blu")
    for split in ("train", "test"):
        for file in (root / "colours" / split / "green").iterdir():
            file.unlink()
        (root / "colours" / split / "green").rmdir()
    it = find(named, root, str(tmp_path / "sets"))
    assert isinstance(it, Audit) and it.status == "damaged"
    assert "2 class folders" in it.damage[0].examples[0]


def test_a_changed_file_is_another_dataset(root, tmp_path: Path):
    before = found(spec(), root, tmp_path).dataset.manifest.content_hash
    assert found(spec(), root, tmp_path).dataset.manifest.content_hash == before
    (root / "colours/test/red/0.png").write_bytes(picture("red", 99))
    assert found(spec(), root, tmp_path).dataset.manifest.content_hash != before


def tar_set(folder: Path, samples: list[dict[str, bytes]]) -> None:
    folder.mkdir(parents=True)
    with tarfile.open(folder / "0.tar", "w") as tar:
        for number, sample in enumerate(samples):
            for extension, data in sample.items():
                info = tarfile.TarInfo(f"s{number:07d}.{extension}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    (folder / "nshards.txt").write_text("1\n")


def test_clip_benchmarks_layout_brings_its_own_names_and_prompts(tmp_path: Path):
    names = list(COLOURS)
    samples = [{"png": picture(n, i), "cls": str(i).encode()} for i, n in enumerate(names)]
    tar_set(tmp_path / "wds_colours/test", samples)
    (tmp_path / "wds_colours/classnames.txt").write_text("rouge\nvert\nbleu\n")
    (tmp_path / "wds_colours/zeroshot_classification_templates.txt").write_text("un {c}\n")
    it = found(spec(classes=None), tmp_path, tmp_path)
    assert (it.classes, it.templates) == (("rouge", "vert", "bleu"), ("un {}",))
    assert rows(it) == [("test", 0, "rouge"), ("test", 1, "vert"), ("test", 2, "bleu")]
    (tmp_path / "wds_colours/test/0.tar").write_bytes(b"torn")
    torn = find(spec(classes=None), tmp_path, str(tmp_path / "sets"))
    assert isinstance(torn, Audit) and "0.tar" in torn.damage[0].examples[0]


def test_captions_of_one_image_are_rows_of_one_image(tmp_path: Path):
    samples = [{"jpg": picture("red", 1, "jpeg"), "txt": b"a red\nvery red"}]
    samples += [{"jpg": picture("blue", 2, "jpeg"), "txt": b"a blue"}]
    tar_set(tmp_path / "colours/test", samples)
    one = spec(kind="retrieval", n_classes=0, classes=None, sizes={"test": 2}, metric="recall_5")
    it = found(one, tmp_path, tmp_path)
    assert it.audit.status == "ok"
    assert [name for *_, name in rows(it)] == ["a red", "very red", "a blue"]
    assert isinstance(suites_of([it], ["retrieval"], (), 1)[0], Retrieval)


def idx(array: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    return head + array.astype(np.uint8).tobytes()


def test_raw_pixels_come_out_as_they_were(tmp_path: Path):
    rng = np.random.default_rng(0)
    pictures, labels = rng.integers(0, 255, (5, 28, 28)), np.array([2, 0, 1, 1, 2])
    (tmp_path / "m").mkdir()
    (tmp_path / "m/t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(pictures)))
    (tmp_path / "m/t10k-labels-idx1-ubyte").write_bytes(idx(labels))
    layout = {"kind": "idx", "splits": {"test": "m/t10k", "train": "m/train"}}
    it = found(spec(layouts=(layout,), sizes={"test": 5}), tmp_path, tmp_path)
    table = it.dataset.table(["image", "label"]).to_pylist()
    assert [row["label"] for row in table] == labels.tolist()
    for row, expected in zip(table, pictures, strict=True):
        np.testing.assert_array_equal(Image.open(io.BytesIO(row["image"])), expected)


def test_cifar_and_stl_are_transposed_rightly(tmp_path: Path):
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (3, 32, 32, 3), dtype=np.uint8)
    large = rng.integers(0, 255, (3, 96, 96, 3), dtype=np.uint8)
    with (tmp_path / "c.bin").open("wb") as file:
        for i, one in enumerate(small):
            file.write(bytes([i]) + one.transpose(2, 0, 1).tobytes())
    (tmp_path / "test_X.bin").write_bytes(
        b"".join(one.transpose(2, 1, 0).tobytes() for one in large)
    )
    (tmp_path / "test_y.bin").write_bytes(bytes([1, 2, 3]))
    cifar = {"kind": "cifar", "splits": {"test": ["c.bin"]}, "label_bytes": 1}
    stl = {"kind": "stl", "splits": {"test": "test"}}
    for layout, expected in ((cifar, small), (stl, large)):
        it = found(spec(layouts=(layout,)), tmp_path, tmp_path)
        table = it.dataset.table(["image", "label"]).to_pylist()
        assert [row["label"] for row in table] == [0, 1, 2]
        for row, one in zip(table, expected, strict=True):
            np.testing.assert_array_equal(Image.open(io.BytesIO(row["image"])), one)
    (tmp_path / "c.bin").write_bytes(b"123")
    torn = find(spec(layouts=(cifar,)), tmp_path, str(tmp_path / "sets"))
    assert isinstance(torn, Audit) and "multiple of 3073" in torn.damage[0].examples[0]


def test_lists_of_lines_as_the_sets_write_them(tmp_path: Path):
    lines = {
        "food101": "red/1\nblue/2\n",
        "fgvc_aircraft": "0012 red one\n0013 blue\n",
        "sun397": "/r/red/x.jpg\n/b/blue/sky/y.jpg\n",
        "pets": "Red_1 2 1 1\nBlue_1 1 1 2\n",
    }
    expected = {
        "food101": ["red", "blue"],
        "fgvc_aircraft": ["red one", "blue"],
        "sun397": ["red", "blue sky"],
        "pets": ["American Bulldog", "Abyssinian"],
    }
    for name, text in lines.items():
        one = catalogue()[name]
        path = tmp_path / one.layouts[0]["splits"]["test"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        it = found(one, tmp_path, tmp_path)
        assert it.dataset.table(["class_name"])["class_name"].to_pylist() == expected[name]
        kinds = {d.kind: d.count for d in it.audit.damage}
        assert kinds["missing_image"] == 2 and "wrong_size" in kinds


def test_flickr_and_karpathys_coco(tmp_path: Path):
    (tmp_path / "flickr30k-images").mkdir()
    (tmp_path / "flickr30k-images/1.jpg").write_bytes(picture("red", 1, "jpeg"))
    text = "image,caption\n1.jpg,A red, very red thing .\n1.jpg,Red\n"
    (tmp_path / "flickr30k_test_karpathy.txt").write_text(text)
    it = found(catalogue()["flickr30k"], tmp_path, tmp_path)
    assert [name for *_, name in rows(it)] == ["A red, very red thing .", "Red"]
    (tmp_path / "val2014").mkdir()
    (tmp_path / "val2014/7.jpg").write_bytes(picture("blue", 1, "jpeg"))
    notes = {"images": [{"id": 7, "file_name": "7.jpg"}]}
    notes["annotations"] = [{"image_id": 7, "caption": "blue "}, {"image_id": 7, "caption": "b"}]
    (tmp_path / "coco_test_karpathy.json").write_text(json.dumps(notes))
    it = found(catalogue()["mscoco"], tmp_path, tmp_path)
    assert [name for *_, name in rows(it)] == ["blue", "b"]


def test_a_shift_stands_beside_its_set_over_its_own_classes(root, tmp_path: Path):
    folder = root / "tints/test"
    for name in ("red", "blue"):
        (folder / name).mkdir(parents=True)
        (folder / name / "0.png").write_bytes(picture(name, 5))
    inside = found(spec(), root, tmp_path)
    shifted = found(
        spec(
            name="tints",
            kind="shift",
            shift_of="colours",
            n_classes=2,
            sizes={},
            classes=ClassList(("red", "blue")),
        ),
        root,
        tmp_path,
    )
    suites = suites_of([inside, shifted], ["zero-shot", "shift", "probe"], (1, 2), 2)
    zero_shot, shift, probe = suites
    assert isinstance(zero_shot, Classification) and list(zero_shot.sets) == ["colours"]
    assert isinstance(shift, Classification) and shift.shifts == ("tints",)
    assert shift.sets["colours"].classes == shift.sets["tints"].classes == ("red", "blue")
    assert isinstance(probe, Probe) and probe.shots == (1, 2)
    with pytest.raises(ValueError, match="zero-short"):
        suites_of([inside], ["zero-short"], (), 1)
