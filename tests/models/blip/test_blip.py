"""BLIP against transformers' captioner and matcher, over random small configs; sizes; captions."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from transformers import BlipConfig, BlipForConditionalGeneration, BlipForImageTextRetrieval

from models.blip.blip import BLIP, BLIP_BASE, BLIP_LARGE, BLIP_SMALL, BLIPConfig
from models.blip.med import MEDConfig, with_words
from models.generation import GenerationConfig
from models.public.blip import read, to_hugging_face_blip
from models.vision.vit import ViTConfig
from models.weights import fit
from tests.models.drawing import randomise

START, END, DECODE, ENCODE = 3, 4, 5, 6
Theirs = BlipForConditionalGeneration | BlipForImageTextRetrieval
SMALL = BLIPConfig(
    ViTConfig((24, 32), patch_size=8, width=24, depth=2, heads=3),
    MEDConfig(
        40, 12, 32, 2, 4, start=START, end=END, encode=ENCODE, decode=DECODE, dropout=0.0,
        attention_dropout=0.0,
    ),
    embedding=8,
    queue=10,
)  # fmt: skip


def draw(kind: type[Theirs], seed: int) -> tuple[Theirs, BLIP]:
    """transformers' model of a config drawn by `seed`, and ours with its weights."""
    chance = random.Random(seed)
    torch.manual_seed(seed)
    heads, vision_heads = chance.choice([1, 2, 4]), chance.choice([1, 2, 3])
    width, patch = 8 * heads * chance.choice([1, 2]), chance.choice([4, 8])
    config = BlipConfig(
        text_config={
            "vocab_size": chance.randrange(30, 50),
            "hidden_size": width,
            "intermediate_size": chance.choice([24, 40]),
            "num_hidden_layers": chance.choice([1, 2, 3]),
            "num_attention_heads": heads,
            "max_position_embeddings": 12,
            "bos_token_id": DECODE,
            "sep_token_id": END,
            "label_smoothing": chance.choice([0.0, 0.1]),
        },
        vision_config={
            "hidden_size": 8 * vision_heads,
            "intermediate_size": chance.choice([24, 40]),
            "num_hidden_layers": chance.choice([1, 2]),
            "num_attention_heads": vision_heads,
            "image_size": patch * chance.choice([1, 2, 3]),
            "patch_size": patch,
        },
        image_text_hidden_size=chance.choice([8, 12]),
    )
    theirs = kind(config).eval()
    randomise(theirs)
    if kind is BlipForConditionalGeneration:
        theirs.tie_weights()
        head = theirs.text_decoder.cls.predictions
        head.decoder.bias = head.bias
    values = config.to_dict() | {"architectures": [kind.__name__]}
    ours_config, tensors = read(values, theirs.state_dict())
    ours = BLIP(ours_config).eval()
    fit(ours, tensors, "transformers")
    return theirs, ours


def texts(model: BLIP, rows: int, length: int) -> tuple[Tensor, Tensor]:
    """Texts of lengths 2 to `length`, and transformers' mask of them."""
    tokens = torch.randint(7, model.config.text.vocab_size, (rows, length))
    lengths = torch.randint(2, length + 1, (rows,))
    lengths[0] = length
    place = torch.arange(length)
    tokens[place == lengths[:, None] - 1] = END
    valid = place < lengths[:, None]
    tokens = tokens.where(valid, 0)
    tokens[:, 0] = START
    return tokens, valid.long()


def pixels(model: BLIP, rows: int) -> Tensor:
    return torch.randn(rows, 3, *model.config.vision.image_size)


@pytest.mark.parametrize("seed", range(5))
def test_words_and_their_loss_are_transformers(seed: int) -> None:
    theirs, ours = draw(BlipForConditionalGeneration, seed)
    image, (tokens, mask) = pixels(ours, 3), texts(ours, 3, 12 if seed else 2)
    read_in = tokens.clone()
    read_in[:, 0] = DECODE
    labels = read_in.masked_fill(mask == 0, -100)
    wanted = theirs(image, read_in, mask, labels=labels)
    cache = ours.text_tower.look(ours.image_states(image))
    found = ours.word_logits(read_in, cache)
    real = mask.bool()
    torch.testing.assert_close(found[real], wanted.logits[real], atol=1e-4, rtol=1e-5)
    loss = ours.losses({"pixels": image, "tokens": tokens})["loss"]
    torch.testing.assert_close(loss, wanted.loss, atol=1e-5, rtol=1e-5)


