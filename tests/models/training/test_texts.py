"""Texts to batches: every token once an epoch, the same batch for the same step; and a GPT that
learns them.
"""

from __future__ import annotations

import bz2
import gzip
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from models.gpt import GPT, GPTConfig
from models.layers.adaptive import AdaptiveConfig
from models.layers.sparse import SparseConfig
from models.tokenizers.gpt2 import ByteTokenizer
from models.training import texts
from models.training.checkpoints import RunError
from models.training.curve import Line, read_curve
from models.training.loaders import LoaderConfig, Share
from models.training.loop import TrainConfig, train
from models.training.optimizer import OptimizerConfig
from models.training.texts import TextLoader, TextLoaderConfig, documents, packed, pieces
from models.weights import load, load_tokenizer

BYTES = ByteTokenizer([])
LINES = [
    f"the {colour} {animal} sleeps\n" for colour in ("red", "blue") for animal in ("cat", "ox")
]


def write(folder: Path) -> str:
    """Three documents in files of three kinds, one of them packed; and the glob that finds them."""
    folder.mkdir(exist_ok=True)
    (folder / "a.txt").write_bytes(b"one\r\n two")
    rows = [{"text": "three", "n": 1}, {"text": ""}, {"text": "four é"}]
    (folder / "b.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    pq.write_table(pa.table({"n": [1, 2], "text": ["five", None]}), str(folder / "c.parquet"))
    (folder / "d.txt.bz2").write_bytes(bz2.compress(b"six"))
    return str(folder / "*")


def test_documents_of_every_kind_of_file(tmp_path: Path) -> None:
    pattern = write(tmp_path)
    wanted = ["one\r\n two", "three", "", "four é", "five", "six"]
    assert list(documents(pattern)) == wanted
    (tmp_path / "a.txt").unlink()
    assert list(documents(str(tmp_path / "[bd]*"))) == wanted[1:4] + wanted[5:]


def test_the_hash_follows_what_is_in_the_files(tmp_path: Path) -> None:
    first = texts.texts_hash(write(tmp_path / "here"))
    assert texts.texts_hash(write(tmp_path / "there")) == first
    (tmp_path / "there" / "a.txt").write_text("another")
    assert texts.texts_hash(str(tmp_path / "there" / "*")) != first


def test_documents_are_joined_by_an_end() -> None:
    row = packed(["ab", "", "c"], BYTES)
    assert row.dtype == np.uint16
    assert BYTES.decode(row.tolist()) == "ab<|endoftext|>c<|endoftext|>"
    wide = ByteTokenizer([], special={"<|endoftext|>": 1 << 16})
    assert packed(["a"], wide).tolist() == [*wide.encode("a"), 1 << 16]
    assert packed([], BYTES).tolist() == []


def test_long_documents_are_encoded_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "PIECE", 5)
    text = "ab\ncdefgh\n\nij" + "k" * 20
    assert list(pieces(text)) == ["ab\ncdefgh\n", "\nijkkkkkkkkkkkkkkkkkkkk"]
    assert "".join(pieces(text * 7)) == text * 7
    assert list(pieces("")) == []


def loader(folder: Path, share: Share | None = None, **changes: Any) -> TextLoader:
    (folder / "all.txt").write_text("".join(chr(33 + i % 89) for i in range(103)))
    settings: dict[str, Any] = {"context_length": 5, "batch_size": 4, "seed": 0}
    return TextLoader(
        str(folder / "all.txt"),
        config=TextLoaderConfig(),
        tokenizer=BYTES,
        share=share,
        **{**settings, **changes},
    )


def test_every_token_is_predicted_once_an_epoch(tmp_path: Path) -> None:
    found = loader(tmp_path)
    assert (found.rows, found.steps_per_epoch, len(found.tokens)) == (20, 5, 104)
    for epoch in (0, 1):
        rows = torch.cat([found.batch(5 * epoch + step)["tokens"] for step in range(5)])
        assert rows.shape == (20, 6) and rows.dtype == torch.int64
        starts = [next(r for r in range(20) if torch.equal(row, expected(r))) for row in rows]
        assert sorted(starts) == list(range(20))
        assert starts != sorted(starts)


def expected(row: int) -> torch.Tensor:
    """Sequence `row` of the file that `loader` writes; byte 33 + n has the id n."""
    return torch.tensor([i % 89 for i in range(5 * row, 5 * row + 6)])


def test_a_batch_depends_on_seed_and_step_alone(tmp_path: Path) -> None:
    first, second = loader(tmp_path), loader(tmp_path)
    forward = [first.batch(step)["tokens"] for step in range(12)]
    backward = [second.batch(step)["tokens"] for step in reversed(range(12))][::-1]
    assert all(map(torch.equal, forward, backward))
    assert not torch.equal(forward[0], loader(tmp_path, seed=1).batch(0)["tokens"])
    assert not torch.equal(torch.cat(forward[:5]), torch.cat(forward[5:10]))


def test_ranks_share_the_batch_of_one(tmp_path: Path) -> None:
    whole = loader(tmp_path)
    for step in (0, 3, 7):
        parts = [loader(tmp_path, Share(rank, 2)).batch(step)["tokens"] for rank in (0, 1)]
        assert torch.equal(torch.cat(parts), whole.batch(step)["tokens"])
    with pytest.raises(ValueError, match="3 ranks must divide batch_size=4"):
        loader(tmp_path, Share(0, 3))


