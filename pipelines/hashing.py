"""What tells one dataset, or one config, from another.

The hash of rows is the sum, modulo 2**128, of one 128-bit blake2b per row: it depends on the
multiset of rows and on nothing else, neither on their order nor on how they lie in shards.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import struct
from collections.abc import Iterator
from typing import Any

import pyarrow as pa


def _canonical(value: Any, out: bytearray) -> None:
    """Append an unambiguous encoding of a row's value: a type letter, a length where needed, the
    content.
    """
    if value is None:
        out += b"n"
    elif isinstance(value, str):
        data = value.encode("utf-8", "surrogatepass")
        out += b"s%d:" % len(data) + data
    elif isinstance(value, bytes):
        out += b"b%d:" % len(value) + value
    elif isinstance(value, int):  # bool too: columns are typed, True and 1 never share one
        out += b"i%d:" % value
    elif isinstance(value, float):
        out += b"f" + struct.pack(">d", value)
    elif isinstance(value, list):
        out += b"l%d:" % len(value)
        for item in value:
            _canonical(item, out)
    elif isinstance(value, dict):
        for key in sorted(value):  # engines write a struct's fields in orders of their own
            _canonical(value[key], out)
    else:
        raise TypeError(
            f"a column holds {type(value).__name__}; legal: str, bytes, int, float, list, struct"
        )


def rows_hash(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> tuple[int, int]:
    """(sum of the rows' 128-bit hashes modulo 2**128, number of rows); columns in `schema`'s
    order.
    """
    total = rows = 0
    for batch in batches:
        columns = [batch.column(name).to_pylist() for name in schema.names]
        for row in zip(*columns, strict=True):
            encoded = bytearray()
            for value in row:
                _canonical(value, encoded)
            total += int.from_bytes(hashlib.blake2b(encoded, digest_size=16).digest(), "big")
        rows += batch.num_rows
    return total % (1 << 128), rows


def config_dict(config: object) -> dict[str, Any]:
    """A config dataclass, or a mapping that may hold some, as plain JSON values."""
    value: dict[str, Any] = json.loads(json.dumps(config, default=_as_json))
    return value


def _as_json(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return sorted(value) if isinstance(value, (set, frozenset)) else str(value)


def hash_json(value: Any) -> str:
    """32 hex digits of blake2b over the value's sorted JSON."""
    data = json.dumps(value, sort_keys=True, ensure_ascii=False).encode()
    return hashlib.blake2b(data, digest_size=16).hexdigest()
