"""Every column of every dataset: its type, its unit, and who writes it.

A dataset's name picks its schema here and its expectations in `pipelines.quality`. Ids are 32
hexadecimal digits of blake2b, a function of content alone: the same pair has the same id in every
run, on every engine.
"""

from __future__ import annotations

import hashlib

import pyarrow as pa


def record_id(*parts: str) -> str:
    """Content-addressed id: 32 hex digits of blake2b over `parts` joined by NUL."""
    return hashlib.blake2b(
        "\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16
    ).hexdigest()


def uniform(seed: int, *parts: str) -> float:
    """A draw in [0, 1) that depends on (seed, parts) only, never on worker or order.

    The top 53 bits of blake2b, so that every value is an exact float64.
    """
    digest = hashlib.blake2b("\0".join((str(seed), *parts)).encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / float(1 << 53)


def _column(name: str, kind: pa.DataType, meaning: str, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"meaning": meaning})


def _fields(kind: pa.DataType, *names: str) -> list[pa.Field]:
    return [pa.field(name, kind) for name in names]


_PAIR = [
    _column("pair_id", pa.string(), "record_id(image_url, text); by extract"),
    _column("image_url", pa.string(), "absolute http(s) URL; by extract"),
    _column("text", pa.string(), "text of the pair, white space folded; by extract"),
    _column("text_source", pa.string(), "alt, figcaption or title; by extract"),
    _column(
        "page_url",
        pa.string(),
        "the page that showed the image (the least, if several); by extract",
    ),
    _column("language", pa.string(), "BCP 47 primary subtag, 'und' if unknown; by extract"),
]

TEXT = pa.struct(
    [
        *_fields(pa.string(), "pair_id", "text", "source", "page_url", "language"),
        pa.field("queries", pa.list_(pa.string())),
    ]
)
"""One text of an image: a pair without its image URL."""

_TARGET = [
    _column("image_id", pa.string(), "record_id(image_url); by balance"),
    _column("image_url", pa.string(), "absolute http(s) URL; by extract"),
    _column("texts", pa.list_(TEXT), "every kept text of the image, sorted by pair_id; by balance"),
]

_PICTURE = [
    _column("image", pa.binary(), "encoded image, shorter side at most image_size; by fetch", True),
    _column("format", pa.string(), "jpeg, png or webp: how `image` is encoded; by fetch", True),
    _column("width", pa.int32(), "pixels of `image`; by fetch", True),
    _column("height", pa.int32(), "pixels of `image`; by fetch", True),
    _column("original_width", pa.int32(), "pixels as fetched; by fetch", True),
    _column("original_height", pa.int32(), "pixels as fetched; by fetch", True),
    _column("sha256", pa.string(), "of the bytes as fetched; by fetch", True),
    _column("phash", pa.string(), "64-bit perceptual hash, 16 hex digits; by fetch", True),
    _column("thumbnail", pa.binary(), "16 x 16 RGB, 768 bytes, row-major; by fetch", True),
]

_QUERIES_OF_PAIR = _column(
    "queries", pa.list_(pa.string()), "queries found in `text`, sorted; by match"
)

CANDIDATES = pa.schema(_PAIR)
QUERIES = pa.schema(
    [
        _column("query", pa.string(), "lower case, single spaces; by queries"),
        _column("source", pa.string(), "unigram, bigram, title, synset or file; by queries"),
        _column(
            "count", pa.int64(), "occurrences in the text corpus, 0 where not counted; by queries"
        ),
    ]
)
MATCHES = pa.schema([*_PAIR, _QUERIES_OF_PAIR])
PAIRS = pa.schema(
    [*_PAIR, _column("queries", pa.list_(pa.string()), "queries that kept it, sorted; by balance")]
)
TARGETS = pa.schema(_TARGET)
FETCHED = pa.schema(
    [
        *_TARGET,
        _column("status", pa.string(), "ok, or the reason why there is no image; by fetch"),
        _column("detail", pa.string(), "what was seen, for a person; by fetch"),
        *_PICTURE,
    ]
)
SAMPLES = pa.schema([*_TARGET, *[field.with_nullable(False) for field in _PICTURE]])
JUDGED_TEXT = pa.struct(
    [
        *TEXT,
        pa.field("kind", pa.string()),
        *_fields(pa.float32(), "similarity", "probability"),
        pa.field("status", pa.string()),
    ]
)
"""A text of an image, whether it is the web's or synthetic, and what a matcher said of the two."""

