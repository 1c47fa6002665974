"""How metrics and hyperparameters are called on axes and in table heads."""

from __future__ import annotations

import math

from trainables.objectives import objective

_CORRELATIONS = ("srocc", "plcc", "krocc")
_TITLES = {
    "rmse": "clean RMSE",
    "gradient_l1": "gradient L1 norm",
    "rmse_attacked": "attacked RMSE",
    "rmse_attacked_relative": "attacked RMSE over the spread",
    "rmse_attacked_fitted": "attacked RMSE over the spread, fitted to MOS",
    "rmse_attacked_worst": "worst attacked RMSE",
    "rmse_mos_attacked": "RMSE to MOS under attack",
    "mean_abs_change": "mean score change",
    "r_robustness": "R robustness",
    "absolute_gain": "absolute gain",
    "relative_gain": "relative gain",
    "robustness_score": "robustness score",
    "ssim": "SSIM of the attacked images",
    "psnr": "PSNR of the attacked images",
    **{name: f"clean {name.upper()}" for name in _CORRELATIONS},
    **{f"{name}_attacked": f"{name.upper()} before–after attack" for name in _CORRELATIONS},
    **{f"{name}_mos_attacked": f"{name.upper()} to MOS under attack" for name in _CORRELATIONS},
}


def title(name: str) -> str:
    """An objective's name as people say it: ``rmse_attacked/uap`` is "attacked RMSE, uap"."""
    base, _, attack = name.partition("/")
    return f"{_TITLES[base]}, {attack}" if attack else _TITLES[base]


def axis_label(name: str) -> str:
    """Title and unit of an objective, for an axis."""
    unit = objective(name).unit
    return f"{title(name)} ({unit})" if unit else title(name)


def number(value: float | None, digits: int = 3) -> str:
    """A metric as text: `digits` decimals below 1, as many significant digits above, "–" for what is undefined."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if 0 < abs(value) < 10**-digits:
        return f"{value:.1e}"
    if abs(value) < 1:
        return f"{value:.{digits}f}"
    return f"{value:.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:#.{digits}g}"


def defence_text(defence: str) -> str:
    """A name of `trainables.defences` as people say it."""
    return "NT" if defence == "nt" else defence.replace("_", " ")


def lam_text(lam: float) -> str:
    """λ to two digits, as 1.7e-4; 0 for the baseline, "–" where it is not known."""
    if math.isnan(lam):
        return "–"
    if not lam:
        return "0"
    mantissa, exponent = f"{lam:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
