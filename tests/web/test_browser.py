"""The page in a real browser: what its console says, what moves by itself, what a form does, and who can read it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.lab.browser import Reader, needs_browser, reader
from tests.lab.door import TOKEN, tokens_file
from tests.lab.fleet import fleet as clusters
from tests.lab.front import Front, fleet, open_front
from tests.lab.loop import open_lab
from updater.web import facts

pytestmark = needs_browser

PAGES = {
    "images": "/", "held": "/?outcome=held", "image": "/images/web", "updated": "/images/api", "history": "/history",
    "applications": "/applications", "notifications": "/notifications", "missing": "/images/nobody",
}  # fmt: skip
CHANNEL = "notifications: {channels: [{kind: webhook, url: 'http://127.0.0.1:9/'}]}\n"
DARK = "getComputedStyle(document.body).backgroundColor"


@dataclass
class Site:
    """A front door that is served, and where."""

    front: Front
    url: str


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("site")
    with open_lab(folder) as lab, fleet(lab, CHANNEL) as front:
        front.cycle()
        with front.served() as url:
            yield Site(front, url)


@pytest.fixture
def browser() -> Iterator[Reader]:
    with reader(viewport={"width": 1360, "height": 900}) as found:
        yield found


def serious(page: Any) -> list[str]:
    """Return what axe-core finds that keeps people from reading or using a page."""
    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {node['html'][:200]}"
        for one in found if one["impact"] in {"serious", "critical"} for node in one["nodes"]
    ]  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1360, 390], ids=["desk", "phone"])
def test_every_page_can_be_read_and_has_nothing_to_complain_about(
    site: Site, tmp_path: Path, scheme: Any, width: int
) -> None:
    """Screenshots are left in the folder of the test, to be looked at."""
    with reader(color_scheme=scheme, viewport={"width": width, "height": 900}) as browser:
        [made] = facts.changes(site.front.desk, 1).items
        pages = PAGES | {"change": f"/history/{made.repository}/{made.revision}"}
        for name, path in pages.items():
            browser.page.goto(site.url + path)
            browser.page.wait_for_function("document.readyState == 'complete'")
            browser.page.screenshot(path=tmp_path / f"{name}-{scheme}-{width}.png", full_page=True)
            assert serious(browser.page) == [], path
            overflow = browser.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert overflow <= 0, f"{path} is {overflow} pixels wider than the screen"
        missing = [one for one in browser.complaints if "404" in one]
        assert browser.complaints == missing
        assert len(missing) == 1  # the page that is not there
    assert len(list(tmp_path.glob("*.png"))) == len(pages)


def test_filters_are_in_the_address_and_come_back_with_it(site: Site, browser: Reader) -> None:
    page = browser.page
    page.goto(site.url)
    page.select_option("select[name=outcome]", "held")
    page.click("form.filters button")
    page.wait_for_url(re.compile(r"outcome=held"))
    assert page.locator("#rows td.name a").all_inner_texts() == ["web"]
    page.reload()
    assert page.input_value("select[name=outcome]") == "held"
    assert page.locator("#rows td.name a").all_inner_texts() == ["web"]


def test_another_language_keeps_what_is_shown(site: Site, browser: Reader) -> None:
    page = browser.page
    page.goto(site.url)
    page.select_option("select[name=reason]", "level")
    page.click("form.filters button")
    page.wait_for_url(re.compile(r"reason=level"))
    page.click("a[hreflang=zh-Hans]")
    page.wait_for_url(re.compile(r"reason=level.*lang=zh"))
    assert page.locator("#rows td.name a").all_inner_texts() == ["web"]
    page.goto(site.url)
    assert page.get_attribute("html", "lang") == "zh-Hans"
    assert browser.complaints == []


def test_light_and_dark_can_be_chosen_and_stay_chosen(site: Site, browser: Reader) -> None:
    page = browser.page
    page.goto(site.url)
    light = page.evaluate(DARK)
    page.click("#theme")
    dark = page.evaluate(DARK)
    assert light != dark
    page.goto(f"{site.url}/history")
    assert page.evaluate(DARK) == dark
    page.click("#theme")
    assert page.evaluate(DARK) == light


def test_a_form_holds_an_image_and_another_lets_it_go_on(site: Site, browser: Reader) -> None:
    page = browser.page
    page.goto(f"{site.url}/images/api")
    page.fill("input[name=until]", "7d")
    page.fill("input[name=reason]", "wait for <the> audit")
    page.click("form[action*='/hold'] button")
    page.wait_for_url("**/images/api?said=done_hold")
    assert page.inner_text("p.note") == "It is held."
    assert "wait for <the> audit" in page.inner_text("dl.facts")
    page.click("form[action*='/resume'] button")
    page.wait_for_url("**/images/api?said=done_resume")
    assert "wait for <the> audit" not in page.inner_text("dl.facts")
    assert browser.complaints == []


def test_what_is_refused_says_why(site: Site, browser: Reader) -> None:
    page = browser.page
    page.goto(f"{site.url}/images/api")
    page.fill("input[name=until]", "yesterday")
    page.click("form[action*='/hold'] button")
    page.wait_for_selector("[role=alert]")
    assert "yesterday" in page.inner_text("[role=alert]")
    page.goto(f"{site.url}/notifications")
    page.click("form[action*='/test'] button")
    page.wait_for_selector("h1:has-text('not done')")


def test_a_row_moves_by_itself(site: Site, browser: Reader) -> None:
    """The stream says that something changed, and the page fetches its rows: nobody reloads."""
    page, lab = browser.page, site.front.lab
    assert lab is not None
    with page.expect_response("**/api/v1/stream*"):
        page.goto(site.url)
    page.evaluate("window.stays = true")
    lab.push("acme/api", "1.6.0")
    site.front.look()
    page.wait_for_selector("#rows tr:has(a[href='/images/api']) td.version:has-text('1.6.0')")
    assert page.evaluate("window.stays") is True
    assert page.locator("#rows time").first.get_attribute("title")  # told anew as people say it
    assert browser.complaints == []


def test_without_scripts_everything_is_there(site: Site) -> None:
    with reader(java_script_enabled=False) as browser:
        browser.page.goto(site.url)
        assert browser.page.locator("#rows td.name a").count() == 3
        browser.page.click("#rows a[href='/images/web']")
        assert browser.page.locator("h1").inner_text().startswith("web")
        browser.page.click("form[action*='/check'] button")
        browser.page.wait_for_url("**said=done_check")
        assert not browser.page.locator("#theme").is_visible()


def test_who_logs_in_by_a_token_can_act_and_log_out(tmp_path: Path, browser: Reader) -> None:
    tokens = tokens_file(tmp_path)
    with open_lab(tmp_path / "lab") as lab, fleet(lab, f"web: {{login: {{tokens: '{tokens}'}}}}\n") as front:
        front.cycle()
        with front.served() as url:
            page = browser.page
            page.goto(f"{url}/images/api")
            page.wait_for_url("**/login?next=*")
            assert serious(page) == []
            page.fill("#token", TOKEN)
            page.click("form[action='/login'] button")
            page.wait_for_url("**/images/api")
            page.fill("input[name=reason]", "by hand")
            page.click("form[action*='/hold'] button")
            page.wait_for_url("**/images/api?said=done_hold")
            assert "by hand" in page.inner_text("dl.facts")
            page.click("form[action*='/logout'] button")
            page.goto(f"{url}/images/api")
            page.wait_for_url("**/login?next=*")


def test_an_application_is_synced_and_its_row_moves_by_itself(tmp_path: Path, browser: Reader) -> None:
    with clusters(tmp_path, "cloud") as made:
        made.apply(*made.everywhere(automated=None))
        with open_front(made.configure()) as front, front.served() as url:
            page = browser.page
            made.until(lambda: any(one.sync == "OutOfSync" for one in facts.applications(front.desk)))
            page.goto(f"{url}/applications/shop-cloud")
            assert page.inner_text("h1").split() == ["shop-cloud", "OutOfSync", "Missing"]
            assert "shop/shop" in page.inner_text("section:has(#h-drift)")
            assert serious(page) == []
            page.click("form[action*='/sync'] button")
            page.wait_for_url("**said=done_sync")
            page.goto(f"{url}/applications")
            page.wait_for_selector("#rows tr:has-text('shop-cloud'):has-text('Synced'):has-text('Healthy')")
            assert serious(page) == []
    assert browser.complaints == []
