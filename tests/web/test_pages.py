"""The page without a browser: what it shows, in which language, to whom, and what it costs."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.lab.front import Front, fleet, open_front
from tests.lab.loop import open_lab
from updater.errors import StoreError
from updater.secrets import remember
from updater.store.polls import Poll
from updater.web.ledger import ledger_of
from updater.web.pages import CSRF, ROWS

HTML = {"accept": "text/html"}
PAGES = ("/", "/images/api", "/images/web", "/images/gone", "/history", "/applications", "/notifications")
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    folder: Path = tmp_path_factory.mktemp("front")
    with open_lab(folder) as lab, fleet(lab) as found:
        found.cycle()
        yield found


def page(front: Front, path: str, **headers: str) -> str:
    answer = front.get(path, headers=HTML | headers)
    assert answer.status_code == 200, answer.text
    return answer.text


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_page_is_whole_and_holds_to_the_policy(front: Front, path: str, language: str) -> None:
    """No script and no style stands in a page: the policy of its headers allows none."""
    said = page(front, f"{path}?lang={language}")
    assert said.rstrip().endswith("</html>")
    assert f'lang="{"zh-Hans" if language == "zh" else "en"}"' in said
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", said)
    assert CSRF not in said
    for label in re.findall(r"<(?:input|select)\b[^>]*>", said):
        assert re.search(rf"<label>(?:(?!</label>).)*{re.escape(label)}", said, re.DOTALL), label


def test_the_table_shows_what_matters_first(front: Front) -> None:
    said = page(front, "/")
    assert said.index("/images/gone") < said.index("/images/web") < said.index("/images/api")
    assert page(front, "/?sort=name").index("/images/api") < page(front, "/?sort=name").index("/images/gone")


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("outcome=held", {"web"}),
        ("reason=level", {"web"}),
        ("q=ap", {"api"}),
        ("label=team", {"api"}),
        ("label=team%3Dshop", {"api"}),
        ("q=nothing", set()),
        ("outcome=failed&q=gone", {"gone"}),
    ],
)
def test_filters_stand_in_the_address(front: Front, query: str, shown: set[str]) -> None:
    rows = page(front, f"/?{query}").partition('<tbody id="rows"')[2]
    assert set(re.findall(r'href="/images/([a-z]+)"', rows)) == shown


def test_what_a_page_fetches_anew_is_a_part_of_it(front: Front) -> None:
    whole, rows, strip = page(front, "/"), page(front, "/?part=rows"), page(front, "/?part=strip")
    assert "<html" not in rows + strip
    assert set(re.findall(r'href="(/images/[^"]+)"', rows)) == {"/images/api", "/images/web", "/images/gone"}
    assert 'class="tiles"' in strip
    assert re.search(r'hx-get="/\?part=rows"', whole)


def test_an_image_shows_its_trace_its_places_and_its_timeline(front: Front) -> None:
    said = page(front, "/images/web")
    assert "2.0.0" in said
    assert "apps/web.yaml:5" in said
    assert "level" in said
    assert "<svg" in page(front, "/images/api")


def test_a_commit_is_shown_as_people_review_it(front: Front) -> None:
    [where] = set(re.findall(r'href="(/history/fleet/[0-9a-f]{40})"', page(front, "/history")))
    said = page(front, where)
    assert re.search(r'class="del">-[^<]*api:1\.4\.2<', said)
    assert re.search(r'class="add">\+[^<]*api:1\.5\.0<', said)
    assert f"git revert {where.rpartition('/')[2]}" in said


@pytest.mark.parametrize("path", ["/images/nobody", "/applications/nobody", "/history/fleet/0", "/images/"])
def test_what_is_not_there_is_said_on_a_page(front: Front, path: str) -> None:
    answer = front.get(path, headers=HTML)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")


@pytest.mark.parametrize("path", ["/?q=broken", "/history?item=broken", "/history/fleet/broken"])
def test_a_state_that_cannot_be_read_is_said_on_a_page(
    front: Front, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise StoreError("state: disk I/O error")

    monkeypatch.setattr("updater.web.facts.images", broken)
    monkeypatch.setattr("updater.store.chronicle.Chronicle.page", broken)
    monkeypatch.setattr("updater.store.chronicle.Chronicle.of_commit", broken)
    answer = front.get(path, headers=HTML)
    assert (answer.status_code, answer.headers["content-type"]) == (503, "text/html; charset=utf-8")
    assert "state: disk I/O error" in answer.text


def test_who_has_a_page_already_is_told_so(front: Front) -> None:
    first = front.get("/?part=rows", headers=HTML)
    again = front.get("/?part=rows", headers=HTML | {"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    front.look()
    ledger_of(front.desk).kept.forget()  # what took long to make holds for a moment
    assert front.get("/?part=rows", headers=HTML | {"if-none-match": first.headers["etag"]}).status_code == 200


def test_texts_from_outside_are_texts(front: Front) -> None:
    poll = front.desk.polls["gone"]
    front.daemon.known["gone"] = replace(poll, reason=HOSTILE, document=None)
    front.desk.bell.ring()
    try:
        said = page(front, "/") + page(front, "/images/gone") + page(front, f"/?q={quote(HOSTILE)}")
        assert HOSTILE not in said
        assert "&lt;script&gt;" in said
    finally:
        front.daemon.known["gone"] = poll


def test_no_text_from_outside_is_taken_for_the_place_of_a_token(front: Front) -> None:
    """A link to elsewhere with the reader's token in it would give it away."""
    assert 'value="csrf-of-the-reader"' in page(front, "/?q=csrf-of-the-reader")
    command = [sys.executable, "-c", "from updater.web.pages import CSRF; print(CSRF)"]
    assert subprocess.check_output(command, text=True).strip() != CSRF  # nor can anybody look it up


def test_a_secret_that_slipped_into_a_text_is_blanked(front: Front) -> None:
    remember("canary-0123456789")
    poll = front.desk.polls["gone"]
    front.daemon.known["gone"] = replace(poll, reason="refused canary-0123456789", document=None)
    front.desk.bell.ring()
    try:
        assert all("canary-0123456789" not in page(front, path) for path in PAGES)
    finally:
        front.daemon.known["gone"] = poll


def test_a_language_is_kept(front: Front) -> None:
    chosen = front.get("/?lang=zh", headers=HTML)
    [cookie] = [one for one in chosen.headers.get_list("set-cookie") if one.startswith("lang=")]
    assert "samesite=strict" in cookie.lower()
    assert "镜像" in page(front, "/", cookie=cookie.partition(";")[0])
    assert "镜像" in page(front, "/", **{"accept-language": "zh-CN,zh;q=0.9"})


def test_ten_thousand_images_come_a_page_at_a_time(tmp_path: Path) -> None:
    config = tmp_path / "updater.yaml"
    images = "".join(f"  - {{image: r.example.com/a/i{n:05}, name: i{n:05}}}\n" for n in range(10_000))
    config.write_text(f"data: {tmp_path}/data\nimages:\n{images}")
    with open_front(config) as front:
        front.daemon.known |= {
            item.name: Poll(item.name, front.desk.started, 0, None, "up_to_date", "up_to_date")
            for item in front.desk.settings.items
        }
        said = page(front, "/?page=3&sort=name")
        assert said.count('<tr id="row-') == ROWS
        assert "/images/i00200" in said
        assert 'href="/?sort=name&amp;page=4"' in said
        assert page(front, "/?page=999999").count('<tr id="row-') == 0
