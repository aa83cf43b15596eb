"""Encoders as graphs: torch.export with any batch size, torch.compile without a break; and no loop
over heads or windows, as the number of kernels does not depend on theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from models.blip.blip import BLIP, BLIPConfig
from models.blip.med import MEDConfig
from models.blip2.blip2 import BLIP2, BLIP2Config
from models.blip2.query_transformer import QueryTransformerConfig
from models.clip import CLIP, CLIPConfig, TextConfig, trim
from models.dalle2.caption_encoder import CaptionConfig, CaptionEncoder
from models.flamingo.resampler import Resampler, ResamplerConfig
from models.gpt import GPT, GPTConfig
from models.layers.attention import Attention
from models.layers.positions import RelativeKeys
from models.layers.sparse import SparseAttention, SparseConfig, pair
from models.t5 import T5, T5Config
from models.vision.encoder import VisionConfig
from models.vision.quadrangle import PlainQuadrangleConfig, QuadrangleConfig
from models.vision.quadrangle_attention import QuadrangleAttention
from models.vision.resnet import ResNetConfig
from models.vision.vit import ViTConfig

TEXT = TextConfig(12, 40, 16, 1, 2)
ENCODERS: dict[str, VisionConfig] = {
    "vit": ViTConfig((16, 24), 8, 16, 1, 2, norm_before=True, patch_bias=False),
    "vit, relative positions": ViTConfig((16, 24), 8, 16, 1, 2, positions="relative"),
    "vit, mean and 2-D positions": ViTConfig((16, 24), 8, 16, 1, 2, positions="2d", pooling="mean"),
    "resnet": ResNetConfig((32, 64), (1, 1, 1, 1), width=4, head_width=32),
    "quadrangle": QuadrangleConfig((12, 20), 2, 8, (1, 1), (2, 2), window=3, drop_path=0.0),
    "plain quadrangle": PlainQuadrangleConfig(
        ViTConfig((16, 24), 4, 16, 1, 2, pooling="mean"), window=3
    ),
}


class Call(nn.Module):
    """One of a model's methods as its forward."""

    def __init__(self, model: nn.Module, name: str) -> None:
        super().__init__()
        self.model, self.name = model, name

    def forward(self, x: Tensor) -> Any:
        return getattr(self.model, self.name)(x)


def clip(vision: VisionConfig) -> CLIP:
    """With every weight drawn, the transformations of quadrangles too."""
    torch.manual_seed(0)
    model = CLIP(CLIPConfig(vision, TEXT, embedding=20)).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model.requires_grad_(False)


def texts(count: int) -> Tensor:
    """Of lengths 3, 4, ... and with more ends behind the first."""
    out = torch.randint(1, 38, (count, 12))
    for row in range(count):
        out[row, 2 + row % 10 :] = 39
    return out


def drawn(model: nn.Module) -> nn.Module:
    for parameter in model.requires_grad_(False).eval().parameters():
        nn.init.normal_(parameter, std=0.2)
    return model


def images(count: int) -> Tensor:
    return torch.randn(count, 3, 16, 24)


def frames(count: int) -> Tensor:
    return torch.randn(count, 2, 5, 16)


