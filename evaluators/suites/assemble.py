"""Sets that were found, put into the suites that the scoreboard asks for.

    zero-shot    every classification set, over its own classes and prompts
    shift        every natural shift beside its set in distribution, over the classes they share
    probe        linear probe and k-shot on every set with a train and a test split
    retrieval    every set with captions

A damaged set is left out unless it is asked for, and then its name says so in every table.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from evaluators.suites.found import FoundSet
from evaluators.suites.kinds import Classification, Probe, Retrieval, Source, Suite
from evaluators.suites.prompts import NAME_ALONE

PROTOCOLS = ("zero-shot", "shift", "probe", "retrieval")
DAMAGED = "-damaged"
"""Behind the name of a set that is scored although it is damaged."""


def suites_of(
    found: Sequence[FoundSet], protocols: Collection[str], shots: tuple[int, ...], seeds: int
) -> list[Suite]:
    """The suites of the protocols, each with the sets that it can be asked of; empty ones not.

    Raises:
        ValueError: an unknown protocol.
    """
    unknown = sorted(set(protocols) - set(PROTOCOLS))
    if unknown:
        raise ValueError(f"suites {unknown}; legal: {', '.join(PROTOCOLS)}")
    named = {shown(one): one for one in found}
    classified = {k: v for k, v in named.items() if v.spec.kind == "classification"}
    suites: list[Suite] = []
    if "zero-shot" in protocols and classified:
        sets = {name: source_of(one) for name, one in classified.items()}
        suites.append(Classification("zero-shot", sets, NAME_ALONE))
    if "shift" in protocols:
        suites += [_shift(n, one, named) for n, one in named.items() if one.spec.kind == "shift"]
    if "probe" in protocols:
        sets = {n: source_of(one, "") for n, one in classified.items() if _has_train(one)}
        suites += [Probe("probe", sets, shots, seeds)] if sets else []
    if "retrieval" in protocols:
        pairs = {n: source_of(one) for n, one in named.items() if one.spec.kind == "retrieval"}
        suites += [Retrieval("retrieval", pairs)] if pairs else []
    return suites


def shown(one: FoundSet) -> str:
    """The set's name in tables."""
    return one.spec.name + (DAMAGED if one.audit.status == "damaged" else "")


def _has_train(one: FoundSet) -> bool:
    return {"train", "test"} <= set(one.audit.sizes)


def source_of(one: FoundSet, split: str = "test") -> Source:
    """A found set as suites take it; an empty split takes all."""
    spec = one.spec
    return Source(one.dataset, split, one.classes, one.said, one.templates, spec.metric)


def _shift(name: str, one: FoundSet, named: Mapping[str, FoundSet]) -> Classification:
    """A shift and, over its own classes, its set in distribution; alone where that is missing."""
    beside = next((n for n, it in named.items() if it.spec.name == one.spec.shift_of), None)
    sets = {name: source_of(one)}
    if beside is None or not set(one.classes) <= set(named[beside].classes):
        return Classification(f"shift {name}", sets, NAME_ALONE)
    inside = named[beside]
    same = Source(inside.dataset, "test", one.classes, one.said, one.templates, one.spec.metric)
    return Classification(f"shift {name}", {beside: same, **sets}, NAME_ALONE, beside, (name,))
