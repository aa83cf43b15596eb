"""Our checkpoints behind the protocols, against the networks called by hand."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from evaluators.contenders import Classifier, Encoder
from evaluators.networks import CLIPEncoder, SupervisedClassifier
from models import weights
from models.classifier import ClassifierConfig
from models.clip import CLIPConfig, TextConfig
from models.pixels import decode_many, normalise
from models.tokenizers.clip import Tokenizer
from models.vision.vit import ViTConfig

VISION = ViTConfig(image_size=(16, 16), patch_size=8, width=16, depth=1, heads=2, patch_dropout=0.5)


def picture(seed: int) -> bytes:
    out = io.BytesIO()
    array = np.random.default_rng(seed).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(array).save(out, "png")
    return out.getvalue()


@pytest.fixture
def clip_folder(tmp_path: Path) -> str:
    torch.manual_seed(0)
    tokenizer = Tokenizer.learn(["a red owl", "a green owl"], 520)
    text = TextConfig(
        context_length=12, vocab_size=tokenizer.vocab_size, width=16, depth=1, heads=2
    )
    weights.save(weights.build(CLIPConfig(VISION, text, 8)), str(tmp_path / "clip"), tokenizer)
    return str(tmp_path / "clip")


def test_clip_encodes_as_the_network_does(clip_folder):
    model = CLIPEncoder(clip_folder)
    assert isinstance(model, Encoder)
    images = [picture(0), picture(1)]
    network = weights.load(clip_folder)
    with torch.no_grad():
        pixels = normalise(torch.from_numpy(decode_many(images, (16, 16))))
        expected = network.encode_image(pixels).numpy()
        tokens = weights.load_tokenizer(clip_folder)(["a red owl"], 12)
        text = network.encode_text(tokens).numpy()
    np.testing.assert_allclose(model.encode_image(images), expected, atol=1e-6)
    np.testing.assert_allclose(model.encode_text(["a red owl"]), text, atol=1e-6)
    assert model.logit_scale == pytest.approx(1 / 0.07)


def test_bfloat16_rounds_and_changes_no_more(clip_folder):
    exact, rounded = CLIPEncoder(clip_folder), CLIPEncoder(clip_folder, precision="bfloat16")
    images, texts = [picture(n) for n in range(4)], ["a red owl", "owl"]
    for a, b in (
        (exact.encode_image(images), rounded.encode_image(images)),
        (exact.encode_text(texts), rounded.encode_text(texts)),
    ):
        cosines = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        assert b.dtype == np.float32
        assert (a != b).any()
        assert (cosines > 0.999).all()


def test_texts_of_any_length_come_back_in_their_order(clip_folder, monkeypatch):
    model = CLIPEncoder(clip_folder)
    texts = ["a red owl", "owl", "a green green red owl owl owl owl", "a", "red red", "", "owl"]
    alone = np.concatenate([model.encode_text([text]) for text in texts])
    monkeypatch.setattr("evaluators.networks.TEXTS_A_BATCH", 3)
    np.testing.assert_allclose(model.encode_text(texts), alone, atol=1e-6)


def test_broken_images_become_nan_rows_and_move_nothing(clip_folder):
    model = CLIPEncoder(clip_folder)
    torn = picture(2)[:100]
    found = model.encode_image([picture(0), b"no image", torn, picture(1)])
    assert np.isnan(found[[1, 2]]).all()
    np.testing.assert_allclose(
        found[[0, 3]], model.encode_image([picture(0), picture(1)]), atol=1e-6
    )


def test_classifier_answers_with_its_class_names(tmp_path: Path):
    torch.manual_seed(0)
    network = weights.build(ClassifierConfig(VISION, classes=3))
    torch.nn.init.normal_(network.head.weight)
    weights.save(network, str(tmp_path / "c"))
    model = SupervisedClassifier(str(tmp_path / "c"), ["a", "b", "c"])
    assert isinstance(model, Classifier)
    found = model.class_logits([picture(0), b"no image"])
    assert found.shape == (2, 3)
    assert np.isfinite(found[0]).all()
    assert np.ptp(found[0]) > 0
    assert np.isnan(found[1]).all()
    with pytest.raises(ValueError, match="3 classes, 2 names"):
        SupervisedClassifier(str(tmp_path / "c"), ["a", "b"])
