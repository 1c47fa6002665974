"""What a reader sees of a study in MLflow's UI, behind the links that `nt-study ui` prints."""

from __future__ import annotations

import itertools
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest
from playwright.sync_api import FrameLocator, Page, expect
from ports import free_port

from analysis.figures.panel import Points
from analysis.figures.pareto import pareto_panel
from analysis.front import Front
from study.looking.front_files import front_of
from study.storage.directory import StudyDirectory

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def links(smoke_study: StudyDirectory) -> Iterator[dict[str, str]]:
    """What `nt-study ui` prints: its server runs until the tests here have ended, and ends with Ctrl-C."""
    command = [sys.executable, "-m", "study.cli", "ui", smoke_study.name, "--port", str(free_port())]
    command += ["--studies", str(smoke_study.path.parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = "".join(itertools.takewhile(lambda line: "Ctrl-C" not in line, process.stdout))
        try:
            yield dict(re.findall(r"^  (\w+) +(\S+)$", said, re.MULTILINE))
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        finally:
            process.kill()


@pytest.fixture(scope="module")
def front(smoke_study: StudyDirectory) -> Front:
    return front_of(smoke_study)


def plot_in(page: Page, address: str) -> FrameLocator:
    page.goto(address)
    frame = page.frame_locator("iframe")
    expect(frame.locator("#splits button").first).to_be_visible()
    return frame


def test_the_plot_is_drawn_and_answers_inside_the_artifact_viewer(
    page: Page, links: dict[str, str], front: Front, screenshots: Path
) -> None:
    plot = plot_in(page, links["front"])
    drawn = sum(np.size(layer.x) for layer in pareto_panel(front).layers if isinstance(layer, Points))
    expect(plot.locator(".scatterlayer .point")).to_have_count(drawn)
    assert page.locator("iframe").get_attribute("sandbox") == "allow-scripts"

    points = plot.locator(".scatterlayer .point")
    box = points.last.bounding_box()
    assert box is not None
    for x, y in ((-40.0, -40.0), (0.0, 0.0)):
        page.mouse.move(box["x"] + box["width"] / 2 + x, box["y"] + box["height"] / 2 + y)
    expect(plot.locator(".hoverlayer .hovertext").first).to_be_visible()
    hovered = plot.locator(".hoverlayer").text_content() or ""
    point = next(point for point in front.points if point.trial in hovered)
    page.screenshot(path=screenshots / "plot-hover.png")

    page.mouse.down()
    page.mouse.up()
    expect(plot.locator("#detail input")).to_have_value(point.run_id)
    expect(plot.locator("#detail")).to_contain_text(point.trial)
    page.screenshot(path=screenshots / "plot-detail.png")


def test_the_overview_says_what_was_found_and_links_to_the_plot(
    page: Page, links: dict[str, str], front: Front, screenshots: Path
) -> None:
    page.goto(links["summary"])
    finding = page.get_by_text("The knee is")
    expect(finding).to_be_visible()
    expect(finding).to_contain_text(front.knee.trial)
    page.screenshot(path=screenshots / "overview.png")
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Open the interactive plot").click()
    expect(opened.value.frame_locator("iframe").locator(".scatterlayer .point").first).to_be_attached()
    opened.value.close()


def test_the_trials_are_listed_with_their_settings_and_objectives(
    page: Page, links: dict[str, str], front: Front, screenshots: Path
) -> None:
    page.goto(links["trials"])
    for point in front.points:
        expect(page.get_by_role("link", name=point.trial, exact=True)).to_be_visible()
    expect(page.get_by_text("validation/rmse_attacked").first).to_be_visible()
    page.screenshot(path=screenshots / "trials.png")


def test_the_charts_begin_with_the_objectives(
    page: Page, links: dict[str, str], front: Front, screenshots: Path
) -> None:
    page.goto(links["charts"])
    expect(page.get_by_text("The front").first).to_be_visible()
    expect(page.get_by_text("Parallel Coordinates").first).to_be_visible()
    points = page.locator(".scatterlayer").first.locator(".point")
    expect(points).to_have_count(len(front.points))
    page.screenshot(path=screenshots / "charts.png")


def test_the_server_answers_on_loopback_only(links: dict[str, str]) -> None:
    port = urlsplit(links["front"]).port
    assert port is not None
    listening = {
        connection.laddr.ip
        for connection in psutil.net_connections("tcp")
        if connection.laddr and connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
    }
    assert listening == {"127.0.0.1"}
