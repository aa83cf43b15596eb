"""The demo's web as a whole: its configuration, its sites and its test pictures.

`build` reads the packages once, which takes about two seconds. What it gives is the same whenever
packages, configuration and seed are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workflows.demo_web.concepts import Concept, emoji_concepts, held_keys
from workflows.demo_web.galleries import google_gallery, twitter_gallery
from workflows.demo_web.libraries import Stamp, read_clip_art, read_stamps
from workflows.demo_web.manuals import manual_sites
from workflows.demo_web.picture_sites import clip_art_site, stamp_site
from workflows.demo_web.sites import Site
from workflows.demo_web.styles import HoldOut, StyleConcept, hold_out, style_concepts

SITE_ORDER = (
    "google",
    "twitter",
    "clipart",
    "stamps",
    "gimp",
    "gnucash",
    "sklearn",
    "skimage",
    "handbook",
)
"""A site's place here gives its port, whether or not the sites before it are there."""


@dataclass(frozen=True)
class DemoWebConfig:
    """What the demo's web shows, and where."""

    seed: int = 0
    """Decides which concepts and which pictures are held."""
    held_fraction: float = 0.2
    """Of the emoji concepts whose drawing by Twitter is never served."""
    first_port: int = 8801
    """Of the sites' ports on 127.0.0.1; they are part of every URL, and so of every id."""
    clip_art_max_pixels: int = 4_000_000
    """Larger clip art is left out: 20 of 8,121, of up to 623 million pixels."""
    stamp_languages: tuple[str, ...] = ("en", "de", "es", "fr", "ja", "ru", "zh_CN")
    """Languages of the stamp library's pages."""
    handbook_languages: tuple[str, ...] = ("en-US", "de-DE", "es-ES", "fr-FR", "ja-JP", "ru-RU")
    """Of the handbook's 26, those that its robots.txt does not forbid."""
    slow_seconds: float = 3.0
    """That the slow page takes."""
    drip_seconds: float = 120.0
    """That the slowest picture would take."""


@dataclass(frozen=True)
class DemoWeb:
    """Everything that the packages give: sites to crawl, and pictures to test with."""

    sites: tuple[Site, ...]  # in the order of their ports
    concepts: tuple[Concept, ...]  # the classes of the emoji sets, in order of their labels
    held: frozenset[str]  # keys of held concepts
    styles: tuple[StyleConcept, ...]  # the classes of the style sets, in order of their labels
    style_test: HoldOut
    stamps: tuple[Stamp, ...]  # every one with a caption, test pictures included


def build(packages: Mapping[str, Path], config: DemoWebConfig) -> DemoWeb:
    """Sites and test pictures from unpacked packages by name; without one, less."""
    concepts = emoji_concepts(packages)
    held = held_keys(concepts, config.seed, config.held_fraction)
    clip_art = read_clip_art(packages, config.clip_art_max_pixels)
    stamps = read_stamps(packages)
    styles = style_concepts(concepts, stamps, clip_art)
    served = [art.file for art in clip_art] + [stamp.file for stamp in stamps]
    test = hold_out(styles, served, config.seed)
    sites = manual_sites(packages, config.handbook_languages)
    if concepts and "google" in concepts[0].drawings:
        sites.append(google_gallery(concepts))
    if concepts and "twitter" in concepts[0].drawings:
        sites.append(twitter_gallery(concepts, held))
    if clip_art:
        sites.append(clip_art_site(clip_art, test.withheld))
    if stamps:
        slow, drip = config.slow_seconds, config.drip_seconds
        sites.append(stamp_site(stamps, test.withheld, config.stamp_languages, slow, drip))
    sites.sort(key=lambda site: SITE_ORDER.index(site.name))
    return DemoWeb(tuple(sites), tuple(concepts), held, tuple(styles), test, tuple(stamps))


def url_of(site_name: str, config: DemoWebConfig) -> str:
    """Where a site stands: http://127.0.0.1:8801/ for the first."""
    return f"http://127.0.0.1:{config.first_port + SITE_ORDER.index(site_name)}/"
