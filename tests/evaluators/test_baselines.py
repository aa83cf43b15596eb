"""The pixel baseline as a contender, end to end."""

from pathlib import Path

from evaluators.baselines import pixel_contender
from evaluators.embed import EmbedConfig
from evaluators.nearest import NearestConfig
from evaluators.predictions import predict, read
from evaluators.suites.kinds import Classification, Source
from evaluators.suites.labelled import Picture

from .conftest import picture


def test_pixels_name_what_they_know_and_nothing_else(make_labelled, tmp_path: Path):
    known = make_labelled("known", [picture("red", "a"), picture("blue", "a")])
    asked = [picture("red", "b", 9), picture("green", "b"), Picture("x", b"none", "red", "b")]
    suite = Classification("concepts", {"b": Source(make_labelled("asked", asked))}, ("{}",))
    contender = pixel_contender("pixels", known, NearestConfig(side=4))
    found = read(predict(contender, [suite], str(tmp_path / "out"), EmbedConfig(batch_size=4)))
    rank = {row["item"]: (row["truth"], row["rank"]) for row in found.to_pylist()}
    assert sorted(rank.values(), key=str) == [("green", 1), ("red", 0), ("red", None)]
    assert contender.standard
    assert contender.settings == {"neighbours": 1, "temperature": 0.07, "side": 4}
