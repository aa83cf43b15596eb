"""`sightmill score` of models that compose, write and draw: the suites by the checkpoint's kind."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from evaluators.suites.labelled import Picture, build_labelled
from models import weights
from models.clip import CLIPConfig, TextConfig
from models.pic2word import Pic2WordConfig
from models.tokenizers.clip import Tokenizer
from models.vision.vit import ViTConfig
from pipelines.datasets import open_dataset
from workflows import cli
from workflows.scoreboard.abilities import ABILITIES, EVERY, suites_for

COLOURS = {"red": (230, 20, 20), "green": (20, 200, 40), "blue": (20, 40, 220)}
HERE = ("--config.embed.workers", "0", "--config.embed.batch-size", "8")


def sightmill(*arguments: str) -> int:
    module, config, _ = cli.RECIPES["score"]
    imported = __import__(module, fromlist=[config])
    return cli.run("sightmill score", getattr(imported, config), list(arguments))


def square(colour: tuple[int, int, int], side: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(out, "png")
    return out.getvalue()


@pytest.fixture
def root(tmp_path: Path) -> str:
    """Photographs, clip art and emoji of three colours, and the photographs with captions."""
    styles = {"photo": 20, "clipart": 24, "emoji": 28}
    pictures = [
        Picture(f"{style}/{name}", square(colour, side), name, style)
        for style, side in styles.items()
        for name, colour in COLOURS.items()
    ]
    path = str(tmp_path / "root/photographs-to-drawings")
    build_labelled(path, lambda: pictures, [*COLOURS], config={})
    captioned = [
        Picture(p.origin, p.image, f"a {p.class_name} square", "test") for p in pictures[:3]
    ]
    classes = [p.class_name for p in captioned]
    build_labelled(str(tmp_path / "root/stamps"), lambda: captioned, classes, config={})
    return str(tmp_path / "root")


def saved(path: Path, config: Callable[[CLIPConfig, Tokenizer], object]) -> str:
    torch.manual_seed(0)
    words = Tokenizer.learn(["a photo of * clip art an emoji of red green blue square"], 600)
    vision = ViTConfig(image_size=(16, 16), patch_size=8, width=16, depth=1, heads=2)
    text = TextConfig(context_length=16, vocab_size=words.vocab_size, width=16, depth=1, heads=2)
    weights.save(weights.build(config(CLIPConfig(vision, text, 8), words)), str(path), words)  # type: ignore[arg-type]
    return str(path)


def test_a_pic2word_composes(root: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def around(clip: CLIPConfig, words: Tokenizer) -> Pic2WordConfig:
        prompt = (words.start, *words.encode("a photo of *"), words.end)
        return Pic2WordConfig(clip, words.encode("*")[0], prompt, hidden=8)

    path, out = saved(tmp_path / "pic2word", around), str(tmp_path / "out")
    asked = ("--checkpoint", path, "--data", root, "--out", out, *HERE)
    assert sightmill(*asked) == 0
    rows = open_dataset(f"{out}/scores").table().to_pylist()
    assert {row["suite"] for row in rows} == {"composed"}
    assert {row["split"] for row in rows} == {"clipart", "emoji", "mean"}
    assert {row["model"] for row in rows} == {
        "Pic2Word", "Pic2Word: image only", "Pic2Word: text only", "Pic2Word: image + text",
        "chance",
    }  # fmt: skip
    sets = {row["name"]: row["status"] for row in json.loads(Path(out, "sets.json").read_text())}
    assert sets["photographs-to-drawings"] == "ok" and sets["cirr"] == "missing"
    assert "composed, R@1" in Path(out, "report/report.html").read_text()
    content = open_dataset(f"{out}/scores").manifest.content_hash
    assert sightmill(*asked, "--suite", "composed,vqa") == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "without vqa: a Pic2Word cannot do it" in told
    assert open_dataset(f"{out}/scores").manifest.content_hash == content


def test_a_server_writes_captions(
    root: str, tmp_path: Path, chat_server: Callable[..., str], ray_session: None
) -> None:
    said = {"choices": [{"message": {"content": "a red square"}}]}
    url = chat_server(lambda request: (200, json.dumps(said)))
    out = str(tmp_path / "out")
    assert sightmill("--checkpoint", url, "--data", root, "--out", out, *HERE) == 0
    rows = {
        (r["dataset"], r["metric"]): r for r in open_dataset(f"{out}/scores").table().to_pylist()
    }
    assert rows["stamps-captions", "answered"]["value"] == 1.0
    assert rows["stamps-captions", "cider"]["n"] == 3
    answers = open_dataset(f"{out}/answers/chat-server/captioning/stamps-captions")
    assert answers.table(["answer"])["answer"].to_pylist() == ["a red square"] * 3

    again, on_ray = str(tmp_path / "again"), ("--config.embed.workers", "1")
    asked = ("--checkpoint", url, "--data", root, "--out", again)
    assert sightmill(*asked, *on_ray, "--config.embed.batch-size", "2") == 0
    same = open_dataset(f"{again}/answers/chat-server/captioning/stamps-captions")
    assert same.manifest.content_hash == answers.manifest.content_hash


def test_pictures_of_a_folder_are_scored_by_a_clip(root: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "clip", lambda clip, _: clip)
    folder, out = tmp_path / "theirs", str(tmp_path / "out")
    folder.mkdir()
    for name, colour in COLOURS.items():
        (folder / f"{name}.png").write_bytes(square(colour, 18))
        (folder / f"{name}.txt").write_text(f"a {name} square")
    asked = ("--checkpoint", path, "--data", root, "--out", out, *HERE, "--suite", "generation")
    assert sightmill(*asked, "--open.generated", str(folder)) == 0
    rows = open_dataset(f"{out}/scores").table().to_pylist()
    found = {(row["model"], row["metric"]) for row in rows}
    assert {("theirs", "fid"), ("theirs", "clip_score"), ("real pictures", "clip_score")} <= found


def test_every_kind_says_what_it_cannot() -> None:
    for kind, ability in ABILITIES.items():
        can = {*ability.asked, *ability.more}
        assert can <= set(EVERY)
        asked, refused = suites_for(kind, ",".join(EVERY))
        assert set(asked) == can and len(refused) == len(EVERY) - len(can)
        assert suites_for(kind, "")[0] == [*ability.asked]
    with pytest.raises(ValueError, match="a CLIP cannot do it; it can: zero-shot"):
        suites_for("CLIPConfig", "captioning")
    with pytest.raises(ValueError, match="no suite scores a GPTConfig"):
        suites_for("GPTConfig", "")
