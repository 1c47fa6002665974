import dataclasses
import gzip
import hashlib
import io
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from PIL import Image
from plotly.offline import get_plotlyjs_version
from score_tables import score_table

from analysis.figures import bundle, images, scores, trials
from analysis.figures.panel import Bars, Line, Panel, Points
from analysis.figures.printed import to_matplotlib, to_png
from analysis.figures.scale import color_at, decades, scale_over
from analysis.figures.screen import to_plotly
from analysis.front import TrialPoint, find_front

TABLES = {"λ = 0": score_table(noise=9.0), "λ = 1e-4": score_table(noise=2.0)}


def layers_of(panel: Panel, kind: type) -> list[Any]:
    return [layer for layer in panel.layers if isinstance(layer, kind)]


def numbers(values: Any) -> tuple[float, ...]:
    return tuple(np.asarray(values))


def nt_trial(name: str, lam: float, srocc: float, rmse: float, step_size: float = 0.01) -> TrialPoint:
    metrics = {"srocc": srocc, "rmse_attacked": rmse}
    return TrialPoint(trial=name, lam=lam, step_size=step_size, validation=metrics, test=metrics)


EPOCHS = [
    {"epoch": 1, "stage": "pretrain", "train_loss": 9.0, "train_penalty": 0.0, "srocc": 0.4, "rmse_attacked": 4.0},
    {"epoch": 2, "stage": "pretrain", "train_loss": 7.0, "train_penalty": 0.0, "srocc": 0.6, "rmse_attacked": 9.0},
    {"epoch": 3, "stage": "finetune", "train_loss": 8.0, "train_penalty": 5.5, "srocc": 0.5, "rmse_attacked": 2.0},
]
SWEEP = [
    nt_trial("baseline", 0.0, 0.80, 20.0),
    nt_trial("b", 1e-4, 0.75, 6.0),
    nt_trial("a", 1e-5, 0.79, 14.0),
    nt_trial("c", 1e-4, 0.71, 4.0),
]
FRONT = find_front("demo", [vars(point) | {"state": "complete", "is_baseline": point.lam == 0} for point in SWEEP])

EVERY_FIGURE = {
    "before_after": [scores.before_after_panel(TABLES, "test")],
    "change": [scores.change_panel(TABLES, "test", "uap")],
    "gradient_norm": [scores.gradient_norm_panel(TABLES, "test")],
    "gradient_robustness": scores.gradient_robustness_panels(
        {name: [{"gradient_l1": norm, "rmse_attacked": norm / 9} for norm in (90.0, 10.0)] for name in ("a", "b")},
        ["rmse_attacked"],
    ),
    "intensity": scores.intensity_panels(TABLES, "test", ["uap", "fgsm"]),
    "theory": [scores.theory_panel(TABLES, "test", eps=0.005)],
    "finite_difference": [
        scores.finite_difference_panel(np.array([2.0, 4.0]), {0.1: np.array([1.0, 4.0]), 1.0: np.array([1.0, 1.0])})
    ],
    "training": trials.training_panels(EPOCHS),
    "parallel": [trials.parallel_panel(FRONT)],
    "sweep": trials.sweep_panels(SWEEP),
}


def test_the_pages_plotly_is_the_published_one_and_draws_what_we_draw():
    unpacked = gzip.decompress(bundle.packed_plotly())
    assert hashlib.sha256(unpacked).hexdigest() == bundle.SHA256
    assert get_plotlyjs_version() == bundle.VERSION, "take the bundle of plotly's version: analysis/figures/bundle.py"
    assert f"plotly.js (basic - minified) v{bundle.VERSION}".encode() in unpacked[:200]
    drawn = {trace.type for panels in EVERY_FIGURE.values() for trace in to_plotly(panels).data}
    assert drawn == set(bundle.CHARTS)


@pytest.mark.parametrize("name", EVERY_FIGURE)
def test_print_and_screen_draw_every_layer_with_the_same_numbers(name):
    panels = EVERY_FIGURE[name]
    figure, screen = to_matplotlib(panels, columns=2), to_plotly(panels, columns=2)
    axes = figure.axes[: len(panels)]
    for panel, drawn in zip(panels, axes, strict=False):
        points, lines, bars = (layers_of(panel, kind) for kind in (Points, Line, Bars))
        markers = [collection for collection in drawn.collections if isinstance(collection, PathCollection)]
        assert [numbers(layer.y) for layer in points] == [
            numbers(np.asarray(found.get_offsets())[:, 1]) for found in markers
        ]
        shown = [numbers(line.get_ydata()) for line in drawn.lines]
        assert all(numbers(layer.y) in shown for layer in lines)
        assert len(drawn.patches) == 2 * len(bars)
        assert drawn.get_xlabel().replace("\n", " ") == panel.x_label
    traced = [tuple(trace.y) for trace in screen.data]
    for layer in [layer for panel in panels for layer in panel.layers]:
        assert numbers(layer.heights if isinstance(layer, Bars) else layer.y) in traced
    assert Image.open(io.BytesIO(to_png(figure))).width == round(figure.get_figwidth() * 300)


