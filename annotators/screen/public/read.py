"""A public set in a local folder to rows of `records.QUESTIONS`: picture, prompt, answers.

    rows = questions(public_set("docvqa"), Path("docvqa"), "val", flaws := Flaws())

A bad row, and a picture that is missing or cannot be decoded, is left out, counted, and named by
file and key.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from annotators.screen.public.layouts import LAYOUTS
from annotators.screen.public.sets import Asked, BadRowError, Flaws, PublicSet
from pipelines.pictures import flaw
from pipelines.records import record_id


def questions(spec: PublicSet, root: Path, split: str, flaws: Flaws) -> Iterator[dict[str, Any]]:
    """The rows of a split, in the order that they are published in.

    Args:
        flaws: counts what is left out.

    Raises:
        ValueError: there is no such split.
        FileNotFoundError: a file of the set, other than a picture, is missing.
    """
    if split not in spec.splits:
        raise ValueError(f"{spec.name} has no split {split!r}; legal: {', '.join(spec.splits)}")
    seen: tuple[Path, bytes] | None = None
    for place, asked in LAYOUTS[spec.layout](spec, root, split):
        if isinstance(asked, BadRowError):
            flaws.note(asked.reason, f"{place}: {asked}")
            continue
        path = next((one for one in asked.images if one.is_file()), None)
        if path is None:
            flaws.note("missing_image", f"{place}: {asked.images[0]}")
            continue
        if seen is None or seen[0] != path:  # questions of one picture follow each other
            seen = path, path.read_bytes()
        if wrong := flaw(seen[1]):
            flaws.note("corrupt_image", f"{place}: {path}: {wrong}")
            continue
        yield _row(spec, split, asked, seen[1])


def _row(spec: PublicSet, split: str, asked: Asked, image: bytes) -> dict[str, Any]:
    return {
        "image_id": record_id(spec.name, split, asked.key),
        "image": image,
        "class_name": asked.answers[0],
        "group": f"{split}/{spec.name}",
        "question": asked.prompt,
        "references": list(asked.answers),
    }
