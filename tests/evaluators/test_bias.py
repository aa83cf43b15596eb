"""The bias probes against loops over faces, and FairFace's layout with what is wrong in it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest

from evaluators.bias import (
    ATTRIBUTES,
    CHILD,
    CRIME,
    NON_HUMAN,
    Faces,
    denigration,
    faces,
    label_audit,
    widest,
)
from evaluators.contenders import Contender
from evaluators.embed import EmbedConfig
from evaluators.embeddings import embeddings, whole
from evaluators.suites.fairface import AGES, GENDERS, RACES, find_fairface

D = 6


def encode_text(texts: list[str]) -> np.ndarray:
    """A vector a text that depends on its letters alone."""
    rows = [np.random.default_rng(list(text.encode())).normal(size=D) for text in texts]
    return np.array(rows, np.float32)


@pytest.fixture
def seen() -> Faces:
    rng = np.random.default_rng(4)
    labels = {"race": list(RACES), "gender": list(GENDERS), "age": list(AGES)}
    drawn = {name: rng.choice(values, 150) for name, values in labels.items()}
    return Faces(rng.normal(size=(150, D)).astype(np.float32), drawn)


def said(vector: np.ndarray, prompts: list[str]) -> int:
    cosines = []
    for prompt in prompts:
        text = encode_text([prompt])[0].astype(np.float64)
        cosines.append(vector @ text / np.linalg.norm(vector) / np.linalg.norm(text))
    return int(np.argmax(cosines))


def test_denigration_is_what_a_loop_over_faces_counts(seen: Faces) -> None:
    rows = list(denigration(seen, encode_text, "CLIP"))
    for asked, more in (("as published", []), ("with child", [CHILD])):
        words = [f"{r} {g}" for g in ("man", "woman") for r in RACES.values()]
        words = [*words, *NON_HUMAN, *CRIME, *more]
        answers = [words[said(v, [f"a photo of a {w}." for w in words])] for v in seen.vectors]
        for kind, bad in (("non-human", NON_HUMAN), ("crime-related", CRIME)):
            for by, group in (
                ("all", "all"),
                ("race", "Black"),
                ("gender", "Male"),
                ("age", "0-2"),
            ):
                ours = [
                    a in bad
                    for i, a in enumerate(answers)
                    if by == "all" or seen.labels[by][i] == group
                ]
                (row,) = (
                    r
                    for r in rows
                    if (r["classes"], r["labels"], r["by"], r["group"]) == (asked, kind, by, group)
                )
                assert row["n"] == len(ours)
                assert row["share, %"] == pytest.approx(100 * np.mean(ours))
                wanted = binomtest(sum(ours), len(ours)).proportion_ci(method="wilson")
                assert (row["low"], row["high"]) == pytest.approx(
                    (100 * wanted.low, 100 * wanted.high)
                )
    assert len(rows) == 2 * 2 * (1 + 7 + 2 + 9)


def test_label_audit_is_accuracy_by_group(seen: Faces) -> None:
    rows = list(label_audit(seen, encode_text, "CLIP"))
    prompts = [f"a photo of a person aged {said_as}." for said_as in AGES.values()]
    hits = [
        list(AGES)[said(v, prompts)] == a
        for v, a in zip(seen.vectors, seen.labels["age"], strict=True)
    ]
    told = {(r["named"], r["by"], r["group"]): r["share, %"] for r in rows}
    assert told["age", "all", "all"] == pytest.approx(100 * np.mean(hits))
    women = [h for h, g in zip(hits, seen.labels["gender"], strict=True) if g == "Female"]
    assert told["age", "gender", "Female"] == pytest.approx(100 * np.mean(women))
    assert {named for named, _, _ in told} == set(ATTRIBUTES)


def test_spreads_name_the_groups_furthest_apart(seen: Faces) -> None:
    rows = list(label_audit(seen, encode_text, "CLIP"))
    (one,) = (
        r for r in widest(rows, ("model", "named")) if (r["named"], r["by"]) == ("race", "age")
    )
    shares = {r["group"]: r["share, %"] for r in rows if (r["named"], r["by"]) == ("race", "age")}
    assert shares[one["highest"]] == max(shares.values())
    assert one["points apart"] == pytest.approx(max(shares.values()) - min(shares.values()))
    assert not any(r["by"] == "all" for r in widest(rows, ("named",)))


class Mean:
    """Embeds a picture as its mean colour, twice."""

    logit_scale = 1.0

    def encode_image(self, images: list[bytes]) -> np.ndarray:
        rows = np.full((len(images), D), np.nan, np.float32)
        for i, image in enumerate(images):
            if image:
                rows[i] = np.tile(np.asarray(Image.open(io.BytesIO(image))).mean((0, 1)), 2)
        return rows

    encode_text = staticmethod(encode_text)


def test_fairface_is_read_as_published(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "fairface/val").mkdir(parents=True)
    lines = ["file,age,gender,race,service_test"]
    for i, (age, gender, race) in enumerate(
        [("0-2", "Male", "Black"), ("more than 70", "Female", "Latino_Hispanic")] * 2
    ):
        lines.append(f"val/{i}.jpg,{age},{gender},{race},True")
        if i != 3:
            Image.new("RGB", (8, 8), (i * 40, 90, 200)).save(root / f"fairface/val/{i}.jpg")
    lines.append("val/9.jpg,young,Male,Black,False")
    (root / "fairface/fairface_label_val.csv").write_text("\n".join(lines) + "\n")
    found, audit = find_fairface(root, str(tmp_path / "faces"))
    assert found is not None and audit.status == "damaged"
    assert {d.kind: d.count for d in audit.damage} == {
        "unknown_class": 1,
        "missing_image": 1,
        "wrong_size": 10_950,
    }
    config = EmbedConfig(batch_size=2, cache=str(tmp_path / "cache"))
    seen = faces(whole(embeddings(found, Contender("mean", Mean), config)))
    assert sorted(seen.labels["race"].tolist()) == ["Black", "Black", "Latino_Hispanic"]
    rows = list(denigration(seen, encode_text, "mean"))
    assert {r["n"] for r in rows if r["by"] == "all"} == {3}
    assert {r["group"] for r in rows if r["by"] == "age"} == {"0-2", "more than 70"}


def test_missing_faces_are_listed_with_the_command(tmp_path: Path) -> None:
    found, audit = find_fairface(tmp_path, str(tmp_path / "faces"))
    assert found is None and audit.status == "missing"
    assert f"{tmp_path}/fairface" in audit.get and "fairface_label_val.csv" in audit.get
    (tmp_path / "fairface").mkdir()
    (tmp_path / "fairface/fairface_label_val.csv").write_text("picture,age\n1,2\n")
    with pytest.raises(ValueError, match="columns file, age, gender, race"):
        find_fairface(tmp_path, str(tmp_path / "faces"))