CAPTIONED = pa.schema(
    [
        *[f.with_nullable(False) for f in _TARGET if f.name != "texts"],
        _column("texts", pa.list_(JUDGED_TEXT), "web texts, then captions; by capfilt"),
        _column("status", pa.string(), "ok, or why there is no caption; by capfilt"),
        _column("detail", pa.string(), "what was seen, for a person; by capfilt"),
        *[field.with_nullable(False) for field in _PICTURE],
    ]
)
ELEMENT = pa.struct(
    [
        *_fields(pa.string(), "kind", "text", "name", "state"),
        pa.field("depth", pa.int32()),
        *_fields(pa.float32(), "x0", "y0", "x1", "y1"),
    ]
)
"""An element that is seen: its class, the text on it, its accessible name ("" where it has none),
its states (words such as `checked disabled expanded`, sorted, a space between), how many elements
hold it, and its box in pixels of the picture. A container comes before what it holds."""

DETECTION = pa.struct(
    [
        pa.field("kind", pa.string()),
        *_fields(pa.float32(), "confidence", "x0", "y0", "x1", "y1"),
    ]
)
"""An element that a detector sees: class, confidence in [0, 1], box in pixels of the picture."""

SCREENS = pa.schema(
    [
        _column("screen_id", pa.string(), "record_id of all that picks the screen; by render"),
        _column("image", pa.binary(), "encoded screenshot; by render", True),
        _column("format", pa.string(), "png, jpeg or webp: how `image` is encoded; by render"),
        _column("width", pa.int32(), "pixels of `image`, 0 without one; by render"),
        _column("height", pa.int32(), "pixels of `image`, 0 without one; by render"),
        _column("source", pa.string(), "where the page comes from, with version; by render"),
        _column("template", pa.string(), "pages of one look; the split is by it; by render"),
        _column("page", pa.string(), "path of the page in its source; by render"),
        _column("top", pa.int32(), "CSS pixels scrolled down; by render"),
        _column("device", pa.string(), "phone, tablet or desktop; by render"),
        _column("theme", pa.string(), "light or dark; by render"),
        _column("language", pa.string(), "BCP 47 tag of the texts; by render"),
        _column("split", pa.string(), "train or held-out; by render"),
        _column("truth", pa.list_(ELEMENT), "what is seen, by the DOM; by render", True),
        _column("status", pa.string(), "ok, or the reason why there is no image; by render"),
        _column("detail", pa.string(), "what was seen, for a person; by render"),
    ]
)
TASK = pa.struct(
    [
        *_fields(pa.string(), "task_id", "kind", "text", "plain", "answer", "target"),
        pa.field("box", pa.list_(pa.int32())),
        pa.field("elements", pa.list_(pa.int32())),
        *_fields(pa.string(), "author", "prompts", "status", "detail", "said"),
    ]
)
"""A task for a screen: read, count, compare, sum, navigate or summary; its text and the program's
plain words for it; the answer and what a model should write; the box x0 x1 y0 y1 in thousandths and
the places of the schema's elements that it rests on; the model that worded it, or `program`; the
version of the prompts; `kept` or the validator that dropped it; what its model answered to it."""

SCREEN_TASKS = pa.schema(
    [
        _column("image_id", pa.string(), "of the screen, one row each; by its source"),
        _column("screen", pa.string(), "the screen schema as text; by its source", True),
        _column("tasks", pa.list_(TASK), "every item, the dropped ones too; by screen-tasks"),
        _column("status", pa.string(), "ok, or why no task is kept; by screen-tasks"),
        _column("detail", pa.string(), "what was seen, for a person; by screen-tasks"),
    ]
)
SCREEN_MIXTURE = pa.schema(
    [
        _column("row_id", pa.string(), "record_id(draw, task); by the mixture"),
        _column("image_id", pa.string(), "of the screen; by its source"),
        _column("task", pa.string(), "annotation, question, navigation or summary; by the mixture"),
        _column("prompt", pa.string(), "what a model is given beside the picture; by the mixture"),
        _column("target", pa.string(), "what it should write; by the mixture"),
    ]
)
SCREEN_EXAMPLE = pa.struct(
    [
        *_fields(pa.string(), "example_id", "task", "prompt", "target"),
        pa.field("weight", pa.float32()),
    ]
)
"""What a model is asked of a screen: one of the mixture's tasks, the prompt beside the picture,
what it should write, and how often it is drawn against the screen's other examples."""

