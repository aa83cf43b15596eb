"""BLIP-2's first stage against transformers' retrieval model, its losses against a slow reference
that runs transformers' Q-Former under the paper's masks, and two ranks against one batch.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from torch import Tensor
from torch import distributed as dist
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from transformers import Blip2Config, Blip2ForImageTextRetrieval

from models.blip2.blip2 import BLIP2, BLIP2_BASE, BLIP2_SMALL, BLIP2Config, similarities
from models.blip2.query_transformer import QueryTransformerConfig
from models.generation import GenerationConfig
from models.layers import masks
from models.public.blip2 import read, to_hugging_face_blip2
from models.training.accumulate import backward
from models.training.objectives import rank_mean
from models.vision.vit import ViTConfig
from models.weights import fit
from tests.models.drawing import randomise

START, END, DECODE, VOCABULARY = 3, 4, 5, 30
FORMER = QueryTransformerConfig(
    3, 16, 2, 2, vocab_size=VOCABULARY, context_length=12, end=END, decode=DECODE, dropout=0.0,
    attention_dropout=0.0,
)  # fmt: skip
SMALL = BLIP2Config(ViTConfig((16, 24), 8, 24, 2, 3), FORMER, embedding=8)


def texts(rows: int, length: int, seed: int = 0) -> Tensor:
    chance = torch.Generator().manual_seed(seed)
    tokens = torch.randint(7, VOCABULARY, (rows, length), generator=chance)
    lengths = torch.randint(2, length + 1, (rows,), generator=chance)
    lengths[0] = length
    place = torch.arange(length)
    tokens[place == lengths[:, None] - 1] = END
    tokens[place >= lengths[:, None]] = 0
    tokens[:, 0] = START
    return tokens


def draw(seed: int) -> tuple[Blip2ForImageTextRetrieval, BLIP2]:
    """transformers' model of a config drawn by `seed`, and ours with its weights."""
    chance = random.Random(seed)
    torch.manual_seed(seed)
    heads, vision_heads, patch = chance.choice([1, 2]), chance.choice([1, 2, 3]), 4
    config = Blip2Config(
        vision_config={
            "hidden_size": 8 * vision_heads,
            "intermediate_size": chance.choice([24, 40]),
            "num_hidden_layers": chance.choice([1, 2]),
            "num_attention_heads": vision_heads,
            "image_size": patch * chance.choice([1, 2, 3]),
            "patch_size": patch,
        },
        qformer_config={
            "vocab_size": VOCABULARY,
            "hidden_size": 8 * heads,
            "num_hidden_layers": chance.choice([1, 2, 3]),
            "num_attention_heads": heads,
            "intermediate_size": chance.choice([24, 40]),
            "max_position_embeddings": 12,
            "cross_attention_frequency": chance.choice([1, 2]),
            "use_qformer_text_input": True,
        },
        num_query_tokens=chance.choice([1, 2, 4]),
        image_text_hidden_size=chance.choice([8, 12]),
    )
    theirs = Blip2ForImageTextRetrieval(config).eval()
    randomise(theirs)
    ours_config, tensors = read(config.to_dict(), theirs.state_dict())
    assert isinstance(ours_config, BLIP2Config)
    special = replace(ours_config.former, end=END, decode=DECODE)
    ours = BLIP2(replace(ours_config, former=special)).eval()
    fit(ours, tensors, "transformers")
    return theirs, ours


@pytest.mark.parametrize("seed", range(5))
def test_contrast_and_matching_are_transformers(seed: int) -> None:
    theirs, ours = draw(seed)
    rows = seed + 1
    tokens = texts(rows, (2, 12, 5, 7, 3)[seed])
    mask, image = (tokens != 0).long(), torch.randn(rows, 3, *ours.config.vision.image_size)
    wanted = theirs(image, tokens, mask, use_image_text_matching_head=True).logits_per_image
    for source in (image, ours.image_states(image)):
        torch.testing.assert_close(ours.itm_logits(source, tokens), wanted, atol=1e-4, rtol=1e-5)
    for row in range(rows):
        one = theirs(image[row : row + 1], tokens, mask, use_image_text_matching_head=False)
        found = F.normalize(ours.encode_image(image[row : row + 1]), dim=-1)
        torch.testing.assert_close(found, one.image_embeds, atol=1e-4, rtol=1e-5)
        text = F.normalize(ours.encode_text(tokens), dim=-1)
        torch.testing.assert_close(text, one.text_embeds, atol=1e-4, rtol=1e-5)
        wanted = (one.image_embeds[0] @ one.text_embeds.T).amax(dim=0)
        torch.testing.assert_close(similarities(found, text)[0], wanted, atol=1e-4, rtol=1e-5)


def test_names_go_there_and_back() -> None:
    theirs, ours = draw(1)
    back, wanted = to_hugging_face_blip2(ours.state_dict()), theirs.state_dict()
    assert set(back) == set(wanted)
    for name, tensor in back.items():
        assert torch.equal(tensor, wanted[name]), name


