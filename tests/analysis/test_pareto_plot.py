import io
import json
import math
from typing import Any

import numpy as np
import pytest
from PIL import Image

from analysis.figures.panel import Line, Panel, Points
from analysis.figures.pareto import comparison_panel, front_panels, pareto_html, pareto_panel, pareto_png
from analysis.figures.printed import to_matplotlib
from analysis.figures.screen import to_plotly
from analysis.front import Front, find_front


def trials(count: int = 9) -> list[dict[str, Any]]:
    """The λ=0 baseline and `count` trials with h over three decades, some of them dominated."""
    random = np.random.default_rng(11)
    found = []
    for index in range(count + 1):
        metrics = {
            "srocc": 0.8 - 0.02 * index,
            "rmse_attacked": 20.0 / (1 + index) + 9 * (index in (3, 5)),
            "plcc": math.nan,
            "r_robustness": math.inf,
            "rmse_attacked/uap": 1.5,
        }
        found.append(
            {
                "trial": f"t{index:03d}" if index else "baseline",
                "lam": 10 ** random.uniform(-6, -3) if index else 0.0,
                "step_size": 10.0 ** (index % 3 - 3),
                "state": "complete",
                "validation": metrics,
                "test": {name: value * 0.9 for name, value in metrics.items()},
                "run_id": f"run-{index}",
                "is_baseline": index == 0,
                "is_paper_setting": index == 2,
            }
        )
    return found


@pytest.fixture
def front() -> Front:
    return find_front("demo", trials())


def drawn_points(panel: Panel) -> list[tuple[float, float]]:
    layers = [layer for layer in panel.layers if isinstance(layer, Points) and not layer.hollow]
    return sorted((x, y) for layer in layers for x, y in zip(np.asarray(layer.x), np.asarray(layer.y), strict=True))


@pytest.mark.parametrize("split", ["validation", "test"])
def test_every_finished_trial_is_drawn_once_where_its_metrics_say(front, split):
    expected = sorted((point.metrics(split)["rmse_attacked"], point.metrics(split)["srocc"]) for point in front.points)
    assert drawn_points(pareto_panel(front, split)) == expected


def test_print_and_screen_draw_the_same_points(front):
    panel = pareto_panel(front)
    axes = to_matplotlib([panel]).axes[0]
    printed = np.concatenate([np.asarray(collection.get_offsets()) for collection in axes.collections])
    traces = [trace for trace in to_plotly([panel]).data if trace.mode == "markers"]
    screen = np.array([(x, y) for trace in traces for x, y in zip(trace.x, trace.y, strict=True) if x is not None])
    assert len(printed) == len(front.points) + 2, "and a ring each for the knee and the paper's setting"
    np.testing.assert_array_equal(np.sort(printed, axis=0), np.sort(screen, axis=0))


def test_dominated_trials_are_faded_and_marks_are_on_their_trials(front):
    layers = [layer for layer in pareto_panel(front).layers if isinstance(layer, Points)]
    faded = sum(len(np.asarray(layer.x)) for layer in layers if layer.opacity < 1)
    assert faded == len(front.dominated) == 2
    marks = {layer.name: (np.asarray(layer.x)[0], np.asarray(layer.y)[0]) for layer in layers if layer.hollow}
    assert marks["knee"] == (front.knee.validation["rmse_attacked"], front.knee.validation["srocc"])
    assert marks["paper's λ and h"] == (20.0 / 3, 0.76)
    star = next(layer for layer in layers if layer.symbol == "star")
    assert (list(np.asarray(star.x)), list(np.asarray(star.y))) == ([20.0], [0.8])


def test_one_symbol_for_each_decade_of_h(front):
    layers = [layer for layer in pareto_panel(front).layers if isinstance(layer, Points)]
    named = {layer.name: layer.symbol for layer in layers if layer.name.startswith("h")}
    assert list(named) == ["h ≈ 0.001", "h ≈ 0.01", "h ≈ 0.1"]
    assert len(set(named.values())) == 3


def test_the_staircase_is_only_claimed_where_the_front_was_chosen(front):
    def line(split):
        return next(layer for layer in pareto_panel(front, split).layers if isinstance(layer, Line))

    assert line("validation").steps and not line("test").steps
    x, y = np.asarray(line("validation").x), np.asarray(line("validation").y)
    assert (np.diff(x) > 0).all() and (np.diff(y) > 0).all()


def data_of(page: str) -> dict[str, Any]:
    start = page.index("const page = ") + len("const page = ")
    return json.JSONDecoder().raw_decode(page[start:])[0]


