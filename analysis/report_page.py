"""A report as one HTML page that needs nothing else: figures by plotly, tables, verdicts, how to make it again."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from importlib.resources import files

from analysis.figures.bundle import plotly_scripts
from analysis.figures.images import as_img, example_grid
from analysis.figures.pareto import front_sentence
from analysis.figures.screen import to_plotly
from analysis.front import Front
from analysis.labels import number, title
from analysis.report_dial import dial
from analysis.report_figures import Figure, StudyResult
from analysis.tables import Table
from analysis.tables_as import as_html, from_markdown

PANEL_HEIGHT = 400
"""Pixels."""
NO_TABLES = "<p>No study of NT has both a finished λ = 0 baseline and another finished trial yet.</p>"


def report_page(
    results: Sequence[StudyResult],
    figures: Sequence[Sequence[Figure]],
    shared: Sequence[Figure],
    tables: Sequence[Table],
    account: str,
) -> str:
    """The page. figures: of each study; shared: of all together, shown first; account: the findings, as Markdown."""
    drawn = [*shared, *(figure for own in figures for figure in own)]
    places = iter([_figure(figure, position) for position, figure in enumerate(drawn)])
    names = html.escape(", ".join(result.front.study for result in results))
    together = [next(places) for _ in shared]
    studies = [_study(result, [next(places) for _ in own]) for result, own in zip(results, figures, strict=True)]
    printed = [_folded(f"Table {table.key}. {table.caption}", as_html(table)) for table in tables] or [NO_TABLES]
    sections = [
        ("Findings", "\n".join([_account(account), *together])),
        *((result.front.study, study) for result, study in zip(results, studies, strict=True)),
        ("Tables", "\n".join(printed)),
    ]
    body = ["<h1>NT Study report</h1>", _contents([name for name, _ in sections])]
    body += [_section(place, name, text) for place, (name, text) in enumerate(sections)]
    plots = [json.loads(to_plotly(figure.panels, 1, PANEL_HEIGHT).to_json()) for figure in drawn]
    content = {
        "TITLE": names,
        "BODY": "\n".join(body),
        # "</script>" inside a JSON string would end the script that holds it.
        "DATA": json.dumps(plots, allow_nan=False).replace("<", "\\u003c"),
        "PLOTLY": plotly_scripts(),
    }
    template = files("analysis").joinpath("report_page.html").read_text(encoding="utf-8")
    return re.sub("@([A-Z]+)@", lambda mark: content[mark[1]], template)


def _contents(names: Sequence[str]) -> str:
    links = "".join(f'<li><a href="#part-{place}">{html.escape(name)}</a></li>' for place, name in enumerate(names))
    return f'<nav aria-label="Contents"><ul>{links}</ul></nav>'


def _section(place: int, name: str, text: str) -> str:
    return f'<section id="part-{place}">\n<h2>{html.escape(name)}</h2>\n{text}\n</section>'


def _folded(title: str, content: str) -> str:
    """What is long and looked for by its title; the page opens it for printing."""
    return f"<details><summary>{html.escape(title)}</summary>\n{content}\n</details>"


def _account(text: str) -> str:
    """The findings without their title: the summary, and what stands below each heading folded."""
    summary, *claims = text.partition("\n")[2].split("\n## ")
    titled = [claim.partition("\n") for claim in claims]
    return "\n".join([from_markdown(summary), *(_folded(name, from_markdown(cases)) for name, _, cases in titled)])


def _study(result: StudyResult, figures: Sequence[str]) -> str:
    front = result.front
    finished, planned = sum(not point.is_mixture for point in front.points), result.planned_trials
    partial = (
        f"<p><b>Partial: {finished} of {planned} trials have finished.</b></p>"
        if planned and finished < planned
        else ""
    )
    return "\n".join(
        [
            f"<p>{html.escape(' '.join(filter(None, [result.about, front_sentence(front)])))}</p>",
            partial,
            _front_table(front),
            dial(front),
            _verdicts(result),
            *figures[:1],
            _folded(f"{len(figures) - 1} more figures", "\n".join([*figures[1:], _examples(result)])),
            _reproduction(result),
        ]
    )


def _front_table(front: Front) -> str:
    names = front.shown_metrics
    measured = [f"{title(name)}, {split}" for split in ("validation", "test") for name in names]
    head = ["trial", "λ", "h", *measured, "role"]
    rows = []
    for point in front.shown:
        values = [number(of.get(name)) for of in (point.validation, point.test) for name in names]
        cells = [*point.lam_and_h, *values, ", ".join(front.roles(point))]
        rows.append(_row(point.trial, cells, head[1:]))
    heads = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in head)
    body = "\n".join(rows)
    return f'<div class="wide short"><table><thead><tr>{heads}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _row(label: str, cells: Sequence[str], names: Sequence[str]) -> str:
    """A row whose cells know their column's name: on a phone they stand below each other."""
    values = "".join(
        f'<td data-name="{html.escape(name)}">{html.escape(cell)}</td>' for name, cell in zip(names, cells, strict=True)
    )
    return f'<tr><th scope="row">{html.escape(label)}</th>{values}</tr>'


def _figure(figure: Figure, position: int) -> str:
    place = f'<div class="plot" data-figure="{position}"></div>'
    return f"<figure>{place}<figcaption>{html.escape(figure.caption)}</figcaption></figure>"


def _examples(result: StudyResult) -> str:
    if not result.examples:
        return ""
    caption = "Adversarial examples with scores and SSIM (Figures S6 to S8)."
    image = as_img(example_grid(result.examples), caption)
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def _verdicts(result: StudyResult) -> str:
    if not result.doubts:
        return ""
    rows = [
        f"<li><b>{html.escape(trial)}</b>: {html.escape('; '.join(sentences) or 'nothing suspicious')}</li>"
        for trial, sentences in result.doubts.items()
    ]
    if rest := [trial for trial in result.scores if trial not in result.doubts]:
        rows.append(f"<li>not attacked with the full suite, so not judged: {html.escape(', '.join(rest))}</li>")
    return f"<h3>Is the robustness real?</h3><ul>{''.join(rows)}</ul>"


def _reproduction(result: StudyResult) -> str:
    commands = f"<pre>{html.escape(chr(10).join(result.reproduce))}</pre>" if result.reproduce else ""
    facts = "".join(
        f'<tr><th scope="row">{html.escape(key)}</th><td>{html.escape(text)}</td></tr>'
        for key, text in result.environment.items()
    )
    table = f"<table class='facts'>{facts}</table>" if facts else ""
    return f"<h3>Make it again</h3>{commands}{table}" if commands or table else ""