SCREEN_EXAMPLES = pa.schema(
    [
        _column("image_id", pa.string(), "of the screen; by its source"),
        _column("template", pa.string(), "pages of one look, if it is known; by its source"),
        _column("image", pa.binary(), "encoded screenshot; by its source"),
        _column("screen", pa.string(), "the screen schema as text; by screen-examples"),
        _column("examples", pa.list_(SCREEN_EXAMPLE), "at least one; by screen-examples"),
    ]
)
SCREEN_ANSWER = pa.struct(
    [
        *_fields(pa.string(), "example_id", "task", "prompt", "target", "said", "status", "detail"),
    ]
)
"""What a model wrote to an example: `ok`, or why nothing, or not all, of it could be read."""

SCREEN_ANSWERS = pa.schema(
    [
        _column("image_id", pa.string(), "of the screen; by its source"),
        _column("template", pa.string(), "pages of one look, if it is known; by its source"),
        _column("screen", pa.string(), "the true screen schema as text; by screen-examples"),
        _column("answers", pa.list_(SCREEN_ANSWER), "one an example; by score-screens"),
    ]
)
SEEN_ELEMENT = pa.struct(
    [
        *_fields(pa.string(), "kind", "text"),
        *_fields(pa.int32(), "depth", "x0", "x1", "y0", "y1"),
    ]
)
"""An element of a screen schema: class, what it says, how many elements hold it, and its box in
thousandths of the screen, 0-999. In reading order, a container before what it holds."""

PICTURES = pa.schema(
    [
        _column("image_id", pa.string(), "record_id(origin, sha256 of the bytes); by screens"),
        _column("origin", pa.string(), "path below the input, or id in its dataset; by screens"),
        _column("image", pa.binary(), "the bytes as they lay there; by screens", True),
        _column("status", pa.string(), "ok, or why there are no bytes; by screens"),
        _column("detail", pa.string(), "what was seen, for a person; by screens"),
    ]
)
SCHEMAS_OF_SCREENS = pa.schema(
    [
        _column("image_id", pa.string(), "record_id(origin, sha256 of the bytes); by screens"),
        _column("origin", pa.string(), "path below the input, or id in its dataset; by screens"),
        _column("image", pa.binary(), "encoded screenshot, a single frame; by annotate", True),
        _column("format", pa.string(), "png, jpeg or webp; empty if unreadable; by annotate"),
        _column("width", pa.int32(), "pixels of `image`, 0 if unreadable; by annotate"),
        _column("height", pa.int32(), "pixels of `image`, 0 if unreadable; by annotate"),
        _column("elements", pa.list_(SEEN_ELEMENT), "what is on it; by annotate"),
        _column("screen", pa.string(), "the screen schema as text; by annotate"),
        _column("status", pa.string(), "ok, or why it was not annotated; by annotate"),
        _column("detail", pa.string(), "what was seen, for a person; by annotate"),
    ]
)
LABELLED = pa.schema(
    [
        _column("image_id", pa.string(), "record_id of the image's origin; by the suite"),
        _column("image", pa.binary(), "encoded image; by the suite"),
        _column("label", pa.int32(), "index of the class in the suite's class list; by the suite"),
        _column("class_name", pa.string(), "name of the class; by the suite"),
        _column(
            "group",
            pa.string(),
            "where the picture comes from, such as the drawing hand; by the suite",
        ),
    ]
)
EMBEDDINGS = pa.schema(
    [
        _column("image_id", pa.string(), "of the labelled image; by embed"),
        _column("content", pa.string(), "blake2b of the image's bytes, 32 hex digits; by embed"),
        _column("class_name", pa.string(), "name of the class, or the caption; by embed"),
        _column("group", pa.string(), "of the labelled image, such as its split; by embed"),
        _column("vector", pa.list_(pa.float32()), "embedding or logits, null if undecodable", True),
    ]
)
SCORES = pa.schema(
    [
        _column("suite", pa.string(), "zero-shot, shift, retrieval or supervised; by score"),
        _column("dataset", pa.string(), "name of the evaluation set; by score"),
        _column("split", pa.string(), "which part of it, such as held or all; by score"),
        _column("metric", pa.string(), "such as top1, top5, image_to_text_r1; by score"),
        _column("model", pa.string(), "which model was scored; by score"),
        _column("value", pa.float64(), "of the metric, in [0, 1] where it is a rate; by score"),
        _column("n", pa.int64(), "number of scored items; by score"),
        _column("standard_error", pa.float64(), "of value, NaN where it has none; by score", True),
    ]
)

