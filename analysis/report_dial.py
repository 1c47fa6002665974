"""The report's dial: a bound on one objective, and the model of the front that keeps it and is best in the other.

It chooses among what is recorded, on validation, as `nt-study export --at` does before it mixes anything more.
"""

from __future__ import annotations

import html
import json
import shlex
from typing import Any

from analysis.front import Front
from analysis.labels import number, title

MARKUP = """<div class="dial" data-dial="{data}">
<h3>Which model for which bound?</h3>
<p><label><select aria-label="objective with a bound">{options}</select>
<input type="range" min="0" max="1000" value="0" aria-label="the bound"></label> <output></output></p>
<p class="chosen"></p><pre></pre>
<p><small>Chosen on validation among the models recorded here. The command looks between them too, and measures what it
finds.</small></p>
</div>"""


def dial(front: Front) -> str:
    """The slider as HTML; its script is in `report_page.html`. Nothing where there is nothing to choose."""
    if front.doubt or len(front.members) < 2:
        return ""
    words = {"maximize": "at least", "minimize": "at most"}
    options = "".join(
        f"<option>{html.escape(title(name))} {words[direction]}</option>"
        for name, direction in zip(front.objectives[:2], front.directions, strict=False)
    )
    return MARKUP.format(data=html.escape(json.dumps(_content(front), allow_nan=False)), options=options)


def _content(front: Front) -> dict[str, Any]:
    names = front.objectives[:2]
    return {
        "command": shlex.join(["nt-study", "export", front.study, "--at"]),
        "objectives": [
            {"name": name, "title": title(name), "sign": ">=" if direction == "maximize" else "<="}
            for name, direction in zip(names, front.directions, strict=False)
        ],
        "models": [
            {
                "name": point.trial,
                "setting": point.setting,
                "validation": [point.validation[name] for name in names],
                "test": [number(point.test.get(name)) for name in names],
            }
            for point in front.members
        ],
    }
