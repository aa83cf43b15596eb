"""Five HTML manuals as their packages bring them, with their true alt texts, good and bad."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workflows.demo_web.sites import Site, folder, links, page, robots


@dataclass(frozen=True)
class Manual:
    """Where a package keeps its pages, and what its robots.txt forbids."""

    name: str  # of the site
    package: str
    title: str
    root: str  # below the package
    entry: str  # glob below the root: the pages that the front page links to
    forbidden: tuple[str, ...] | None = ()  # None: no robots.txt at all


MANUALS = (
    Manual(
        "gimp",
        "gimp-help-en",
        "GIMP user manual",
        "usr/share/gimp/2.0/help",
        "en/index.html",
        ("/en/images/math/",),
    ),
    Manual(
        "gnucash",
        "gnucash-docs",
        "GnuCash manuals",
        "usr/share/doc/gnucash-docs",
        "*/index.html",
        None,
    ),
    Manual(
        "sklearn",
        "python-sklearn-doc",
        "scikit-learn",
        "usr/share/doc/python-sklearn-doc/html",
        "index.html",
        ("/_sources/", "/whats_new/"),
    ),
    Manual(
        "skimage",
        "python-skimage-doc",
        "scikit-image",
        "usr/share/doc/python-skimage-doc/html",
        "index.html",
        ("/_sources/",),
    ),
    Manual(
        "handbook",
        "debian-handbook",
        "The Debian Administrator's Handbook",
        "usr/share/doc/debian-handbook/html",
        "*/index.html",
    ),
)


def manual_sites(packages: Mapping[str, Path], handbook_languages: Sequence[str]) -> list[Site]:
    """The sites of those manuals that are there.

    The handbook is served in all of its 26 languages; robots.txt forbids those not in
    `handbook_languages`, since each says nearly the same about the same 60 pictures.
    """
    sites = []
    for manual in MANUALS:
        if manual.package not in packages:
            continue
        root = packages[manual.package] / manual.root
        forbidden = manual.forbidden
        if manual.name == "handbook":
            others = {path.name for path in root.iterdir()} - set(handbook_languages)
            forbidden = tuple(f"/{language}/" for language in sorted(others))
        sites.append(_site(manual, root, forbidden))
    return sites


def _site(manual: Manual, root: Path, forbidden: Sequence[str] | None) -> Site:
    resources = folder(root)
    entries = [f"/{path.relative_to(root).as_posix()}" for path in sorted(root.glob(manual.entry))]
    targets = [(entry, entry.strip("/").removesuffix("/index.html")) for entry in entries]
    resources.setdefault("/", page(manual.title, lambda: links(targets)))
    return Site(manual.name, manual.title, resources | (robots(*forbidden) if forbidden else {}))