@pytest.mark.parametrize("name", EVERY_FIGURE)
def test_every_axis_that_shows_numbers_has_a_label(name):
    for panel in EVERY_FIGURE[name]:
        assert (panel.x_label or panel.x_ticks) and (panel.y_label or panel.y_ticks)


def test_before_and_after_has_a_point_per_image_and_table():
    first, second = layers_of(EVERY_FIGURE["before_after"][0], Points)
    rows = TABLES["λ = 0"].query("attack == 'fgsm'")
    np.testing.assert_array_equal(first.x, rows["clean_score"])
    np.testing.assert_array_equal(first.y, rows["attacked_score"])
    assert len(second.x) == 40 and second.name == "λ = 1e-4"


def test_each_image_s_change_stands_beside_the_distribution_of_all_model_by_model():
    panel = EVERY_FIGURE["change"][0]
    first, second = layers_of(panel, Points)
    rows = TABLES["λ = 0"].query("attack == 'uap'")
    np.testing.assert_allclose(first.y, (rows["attacked_score"] - rows["clean_score"]).abs())
    outline, other = layers_of(panel, Line)
    assert max(first.x) < min(outline.x) < max(outline.x) < min(second.x) < max(second.x) < min(other.x)
    counts, _ = np.histogram(first.y, bins=np.unique(outline.y))
    lengths = np.asarray(outline.x)[1:-1:2] - outline.x[0]
    np.testing.assert_allclose(lengths / lengths.max(), counts / counts.max())
    assert panel.x_ticks is not None and panel.x_ticks.text[1].startswith("λ = 0\nmean ")


def test_figure_5_is_of_all_models_and_says_their_correlation():
    (panel,) = EVERY_FIGURE["gradient_robustness"]
    assert [points.name for points in layers_of(panel, Points)] == ["a", "b"]
    assert list(layers_of(panel, Points)[0].x) == pytest.approx(np.log10([90.0, 10.0]))
    assert panel.title == "SROCC 1.00 over 4 models"


def test_gradient_norms_are_counted_once_per_image_whatever_the_attacks():
    both = scores.gradient_norm_panel({"a": TABLES["λ = 0"]}, "test")
    one = scores.gradient_norm_panel({"a": TABLES["λ = 0"].query("attack == 'fgsm'")}, "test")
    assert layers_of(both, Bars)[0].name == layers_of(one, Bars)[0].name
    np.testing.assert_array_equal(layers_of(both, Bars)[0].heights, layers_of(one, Bars)[0].heights)


def test_the_theory_panel_puts_a_linear_model_on_the_diagonal():
    linear = score_table().query("attack == 'fgsm'").copy()
    linear["attacked_score"] = linear["clean_score"] - 0.005 * linear["gradient_l1"]
    (points,) = layers_of(scores.theory_panel({"linear": linear}, "test", eps=0.005), Points)
    np.testing.assert_allclose(points.y, points.x, rtol=1e-9)


def test_intensity_joins_the_attacks_in_the_order_given_and_needs_ssim():
    rmse_panel, srocc_panel = EVERY_FIGURE["intensity"]
    line = layers_of(rmse_panel, Line)[0]
    assert list(np.asarray(line.x)) == pytest.approx([0.995, 0.99])
    assert line.y[1] > line.y[0]
    assert srocc_panel.y_label == "SROCC before–after attack"
    with pytest.raises(ValueError, match="has no SSIM"):
        scores.intensity_panels({"probe": score_table().assign(ssim=np.nan)}, "test", ["fgsm"])


def test_training_curves_keep_stages_apart_and_draw_only_what_was_recorded():
    panels = EVERY_FIGURE["training"]
    assert [panel.y_label for panel in panels] == [
        "training loss",
        "penalty of the defence",
        "clean SROCC",
        "attacked RMSE (MOS points)",
    ]
    pretrain, finetune = layers_of(panels[0], Line)
    assert (pretrain.x, pretrain.y, finetune.x, finetune.y) == ([1, 2], [9.0, 7.0], [3], [8.0])
    without = [{key: value for key, value in row.items() if key != "train_penalty"} for row in EPOCHS]
    assert len(trials.training_panels(without)) == 3
    with pytest.raises(ValueError, match="before the first epoch"):
        trials.training_panels([])


