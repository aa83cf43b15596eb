"""Our figures beside CLIP_benchmark's own code: same weights, same WebDataset data.

Their zero-shot and retrieval metrics run as they are over tars that their layout describes; ours
come through the whole scoreboard: catalogue, audit, kept embeddings, predictions, scores.
"""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from clip_benchmark.datasets.builder import build_dataset
from clip_benchmark.metrics import zeroshot_classification, zeroshot_retrieval
from PIL import Image

from evaluators.checkpoints import directory_contender
from evaluators.embed import EmbedConfig
from evaluators.score import ScoreConfig, score
from evaluators.suites.assemble import suites_of
from evaluators.suites.catalogue import SetSpec
from evaluators.suites.found import FoundSet, find
from models import weights
from models.clip import CLIPConfig, TextConfig
from models.pixels import decode, normalise
from models.tokenizers.clip import Tokenizer
from models.vision.vit import ViTConfig

CLASSES = ["red owl", "green owl", "blue bat", "grey bat", "red fish", "blue fish", "an ant"]
TEMPLATES = ["a photo of a {c}.", "art of the {c}."]
SIZE = (16, 16)


def picture(seed: int) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).resize((24, 20), Image.Resampling.BICUBIC).save(out, "png")
    return out.getvalue()


def write_tar(folder: Path, samples: list[dict[str, bytes]]) -> None:
    folder.mkdir(parents=True)
    with tarfile.open(folder / "0.tar", "w") as tar:
        for number, sample in enumerate(samples):
            for extension, data in sample.items():
                info = tarfile.TarInfo(f"s{number:07d}.{extension}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    (folder / "nshards.txt").write_text("1\n")


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> str:
    torch.manual_seed(0)
    tokenizer = Tokenizer.learn([*CLASSES, "a photo of a", "art of the", "something"], 600)
    vision = ViTConfig(image_size=SIZE, patch_size=8, width=32, depth=2, heads=2)
    text = TextConfig(
        context_length=16, vocab_size=tokenizer.vocab_size, width=32, depth=2, heads=2
    )
    path = str(tmp_path_factory.mktemp("model") / "clip")
    weights.save(weights.build(CLIPConfig(vision, text, 16)), path, tokenizer)
    return path


def their_loader(root: Path, name: str, task: str):
    def transform(image):
        out = io.BytesIO()
        image.convert("RGB").save(out, "png")
        pixels = torch.from_numpy(decode(out.getvalue(), SIZE, "crop"))
        return normalise(pixels[None])[0]

    def collate(rows):
        images, answers = zip(*rows, strict=True)
        labels = list(answers) if task == "zeroshot_retrieval" else torch.tensor(answers)
        return torch.stack(images), labels

    data = build_dataset(f"wds/{name}", root=str(root / name), transform=transform, task=task)
    return torch.utils.data.DataLoader(data, batch_size=8, collate_fn=collate)


def ours(root: Path, spec: SetSpec, clip: str, out: Path) -> dict[str, float]:
    found = find(spec, root, str(out / "sets"))
    assert isinstance(found, FoundSet) and found.audit.status == "ok", found
    suites = suites_of([found], ["zero-shot", "retrieval"], (), 1)
    config = ScoreConfig(EmbedConfig(batch_size=8, cache=str(out / "cache")))
    scored = score([directory_contender("CLIP", clip)], suites, str(out / "out"), config)
    rows = scored.scores.table().to_pylist()
    return {row["metric"]: row["value"] for row in rows if row["model"] == "CLIP"}


def spec(name: str, kind: str, size: int) -> SetSpec:
    count = len(CLASSES) if kind == "classification" else 0
    return SetSpec(
        name, name, kind, count, {"test": size}, "top1", ("{}",), None, name, (), "nowhere"
    )


def their_model(clip: str):
    network, tokenizer = weights.load(clip), weights.load_tokenizer(clip)
    return network.eval(), lambda texts: tokenizer(texts, 16)


def their_accuracy(output, target, topk=(1,)):
    """Their formula; their last line makes a float of an array of one, which NumPy 2.4 refuses."""
    pred = output.topk(max(topk), 1, True, True)[1].t()
    correct = pred.eq(target.view(1, -1).expand_as(pred))
    return [correct[:k].reshape(-1).float().sum().item() / len(target) for k in topk]


def test_zero_shot_is_clip_benchmarks(clip, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(zeroshot_classification, "accuracy", their_accuracy)
    root = tmp_path / "root"
    labels = np.random.default_rng(3).choice(7, 90, p=[0.4, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05])
    samples = [{"png": picture(i), "cls": str(c).encode()} for i, c in enumerate(labels)]
    write_tar(root / "things/test", samples)
    (root / "things/classnames.txt").write_text("\n".join(CLASSES) + "\n")
    prompts = root / "things/zeroshot_classification_templates.txt"
    prompts.write_text("\n".join(TEMPLATES) + "\n")
    network, tokenizer = their_model(clip)
    loader = their_loader(root, "things", "zeroshot_classification")
    data = loader.dataset
    theirs = zeroshot_classification.evaluate(
        network, loader, tokenizer, data.classes, data.templates, "cpu", amp=False
    )
    found = ours(root, spec("things", "classification", 90), clip, tmp_path)
    assert found["top1"] == pytest.approx(theirs["acc1"], abs=1e-6)
    assert found["top5"] == pytest.approx(theirs["acc5"], abs=1e-6)
    assert found["mean_per_class"] == pytest.approx(theirs["mean_per_class_recall"], abs=1e-6)
    assert 0 < theirs["acc1"] < theirs["acc5"] < 1  # otherwise anything would agree


def test_retrieval_is_clip_benchmarks(clip, tmp_path: Path):
    root = tmp_path / "root"
    words = [f"{a} {b} {c}" for a in CLASSES for b in ("art", "photo") for c in ("a", "of", "the")]
    pairs = [(picture(1000 + i), words[3 * i : 3 * i + 1 + i % 3]) for i in range(14)]
    write_tar(root / "pairs/test", [{"png": p, "txt": "\n".join(t).encode()} for p, t in pairs])
    (root / "pairs/dataset_type.txt").write_text("retrieval\n")
    network, tokenizer = their_model(clip)
    loader = their_loader(root, "pairs", "zeroshot_retrieval")
    theirs = zeroshot_retrieval.evaluate(
        network, loader, tokenizer, "cpu", amp=False, recall_k_list=[1, 5]
    )
    found = ours(root, spec("pairs", "retrieval", 14), clip, tmp_path)
    for k in (1, 5):
        to_text, to_image = found[f"image_to_text_r{k}"], found[f"text_to_image_r{k}"]
        assert to_text == pytest.approx(theirs[f"text_retrieval_recall@{k}"], abs=1e-6)
        assert to_image == pytest.approx(theirs[f"image_retrieval_recall@{k}"], abs=1e-6)
    assert 0 < found["text_to_image_r5"] < 1
