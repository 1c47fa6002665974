"""The report's page as its reader opens it: a file, without a network, on a phone."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from written_study import write_study

from study.commands.report import report
from study.looking.front_files import front_of
from study.mixing.dial import best_of, read_wish
from study.storage.directory import find

PATIENCE = 60_000
"""ms for a figure to be drawn; a tenth of a second on a free machine, but tests may share theirs."""


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
    figures.first.scroll_into_view_if_needed()
    expect(figures.first.locator("svg.main-svg").first).to_be_visible(timeout=PATIENCE)
    assert page.evaluate("document.documentElement.scrollHeight") < 12_000, "what is long is folded"
    page.evaluate("for (const folded of document.querySelectorAll('details')) folded.open = true")
    for number in range(figures.count()):
        figures.nth(number).scroll_into_view_if_needed()
        expect(figures.nth(number).locator("svg.main-svg").first).to_be_attached(timeout=PATIENCE)
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing is wider than the screen"
    for text in ("one", "other", "Make it again", "Findings", "Tables"):
        expect(page.get_by_role("heading", name=text, exact=True).first).to_be_attached()
    expect(page.get_by_text("Is the robustness real?").first).to_be_visible()
    page.screenshot(path=screenshots / f"report-{width}.png", full_page=True)
    assert not complaints
    assert {url for url in asked if not url.startswith(("data:", "blob:"))} == {address}
    context.close()


def test_a_phone_shows_every_column_of_the_front(browser: Browser, address: str) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.goto(address)
    knee = page.locator(".short tr", has_text="knee").first
    for name in ("λ", "clean SROCC, validation", "attacked RMSE, test", "role"):
        cell = knee.locator(f'td[data-name="{name}"]')
        expect(cell).to_be_visible()
        box = cell.bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 390
        assert cell.evaluate("cell => getComputedStyle(cell, '::before').content") == f'"{name}"'
    page.close()


def test_the_contents_lead_to_each_part(browser: Browser, address: str) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.goto(address)
    links = page.get_by_role("navigation").get_by_role("link")
    assert links.all_inner_texts() == ["Findings", "one", "other", "Tables"]
    links.nth(2).click()
    expect(page.get_by_role("heading", name="other", exact=True)).to_be_in_viewport()
    page.close()


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
