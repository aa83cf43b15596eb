"""The suites composed, captioning, vqa, few-shot and generation of one checkpoint.

Sets are found below the data roots as `evaluators.suites.open_sets` lists them; naming in few-shot
takes the classification sets that were found, generation the retrieval sets.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from evaluators.checkpoints import directory_contender
from evaluators.contenders import Contender
from evaluators.embed import EmbedConfig
from evaluators.open_ended.asking import FewShot, few_shot, plainly
from evaluators.open_ended.questions import Amounts, QuestionSet, find_questions, naming
from evaluators.score import Extra
from evaluators.suites.found import Audit
from evaluators.suites.kinds import Source
from evaluators.suites.open_sets import OpenSet, open_catalogue
from workflows.scoreboard.abilities import CAPTIONING, COMPOSED, FEW_SHOT, GENERATION, VQA
from workflows.scoreboard.writers import Writing, writer

if TYPE_CHECKING:
    from models.pixels import Fit

Found = TypeVar("Found")
MOST_NAMES = 200
"""Most classes of a set that few-shot names: a prompt of a few dozen pictures shows not even
those."""


@dataclass(frozen=True)
class OpenConfig:
    """How models that write, draw or compose are scored."""

    beside: str = ""
    """Folder of the frozen network that works with the checkpoint and is not in it: a Flamingo's
    vision encoder, the language model of a BLIP-2 of ours."""
    eye: str = ""
    """Folder of a CLIP that sees which pictures are alike (few-shot) and what was drawn
    (generation)."""
    generated: str = ""
    """Folder of pictures with their prompts that were drawn elsewhere."""
    amounts: Amounts = field(default_factory=Amounts)
    """Questions that are asked and drawn from."""
    drawn: int = 1000
    """Pictures that are drawn a set; 0: one for each real picture."""
    few: FewShot = field(default_factory=FewShot)
    """Prompts of few-shot."""
    writing: Writing = field(default_factory=Writing)
    """How models write."""


@dataclass(frozen=True)
class OpenRun:
    """What the suites are asked of and with."""

    name: str
    kind: str
    checkpoint: str
    fit: Fit
    roots: Sequence[Path]
    out: str
    config: EmbedConfig
    how: OpenConfig
    only: Sequence[str] = ()
    damaged: bool = False
    """Whether damaged sets are scored."""
    classified: Mapping[str, Source] = field(default_factory=dict)
    """Classification sets that were found, for naming."""
    captioned: Mapping[str, Source] = field(default_factory=dict)
    """Retrieval sets that were found, for generation."""


def run(asked: Sequence[str], it: OpenRun) -> tuple[list[Extra], list[Audit]]:
    """The suites of `asked` that are open, and what was found of their sets."""
    extras: list[Extra] = []
    audits: list[Audit] = []
    if COMPOSED in asked:
        extras += _composed(it, audits)
    wrote = [suite for suite in (CAPTIONING, VQA, FEW_SHOT) if suite in asked]
    if wrote:
        extras += _written(wrote, it, audits)
    if GENERATION in asked and it.captioned:
        extras += [_generated(it)]
    return [extra for extra in extras if extra.answers], audits


def _sets(
    it: OpenRun, protocol: str, find: Callable[[OpenSet, Path], tuple[Found | None, Audit]],
    audits: list[Audit],
) -> list[Found]:  # fmt: skip
    """Every set of a protocol that a root holds, the first root's where several do."""
    found: list[Found] = []
    for spec in open_catalogue().values():
        if spec.protocol != protocol or (it.only and spec.name not in it.only):
            continue
        tried = [_tried(find, spec, root) for root in it.roots]
        best = next((one for one in tried if one[0] is not None), tried[0] if tried else None)
        if best is None:
            continue
        audits.append(best[1])
        if best[0] is not None and (best[1].status == "ok" or it.damaged):
            found.append(best[0])
    return found


def _tried(
    find: Callable[[OpenSet, Path], tuple[Found | None, Audit]], spec: OpenSet, root: Path
) -> tuple[Found | None, Audit]:
    from evaluators.suites.found import Damage

    try:
        return find(spec, root)
    except (ValueError, OSError, KeyError, TypeError) as error:
        problem = Damage("unreadable", 1, [f"{type(error).__name__}: {error}"])
        return None, Audit(spec.name, "damaged", {}, [problem])


def _composed(it: OpenRun, audits: list[Audit]) -> list[Extra]:
    from evaluators.composed.asking import composed
    from evaluators.composed.encoders import pic2word_contender
    from evaluators.composed.sets import find_composed

    where = posixpath.join(it.out, "sets")
    sets = _sets(it, COMPOSED, lambda spec, root: find_composed(spec, root, where), audits)
    make = pic2word_contender if it.kind == "Pic2WordConfig" else directory_contender
    return [composed([make(it.name, it.checkpoint, it.fit)], sets, it.out, it.config)]


def _written(wrote: Sequence[str], it: OpenRun, audits: list[Audit]) -> list[Extra]:
    how, where = it.how, posixpath.join(it.out, "sets")
    model = writer(it.name, it.kind, it.checkpoint, how.beside, it.fit, how.writing)

    def find(spec: OpenSet, root: Path) -> tuple[QuestionSet | None, Audit]:
        return find_questions(spec, root, where, how.amounts)

    few = FEW_SHOT in wrote
    sets = {
        suite: _sets(it, suite, find, audits)
        for suite in (CAPTIONING, VQA)
        if suite in wrote or few
    }
    extras = [plainly(s, [model], sets[s], it.out, it.config) for s in wrote if s != FEW_SHOT]
    if few:
        named = [
            naming(name, source, where, how.amounts)
            for name, source in it.classified.items()
            if len(source.classes) <= MOST_NAMES
        ]
        every = [*sets[CAPTIONING], *sets[VQA], *named]
        eye = _eye(it) if how.eye else None
        extras.append(few_shot([model], every, it.out, it.config, how.few, eye))
    return extras


def _eye(it: OpenRun) -> Contender:
    path = it.how.eye or (it.checkpoint if it.kind == "CLIPConfig" else "")
    if not path:
        raise ValueError("generation needs a CLIP that sees what was drawn: --open.eye FOLDER")
    return directory_contender(posixpath.basename(posixpath.normpath(path)), path)


def _generated(it: OpenRun) -> Extra:
    from evaluators.generation.asking import generation
    from evaluators.generation.drawing import Painter, from_folder

    folders: dict[str, Any] = {}
    if it.how.generated:
        name = posixpath.basename(posixpath.normpath(it.how.generated))
        where = posixpath.join(it.out, "generation", "given")
        folders[name] = from_folder(Path(it.how.generated), where)
    painters = [Painter(it.name, *_drawer(it))] if it.kind == "DALLE2Config" else []
    if not painters and not folders:
        raise ValueError("a CLIP draws nothing; name what was drawn by --open.generated FOLDER")
    config = replace(it.config, cache=it.config.cache or posixpath.join(it.out, "embeddings"))
    return generation(painters, folders, it.captioned, _eye(it), it.out, config, it.how.drawn)


def _drawer(it: OpenRun) -> tuple[Callable[[], Any], tuple[()], str]:
    from functools import partial

    from models.weights import content_hash

    def load(path: str) -> Any:
        from evaluators.generation.dalle2 import DALLE2Drawer

        return DALLE2Drawer(path)

    return partial(load, it.checkpoint), (), content_hash(it.checkpoint)
