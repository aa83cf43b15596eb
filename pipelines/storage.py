"""Files on any disk that pyarrow opens, local paths or URLs (s3://, gs://, hdfs://): no reader ever
sees a torn one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import posixpath
import uuid
from collections.abc import Callable
from typing import Any

import pyarrow.fs as pafs


def filesystem(path: str) -> tuple[pafs.FileSystem, str]:
    """The filesystem that holds `path` (a URL or a local path), and the path inside it."""
    if "://" in path:
        found: tuple[pafs.FileSystem, str] = pafs.FileSystem.from_uri(path)
        return found
    return pafs.LocalFileSystem(), os.path.abspath(path)


def listed(path: str) -> list[str]:
    """Names of the files under a folder, hidden ones left out, sorted."""
    fs, inner = filesystem(path)
    infos = fs.get_file_info(pafs.FileSelector(inner, allow_not_found=True, recursive=True))
    prefix = len(inner.rstrip("/")) + 1
    files = (info.path[prefix:] for info in infos if info.type == pafs.FileType.File)
    return sorted(name for name in files if not any(p[0] in "._" for p in name.split("/")))


def read_json(path: str) -> Any | None:
    """What a JSON file holds; None where there is none."""
    fs, inner = filesystem(path)
    if fs.get_file_info(inner).type != pafs.FileType.File:
        return None
    with fs.open_input_file(inner) as file:
        return json.loads(file.read())


def write_file(path: str, write: Callable[[Any], None]) -> None:
    """Write a file so that no reader ever sees a torn one: temporary name, then rename.

    On an object store the single upload is atomic by itself. Raises OSError naming the path, such
    as when the disk is full; nothing is left under the final name then.
    """
    fs, inner = filesystem(path)
    folder, base = posixpath.split(inner)
    fs.create_dir(folder, recursive=True)
    temporary = posixpath.join(folder, f".{base}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with fs.open_output_stream(temporary) as sink:
            write(sink)
        fs.move(temporary, inner)
    except BaseException as error:
        with contextlib.suppress(OSError):
            fs.delete_file(temporary)
        if isinstance(error, OSError):
            raise OSError(error.errno, f"cannot write {path}: {error}") from error
        raise


def write_bytes(path: str, data: bytes) -> None:
    """Write `data`, atomically."""
    write_file(path, lambda sink: sink.write(data))


def write_json(path: str, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    write_bytes(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def file_sha256(path: str) -> str:
    """Sha256 of a file's bytes, 64 hex digits."""
    fs, inner = filesystem(path)
    digest = hashlib.sha256()
    with fs.open_input_stream(inner, buffer_size=0) as source:
        while block := source.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
