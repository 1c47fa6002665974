"""The report's page as its reader opens it: a file, without a network, on a phone."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from written_study import write_study

from study.commands.report import report
from study.looking.front_files import front_of
from study.mixing.dial import best_of, read_wish
from study.storage.directory import find


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    write_study(folder / "studies", "one")
    write_study(folder / "studies", "other")
    report(["one", "other"], folder / "out", None, folder / "studies")
    return (folder / "out" / "report.html").as_uri()


@pytest.mark.parametrize("width", [360, 1400])
def test_it_is_whole_offline_and_fits_the_screen(browser: Browser, address: str, width: int, screenshots: Path) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, offline=True)
    page, asked, complaints = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    figures = page.locator("[data-figure]")
    assert figures.count() > 10
    expect(page.locator("[data-figure] svg.main-svg").first).to_be_visible()
    _scroll_through(page)
    for number in range(figures.count()):
        expect(figures.nth(number).locator("svg.main-svg").first).to_be_attached()
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing is wider than the screen"
    for text in ("one", "other", "Is the robustness real?", "Make it again", "Tables"):
        expect(page.get_by_role("heading", name=text, exact=True).first).to_be_attached()
    page.screenshot(path=screenshots / f"report-{width}.png", full_page=True)
    assert not complaints
    assert {url for url in asked if not url.startswith(("data:", "blob:"))} == {address}
    context.close()


def _scroll_through(page: Page) -> None:
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    page.evaluate("window.scrollTo(0, 0)")


def test_the_dial_names_the_best_model_that_keeps_the_bound(browser: Browser, address: str, screenshots: Path) -> None:
    front = front_of(find(Path(address.removeprefix("file://")).parents[1] / "studies", "one"))
    context = browser.new_context(viewport={"width": 360, "height": 800}, offline=True)
    page = context.new_page()
    page.goto(address)
    dial = page.locator(".dial").first
    slider, chosen, command = dial.locator("input"), dial.locator(".chosen"), dial.locator("pre")
    expect(chosen).to_contain_text(f"{front.most_robust.trial} (")
    slider.focus()
    slider.press("End")
    expect(chosen).to_contain_text(f"{front.most_accurate.trial} (")
    dial.locator("select").select_option("attacked RMSE at most")
    expect(chosen).to_contain_text(f"{front.most_robust.trial} (")
    slider.press("Home")
    expect(chosen).to_contain_text(f"{front.most_accurate.trial} (")
    for _ in range(5):
        slider.press("PageUp")
    wish = read_wish(command.inner_text().split('"')[1], front.objectives)
    assert chosen.inner_text().startswith(f"{best_of(list(front.points), wish, 'one').trial} (")
    dial.screenshot(path=screenshots / "report-dial.png")
    context.close()