def test_a_prompt_is_read_and_not_scored() -> None:
    theirs, ours = draw(BlipForConditionalGeneration, 1)
    ours.config = replace(ours.config, prompt=(8, 9, 10))
    image, (tokens, mask) = pixels(ours, 3), texts(ours, 3, 8)
    prompt = torch.tensor([[DECODE, 8, 9, 10]]).expand(3, -1)
    read_in, mask = torch.cat([prompt, tokens[:, 1:]], 1), torch.cat([mask[:, [0] * 3], mask], 1)
    labels = read_in.masked_fill(mask == 0, -100)
    labels[:, :4] = -100
    wanted = theirs(image, read_in, mask, labels=labels).loss
    loss = ours.losses({"pixels": image, "tokens": tokens})["loss"]
    torch.testing.assert_close(loss, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "settings",
    [
        GenerationConfig(most=8),
        GenerationConfig("beam", most=7, least=3, beams=3),
        GenerationConfig("beam", most=6, beams=2, length_penalty=0.5, repetition_penalty=1.3),
    ],
)
def test_captions_are_transformers_token_for_token(seed: int, settings: GenerationConfig) -> None:
    theirs, ours = draw(BlipForConditionalGeneration, seed)
    image, prompt = pixels(ours, 2), [8, 9][: seed % 3]
    beams = settings.beams if settings.method == "beam" else 1
    made = theirs.generate(
        image,
        torch.tensor([[START, *prompt, END]]).repeat(2, 1),
        max_new_tokens=settings.most,
        min_new_tokens=settings.least,
        num_beams=beams,
        length_penalty=settings.length_penalty,
        repetition_penalty=settings.repetition_penalty,
        do_sample=False,
    )
    rows = made[:, 1 + len(prompt) :].tolist()
    wanted = [row[: row.index(END)] if END in row else row for row in rows]
    assert ours.caption(image, settings, prompt) == wanted
    assert ours.caption(ours.image_states(image), settings, prompt) == wanted


def test_images_are_encoded_once_for_many_captions() -> None:
    _, ours = draw(BlipForConditionalGeneration, 2)
    image, settings = pixels(ours, 3), GenerationConfig("nucleus", most=6, seed=5)
    keys = [f"{row}/{number}" for row in range(3) for number in range(4)]
    runs = []
    ours.image_tower.register_forward_hook(lambda *_: runs.append("forward"))
    for block in ours.text_tower.blocks:
        block.cross.kv.register_forward_hook(lambda *_: runs.append("look"))  # type: ignore[union-attr]
    many = ours.caption(image, settings, each=4, keys=keys)
    assert runs.count("look") == len(ours.text_tower.blocks)
    assert len(many) == 12
    assert len({tuple(caption) for caption in many[:4]}) > 1
    for row in range(3):
        alone = ours.caption(image[row : row + 1], settings, each=4, keys=keys[4 * row :][:4])
        assert alone == many[4 * row :][:4]


@pytest.mark.parametrize("seed", range(5))
def test_matching_and_contrast_are_transformers(seed: int) -> None:
    theirs, ours = draw(BlipForImageTextRetrieval, seed)
    rows = seed or 1
    image, (tokens, mask) = pixels(ours, rows), texts(ours, rows, 12 if seed else 2)
    with_encode = tokens.clone()
    with_encode[:, 0] = ours.config.text.encode
    wanted = theirs(with_encode, image, use_itm_head=True, attention_mask=mask).itm_score
    torch.testing.assert_close(ours.itm_logits(image, tokens), wanted, atol=1e-4, rtol=1e-5)
    states = ours.image_states(image)
    torch.testing.assert_close(ours.itm_logits(states, tokens), wanted, atol=1e-4, rtol=1e-5)
    wanted = theirs(tokens, image, use_itm_head=False, attention_mask=mask).itm_score
    text = nn.functional.normalize(ours.encode_text(tokens), dim=1)
    for source in (image, states):
        found = nn.functional.normalize(ours.encode_image(source), dim=1) @ text.T
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_many_texts_may_be_matched_with_few_images() -> None:
    _, ours = draw(BlipForImageTextRetrieval, 3)
    image, (tokens, _) = pixels(ours, 2), texts(ours, 5, 9)
    of = torch.tensor([1, 0, 0, 1, 1])
    wanted = ours.itm_logits(image[of], tokens)
    torch.testing.assert_close(ours.itm_logits(image, tokens, of), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [BlipForConditionalGeneration, BlipForImageTextRetrieval])
def test_names_go_there_and_back(kind: type[Theirs]) -> None:
    theirs, ours = draw(kind, 4)
    back = to_hugging_face_blip(ours.state_dict())
    wanted = theirs.state_dict()
    left_out = {"text_decoder.cls.predictions.decoder." + n for n in ("weight", "bias")}
    assert set(wanted) - set(back) == (left_out & set(wanted))
    for name, tensor in back.items():
        assert torch.equal(tensor, wanted[name]), name


@pytest.mark.parametrize("kind", [BlipForConditionalGeneration, BlipForImageTextRetrieval])
def test_any_wrong_weight_is_seen(
    kind: type[Theirs], every_weight_shows: Callable[..., None]
) -> None:
    _, ours = draw(kind, 3)
    image, (tokens, _) = pixels(ours, 2), texts(ours, 2, 12)

    def compared() -> Tensor:
        if ours.captions:
            return ours.word_logits(tokens, ours.text_tower.look(ours.image_states(image)))
        parts = (ours.itm_logits(image, tokens), ours.encode_image(image), ours.encode_text(tokens))
        return torch.cat(parts, dim=1)

    every_weight_shows(ours, compared, unread=("temperature",))


