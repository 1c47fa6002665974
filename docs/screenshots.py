"""Takes the pictures of docs/mlflow.md from a finished study, as a reader sees it: python docs/screenshots.py STUDY

STUDY is a study's folder. Needs Debian's chromium.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from study.commands.ui import places
from study.looking.front_files import front_of
from study.storage.directory import StudyDirectory
from study.tracking.server import Server
from study.tracking.tracker import open_for_reading

PICTURES = Path(__file__).with_name("img")
PORT = 5055


def main(study: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        # A copy and a new server: the pictures then show neither this machine's folders nor other studies.
        directory = StudyDirectory(Path(shutil.copytree(study, Path(scratch) / study.name)))
        with Server(f"sqlite:///{scratch}/mlflow.db", Path(scratch) / "mlartifacts", PORT) as server:
            links = places(open_for_reading(directory, server.address))
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1480, "height": 850})
            page.set_default_timeout(90_000)
            page.add_init_script("localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')")
            page.goto(f"{server.address}/{links['front']}")
            open_detail(page, front_of(directory).knee.trial)
            page.screenshot(path=PICTURES / "mlflow-plot.png")
            page.goto(f"{server.address}/{links['summary']}")
            page.get_by_text("Show more").first.click()
            page.screenshot(path=PICTURES / "mlflow-overview.png")
            browser.close()


def open_detail(page: Page, trial: str) -> None:
    """Click the trial's point."""
    plot = page.frame_locator("iframe")
    points = plot.locator(".scatterlayer .point")
    points.first.wait_for()
    for point in points.all():
        box = point.bounding_box()
        assert box is not None
        for x, y in ((-40.0, -40.0), (0.0, 0.0)):
            page.mouse.move(box["x"] + box["width"] / 2 + x, box["y"] + box["height"] / 2 + y)
        page.wait_for_timeout(500)
        if trial in (plot.locator(".hoverlayer").text_content() or ""):
            page.mouse.down()
            page.mouse.up()
            plot.locator("#detail input").wait_for()
            return
    raise SystemExit(f"the plot shows no trial {trial}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
