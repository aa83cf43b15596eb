"""Exports are read back by the tools that they are made for."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines import datasets, export
from pipelines.records import SAMPLES, record_id


def picture(number: int) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (20 + number, 16), (number * 20, 0, 200)).save(out, "JPEG")
    return out.getvalue()


def sample(number: int) -> dict[str, object]:
    url, image = f"http://h/{number}.jpg", picture(number)
    texts = [
        {
            "pair_id": record_id(url, text),
            "text": text,
            "source": "alt",
            "page_url": "http://h/",
            "language": "en",
            "queries": ["cat"],
        }
        for text in [f"cat {number}", "ein Kätzchen"][: 1 + number % 2]
    ]
    return {
        "image_id": record_id(url),
        "image_url": url,
        "texts": texts,
        "image": image,
        "format": "jpeg",
        "width": 20 + number,
        "height": 16,
        "original_width": 20 + number,
        "original_height": 16,
        "sha256": hashlib.sha256(image).hexdigest(),
        "phash": f"{number:016x}",
        "thumbnail": bytes(768),
    }


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> datasets.Dataset:
    def write(folder: str) -> Mapping[str, int]:
        for shard in range(2):
            rows = [sample(number) for number in range(6) if number % 2 == shard]
            table = pa.Table.from_pylist(rows, SAMPLES)
            datasets.write_shard(f"{folder}/{shard}.parquet", table)
        return {"near_duplicate": 3}

    path = str(tmp_path_factory.mktemp("corpus") / "samples")
    return datasets.build(path, name="samples", config={}, seed=0, parents=[], write=write)


def expected(samples: datasets.Dataset) -> set[tuple[bytes, str]]:
    rows = samples.table(["image", "texts"]).to_pylist()
    return {(row["image"], text["text"]) for row in rows for text in row["texts"]}


def test_webdataset_tars_are_read_by_webdataset(samples: datasets.Dataset, tmp_path: Path) -> None:
    import webdataset

    assert export.to_webdataset(samples, str(tmp_path), pairs_a_tar=4) == 9
    tars = sorted(str(file) for file in tmp_path.glob("*.tar"))
    assert [Path(tar).name for tar in tars] == ["00000.tar", "00001.tar", "00002.tar"]
    read = webdataset.WebDataset(tars, shardshuffle=False, empty_check=False)
    assert {(row["jpg"], row["txt"].decode()) for row in read} == expected(samples)


def test_webdataset_tars_are_read_by_open_clip(samples: datasets.Dataset, tmp_path: Path) -> None:
    open_clip_data = pytest.importorskip("open_clip_train.data")
    from types import SimpleNamespace

    import open_clip

    export.to_webdataset(samples, str(tmp_path), pairs_a_tar=100)
    arguments = SimpleNamespace(
        train_data=str(tmp_path / "00000.tar"),
        val_data=str(tmp_path / "00000.tar"),
        dataset_resampled=False,
        train_num_samples=9,
        val_num_samples=9,
        train_data_upsampling_factors=None,
        batch_size=3,
        workers=1,
        world_size=1,
        seed=0,
        use_tsv=False,
    )
    transform = open_clip.image_transform(32, is_train=False)
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    info = open_clip_data.get_wds_dataset(arguments, transform, is_train=False, tokenizer=tokenizer)
    batches = list(info.dataloader)
    assert sum(len(images) for images, _ in batches) == 9
    seen = {tuple(row) for _, tokens in batches for row in tokens.tolist()}
    wanted = {tuple(row) for row in tokenizer([text for _, text in expected(samples)]).tolist()}
    assert seen == wanted


def test_huggingface_folder_is_read_by_datasets(samples: datasets.Dataset, tmp_path: Path) -> None:
    hub = pytest.importorskip("datasets", reason="Hugging Face datasets")
    assert export.to_huggingface(samples, str(tmp_path / "out")) == 6
    read = hub.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert read[0]["image"].size == (20, 16) and len(read) == 6
    texts = {text for row in read for text in row["texts"]}
    assert texts == {text for _, text in expected(samples)}


def test_exports_are_the_same_bytes_each_time(samples: datasets.Dataset, tmp_path: Path) -> None:
    for name in "ab":
        export.to_webdataset(samples, str(tmp_path / name))
    one, other = ((tmp_path / name / "00000.tar").read_bytes() for name in "ab")
    assert one == other


def test_only_samples_are_exported(samples: datasets.Dataset, tmp_path: Path) -> None:
    other = datasets.Dataset(
        samples.path, samples.manifest.__class__(**{**samples.manifest.__dict__, "name": "pairs"})
    )
    with pytest.raises(datasets.DatasetError, match="only samples"):
        export.to_webdataset(other, str(tmp_path))
