"""BLIP's losses, copies and queues against a slow reference, step after step; ranks; micro-batches.

The reference is made of timm's ViT and transformers' BLIP text models, ties what the paper ties,
moves the copies before each forward pass, draws negatives in a loop, and keeps queues as columns:
the paper's method written down as it is described, without any of our code.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from transformers import BlipTextConfig
from transformers.models.blip.modeling_blip_text import BlipTextLMHeadModel, BlipTextModel

from models.blip import med
from models.blip.blip import BLIP, BLIPConfig
from models.blip.med import MEDConfig, until_end
from models.public.blip_authors import read
from models.training.accumulate import backward
from models.training.matching import hard_negatives
from models.training.objectives import rank_mean
from models.vision.vit import ViTConfig
from models.weights import WeightsError, fit

START, END, DECODE, ENCODE, VOCABULARY = 3, 4, 5, 6, 30
MOMENTUM = 0.6  # far from 1, so that a few steps show
TEXT = MEDConfig(
    VOCABULARY, 12, 64, 2, 1, 96, start=START, end=END, encode=ENCODE, decode=DECODE, dropout=0.0,
    attention_dropout=0.0,
)  # fmt: skip
SMALL = BLIPConfig(
    ViTConfig((16, 16), 8, 64, 1, 1), TEXT, embedding=8, queue=11, ramp=4, momentum=MOMENTUM
)


def make_batch(rows: int, seed: int = 0) -> dict[str, Tensor]:
    chance = torch.Generator().manual_seed(seed)
    tokens = torch.randint(7, VOCABULARY, (rows, 12), generator=chance)
    lengths = torch.randint(3, 11, (rows,), generator=chance)
    place = torch.arange(12)
    tokens[place == lengths[:, None] - 1] = END
    tokens[place >= lengths[:, None]] = 0
    tokens[:, 0] = START
    return {"pixels": torch.randn(rows, 3, 16, 16, generator=chance), "tokens": tokens}


def vision() -> nn.Module:
    return timm.models.VisionTransformer(
        img_size=16, patch_size=8, embed_dim=64, depth=1, num_heads=1, num_classes=0, global_pool=""
    )


def text_config() -> BlipTextConfig:
    config = BlipTextConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        encoder_hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=1,
        max_position_embeddings=12,
        label_smoothing=0.1,
        bos_token_id=DECODE,
        sep_token_id=END,
    )
    config._attn_implementation = "eager"
    return config


class Reference(nn.Module):
    def __init__(self, embedding: int = 8, queue: int = 11) -> None:
        super().__init__()
        for end in ("", "_m"):
            setattr(self, "visual_encoder" + end, vision())
            setattr(self, "text_encoder" + end, BlipTextModel(text_config(), False))
            setattr(self, "vision_proj" + end, nn.Linear(64, embedding))
            setattr(self, "text_proj" + end, nn.Linear(64, embedding))
        self.text_decoder = BlipTextLMHeadModel(text_config())
        self.itm_head = nn.Linear(64, 2)
        self.temp = nn.Parameter(torch.tensor(0.07))
        for parameter in self.parameters():
            if parameter is not self.temp:
                nn.init.normal_(parameter, std=0.5)
        encoder = dict(self.text_encoder.named_modules())
        for name, module in self.text_decoder.bert.named_modules():
            for key, parameter in list(module.named_parameters(recurse=False)):
                if ".attention." not in name:
                    setattr(encoder[name], key, parameter)
        self.text_decoder.cls.predictions.decoder.bias = self.text_decoder.cls.predictions.bias
        self.pairs = [
            (getattr(self, name), getattr(self, name + "_m"))
            for name in ("visual_encoder", "text_encoder", "vision_proj", "text_proj")
        ]
        self.move(0.0)
        for _, copy in self.pairs:
            copy.requires_grad_(False)
        for name in ("image_queue", "text_queue"):
            self.register_buffer(name, F.normalize(torch.randn(embedding, queue), dim=0))
        self.register_buffer("queue_ptr", torch.zeros(1, dtype=torch.int64))

    @torch.no_grad()
    def move(self, momentum: float) -> None:
        for own, copy in self.pairs:
            for p, c in zip(own.parameters(), copy.parameters(), strict=True):
                c.copy_(momentum * c + (1 - momentum) * p)

    @torch.no_grad()
    def store(self, image: Tensor, text: Tensor) -> None:
        for i, t in zip(image, text, strict=True):
            place = int(self.queue_ptr)
            self.image_queue[:, place], self.text_queue[:, place] = i, t
            self.queue_ptr[0] = (place + 1) % self.image_queue.shape[1]

    def both(self, end: str, pixels: Tensor, tokens: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        seen = getattr(self, "visual_encoder" + end).forward_features(pixels)
        said = getattr(self, "text_encoder" + end)(tokens, mask).last_hidden_state
        image = F.normalize(getattr(self, "vision_proj" + end)(seen[:, 0]), dim=1)
        return seen, image, F.normalize(getattr(self, "text_proj" + end)(said[:, 0]), dim=1)

    def forward(self, batch: dict[str, Tensor], alpha: float) -> list[Tensor]:
        pixels, tokens = batch["pixels"], batch["tokens"]
        with torch.no_grad():
            self.temp.clamp_(0.001, 0.5)
        mask = (tokens != 0).long()
        seen, image, text = self.both("", pixels, tokens, mask)
        with torch.no_grad():
            self.move(MOMENTUM)
            _, image_m, text_m = self.both("_m", pixels, tokens, mask)
            images = torch.cat([image_m.T, self.image_queue.clone()], 1)
            said = torch.cat([text_m.T, self.text_queue.clone()], 1)
            one_hot = torch.zeros(len(image), images.shape[1]).fill_diagonal_(1)
            wanted_i = alpha * (image_m @ said / self.temp).softmax(1) + (1 - alpha) * one_hot
            wanted_t = alpha * (text_m @ images / self.temp).softmax(1) + (1 - alpha) * one_hot
        i2t, t2i = image @ said / self.temp, text @ images / self.temp
        contrast = -(i2t.log_softmax(1) * wanted_i).sum(1).mean() / 2
        contrast = contrast - (t2i.log_softmax(1) * wanted_t).sum(1).mean() / 2
        self.store(image_m, text_m)
        return [contrast, self.matching(seen, tokens, mask, i2t, t2i), self.words(seen, tokens)]

    def matching(
        self, seen: Tensor, tokens: Tensor, mask: Tensor, i2t: Tensor, t2i: Tensor
    ) -> Tensor:
        rows, tokens = len(tokens), tokens.clone()
        tokens[:, 0] = ENCODE
        chosen = []
        for scores in (t2i, i2t):
            weights = scores[:, :rows].detach().softmax(1) + 1e-4
            weights.fill_diagonal_(0)
            chosen.append([int(torch.multinomial(weights[row], 1)) for row in range(rows)])
        logits = []
        for row in range(rows):
            other_image, other_text = chosen[0][row], chosen[1][row]
            for i, t in ((row, row), (other_image, row), (row, other_text)):
                states = self.text_encoder(
                    tokens[t : t + 1], mask[t : t + 1], encoder_hidden_states=seen[i : i + 1]
                ).last_hidden_state
                logits.append(self.itm_head(states[:, 0]))
        labels = torch.tensor([1, 0, 0] * rows)
        return F.cross_entropy(torch.cat(logits), labels)

    def words(self, seen: Tensor, tokens: Tensor) -> Tensor:
        tokens = tokens.clone()
        tokens[:, 0] = DECODE
        labels = tokens.masked_fill(tokens == 0, -100)
        mask = (tokens != 0).long()
        out = self.text_decoder(tokens, mask, encoder_hidden_states=seen, labels=labels)
        loss: Tensor = out.loss
        return loss


def pair(seed: int) -> tuple[Reference, BLIP]:
    torch.manual_seed(seed)
    reference = Reference().eval()
    config, tensors = read(reference.state_dict())
    assert (config.part, config.queue, config.embedding) == ("whole", 11, 8)
    assert config.vision == replace(SMALL.vision, hidden=256)
    special = replace(TEXT, separate=True)
    ours = BLIP(replace(config, text=special, ramp=4, momentum=MOMENTUM)).train()
    fit(ours, tensors, "the reference")
    return reference, ours


@pytest.mark.parametrize("seed", range(3))
def test_losses_copies_and_queues_are_the_references_step_after_step(seed: int) -> None:
    reference, ours = pair(seed)
    theirs = torch.optim.SGD([p for p in reference.parameters() if p.requires_grad], 0.05)
    mine = torch.optim.SGD([p for p in ours.parameters() if p.requires_grad], 0.05)
    for step in range(5):
        batch = make_batch(4, 10 * seed + step)
        torch.manual_seed(step)
        wanted = reference(batch, 0.4 * min(1.0, step / 4))
        torch.manual_seed(step)
        found = ours(batch)
        assert isinstance(found, dict)
        for part, value in zip(("contrast", "matching", "words"), wanted, strict=True):
            torch.testing.assert_close(found[part], value.detach(), atol=1e-4, rtol=1e-4)
        torch.stack(wanted).sum().backward()
        found["loss"].backward()
        for optimizer in (theirs, mine):
            optimizer.step()
            optimizer.zero_grad()
        ours.constrain()
    reference.move(MOMENTUM)
    _, tensors = read(reference.state_dict())
    tensors["momentum.steps"] += 5
    for name, tensor in ours.state_dict().items():
        if name != "temperature":
            torch.testing.assert_close(tensor, tensors[name], atol=1e-4, rtol=1e-3, msg=name)
    assert int(ours.momentum.place) == 20 % 11  # type: ignore[union-attr]


def test_a_loss_alone_changes_nothing_that_is_saved() -> None:
    _, ours = pair(0)
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    first = ours(make_batch(4))
    torch.manual_seed(0)
    ours(make_batch(4, 1))
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert isinstance(first, dict) and first["loss"].requires_grad
    assert not any(value.requires_grad for key, value in first.items() if key != "loss")


def test_a_resumed_run_goes_on_as_if_never_stopped() -> None:
    def run(model: BLIP, steps: range) -> None:
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.05)
        for step in steps:
            torch.manual_seed(step)
            losses = model(make_batch(4, step))
            assert isinstance(losses, dict)
            losses["loss"].backward()
            optimizer.step()
            optimizer.zero_grad()
            model.constrain()

    _, whole = pair(1)
    _, first = pair(1)
    run(whole, range(4))
    run(first, range(2))
    second = BLIP(first.config).train()
    fit(second, {name: tensor.clone() for name, tensor in first.state_dict().items()}, "disk")
    run(second, range(2, 4))
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name


def test_a_queue_shorter_than_the_batch_keeps_its_last_rows() -> None:
    torch.manual_seed(0)
    model = BLIP(replace(SMALL, queue=3)).train()
    model(make_batch(5))
    momentum = model.momentum
    assert momentum is not None and momentum.waiting is not None
    image = momentum.waiting[0].clone()
    model.constrain()
    assert torch.equal(momentum.image_queue_QE, image[-3:])


def test_gradients_reach_all_but_the_copies() -> None:
    _, ours = pair(2)
    losses = ours(make_batch(4))
    assert isinstance(losses, dict)
    losses["loss"].backward()
    for name, parameter in ours.named_parameters():
        assert (parameter.grad is None) == name.startswith("momentum."), name
        if parameter.grad is not None:
            assert float(parameter.grad.abs().max()) > 0, name


def test_the_temperature_stays_in_its_bounds() -> None:
    _, ours = pair(0)
    for value, wanted in ((0.9, 0.5), (0.0, 0.001), (0.07, 0.07)):
        with torch.no_grad():
            ours.temperature.fill_(value)
        ours.constrain()
        assert ours.temperature.item() == pytest.approx(wanted)


def test_negatives_have_their_probabilities_and_a_floor() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([[3.0, 1.0, 0.0, -1.0]])
    drawn = hard_negatives(logits.expand(20000, -1), torch.zeros(20000, dtype=torch.int64))
    shares = torch.bincount(drawn, minlength=4) / 20000
    wanted = logits[0].softmax(0) + 1e-4
    wanted[0] = 0
    torch.testing.assert_close(shares, wanted / wanted.sum(), atol=0.01, rtol=0)
    far = torch.tensor([[200.0, -200.0, -200.0]]).expand(4000, -1)
    drawn = hard_negatives(far, torch.zeros(4000, dtype=torch.int64))
    torch.testing.assert_close(float((drawn == 1).float().mean()), 0.5, atol=0.05, rtol=0)


def test_texts_of_alike_length_may_run_together(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = BLIP(SMALL), make_batch(70)

    def losses(together: int) -> tuple[dict[str, Tensor], list[Tensor | None]]:
        monkeypatch.setattr(med, "LEAST_TOGETHER", together)
        torch.manual_seed(3)
        model.zero_grad()
        found = model.losses(batch)
        found["loss"].backward()
        return found, [parameter.grad for parameter in model.parameters()]

    (plain, wanted), (found, grads) = losses(1000), losses(16)
    torch.testing.assert_close(found, plain, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(grads, wanted, rtol=1e-4, atol=1e-6)


def test_one_example_has_no_negatives() -> None:
    _, ours = pair(0)
    with pytest.raises(ValueError, match="needs 2 examples or more to draw negatives from, got 1"):
        ours(make_batch(1))
    captioner = BLIP(replace(SMALL, part="captioner"))
    assert captioner.losses(make_batch(1))["loss"].isfinite()


def test_without_queues_the_contrast_is_clips() -> None:
    from models.training.objectives import contrastive

    torch.manual_seed(3)
    model, batch = BLIP(replace(SMALL, queue=0, part="matcher")), make_batch(4)
    image = F.normalize(model.encode_image(batch["pixels"]), dim=1)
    text = F.normalize(model.encode_text(batch["tokens"]), dim=1)
    wanted = contrastive(image, text, 1 / model.temperature)["loss"]
    losses = model.losses(batch)
    torch.testing.assert_close(losses["contrast"], wanted.detach())
    assert set(losses) == {"loss", "contrast", "matching"}
    model.constrain()


@pytest.mark.parametrize("parts", [2, 4])
def test_a_captioner_has_the_same_gradient_in_micro_batches(parts: int) -> None:
    torch.manual_seed(4)
    text = replace(TEXT, dropout=0.0)
    model, batch = BLIP(replace(SMALL, part="captioner", text=text)), make_batch(8)
    found = []
    for count in (1, parts):
        model.zero_grad()
        losses = backward(model, batch, count, torch.manual_seed, contextlib.nullcontext)
        found.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
        found[-1]["loss"] = losses["loss"]
    assert set(found[0]) == {name for name, _ in model.named_parameters()} | {"loss"}
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, atol=1e-6, rtol=1e-4, msg=name)


def test_other_parts_refuse_micro_batches() -> None:
    model = BLIP(replace(SMALL, part="matcher"))
    with pytest.raises(ValueError, match="micro_batches must be 1 for BLIP's part='matcher'"):
        backward(model, make_batch(4), 2, torch.manual_seed, contextlib.nullcontext)


def _rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(os.path.join(folder, "store"), 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    torch.manual_seed(0)
    model = BLIP(SMALL).train()
    wrapped = DistributedDataParallel(model)
    for step in range(2):
        model.zero_grad()
        batch = {key: value.chunk(2)[rank] for key, value in make_batch(2, step).items()}
        losses = backward(wrapped, batch, 1, torch.manual_seed, contextlib.nullcontext)
        means = rank_mean(losses)
        model.constrain()
    if rank == 0:
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        buffers = dict(model.named_buffers())
        torch.save({**gradients, **buffers, "loss": torch.tensor(means["loss"])}, f"{folder}/o.pt")
    dist.destroy_process_group()


def test_two_ranks_have_the_gradient_of_the_global_batch(tmp_path: Path) -> None:
    """One example a rank, so that each has the other's as its only negative."""
    mp.start_processes(_rank, (str(tmp_path),), nprocs=2, start_method="fork")
    found = torch.load(tmp_path / "o.pt", weights_only=True)
    torch.manual_seed(0)
    model = BLIP(SMALL).train()
    for step in range(2):
        model.zero_grad()
        loss = backward(model, make_batch(2, step), 1, torch.manual_seed, contextlib.nullcontext)
        model.constrain()
    torch.testing.assert_close(found.pop("loss"), loss["loss"], atol=1e-5, rtol=1e-5)
    wanted = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    for name, tensor in {**wanted, **dict(model.named_buffers())}.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-5, rtol=1e-3, msg=name)