def test_the_sweep_averages_seeds_and_marks_the_baseline():
    srocc, rmse = EVERY_FIGURE["sweep"]
    (points,) = layers_of(srocc, Points)
    assert list(points.x) == [1e-5, 1e-4]
    assert list(points.y) == pytest.approx([0.79, 0.73])
    assert list(points.error_y) == pytest.approx([0.0, 0.04 / np.sqrt(2)])
    assert layers_of(rmse, Line)[0].y == [20.0, 20.0]
    with pytest.raises(ValueError, match="needs trials with λ above 0"):
        trials.sweep_panels(SWEEP[:1])


def test_where_h_varies_too_no_line_joins_the_trials():
    """Through points of several h it would read as a curve of one."""
    others = [dataclasses.replace(point, step_size=0.1) for point in SWEEP[2:]]
    srocc, _ = trials.sweep_panels([*SWEEP, *others, dataclasses.replace(SWEEP[1], lam=1e-3)])
    assert [(points.name, len(points.x)) for points in layers_of(srocc, Points)] == [("h ≈ 0.01", 4), ("h ≈ 0.1", 2)]
    assert [line.name for line in layers_of(srocc, Line)] == ["λ = 0", "straight trend"]
    start, end = layers_of(srocc, Line)[1].y
    assert start > end, "accuracy falls with λ"


def test_parallel_coordinates_have_a_line_per_trial_within_the_axes():
    lines = layers_of(EVERY_FIGURE["parallel"][0], Line)
    assert len(lines) == len(SWEEP)
    heights = np.concatenate([line.y for line in lines])
    assert (heights.min(), heights.max()) == (0.0, 1.0)
    baseline = next(line for line in lines if line.name)
    assert list(baseline.x) == [2, 3], "λ and h mean nothing for it"


def test_the_colour_scale_is_logarithmic_and_never_too_short():
    scale = scale_over("λ", [0.0, 1e-6, 1e-2])
    assert scale is not None
    assert color_at(1e-4, scale) == "#21918c", "the middle of viridis"
    assert decades(scale) == pytest.approx([1e-6, 1e-5, 1e-4, 1e-3, 1e-2])
    short = scale_over("λ", [3e-4, 3e-4])
    assert short is not None and short.high / short.low == pytest.approx(10)
    assert scale_over("λ", [0.0]) is None


def example(amount: float = 0.005) -> images.Example:
    clean = np.full((8, 12, 3), 0.25, dtype=np.float32)
    attacked = clean.copy()
    attacked[:, :6] += np.float32(amount)
    return images.Example(
        name="photo", clean=clean, attacked=attacked, clean_score=40.0, attacked_score=62.5, ssim=0.987
    )


def test_the_grid_shows_clean_attacked_and_the_amplified_difference_with_scores():
    figure = images.example_grid([example(), example(0.5)], amplification=20)
    clean, attacked, difference = figure.axes[:3]
    assert np.asarray(clean.images[0].get_array()).max() == pytest.approx(0.25)
    shown = np.asarray(difference.images[0].get_array())
    assert shown[0, 0, 0] == pytest.approx(0.6) and shown[0, -1, 0] == 0.5
    assert np.asarray(figure.axes[5].images[0].get_array()).max() == 1.0, "clipped, not wrapped"
    texts = [axes.get_xlabel() for axes in (clean, attacked, difference)]
    assert texts == ["40.0", "62.5 (SSIM 0.987)", "+22.5"]
    assert images.as_img(figure, 'a "b" <c>').startswith(
        '<img alt="a &quot;b&quot; &lt;c>" src="data:image/png;base64,iVBOR'
    )


def test_images_out_of_range_and_empty_grids_are_refused():
    with pytest.raises(ValueError, match=r"photo: the attacked image must be \(H, W, 3\) in \[0, 1\]"):
        example(5.0)
    with pytest.raises(ValueError, match="at least one image"):
        images.example_grid([])


def test_rising_intensities_stand_beside_the_clean_image_with_scores_and_ssim():
    rows = tuple((label, (example(0.1), example(0.2))) for label in ("λ = 0", "λ = 1e-4"))
    graded = images.Graded(attacks=("weak", "strong"), rows=rows)
    figure = images.intensity_grid(graded)
    assert len(figure.axes) == 6
    assert [axes.get_title() for axes in figure.axes[:3]] == ["clean", "weak", "strong"]
    assert [axes.get_xlabel() for axes in figure.axes[:2]] == ["40.0", "40.0 → 62.5\nSSIM 0.987"]
    assert np.asarray(figure.axes[5].images[0].get_array()).max() == pytest.approx(0.45)
    with pytest.raises(ValueError, match="rows of 2 images each"):
        images.Graded(attacks=("weak", "strong"), rows=(("λ = 0", (example(),)),))