COMPOSED_QUERIES = pa.schema(
    [
        _column("image_id", pa.string(), "key of the query; by the suite"),
        _column("reference", pa.string(), "class_name of the picture that is asked with"),
        _column("starred", pa.string(), "the query in words, * for the picture; by the suite"),
        _column("words", pa.string(), "the query in words alone; by the suite"),
        _column("targets", pa.list_(pa.string()), "class_name of the right pictures"),
        _column("subset", pa.list_(pa.string()), "pictures alike, the right one among them"),
        _column("gallery", pa.string(), "group of the pictures that are searched; by the suite"),
        _column("group", pa.string(), "part of the set, such as a domain; by the suite"),
    ]
)
COMPOSED_ANSWERS = pa.schema(
    [
        _column("image_id", pa.string(), "key of the query; by the suite"),
        _column("reference", pa.string(), "class_name of the picture that is asked with"),
        _column("group", pa.string(), "part of the set, such as a domain; by the suite"),
        _column("status", pa.string(), "ok, or why it is not answered; by composed"),
        _column("candidates", pa.int32(), "pictures that were searched; by composed"),
        _column("partners", pa.int32(), "right ones among them; by composed"),
        _column("places", pa.list_(pa.int32()), "of the right ones, 0 the best; by composed"),
        _column("subset", pa.int32(), "pictures of the subset; by composed"),
        _column("subset_place", pa.int32(), "of the right one in the subset; by composed", True),
        _column("top", pa.list_(pa.string()), "the nearest pictures, best first; by composed"),
        _column("top_scores", pa.list_(pa.float32()), "their cosines; by composed"),
    ]
)
QUESTIONS = pa.schema(
    [
        _column("image_id", pa.string(), "key of the question; by the suite"),
        _column("image", pa.binary(), "encoded image; by the suite"),
        _column("class_name", pa.string(), "the first reference; by the suite"),
        _column("group", pa.string(), "split, or split/domain; by the suite"),
        _column("question", pa.string(), "empty: describe the picture; by the suite"),
        _column("references", pa.list_(pa.string()), "captions or answers of people"),
    ]
)
ANSWERS = pa.schema(
    [
        _column("image_id", pa.string(), "key of the question; by the suite"),
        _column("group", pa.string(), "part of the set, such as a domain; by the suite"),
        _column("question", pa.string(), "as it was put; by the suite"),
        _column("references", pa.list_(pa.string()), "captions or answers of people"),
        _column("shots", pa.list_(pa.string()), "keys of the examples in the prompt, in order"),
        _column("answer", pa.string(), "what the model wrote; by answering"),
        _column("status", pa.string(), "ok, or why there is no answer; by answering"),
        _column("detail", pa.string(), "what was seen, for a person; by answering"),
    ]
)

SCHEMAS: dict[str, pa.Schema] = {
    "candidates": CANDIDATES,
    "queries": QUERIES,
    "matches": MATCHES,
    "pairs": PAIRS,
    "targets": TARGETS,
    "fetched": FETCHED,
    "samples": SAMPLES,
    "captioned": CAPTIONED,
    "labelled": LABELLED,
    "embeddings": EMBEDDINGS,
    "screens": SCREENS,
    "screen_tasks": SCREEN_TASKS,
    "screen_mixture": SCREEN_MIXTURE,
    "screen_examples": SCREEN_EXAMPLES,
    "screen_answers": SCREEN_ANSWERS,
    "pictures": PICTURES,
    "schemas": SCHEMAS_OF_SCREENS,
    "scores": SCORES,
    "composed_queries": COMPOSED_QUERIES,
    "composed_answers": COMPOSED_ANSWERS,
    "questions": QUESTIONS,
    "answers": ANSWERS,
}
