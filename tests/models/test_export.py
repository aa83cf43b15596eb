"""Both towers as graphs: torch.export with any batch size, torch.compile without a break."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.clip import CLIP, CLIPConfig, TextConfig, trim
from models.vision.encoder import VisionConfig
from models.vision.quadrangle import PlainQuadrangleConfig, QuadrangleConfig
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


@pytest.mark.parametrize("name", ["vit", "resnet", "plain quadrangle"])
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
