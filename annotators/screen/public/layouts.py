"""One function a published layout: files of a set to what is asked, row by row.

Each takes the set, its folder and a split and gives, of every row, its place (file and key) with
either an `Asked` or the `BadRowError` that says what is wrong with it. A file that is not there
raises FileNotFoundError naming it.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from annotators.screen.layout import quantise
from annotators.screen.public.sets import Asked, BadRowError, PublicSet

Row = tuple[str, Asked | BadRowError]
"""A row's place, for a person, and what it is."""
Layout = Callable[[PublicSet, Path, str], Iterator[Row]]
RICO = (1440, 2560)
"""Pixels that Rico's view hierarchies count in."""
OCR_VQA = {1: "train", 2: "val", 3: "test"}


def one_of(root: Path, names: str) -> Path:
    """The first file of `names`, apart by |, that is there.

    Raises FileNotFoundError naming all of them.
    """
    paths = [root / name for name in names.split("|")]
    for path in paths:
        if path.is_file():
            return path
    raise FileNotFoundError(f"none of {', '.join(map(str, paths))}")


def _json(path: Path) -> Any:
    """Raises ValueError naming a file that is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _row(place: str, make: Callable[[], Asked]) -> Row:
    """What `make` gives, or why it cannot."""
    try:
        return place, make()
    except BadRowError as error:
        return place, error
    except (KeyError, IndexError, TypeError, ValueError) as error:
        return place, BadRowError("malformed", f"{type(error).__name__}: {error}"[:200])


def _pictures(spec: PublicSet, root: Path, **values: str) -> tuple[Path, ...]:
    return tuple(root / one.format(**values) for one in spec.images.split("|"))


def at(row: Any, way: Sequence[str]) -> Any:
    """What a way (`PublicSet.fields`) leads to in a row. Raises KeyError, IndexError, TypeError."""
    found = row
    for number, step in enumerate(way):
        if step == "*":
            return [at(one, way[number + 1 :]) for one in found]
        if step.startswith("@"):
            place = int(row[step[1:]])
            if place < 0:
                raise IndexError(f"{step[1:]} is {place}; legal: 0 or more")
            found = found[place]
        else:
            found = found[step]
    return found


def texts(value: Any) -> tuple[str, ...]:
    """One answer or several, as texts, each once, without empty ones.

    Raises BadRowError where there is none: the test splits of some sets keep theirs back.
    """
    several = value if isinstance(value, list) else [value]
    found = [str(one).strip() for one in several if isinstance(one, str | int | float)]
    kept = tuple(dict.fromkeys(one for one in found if one))
    if not kept:
        raise BadRowError("no_answer", repr(value)[:80])
    return kept


def records(spec: PublicSet, root: Path, split: str) -> Iterator[Row]:
    """A JSON list of rows, or one in an object."""
    for names in spec.splits[split]:
        path = one_of(root, names)
        loaded = _json(path)
        for number, row in enumerate(loaded[spec.list] if spec.list else loaded):
            yield _row(*_record(spec, root, split, path, number, row))


def _record(
    spec: PublicSet, root: Path, split: str, path: Path, number: int, row: Any
) -> tuple[str, Callable[[], Asked]]:
    key = f"{path.stem}#{number}"
    if "key" in spec.fields and isinstance(row, Mapping):
        key = str(row.get(spec.fields["key"][0], key))

    def make() -> Asked:
        image = str(at(row, spec.fields["image"]))
        question = texts(at(row, spec.fields["question"]))[0]
        pictures = _pictures(spec, root, image=image, split=split)
        answers = at(row, spec.fields["answers"]) if spec.fields["answers"][0] in row else []
        return Asked(key, pictures, question, texts(answers))

    return f"{path.name}, {key}", make


def table(spec: PublicSet, root: Path, split: str) -> Iterator[Row]:
    """A CSV file with an answer a row; rows of one key are one picture with several answers."""
    path, wanted = _split_table(spec, root, split)
    answers: dict[str, list[str]] = {}
    for number, row in _csv(path):
        try:
            key, answer = (_cell(spec, row, name) for name in ("key", "answers"))
        except KeyError as error:
            yield f"{path.name}, row {number}", BadRowError("malformed", f"no column {error}")
            continue
        if wanted is None or key in wanted:
            answers.setdefault(key, []).append(answer)
    for key, of in answers.items():
        yield _row(f"{path.name}, {key}", partial(_told, spec, root, key, of))
    for key in sorted((wanted or set()) - set(answers)):
        yield f"{path.name}, {key}", BadRowError("missing_row", "in the split, not in the table")


def _told(spec: PublicSet, root: Path, key: str, answers: list[str]) -> Asked:
    return Asked(key, _pictures(spec, root, key=key), spec.prompt, texts(answers))


def _split_table(spec: PublicSet, root: Path, split: str) -> tuple[Path, set[str] | None]:
    """The table, and the keys of the split where another file lists them."""
    first, *others = spec.splits[split]
    path = one_of(root, first)
    if not others:
        return path, None
    listed = one_of(root, others[0]).read_text(encoding="utf-8").split()
    return path, set(listed)


def _csv(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        yield from enumerate(csv.DictReader(file), 2)


def _cell(spec: PublicSet, row: Mapping[str, Any], name: str) -> str:
    """A column, under its name or the other one that it goes by."""
    ways = [spec.fields[one][0] for one in (name, f"or_{name}") if one in spec.fields]
    found = next((row[way] for way in ways if row.get(way) is not None), None)
    if found is None:
        raise KeyError(" or ".join(ways))
    return str(found)


def widgets(spec: PublicSet, root: Path, split: str) -> Iterator[Row]:
    """Captions of a view hierarchy's nodes; a node's number is the way to it from the root."""
    path, wanted = _split_table(spec, root, split)
    for number, row in _csv(path):
        screen, node = str(row.get("screenId")), str(row.get("nodeId"))
        if wanted is None or screen in wanted:
            place = f"{path.name}, row {number}, screen {screen}, node {node}"
            yield _row(place, partial(_widget, spec, root, screen, node, row))


def _widget(spec: PublicSet, root: Path, screen: str, node: str, row: Mapping[str, Any]) -> Asked:
    path = root / spec.hierarchies.format(key=screen)
    if not path.is_file():
        raise BadRowError("missing_hierarchy", str(path))
    element = _json(path)["activity"]["root"]
    for place in node.split(".")[1:]:
        element = element["children"][int(place)]
    left, top, right, bottom = element["bounds"]
    box = " ".join(map(str, quantise(left, right, top, bottom, *RICO)))
    prompt = spec.prompt.format(box=box)
    pictures = _pictures(spec, root, key=screen)
    return Asked(f"{screen}/{node}", pictures, prompt, texts(row["captions"].split("|")))


def websrc(spec: PublicSet, root: Path, split: str) -> Iterator[Row]:
    """DOMAIN/SITE/dataset.csv; whole sites are held out, and a site that no list has trains."""
    path = one_of(root, spec.splits[split][0])
    listed = _json(path)
    held = {site: name for name in ("dev", "test") for site in listed[name]}
    for file in sorted(root.glob("*/*/dataset.csv")):
        site, domain = file.parent.name, file.parent.parent.name
        if held.get(f"{domain[:2]}{site}", "train") == split:
            for number, row in _csv(file):
                place = f"{domain}/{site}/{file.name}, row {number}, {row.get('id')}"
                yield _row(place, partial(_page, file, row))


def _page(file: Path, row: Mapping[str, Any]) -> Asked:
    """The page's number is within the question's id."""
    picture = file.parent / "processed_data" / f"{row['id'][2:9]}.png"
    return Asked(row["id"], (picture,), texts(row["question"])[0], texts(row.get("answer") or []))


def motif(spec: PublicSet, root: Path, split: str) -> Iterator[Row]:
    """A JSON file a trace; each of its clicks is an order to tap, its answer the element's box."""
    path = one_of(root, spec.splits[split][0])
    for trace in _json(path)[split]:
        file = root / spec.traces.format(trace=trace)
        if not file.is_file():
            yield f"{path.name}, {trace}", BadRowError("missing_trace", str(file))
            continue
        try:
            told = _json(file)
            steps = len(told["actions"])
        except (ValueError, KeyError, TypeError) as error:
            yield file.name, BadRowError("malformed", f"{type(error).__name__}: {error}"[:200])
            continue
        for step in range(steps):
            yield _row(
                f"{file.name}, step {step}",
                partial(_click, spec, root, trace, told, step),
            )


