from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from annotators.screen.templates import Draw, Shot, Template, pages, shots

PLAIN = Template("plain", "npm plain 1", "site", r"[^/]+\.html")
DARK = replace(PLAIN, name="dark", dark="media", devices=("phone",), held_out=True)
PAGES = [f"{number}.html" for number in range(7)]


def of(*templates: Template) -> list[tuple[Template, list[str]]]:
    return [(template, PAGES) for template in templates]


def test_pages_are_those_of_the_pattern_and_their_fragments(tmp_path: Path) -> None:
    for name in ("a.html", "b.html", "left.html", "in/c.html", "d.css"):
        path = tmp_path / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    assert pages(PLAIN, tmp_path) == ["a.html", "b.html", "left.html"]
    other = replace(PLAIN, leave="^left", fragments=("menu",))
    assert pages(other, tmp_path) == ["a.html", "a.html#menu", "b.html", "b.html#menu"]


def test_templates_get_like_shares_and_no_screen_comes_twice() -> None:
    taken = shots(of(PLAIN, DARK), ["de", "ar"], ["Roboto"], Draw(screens=60))
    assert len(taken) == len({shot.screen_id for shot in taken}) == 60
    assert set(Counter(shot.template.name for shot in taken).values()) <= {29, 30, 31}


def test_a_template_shows_only_what_it_can() -> None:
    taken = shots(of(PLAIN, DARK), ["de"], [], Draw(screens=80, dark=0.5))
    assert {shot.theme for shot in taken if shot.template.name == "plain"} == {"light"}
    assert {shot.theme for shot in taken if shot.template.name == "dark"} == {"light", "dark"}
    assert {shot.device for shot in taken if shot.template.name == "dark"} == {"phone"}
    assert {shot.language for shot in taken} == {"en", "de"}


def test_the_draw_depends_on_the_seed_alone() -> None:
    def ids(seed: int, *templates: Template) -> list[str]:
        return [shot.screen_id for shot in shots(of(*templates), ["de"], [], Draw(30, seed))]

    assert ids(0, PLAIN, DARK) == ids(0, DARK, PLAIN)
    assert ids(0, PLAIN, DARK) != ids(1, PLAIN, DARK)


def test_fewer_screens_begin_the_same_way() -> None:
    few, many = (shots(of(PLAIN, DARK), ["de"], [], Draw(count)) for count in (20, 50))
    assert [shot.screen_id for shot in few] == [shot.screen_id for shot in many[:20]]


def test_a_template_without_more_screens_ends_the_draw() -> None:
    one = replace(PLAIN, devices=("phone",))
    plain = Draw(50, translated=0, refonted=0, scrolled=0, phone=1, tablet=0)
    assert len(shots([(one, ["a.html"])], [], [], plain)) == 1


def test_an_id_tells_all_that_picks_a_screen_apart() -> None:
    shot = Shot(PLAIN, "a.html", 0, "phone", "light", "en", "")
    others = [
        replace(shot, page="b.html"),
        replace(shot, view=1),
        replace(shot, device="tablet"),
        replace(shot, theme="dark"),
        replace(shot, language="de"),
        replace(shot, font="Roboto"),
    ]
    assert len({one.screen_id for one in (shot, *others)}) == 7
