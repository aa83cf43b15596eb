"""EasyOCR in batches, beside EasyOCR itself; what needs no weights first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from annotators.screen.crops import Crop
from annotators.screen.easy import (
    EasyConfig,
    EasyOcr,
    as_readtext,
    best_text,
    fitting,
    fold_batch_norms,
)
from annotators.screen.ocr import Pixels


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def redrawn(network: torch.nn.Module) -> torch.nn.Module:
    """Batch normalisations that do something."""
    torch.manual_seed(0)
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(part.weight, 0.5, 1.5)
            torch.nn.init.normal_(part.bias, std=0.3)
            torch.nn.init.normal_(part.running_mean, std=0.3)
            torch.nn.init.uniform_(part.running_var, 0.5, 1.5)
    return network.eval()


def test_folded_batch_norms_compute_the_same() -> None:
    from easyocr.craft import CRAFT
    from easyocr.model.vgg_model import Model

    x, crop = torch.rand(1, 3, 64, 96), torch.rand(2, 1, 64, 128)
    for network, asked in ((CRAFT(), (x,)), (Model(1, 32, 16, 20), (crop, None))):
        redrawn(network)
        with torch.inference_mode():
            before = network(*asked)
        fold_batch_norms(network)
        assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in network.modules())
        with torch.inference_mode():
            after = network(*asked)
        one, other = (out[0] if isinstance(out, tuple) else out for out in (before, after))
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_decoding_equals_easyocrs(seed: int) -> None:
    from easyocr.recognition import custom_mean
    from easyocr.utils import CTCLabelConverter

    draw = np.random.default_rng(seed)
    logits = draw.normal(size=(12 + seed, 6)) * 2
    logits[:, 0] += 1
    chances = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).astype(np.float32)
    best = chances.argmax(1)
    theirs = CTCLabelConverter("ab cd").decode_greedy(best, torch.tensor([len(best)]))[0]
    text, confidence = best_text(chances, ["", *"ab cd"])
    assert text == theirs
    assert confidence == pytest.approx(custom_mean(chances.max(1)[best != 0]), rel=1e-5)
    blanks = np.array([[0.9, 0.1]], np.float32)
    assert best_text(blanks, ["", "a"]) == ("", 0.0)


def test_only_too_large_a_screen_is_made_smaller() -> None:
    screen = np.zeros((30, 70, 3), np.uint8)
    assert fitting(screen, 70)[0] is screen
    smaller, scale = fitting(screen, 35)
    assert smaller.shape == (15, 35, 3) and scale == 0.5


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        EasyOcr(EasyConfig(str(tmp_path / "nowhere")))
    with pytest.raises(FileNotFoundError, match=r"craft_mlt_25k\.pth"):
        EasyOcr(EasyConfig(str(tmp_path)))


def screen(size: tuple[int, int], texts: dict[tuple[int, int], str]) -> Pixels:
    picture = Image.new("RGB", size, "#f3f4f6")
    brush = ImageDraw.Draw(picture)
    for number, (at, text) in enumerate(texts.items()):
        brush.text(at, text, ["#123456", "#7b2d26"][number % 2], ImageFont.load_default(18))
    return np.asarray(picture)


WORDS = {(10, 8): "Overview", (150, 10): "Orders 42", (12, 60): "Payment settings"}
MORE = {(30, 20): "Invoices", (20, 90): "Harbour customer", (200, 60): "Total 913"}


@pytest.fixture(scope="module")
def screens() -> list[Pixels]:
    turned = Image.fromarray(screen((200, 130), {(20, 20): "Turned"})).rotate(
        20, fillcolor="#f3f4f6"
    )
    upright = Image.fromarray(screen((120, 96), {(10, 30): "Vertical"})).transpose(
        Image.Transpose.ROTATE_90
    )
    return [
        screen((270, 100), WORDS),
        screen((300, 130), MORE),
        screen((270, 100), {(40, 40): "Same size as one"}),
        np.asarray(turned),
        np.asarray(upright),
        screen((64, 64), {}),
    ]


@pytest.fixture(scope="module")
def plain(easy_models: str) -> EasyOcr:
    return EasyOcr(as_readtext(EasyConfig(easy_models)))


def texts_of(lines: Any) -> list[list[str]]:
    return [[line.text for line in of] for of in lines]


def test_texts_and_confidences_are_those_of_readtext(
    easy_models: str, plain: EasyOcr, screens: list[Pixels], tmp_path: Path
) -> None:
    import easyocr

    peer = easyocr.Reader(
        ["en"],
        gpu=False,
        model_storage_directory=easy_models,
        user_network_directory=easy_models,
        download_enabled=False,
        verbose=False,
        quantize=False,
    )
    ours = plain.read(screens)
    for number, (pixels, lines) in enumerate(zip(screens, ours, strict=True)):
        file = str(tmp_path / f"{number}.png")
        Image.fromarray(pixels).save(file)
        theirs = {text: (corners, sure) for corners, text, sure in peer.readtext(file)}
        assert sorted(line.text for line in lines) == sorted(theirs)
        for line in lines:
            corners, sure = theirs[line.text]
            assert line.confidence == pytest.approx(sure, abs=1e-2)  # its grey is off by one
            left, right, top, bottom = line.edges
            (x0, y0), (x1, y1) = np.min(corners, axis=0), np.max(corners, axis=0)
            assert x0 - 1 <= left <= x0 + 6 and x1 - 6 <= right <= x1 + 1
            assert y0 - 1 <= top <= y0 + 6 and y1 - 6 <= bottom <= y1 + 1
    assert [len(of) for of in ours[:3]] == [3, 3, 1] and ours[5] == []


def test_what_else_is_in_the_batch_changes_nothing(plain: EasyOcr, screens: list[Pixels]) -> None:
    together = plain.read(screens[:3])
    alone = [plain.read([one])[0] for one in screens[:3]]
    assert texts_of(together) == texts_of(alone)
    for ours, theirs in zip(together, alone, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert one.edges == other.edges
            assert one.confidence == pytest.approx(other.confidence, abs=1e-3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_drawn_parts_alone_read_as_well(
    easy_models: str, screens: list[Pixels], precision: Any
) -> None:
    engine = EasyOcr(EasyConfig(easy_models, precision=precision))
    large = np.full((400, 500, 3), screens[0][0, 0], np.uint8)
    large[280:380, 220:490] = screens[0]
    found = engine.read([large, screens[5]])
    assert texts_of(found) == [list(WORDS.values()), []]
    for line, (x, y) in zip(found[0], WORDS, strict=True):
        assert abs(line.edges[0] - 220 - x) < 5 and -3 < line.edges[2] - 280 - y < 9


def test_a_smaller_canvas_gives_boxes_in_the_screens_pixels(
    easy_models: str, plain: EasyOcr, screens: list[Pixels]
) -> None:
    small = object.__new__(EasyOcr)
    small.__dict__.update(plain.__dict__, config=replace(plain.config, canvas=200))
    big, little = (
        np.array([word.mean(axis=0) for word in engine.words([screens[0]])[0]])
        for engine in (plain, small)
    )
    nearest = np.abs(big[:, None] - little[None]).max(axis=2).min(axis=1)
    assert len(little) and (nearest < 12).mean() > 0.5


def test_a_weak_line_is_read_once_more_and_the_better_reading_stays(
    plain: EasyOcr, monkeypatch: pytest.MonkeyPatch
) -> None:
    crops = [Crop(0, (0, 1, 0, 1), np.full((64, 64), n, np.uint8), 64) for n in (1, 2, 3)]
    answers = iter([[("a", 0.05), ("b", 0.9), ("c", 0.05)], [("A", 0.5), ("C", 0.01)]])
    asked = []

    def read_once(these: Any) -> Any:
        asked.append(len(these))
        return next(answers)

    monkeypatch.setattr(plain, "_read_once", read_once)
    assert plain.texts(crops) == [("A", 0.5), ("b", 0.9), ("c", 0.05)]
    assert asked == [3, 2]