def test_the_end_is_the_first_behind_the_first_token() -> None:
    tokens = torch.tensor([[4, 9, 4, 0, 4], [3, 9, 9, 9, 9], [3, 4, 4, 4, 4]])
    wanted = [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]
    assert until_end(tokens, 4).int().tolist() == wanted


def test_the_authors_file_must_agree_with_itself() -> None:
    reference, _ = pair(0)
    tensors = {name: tensor.clone() for name, tensor in reference.state_dict().items()}
    tensors["text_encoder.encoder.layer.0.output.dense.weight"] += 1
    with pytest.raises(WeightsError, match=r"blocks\.0\.mlp\.down\.weight of encoder and decoder"):
        read(tensors)


@pytest.mark.parametrize("part", ["captioner", "matcher"])
def test_the_authors_halves_are_read(part: str) -> None:
    reference, whole = pair(0)
    dropped = ("text_encoder", "itm", "vision_proj", "text_proj", "temp", "image_q", "text_q", "qu")
    gone = dropped if part == "captioner" else ("text_decoder",)
    copies = ("visual_encoder_m",) if part == "captioner" else ()
    tensors = {
        n: t for n, t in reference.state_dict().items() if not n.startswith((*gone, *copies))
    }
    config, ours = read(tensors)
    assert config.part == part and config.queue == (0 if part == "captioner" else 11)
    model = BLIP(replace(config, text=replace(TEXT, separate=False))).eval()
    fit(model, ours, part)
    batch = make_batch(3)
    whole.eval()
    if part == "matcher":
        wanted = whole.itm_logits(batch["pixels"], batch["tokens"])
        torch.testing.assert_close(model.itm_logits(batch["pixels"], batch["tokens"]), wanted)
        for method, key in (("encode_image", "pixels"), ("encode_text", "tokens")):
            found, wanted = (getattr(one, method)(batch[key]) for one in (model, whole))
            torch.testing.assert_close(found, wanted)
        assert torch.equal(model.temperature, whole.temperature)
        return
    caches = [m.text_tower.look(m.image_states(batch["pixels"])) for m in (model, whole)]
    wanted = whole.word_logits(batch["tokens"], caches[1])
    torch.testing.assert_close(model.word_logits(batch["tokens"], caches[0]), wanted)