VIT = ViTConfig((16, 24), 8, 16, 1, 2)
BLIP_TINY = BLIPConfig(VIT, MEDConfig(40, 12, 16, 1, 2, end=39), part="encoders", queue=0)
FORMER = QueryTransformerConfig(3, 16, 2, 2, vocab_size=40, context_length=12, end=39, decode=5)
OTHERS: dict[str, tuple[Callable[[], nn.Module], str, Callable[[int], Tensor]]] = {
    "blip, images": (lambda: BLIP(BLIP_TINY), "encode_image", images),
    "blip, texts": (lambda: BLIP(BLIP_TINY), "encode_text", texts),
    "blip-2, images": (lambda: BLIP2(BLIP2Config(VIT, FORMER)), "encode_image", images),
    "blip-2, texts": (lambda: BLIP2(BLIP2Config(VIT, FORMER)), "encode_text", texts),
    "gpt": (lambda: GPT(GPTConfig(40, 12, 16, 1, 2)), "logits", texts),
    "t5": (lambda: T5(T5Config(40, 16, 1, heads=2, head_width=8, hidden=24)), "encode", texts),
    "resampler": (
        lambda: Resampler(ResamplerConfig(16, 1, 2, latents=3, times=2)), "forward", frames,
    ),
    "caption encoder": (
        lambda: CaptionEncoder(CaptionConfig(12, 40, 16, 1, 2)), "forward", texts,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_other_encoders_export_with_any_batch_and_compile_in_one_graph(name: str) -> None:
    make, method, inputs = OTHERS[name]
    model = Call(drawn(make()), method)
    torch.compiler.reset()  # one method's recompilations do not count for the next
    compiled = torch.compile(model, backend="eager", fullgraph=True, dynamic=True)
    graph = exported(model, inputs(3))
    for count in (1, 2, 5):
        x = inputs(count)
        wanted = model(x)
        for found in (graph(x), compiled(x)):
            torch.testing.assert_close(found[:, : wanted.shape[1]], wanted, atol=1e-5, rtol=1e-5)


class Kernels(TorchDispatchMode):
    """Counts what is called."""

    calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        return func(*args, **(kwargs or {}))


def quadrangles(heads: int, windows: int) -> nn.Module:
    return QuadrangleAttention(8 * heads, heads, (3 * windows, 3 * windows), 3)


COUNTED: dict[str, Callable[[int], tuple[nn.Module, Tensor]]] = {
    "attention": lambda n: (Attention(8 * n, n), torch.randn(2, 6, 8 * n)),
    "relative positions": lambda n: (
        Attention(8 * n, n, relative=RelativeKeys((2, 3), 8, False, 0.1)), torch.randn(2, 6, 8 * n),
    ),
    "heads of quadrangles": lambda n: (quadrangles(n, 2), torch.randn(2, 36, 8 * n)),
    "windows of quadrangles": lambda n: (quadrangles(2, n), torch.randn(2, 9 * n**2, 16)),
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTED)
@torch.no_grad()
def test_heads_and_windows_are_no_loop(name: str) -> None:
    counts = []
    for number in (2, 3, 5):
        model, x = COUNTED[name](number)
        with Kernels() as kernels:
            model.eval()(x)
        counts.append(kernels.calls)
    assert counts[0] > 5 and len(set(counts)) == 1, counts


@pytest.mark.parametrize("kind", ["banded", "strided", "fixed"])
@torch.no_grad()
def test_blocks_of_sparse_attention_are_no_loop(kind: str) -> None:
    counts = []
    attention = SparseAttention(16, 2, pair(SparseConfig(kind, span=4, summaries=2)))  # type: ignore[arg-type]
    for length in (32, 48, 80):
        with Kernels() as kernels:
            attention(torch.randn(2, length, 16), causal=True)
        counts.append(kernels.calls)
    assert len(set(counts)) == 1, counts


def exported(module: nn.Module, x: Tensor) -> nn.Module:
    """The graph for any batch size."""
    shapes = {"x": {0: torch.export.Dim("batch")}}
    program = torch.export.export(module, (x,), dynamic_shapes=shapes)
    return program.module()


@pytest.mark.parametrize("name", ENCODERS)
def test_image_towers_export_with_any_batch(name: str) -> None:
    config = ENCODERS[name]
    model = clip(config)
    graph = exported(Call(model, "encode_image"), torch.randn(3, 3, *config.image_size))
    for count in (1, 2, 5):
        x = torch.randn(count, 3, *config.image_size)
        torch.testing.assert_close(graph(x), model.encode_image(x), atol=1e-5, rtol=1e-5)


def test_the_text_tower_exports_with_any_batch() -> None:
    model = clip(ENCODERS["vit"])
    graph = exported(Call(model, "encode_text"), texts(3))
    for count in (1, 2, 7):
        tokens = texts(count)
        assert trim(tokens, 39)[0].shape[1] < 12  # outside the graph, texts are cut
        torch.testing.assert_close(graph(tokens), model.encode_text(tokens), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ENCODERS)
def test_image_towers_compile_in_one_graph(name: str) -> None:
    config = ENCODERS[name]
    model = clip(config)
    compiled = torch.compile(model.encode_image, backend="eager", fullgraph=True)
    x = torch.randn(2, 3, *config.image_size)
    torch.testing.assert_close(compiled(x), model.encode_image(x), atol=1e-5, rtol=1e-5)


def test_the_text_tower_compiles_in_one_graph() -> None:
    model = clip(ENCODERS["vit"])
    compiled = torch.compile(model.encode_text, backend="eager", fullgraph=True, dynamic=True)
    for tokens in (texts(3), texts(6)):
        wanted = model.encode_text(tokens)
        torch.testing.assert_close(compiled(tokens), wanted, atol=1e-5, rtol=1e-5)


def test_a_compiled_training_step_has_the_same_gradients() -> None:
    """Of both towers, with the force on quadrangles, which lives in the backward pass alone."""
    config = ENCODERS["plain quadrangle"]
    model = clip(config).requires_grad_(True).train()
    batch = {"pixels": torch.randn(4, 3, *config.image_size), "tokens": texts(4)}
    model(batch)["loss"].backward()
    wanted = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    torch.compile(model, backend="aot_eager", fullgraph=True)(batch)["loss"].backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[name], atol=1e-4, rtol=1e-3)
