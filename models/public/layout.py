"""How a published state dict is laid out, as data that reads both ways.

Layouts of one architecture differ in names, in whether queries, keys and values lie in one matrix,
in which way round a matrix lies, and in constants that are stored beside the weights; that is all.
A `Layout` lists these, and turns their tensors into ours and ours into theirs. Names are matched as
plain text: the first prefix that fits is exchanged, then every part of the name that is listed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor

Names = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Layout:
    """Ours beside theirs. An empty `theirs` prefix with an `ours` one puts all else under it."""

    prefixes: Names  # (ours, theirs): starts of names; the first that fits is exchanged
    parts: Names = ()  # (ours, theirs): exchanged wherever they stand, in this order
    joined: tuple[tuple[str, tuple[str, ...]], ...] = ()  # ours, and theirs that it is joined of
    transposed: tuple[str, ...] = ()  # endings of our names whose matrices lie the other way
    unsqueezed: tuple[tuple[str, int], ...] = ()  # ending of our name, leading axes theirs has more
    ignored: str = r"(^|\.)(position_ids)$"  # theirs that are no weights, a regular expression

    def from_public(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Our state dict of theirs; a name that no rule knows stays as it is, to be reported."""
        known = re.compile(self.ignored)
        out = {
            self._renamed(name, 1): tensor
            for name, tensor in tensors.items()
            if not known.search(name)
        }
        for ours, theirs in self.joined:
            for name in [name for name in out if theirs[0] in name]:
                names = [name.replace(theirs[0], part) for part in theirs]
                if all(part in out for part in names):
                    out[name.replace(theirs[0], ours)] = torch.cat([out.pop(n) for n in names])
        return {name: self._shaped(name, tensor, inward=True) for name, tensor in out.items()}

    def to_public(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Their state dict of ours, without what they store beside the weights."""
        out: dict[str, Tensor] = {}
        for name, tensor in tensors.items():
            shaped = self._shaped(name, tensor, inward=False)
            for ours, theirs in self.joined:
                if ours in name:
                    parts = shaped.chunk(len(theirs))
                    split = {name.replace(ours, t): p for t, p in zip(theirs, parts, strict=True)}
                    break
            else:
                split = {name: shaped}
            out |= {self._renamed(key, 0): value.contiguous() for key, value in split.items()}
        return out

    def _renamed(self, name: str, source: int) -> str:
        target = 1 - source
        for pair in self.prefixes:
            if name.startswith(pair[source]):
                name = pair[target] + name[len(pair[source]) :]
                break
        for pair in self.parts:
            name = name.replace(pair[source], pair[target])
        return name

    def _shaped(self, name: str, tensor: Tensor, inward: bool) -> Tensor:
        if name.endswith(self.transposed):
            tensor = tensor.T
        for ending, axes in self.unsqueezed:
            if name.endswith(ending):
                tensor = tensor[(0,) * axes] if inward else tensor[(None,) * axes]
        return tensor