def test_any_wrong_weight_is_seen(every_weight_shows: Callable[..., None]) -> None:
    _, ours = draw(0)
    image, tokens = torch.randn(2, 3, *ours.config.vision.image_size), texts(2, 12)

    def compared() -> Tensor:
        parts = (ours.itm_logits(image, tokens), ours.encode_image(image), ours.encode_text(tokens))
        return torch.cat([part.flatten() for part in parts])

    every_weight_shows(ours, compared, unread=("temperature",))


def reference(
    model: BLIP2, theirs: Blip2ForImageTextRetrieval, batch: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The three losses as the paper has them: loops, and one pass for each mask."""
    image, tokens, rows = batch["pixels"], batch["tokens"], len(batch["tokens"])
    valid, states = tokens != 0, theirs.vision_model(image).last_hidden_state
    Q, temperature = model.config.former.queries, model.temperature
    asked = theirs.query_tokens

    def run(text: Tensor, mask: Tensor, seen: Tensor) -> Tensor:
        both = theirs.embeddings(text, query_embeds=asked.expand(len(text), -1, -1))
        out: Tensor = theirs.qformer(
            both, query_length=Q, attention_mask=mask, encoder_hidden_states=seen
        ).last_hidden_state
        return out

    alone = run(tokens, masks.unimodal(Q, valid), states)
    seen = F.normalize(theirs.vision_projection(alone[:, :Q]), dim=-1)
    said = F.normalize(theirs.text_projection(alone[:, Q]), dim=-1)
    scores = torch.stack([(seen[i] @ said.T).max(dim=0).values for i in range(rows)])
    scores = scores / temperature
    target = torch.arange(rows)
    contrast = sum(F.cross_entropy(s, target, label_smoothing=0.1) for s in (scores, scores.T)) / 2
    chosen = []
    for s in (scores.T, scores):
        weights = s.detach().softmax(1) + 1e-4
        weights.fill_diagonal_(0)
        chosen.append([int(torch.multinomial(weights[row], 1)) for row in range(rows)])
    logits = []
    for row in range(rows):
        for i, t in ((row, row), (chosen[0][row], row), (row, chosen[1][row])):
            mask = torch.cat([torch.ones(1, Q), valid[t : t + 1]], dim=1).long()
            pair = run(tokens[t : t + 1], mask, states[i : i + 1])[:, :Q]
            logits.append(theirs.itm_head(pair).mean(dim=1))
    matched = F.cross_entropy(torch.cat(logits), torch.tensor([1, 0, 0] * rows))
    written = tokens.clone()
    written[:, 0] = DECODE
    after = run(written, masks.multimodal_causal(Q, valid), states)[:, Q:]
    head, embedding = model.word_head, theirs.embeddings.word_embeddings.weight
    words = head.norm(F.gelu(head.layer(after))) @ embedding.T + head.bias_V
    losses, count = torch.zeros(()), 0
    for row in range(rows):
        for place in range(int(valid[row].sum()) - 1):
            losses = losses + F.cross_entropy(
                words[row, place], written[row, place + 1], label_smoothing=0.1
            )
            count += 1
    return {"contrast": contrast, "matching": matched, "words": losses / count}


@pytest.mark.parametrize("seed", range(4))
def test_losses_and_gradients_are_the_references(seed: int) -> None:
    theirs, matcher = draw(seed)
    former = replace(matcher.config.former, dropout=0.0, attention_dropout=0.0)
    ours = BLIP2(replace(matcher.config, part="whole", former=former)).train()
    randomise(ours)
    ours.load_state_dict(matcher.state_dict(), strict=False)
    size = ours.config.vision.image_size
    batch = {"pixels": torch.randn(4, 3, *size), "tokens": texts(4, 9, seed)}
    torch.manual_seed(seed)
    wanted = reference(ours, theirs, batch)
    torch.manual_seed(seed)
    found = ours(batch)
    for part, value in wanted.items():
        torch.testing.assert_close(found[part], value.detach(), atol=1e-4, rtol=1e-4, msg=part)
    total = torch.stack(list(wanted.values())).sum()
    total.backward()
    found["loss"].backward()
    mine = to_hugging_face_blip2(
        {n: p.grad for n, p in ours.named_parameters() if p.grad is not None}
    )
    for name, parameter in theirs.named_parameters():
        if name.startswith("vision_model.") and "post_layernorm" not in name:
            assert name not in mine
        else:
            assert parameter.grad is not None
            torch.testing.assert_close(mine[name], parameter.grad, atol=1e-4, rtol=1e-3, msg=name)


def test_gradients_reach_all_but_the_image_encoder() -> None:
    torch.manual_seed(0)
    model = BLIP2(SMALL).train()
    assert not model.image_tower.training and model.former.training
    batch = {"pixels": torch.randn(4, 3, 16, 24), "tokens": texts(4, 9)}
    model(batch)["loss"].backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == name.startswith("image_tower."), name
        if parameter.grad is not None:
            assert parameter.grad.abs().max().item() > 0, name


def test_stored_image_tokens_give_the_same_losses() -> None:
    torch.manual_seed(0)
    model = BLIP2(SMALL).train()
    pixels, tokens = torch.randn(4, 3, 16, 24), texts(4, 9)
    states = model.image_states(pixels)
    assert not states.requires_grad
    found = []
    for batch in ({"pixels": pixels}, {"states": states}):
        torch.manual_seed(1)
        found.append(model({**batch, "tokens": tokens})["loss"])
    assert torch.equal(found[0], found[1])


def test_captions_are_what_the_logits_say() -> None:
    torch.manual_seed(2)
    model = BLIP2(SMALL).eval()
    randomise(model)
    image, prompt = torch.randn(3, 3, 16, 24), [9, 10]
    found = model.caption(image, GenerationConfig(most=6), prompt)
    for row, caption in enumerate(found):
        tokens = [DECODE, *prompt]
        for _ in range(6):
            cache = model.look(image[row : row + 1])
            model.former.query(cache)
            token = int(model.word_logits(torch.tensor([tokens]), cache)[0, -1].argmax())
            if token == END:
                break
            tokens.append(token)
        assert caption == tokens[3:]
    nucleus, keys = GenerationConfig("nucleus", most=5), [str(n) for n in range(6)]
    many = model.caption(image, nucleus, each=2, keys=keys)
    assert many[2:4] == model.caption(image[1:2], nucleus, each=2, keys=keys[2:4])
    beams = model.caption(image, GenerationConfig("beam", most=5, beams=1), prompt)
    assert beams == model.caption(image, GenerationConfig(most=5), prompt)


def test_many_texts_may_be_matched_with_few_images() -> None:
    torch.manual_seed(3)
    model = BLIP2(SMALL).eval()
    image, tokens, of = torch.randn(2, 3, 16, 24), texts(5, 9), torch.tensor([1, 0, 0, 1, 1])
    wanted = model.itm_logits(image[of], tokens)
    torch.testing.assert_close(model.itm_logits(image, tokens, of), wanted, atol=1e-5, rtol=1e-5)


def test_what_cannot_be_is_named() -> None:
    model = BLIP2(SMALL)
    one = {"pixels": torch.randn(1, 3, 16, 24), "tokens": texts(1, 5)}
    with pytest.raises(ValueError, match="needs 2 examples or more"):
        model(one)
    batch = {"pixels": torch.randn(4, 3, 16, 24), "tokens": texts(4, 5)}
    with pytest.raises(ValueError, match="micro_batches must be 1 for BLIP-2's first stage"):
        backward(model, batch, 2, torch.manual_seed, contextlib.nullcontext)
    with pytest.raises(ValueError, match="belongs to the second stage"):
        BLIP2(replace(SMALL, former=replace(FORMER, text=False)))


def test_bfloat16_runs_and_is_near() -> None:
    torch.manual_seed(1)
    model, tokens = BLIP2(SMALL).eval(), texts(3, 8)
    image = torch.randn(3, 3, 16, 24)
    wanted = model.itm_logits(image, tokens)
    found = model.bfloat16().itm_logits(image.bfloat16(), tokens)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), wanted, atol=0.05, rtol=0.1)


@pytest.mark.parametrize(
    ("config", "trained", "frozen"),
    [(BLIP2_BASE, 186_705_470, 985_949_440), (BLIP2_SMALL, 4_938_821, 2_718_912)],
)
def test_parameter_counts(config: BLIP2Config, trained: int, frozen: int) -> None:
    with torch.device("meta"):
        model = BLIP2(config)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == trained
    assert sum(p.numel() for p in model.parameters() if not p.requires_grad) == frozen


def _batch(step: int) -> dict[str, Tensor]:
    chance = torch.Generator().manual_seed(step)
    return {"pixels": torch.randn(2, 3, 16, 24, generator=chance), "tokens": texts(2, 9, step)}


def _rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(os.path.join(folder, "store"), 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    torch.manual_seed(0)
    model = BLIP2(SMALL).train()
    wrapped = DistributedDataParallel(model)
    batch = {key: value.chunk(2)[rank] for key, value in _batch(0).items()}
    losses = backward(wrapped, batch, 1, torch.manual_seed, contextlib.nullcontext)
    means = rank_mean(losses)
    if rank == 0:
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        torch.save({**gradients, "loss": torch.tensor(means["loss"])}, f"{folder}/out.pt")
    dist.destroy_process_group()


def test_two_ranks_have_the_gradient_of_the_global_batch(tmp_path: Path) -> None:
    """One example a rank, so that each has the other's as its only negative."""
    mp.start_processes(_rank, (str(tmp_path),), nprocs=2, start_method="fork")
    found = torch.load(tmp_path / "out.pt", weights_only=True)
    torch.manual_seed(0)
    model = BLIP2(SMALL).train()
    loss = backward(model, _batch(0), 1, torch.manual_seed, contextlib.nullcontext)["loss"]
    torch.testing.assert_close(found.pop("loss"), loss, atol=1e-5, rtol=1e-5)
    wanted = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    assert set(found) == set(wanted)
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-3, msg=name)