def test_padding_on_the_left_is_masked() -> None:
    theirs, ours = draw(BlipForImageTextRetrieval, 2)
    tokens = torch.randint(7, 30, (2, 7))
    mask = torch.tensor([[0, 0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1]])
    wanted = theirs.text_encoder(tokens, attention_mask=mask).last_hidden_state
    found = ours.text_tower(tokens, valid_BS=mask)
    real = mask.bool()
    torch.testing.assert_close(found[real], wanted[real], atol=1e-4, rtol=1e-5)
    assert bool(found.isfinite().all())


def test_the_decoder_shares_all_but_self_attention() -> None:
    torch.manual_seed(0)
    model = BLIP(SMALL).eval()
    randomise(model)
    names = {name for name, _ in model.text_tower.blocks[0].named_parameters()}
    own = {name for name in names if name.startswith("decoder_")}
    assert {name.split(".")[0] for name in own} == {"decoder_attention", "decoder_norm"}
    storages = [tensor.data_ptr() for tensor in model.state_dict().values()]
    assert len(storages) == len(set(storages))
    tokens, cache = torch.tensor([[DECODE, 9, 10]]), model.text_tower.look(torch.randn(1, 5, 24))
    causal = model.text_tower(tokens, cache.sources(), causal=True)
    both_ways = model.text_tower(tokens, cache.sources())
    with torch.no_grad():
        for name, parameter in model.text_tower.named_parameters():
            if ".decoder_" in name:
                parameter.add_(1.0)
    assert torch.equal(model.text_tower(tokens, cache.sources()), both_ways)
    assert not torch.allclose(model.text_tower(tokens, cache.sources(), causal=True), causal)


@pytest.mark.parametrize("part", ["whole", "captioner", "matcher"])
def test_bfloat16_runs_and_is_near(part: str) -> None:
    torch.manual_seed(1)
    model = BLIP(replace(SMALL, part=part)).eval()
    image, (tokens, _) = torch.randn(3, 3, 24, 32), texts(model, 3, 8)
    seen = (
        (lambda m, x: m.word_logits(tokens, m.text_tower.look(m.image_states(x))))
        if part != "matcher"
        else (lambda m, x: m.itm_logits(x, tokens))
    )
    wanted = seen(model, image)
    found = seen(model.bfloat16(), image.bfloat16())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), wanted, atol=0.1, rtol=0.1)


@pytest.mark.parametrize(
    ("config", "count", "queues"),
    [
        (BLIP_BASE, 252_441_919, 29_491_202),
        (BLIP_LARGE, 474_729_023, 29_491_202),
        (BLIP_SMALL, 7_362_821, 524_290),
    ],
)
def test_parameter_counts(config: BLIPConfig, count: int, queues: int) -> None:
    with torch.device("meta"):
        model = BLIP(config)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == count
    assert sum(b.numel() for b in model.buffers()) == queues


def test_halves_have_the_public_sizes() -> None:
    """Those of transformers' classes at their default config, and the temperature."""
    for part, count in (("captioner", 223_971_644), ("matcher", 223_744_259)):
        text = replace(BLIP_BASE.text, separate=False)
        vision = replace(BLIP_BASE.vision, image_size=(384, 384))
        with torch.device("meta"):
            model = BLIP(BLIPConfig(vision, text, part=part, queue=0))  # type: ignore[arg-type]
        assert sum(p.numel() for p in model.parameters()) == count


def test_words_for_our_tokenizer_follow_its_own() -> None:
    config = with_words(MEDConfig(), 600)
    assert (config.vocab_size, config.start, config.end) == (602, 598, 599)
    assert {config.encode, config.decode} == {600, 601}
    assert BLIP_SMALL.text.vocab_size == 8194


def test_an_image_encoder_without_a_class_token_is_refused() -> None:
    with pytest.raises(ValueError, match="pooling='mean' must be cls"):
        BLIP(replace(SMALL, vision=replace(SMALL.vision, pooling="mean")))


def test_dropout_is_drawn_in_training_alone() -> None:
    torch.manual_seed(2)
    text = replace(SMALL.text, dropout=0.1, attention_dropout=0.1)
    model, tokens = BLIP(replace(SMALL, text=text)), torch.tensor([[START, 9, 10, END]])
    assert torch.equal(model.eval().encode_text(tokens), model.encode_text(tokens))
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(model.train().encode_text(tokens))
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert {b.attention.dropout for b in model.text_tower.blocks} == {0.1}  # type: ignore[union-attr]


def test_a_model_built_without_memory_is_filled_by_its_state_dict() -> None:
    torch.manual_seed(3)
    model = BLIP(SMALL).eval()
    with torch.device("meta"):
        empty = BLIP(SMALL)
    filled = empty.to_empty(device="cpu").eval()
    fit(filled, model.state_dict(), "memory")
    image, (tokens, _) = torch.randn(2, 3, 24, 32), texts(model, 2, 6)
    batch = {"pixels": image, "tokens": tokens}
    torch.manual_seed(0)
    wanted = model.losses(batch)["loss"]
    torch.manual_seed(0)
    assert torch.equal(filled.losses(batch)["loss"], wanted)