def test_the_page_holds_everything_itself(front):
    page = pareto_html(front)
    assert "@NAMES@" not in page and "@DATA@" not in page
    for address in ("src=", "href=", "http:", "https:", "@import", "fetch("):
        assert address not in page
    data = data_of(page)
    assert set(data["figures"]) == {"validation", "test"}
    details = data["trials"]["demo/t002"]
    assert details["run_id"] == "run-2"
    assert details["validation"]["rmse_attacked"] == pytest.approx(20.0 / 3)
    assert details["validation"]["plcc"] is None
    assert details["test"]["srocc"] == pytest.approx(0.76 * 0.9)
    assert "the paper's λ and h" in details["roles"]
    keys = [key for trace in data["figures"]["validation"]["data"] for key in trace.get("customdata") or []]
    assert sorted(keys) == sorted(data["trials"])
    hovers = [text for trace in data["figures"]["validation"]["data"] for text in trace.get("text") or []]
    assert any(
        "t004" in text and "clean SROCC: 0.720" in text and "attacked RMSE, uap: 1.50" in text for text in hovers
    )


def test_the_page_is_small_enough_for_a_phone():
    assert len(pareto_html(find_front("demo", trials(200))).encode()) < 1_500_000


def test_a_name_cannot_break_out_of_the_page():
    evil = trials(1)
    evil[1]["trial"] = "</script><script>alert(1)</script>"
    page = pareto_html(find_front("<b>study</b>", evil))
    assert "<script>alert" not in page and "<b>study" not in page
    assert "<b>study</b>/</script><script>alert(1)</script>" in data_of(page)["trials"]


def test_no_test_view_before_there_are_test_metrics():
    early = [trial | {"test": {}} for trial in trials()]
    assert set(data_of(pareto_html(find_front("demo", early)))["figures"]) == {"validation"}


def test_only_a_baseline_can_be_drawn():
    front = find_front("demo", trials()[:1])
    assert drawn_points(pareto_panel(front)) == [(20.0, 0.8)]
    assert "λ = 0" in data_of(pareto_html(front))["trials"]["demo/baseline"]["roles"]
    assert pareto_png(front).startswith(b"\x89PNG")


def test_comparison_overlays_studies_in_a_colour_each(front):
    other = find_front("other", trials(4))
    panel = comparison_panel([front, other])
    assert len(drawn_points(panel)) == len(front.points) + len(other.points)
    colors = {layer.name: layer.color for layer in panel.layers if isinstance(layer, Points) and layer.name}
    assert set(colors) == {"demo", "other"} and colors["demo"] != colors["other"]
    assert {"demo/t001", "other/t001"} <= set(data_of(pareto_html(front, other))["trials"])


def test_studies_of_different_objectives_are_not_compared(front):
    other = find_front("other", trials(), ["srocc", "rmse_attacked/uap"])
    with pytest.raises(ValueError, match="'demo' and 'other' have different objectives"):
        comparison_panel([front, other])


def test_a_third_objective_has_a_plot_of_its_own_over_the_same_axis(front):
    measured = trials()
    for index, trial in enumerate(measured):
        trial["validation"]["srocc_mos_attacked"] = 0.7 - 0.1 * abs(index - 4)
    three = find_front("demo", measured, ["srocc", "rmse_attacked", "srocc_mos_attacked"])
    of_accuracy, of_third = front_panels([three])
    assert drawn_points(of_accuracy) == drawn_points(pareto_panel(front))
    assert drawn_points(of_third) == sorted(
        (point.validation["rmse_attacked"], point.validation["srocc_mos_attacked"]) for point in three.points
    )
    knee = next(layer for layer in of_third.layers if isinstance(layer, Points) and layer.name == "knee")
    assert knee.y == [three.knee.validation["srocc_mos_attacked"]]
    assert len(front_panels([three, three])) == 2 and len(front_panels([front])) == 1
    assert Image.open(io.BytesIO(pareto_png(three))).height == 2 * Image.open(io.BytesIO(pareto_png(front))).height


def test_the_print_is_a_column_wide_and_the_same_each_time(front):
    png = pareto_png(front)
    assert Image.open(io.BytesIO(png)).width == 3.5 * 300
    assert png == pareto_png(find_front("demo", trials()))


def test_seed_spread_is_drawn_as_error_bars_once_confirmed():
    confirmed = trials()
    confirmed[4]["spread"] = {"srocc": 0.015, "rmse_attacked": 0.4}
    bars = [layer for layer in pareto_panel(find_front("demo", confirmed)).layers if isinstance(layer, Points)]
    heights = [list(np.asarray(layer.error_y)) for layer in bars if layer.error_y is not None]
    assert any(0.015 in row for row in heights)
    without = pareto_panel(find_front("demo", trials())).layers
    assert all(layer.error_x is None for layer in without if isinstance(layer, Points))


def test_sizes_tell_the_epochs_of_nt_trials_however_long_the_baseline_trained():
    uneven = trials(3)
    for trial, epochs in zip(uneven, (12, 2, 1, 2), strict=True):
        trial["epochs"] = epochs
    front = find_front("demo", uneven)
    sizes: dict[str, float] = {}
    for layer in pareto_panel(front).layers:
        if isinstance(layer, Points) and not layer.hollow:
            sizes |= dict(zip(layer.keys, np.atleast_1d(np.asarray(layer.size)).tolist(), strict=False))
    assert sizes["demo/t001"] == sizes["demo/t003"] == sizes["demo/baseline"] == 13.0
    assert sizes["demo/t002"] == 10.5