def _click(spec: PublicSet, root: Path, trace: str, told: Mapping[str, Any], step: int) -> Asked:
    if told["actions"][step] != "click":
        raise BadRowError("not_a_click", str(told["actions"][step]))
    left, top, right, bottom = told["screen_bboxes"][step]
    box = quantise(left, right, top, bottom, told["screen_w"], told["screen_h"])
    image = told["images"][step]
    name = image if Path(image).suffix else f"{image}.jpg"
    pictures = _pictures(spec, root, app=told["app"], trace=trace, image=name)
    order = texts(told["instr"][step])[0]
    return Asked(f"{trace}/{step}", pictures, order, ("click " + " ".join(map(str, box)),))


def ocrvqa(spec: PublicSet, root: Path, split: str) -> Iterator[Row]:
    """An object of books, each with a list of questions, one of answers, and its split's number."""
    path = one_of(root, spec.splits[split][0])
    for key, book in _json(path).items():
        if not isinstance(book, Mapping) or book.get("split") not in OCR_VQA:
            if split == "train":  # counted once
                yield f"{path.name}, {key}", BadRowError("malformed", "no split 1, 2 or 3")
            continue
        if OCR_VQA[book["split"]] != split:
            continue
        questions, answers = book.get("questions") or [], book.get("answers") or []
        if len(questions) != len(answers):
            seen = f"{len(questions)} questions, {len(answers)} answers"
            yield f"{path.name}, {key}", BadRowError("malformed", seen)
            continue
        for number, (question, answer) in enumerate(zip(questions, answers, strict=True)):
            place = f"{path.name}, {key}, question {number}"
            yield _row(place, partial(_book, spec, root, f"{key}/{number}", question, answer))


def _book(spec: PublicSet, root: Path, key: str, question: Any, answer: Any) -> Asked:
    pictures = _pictures(spec, root, key=key.partition("/")[0])
    return Asked(key, pictures, texts(question)[0], texts(answer))


LAYOUTS: dict[str, Layout] = {
    "records": records,
    "table": table,
    "widgets": widgets,
    "websrc": websrc,
    "motif": motif,
    "ocrvqa": ocrvqa,
}
"""By the name that sets.json has for it."""
