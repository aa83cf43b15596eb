"""Unpacking what a package client downloaded, without trusting the archive.

Only regular files and links that stay inside the target are written (PEP 706's data filter: no
absolute paths, no `..`, no devices, no links that lead out), and of those only the ones that are
asked for. A hard link is a file's second name (the handbook's 26 languages share pictures so). A
link that leads out of a package, such as a manual's to the machine's own jQuery, is left out; a
member that would be written elsewhere stops the whole package.
"""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO


class UnsafeArchiveError(Exception):
    """An archive has a member that would be written outside the target."""


def unpack_tar(stream: IO[bytes], target: Path, keep: str, head_bytes: int | None = None) -> int:
    """Unpack a tar stream (plain, gzip, xz ...): members whose path matches `keep`; their count.

    With `head_bytes` only that many first bytes of each file are written.
    """
    wanted, count = re.compile(keep), 0
    with tarfile.open(fileobj=stream, mode="r|*") as tar:
        for member in tar:
            if not member.isdir() and not member.isdev() and wanted.search(member.name):
                count += _write_member(tar, member, target, head_bytes)
    return count


def _write_member(
    tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path, head_bytes: int | None
) -> int:
    try:
        safe = tarfile.data_filter(member, str(target))
    except (tarfile.AbsoluteLinkError, tarfile.LinkOutsideDestinationError):
        return 0
    except tarfile.FilterError as error:
        raise UnsafeArchiveError(f"member {member.name!r}: {error}") from error
    if safe.islnk() and not (target / safe.linkname).exists():
        return 0  # a second name of a file that is not wanted
    if head_bytes is None or not safe.isreg():
        tar.extract(safe, target, filter="data")
        return 1
    source = tar.extractfile(member)
    assert source is not None  # a regular file
    path = target / safe.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(source.read(head_bytes))
    return 1


def unpack_deb(archive: Path, target: Path, keep: str, head_bytes: int | None = None) -> int:
    """Unpack the files of a Debian package; needs dpkg-deb but not root. Raises OSError."""
    command = ["dpkg-deb", "--fsys-tarfile", str(archive)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        count = unpack_tar(process.stdout, target, keep, head_bytes)
    if process.returncode:
        raise OSError(f"dpkg-deb left with status {process.returncode}")
    return count


def unpack_zip(archive: Path, target: Path, keep: str) -> int:
    """Unpack a zip or wheel: members whose path matches `keep`; their count."""
    wanted, count = re.compile(keep), 0
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            if member.is_dir() or not wanted.search(member.filename):
                continue
            path = PurePosixPath(member.filename)
            linked = stat.S_ISLNK(member.external_attr >> 16)
            if path.is_absolute() or ".." in path.parts or linked:
                raise UnsafeArchiveError(f"member {member.filename!r} leads out of the archive")
            out = target / path
            out.parent.mkdir(parents=True, exist_ok=True)
            with packed.open(member) as source, out.open("wb") as sink:
                shutil.copyfileobj(source, sink)
            count += 1
    return count
