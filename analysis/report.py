"""One report of one study or several: a self-contained page, the tables in four formats, the figures as PNG.

`report_files` returns the files by name and writes nothing; the same records give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.changes import change_table
from analysis.figures.images import example_grid
from analysis.figures.printed import to_matplotlib, to_png
from analysis.report_figures import SPLIT, Figure, StudyResult, comparison_figure, study_figures
from analysis.report_page import report_page
from analysis.tables import Pair, Table, paper_tables
from analysis.tables_as import as_csv, as_html, as_latex, as_markdown

FORMATS = {"md": as_markdown, "tex": as_latex, "csv": as_csv, "html": as_html}
LATEX_HEAD = r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}"


def report_files(results: Sequence[StudyResult]) -> dict[str, bytes]:
    """`report.html`, `tables.md`, `tables.tex` (compiles), `tables/table_*` in four formats and `figures/*.png`.

    Raises ValueError when there is no study, when two share a name, and when several are of different data sets.
    """
    _require_distinct(results)
    tables = report_tables(results)
    figures = [study_figures(result) for result in results]
    shared = [comparison_figure(results)] if len(results) > 1 else []
    content = {
        "report.html": report_page(results, figures, shared, tables),
        "tables.md": "\n".join(as_markdown(table) for table in tables),
        "tables.tex": "\n".join([LATEX_HEAD, *(as_latex(table) for table in tables), r"\end{document}", ""]),
    }
    content |= {f"tables/table_{table.key}.{end}": write(table) for table in tables for end, write in FORMATS.items()}
    printed = {f"figures/{figure.name}.png": _png(figure) for own in [shared, *figures] for figure in own}
    for result in results:
        if result.examples:
            printed[f"figures/{result.front.study}_examples.png"] = to_png(example_grid(result.examples))
    return {name: text.encode() for name, text in content.items()} | printed


def report_tables(results: Sequence[StudyResult]) -> list[Table]:
    """The changes and the paper's tables of the studies with a λ=0 baseline and an NT trial; none without any such."""
    pairs = [pair for pair in map(_pair, results) if pair is not None]
    return [change_table(pairs, SPLIT), *paper_tables(pairs, SPLIT)] if pairs else []


def _require_distinct(results: Sequence[StudyResult]) -> None:
    names = [result.front.study for result in results]
    if not names:
        raise ValueError("a report needs at least one study")
    if len(set(names)) != len(names):
        raise ValueError(f"each study can be reported once, got {', '.join(names)}")


def _png(figure: Figure) -> bytes:
    return to_png(to_matplotlib(figure.panels, columns=min(2, len(figure.panels))))


def _pair(result: StudyResult) -> Pair | None:
    without, nt = result.front.baseline, result.nt_trial
    if without is None or nt is None:
        return None
    return Pair(
        baseline=result.baseline,
        without=[result.scores[without.trial]],
        nt=[result.scores[nt.trial]],
        data=result.data,
    )
