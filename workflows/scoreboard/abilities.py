"""Which suites a checkpoint can be asked, by its kind, and what is said of those that it cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evaluators.suites.assemble import PROTOCOLS

COMPOSED, CAPTIONING, VQA, FEW_SHOT, GENERATION = OPEN = (
    "composed",
    "captioning",
    "vqa",
    "few-shot",
    "generation",
)
EVERY = (*PROTOCOLS, *OPEN)
SERVER = "server"


@dataclass(frozen=True)
class Ability:
    """What one kind of model can do."""

    called: str
    """With its article."""
    asked: tuple[str, ...]
    """Suites that it is asked if none is named."""
    more: tuple[str, ...] = ()
    """Suites that it can be asked besides."""


ABILITIES = {
    "CLIPConfig": Ability("a CLIP", PROTOCOLS, (COMPOSED, GENERATION)),
    "Pic2WordConfig": Ability("a Pic2Word", (COMPOSED,)),
    "BLIPConfig": Ability("a BLIP", (CAPTIONING,)),
    "BLIP2Config": Ability("a BLIP-2 of the first stage", (CAPTIONING,)),
    "BLIP2LanguageConfig": Ability("a BLIP-2 with a language model", (CAPTIONING, VQA)),
    "FlamingoConfig": Ability("a Flamingo", (FEW_SHOT,), (CAPTIONING, VQA)),
    "DALLE2Config": Ability("a DALL-E 2", (GENERATION,)),
    SERVER: Ability("a chat server", (CAPTIONING, VQA), (FEW_SHOT,)),
}
"""By the class of its config."""


def kind_of(checkpoint: str) -> str:
    """The kind of a checkpoint's folder, or of a server's address."""
    if checkpoint.startswith(("http://", "https://")):
        return SERVER
    from models.weights import read_config

    return type(read_config(checkpoint)).__name__


def model_name(checkpoint: str) -> str:
    """What a checkpoint is called in tables."""
    return ABILITIES[kind_of(checkpoint)].called.partition(" ")[2]


def suites_for(kind: str, named: str) -> tuple[list[str], list[str]]:
    """The suites to ask of those that are `named`, a comma between them, and a line for each that
    this kind cannot do.

    Raises:
        ValueError: an unknown suite, a kind that no suite scores, or none of those named.
    """
    wanted = [name for name in named.split(",") if name]
    unknown = sorted(set(wanted) - set(EVERY))
    if unknown:
        raise ValueError(f"suites {unknown}; legal: {', '.join(EVERY)}")
    ability = ABILITIES.get(kind)
    if ability is None:
        raise ValueError(f"no suite scores a {kind}; legal: {', '.join(ABILITIES)}")
    legal = (*ability.asked, *ability.more)
    asked = [name for name in wanted or ability.asked if name in legal]
    refused = _refusals(ability, [name for name in wanted if name not in legal])
    if not asked:
        raise ValueError("; ".join(refused))
    return asked, refused


def _refusals(ability: Ability, names: Sequence[str]) -> list[str]:
    can = ", ".join((*ability.asked, *ability.more))
    return [f"without {name}: {ability.called} cannot do it; it can: {can}" for name in names]
