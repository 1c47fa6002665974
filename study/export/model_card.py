"""The README.md of an exported model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.front import SPLITS, Front, TrialPoint
from trainables.objectives import objective


def model_card(
    config: dict[str, Any],
    front: Front,
    point: TrialPoint,
    attacks: Mapping[str, Mapping[str, Any]],
    formats: Sequence[str] = (),
    measured: Mapping[str, TrialPoint] | None = None,
) -> str:
    """Markdown: what the model is, how good and how robust it was measured to be, how to use it, what to beware of.

    attacks: label -> parameters of those that the score table holds. measured: this trial and the baseline, by name,
    with the metrics to show where these are not the front's.
    """
    view, data = config["input"], config["data"]
    size = f"{view['height']}x{view['width']} pixels"
    taken = _crops(view, size) if view["mode"] == "crop" else f"its whole, resized to {size}"
    robust = (
        f"mixed of two\ntrained models of that study, {point.setting} by weight (linear interpolation)"
        if point.is_mixture
        else f"trained with a defence,\n{point.setting}"
        if point.lam and not point.is_nt_trial
        else f"trained with the gradient-norm regulariser,\nλ = {point.lam:.3g} (released form, with the factor ½) and "
        f"h = {point.step_size:.3g} (ImageNet-normalised units)"
        if point.lam
        else f"trained without a defence,\n{point.setting}"
        if not point.is_baseline and point.defence == "none"
        else "trained without the\nregulariser (λ = 0): it is the study's reference"
    )
    attacked = ", ".join(f"`{label}` {_settings(attack)}" for label, attack in attacks.items())
    onnx = _onnx(view) if "onnx" in formats else ""
    return f"""# {config["model"]} ({config["size"]}), trial `{point.trial}` of study `{front.study}`

A no-reference image quality model: RGB image in, score out, higher is better. It was {robust}.
{f"**{front.doubt[0].upper()}{front.doubt[1:]}.** " if front.doubt else ""}{_role(front, point)}

![The study's Pareto front](front.png)

{_table(front, point, measured or {})}

{_choice(config)} The attacks that were measured:
{attacked}. All numbers are in `metrics.json`, every image's scores in `scores.parquet`.

## Use

    nt-study score DIR IMAGE…

or in Python:

    from study.export.reading import load_exported, score
    score("DIR", ["photo.jpg"])          # files, folders, globs
    model = load_exported("DIR")         # (N, 3, {view["height"]}, {view["width"]}) in [0, 1] -> (N,)

An image is scored by {taken}; an image of that size is its own only view. `config.json` has the normalisation.
{_repeats(view)}{onnx}

The scale is 0 to 100: the worst and the best rating among the images that the model was trained on. It is no bound, and
`nt-study score` flags scores beyond it.

## Beware

- Trained on `{data["spec"]}` ({data["score_kind"]}): {_images(data["images"])};
  fingerprint `{data["fingerprint"][:12]}`. Scores of other kinds of images are extrapolations.
- Robustness was measured for the attacks above. A stronger or a different attack may change the score by more.
"""


def _crops(view: Mapping[str, Any], size: str) -> str:
    several = view["crops"] > 1
    crops = f"{view['crops']} crops of {size}" if several else f"one crop of {size}"
    if view["views"] == "by_name":
        return f"{crops}, whose places are drawn from the file's name"
    return f"{crops} on a grid, from edge to edge" if several else f"{crops} from its middle"


def _repeats(view: Mapping[str, Any]) -> str:
    """What decides an image's score."""
    if view["views"] == "by_name":
        return "An image of the study has the score that is in `scores.parquet`, under the name that it has there."
    return "Equal pixels have equal scores, and an image of the study has the one that is in `scores.parquet`."


def _onnx(view: Mapping[str, Any]) -> str:
    return (
        f"\n`model.onnx` takes views `(N, 3, {view['height']}, {view['width']})`, RGB in [0, 1];\n"
        "`trainables.views.image_views` cuts them, and an image's score is the mean over its views."
    )


def _role(front: Front, point: TrialPoint) -> str:
    names = {
        "knee, the best compromise between the objectives": front.knee,
        "most accurate member": front.most_accurate,
        "most robust member": front.most_robust,
    }
    roles = [text for text, member in names.items() if member == point]
    if roles and not front.doubt:
        return f"On the study's Pareto front it is the {' and the '.join(roles)}."
    return "It is a member of the study's Pareto front." if point in front.members else "It is not on the Pareto front."


def _choice(config: Mapping[str, Any]) -> str:
    """What was chosen on which images, and what the numbers above are of."""
    if not (epochs := config.get("trial", {}).get("refit")):
        return "Chosen on the validation images; the test images were scored once, after the choice."
    return (
        "λ, h and the number of epochs were chosen on validation images, by trials that did not train on them. This\n"
        "model was then trained on training and validation images together, for as many epochs "
        f"({' + '.join(map(str, epochs))}),\nand nothing was chosen any more; so was λ = 0. The numbers are of test "
        "images, which were scored once, at the end."
    )


def _table(front: Front, point: TrialPoint, measured: Mapping[str, TrialPoint]) -> str:
    columns = [("this model", measured.get(point.trial, point))]
    if front.baseline is not None and front.baseline != point:
        columns.append(("λ = 0", measured.get(front.baseline.trial, front.baseline)))
    splits = [split for split in SPLITS if columns[0][1].metrics(split)]
    header = [f"{split} {name}" for split in splits for name, _ in columns]
    lines = [f"| | {' | '.join(header)} |", f"|---|{'---:|' * len(header)}"]
    for name in front.objectives:
        values = [f"{of.metrics(split)[name]:.3f}" for split in splits for _, of in columns]
        lines.append(f"| `{name}`: {objective(name).description} | {' | '.join(values)} |")
    return "\n".join(lines)


def _settings(attack: Mapping[str, Any]) -> str:
    values = ", ".join(f"{name} {value:.4g}" for name, value in attack.items() if isinstance(value, (int, float)))
    return f"({attack['name']}, {values})" if values else f"({attack['name']})"


def _images(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {split}" for split, count in sorted(counts.items())) + " images"