def test_texts_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"batch_size=21 exceeds .*: 20 sequences of 6 tokens in 104"
    ):
        loader(tmp_path, batch_size=21)
    with pytest.raises(FileNotFoundError, match="no file matches"):
        list(documents(str(tmp_path / "none*")))
    path = tmp_path / "a.jsonl"
    for line, words in (
        ("{}", r"a.jsonl, line 2 has no text 'text'; it holds \[\]"),
        ('{"text": 3, "b": 1}', r"it holds \['b', 'text'\]"),
        ("[1]", "it holds list"),
        ("{", "line 2 is not JSON"),
    ):
        path.write_text(f'{{"text": "good"}}\n{line}\n')
        with pytest.raises(ValueError, match=words):
            list(documents(str(path)))
    path.write_text('\n{"body": "good"}\n')
    assert list(documents(str(path), "body")) == ["good"]


CONFIG = TrainConfig(
    steps=30,
    batch_size=8,
    optimizer=OptimizerConfig(rate=1e-2, warm_up=3, beta_2=0.95, weight_decay=0.1),
    log_every=1,
    checkpoint_every=7,
)


class KilledError(Exception):
    pass


def corpus(folder: Path) -> tuple[str, ByteTokenizer]:
    folder.mkdir(exist_ok=True)
    (folder / "a.txt").write_text("".join(LINES * 12))
    (folder / "b.txt").write_text("".join(LINES[::-1] * 12))
    return str(folder / "*.txt"), ByteTokenizer.learn(LINES * 12, 290)


def network(tokenizer: ByteTokenizer, **changes: Any) -> GPTConfig:
    config = GPTConfig(tokenizer.vocab_size, context_length=16, width=32, depth=2, heads=2)
    return replace(config, **changes)


VARIANTS: dict[str, dict[str, Any]] = {
    "dense": {"dropout": 0.05},
    "sparse": {"sparse": SparseConfig("fixed", span=4, summaries=1, split="heads")},
    "adaptive": {"adaptive": AdaptiveConfig((10, 40)), "positions": "sinusoidal"},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_gpt_learns_and_a_killed_run_ends_where_the_other_does(
    tmp_path: Path, variant: str
) -> None:
    data, tokenizer = corpus(tmp_path / "texts")
    if variant == "adaptive":
        tokenizer = tokenizer.by_frequency(documents(data))
    model = network(tokenizer, **VARIANTS[variant])

    def run(name: str, killed_at: int = 0) -> bytes:
        def report(line: Line) -> None:
            if line["step"] == killed_at:
                raise KilledError

        folder, loading = tmp_path / name, TextLoaderConfig()
        train(
            str(folder),
            model,
            data,
            config=CONFIG,
            loading=loading,
            tokenizer=tokenizer,
            report=report,
        )
        return (folder / "model.safetensors").read_bytes()

    whole = run("whole")
    for step in (9, 25):
        with pytest.raises(KilledError):
            run("killed", step)
    assert run("killed") == whole
    losses = [line["loss"] for line in read_curve(str(tmp_path / "whole"))]
    chance = math.log(tokenizer.vocab_size)
    assert losses[0] < chance + 1.0
    assert losses[-1] < 0.35 * chance
    trained = load(str(tmp_path / "whole"))
    assert isinstance(trained, GPT) and trained.config == model
    copy = load_tokenizer(str(tmp_path / "whole"))
    assert copy.encode(LINES[0]) == tokenizer.encode(LINES[0])
    with pytest.raises(RunError, match="another run"):
        train(
            str(tmp_path / "whole"),
            model,
            data,
            config=replace(CONFIG, seed=1),
            loading=TextLoaderConfig(),
            tokenizer=tokenizer,
        )


def test_micro_batches_give_the_same_first_steps(tmp_path: Path) -> None:
    data, tokenizer = corpus(tmp_path / "texts")
    losses = {}
    for parts in (1, 4):
        config = replace(CONFIG, steps=6, micro_batches=parts)
        folder = train(
            str(tmp_path / str(parts)),
            network(tokenizer),
            data,
            config=config,
            loading=TextLoaderConfig(),
            tokenizer=tokenizer,
        )
        losses[parts] = [line["loss"] for line in read_curve(folder)]
    assert losses[1] == pytest.approx(losses[4], abs=1e-4)


def test_what_cannot_be_trained_is_named(tmp_path: Path) -> None:
    data, tokenizer = corpus(tmp_path / "texts")
    settings: dict[str, Any] = {"config": CONFIG, "loading": TextLoaderConfig()}
    with pytest.raises(ValueError, match="a GPT needs a tokenizer, got None"):
        train(str(tmp_path / "run"), network(tokenizer), data, **settings)
    settings["tokenizer"] = tokenizer
    with pytest.raises(ValueError, match=r"vocab_size=300, the tokenizer has \d+ ids"):
        train(str(tmp_path / "run"), network(tokenizer, vocab_size=300), data, **settings)
    settings["loading"] = LoaderConfig()
    with pytest.raises(TypeError, match="loading is LoaderConfig, should be TextLoaderConfig"):
        train(str(tmp_path / "run"), network(tokenizer), data, **settings)
