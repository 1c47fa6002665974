"""One report of one study or several: a self-contained page, the tables in four formats, the figures as PNG.

`report_files` returns the files by name and writes nothing; the same records give the same bytes.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

from analysis.against_paper import against_paper
from analysis.attack_series import series_over
from analysis.averages import average_table
from analysis.comparable import require_same_data
from analysis.figures.images import example_grid, intensity_grid
from analysis.figures.printed import to_matplotlib, to_png
from analysis.findings import as_text, findings
from analysis.front import TrialPoint
from analysis.report_figures import SPLIT, Figure, StudyResult, shared_figures, study_figures
from analysis.report_page import report_page
from analysis.rivals import Rival, answers, is_of_rivals
from analysis.rivals import as_markdown as as_rival_text
from analysis.tables import Pair, Table, attack_loss_table, paper_tables, step_size_table
from analysis.tables_as import as_csv, as_html, as_latex, as_markdown
from analysis.visibility import visibility_table

FORMATS = {"md": as_markdown, "tex": as_latex, "csv": as_csv, "html": as_html}
LATEX_HEAD = r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}"


def report_files(results: Sequence[StudyResult]) -> dict[str, bytes]:
    """`report.html`, `findings.md`, `against-the-paper.md`, `tables.md`, `tables.tex` (compiles), `tables/table_*`,
    `figures/*.png`.

    Raises ValueError when there is no study, when two share a name, and when several are of different data sets.
    """
    _require_distinct(results)
    tables = report_tables(results)
    figures = [study_figures(result) for result in results]
    shared = shared_figures(results)
    pairs = report_pairs(results) + paper_pairs(results)
    found = findings(pairs, results)
    account = as_text(found, results, pairs)
    if rivalry := rival_account(results):
        account = f"{account}\n{rivalry}"
    content = {
        "report.html": report_page(results, figures, shared, tables, account),
        "findings.md": account,
        "against-the-paper.md": against_paper(found, tables),
        "tables.md": "\n".join(as_markdown(table) for table in tables),
        "tables.tex": "\n".join([LATEX_HEAD, *(as_latex(table) for table in tables), r"\end{document}", ""]),
    }
    content |= {f"tables/table_{table.key}.{end}": write(table) for table in tables for end, write in FORMATS.items()}
    printed = {f"figures/{figure.name}.png": _png(figure) for own in [shared, *figures] for figure in own}
    for result in results:
        if result.examples:
            grid = to_png(example_grid(result.examples), is_drawing=False)
            printed[f"figures/{result.front.study}_examples.png"] = grid
        if result.graded is not None:
            grid = to_png(intensity_grid(result.graded), is_drawing=False)
            printed[f"figures/{result.front.study}_examples_intensity.png"] = grid
    return {name: text.encode() for name, text in content.items()} | printed


def report_tables(results: Sequence[StudyResult]) -> list[Table]:
    """The paper's tables of the studies with a λ=0 baseline and an NT trial; none without any such.

    Then Table 4 of every study that varied h at one λ, and Table S2 of those with attacks of several losses.
    """
    pairs = report_pairs(results) + paper_pairs(results)
    tables = [*paper_tables(pairs, SPLIT), average_table(pairs, SPLIT)] if pairs else []
    seen = visibility_table(pairs, SPLIT) if pairs else None
    tables += [seen] if seen else []
    own = [table for result in results for table in (_step_sizes(result), *_attack_losses(result)) if table is not None]
    return tables + _numbered(own)


def report_pairs(results: Sequence[StudyResult]) -> list[Pair]:
    """Each study's λ=0 against what it reports, named by the study where several are of one baseline."""
    found = [_pair(result, result.front.reported) for result in results if result.front.defence == "nt"]
    pairs = [pair for pair in found if pair is not None]
    count = Counter(pair.baseline for pair in pairs)
    return [dataclasses.replace(pair, study=_name(pair, count[pair.baseline] > 1)) for pair in pairs]


def _name(pair: Pair, is_by_study: bool) -> str:
    """A reported trial at the paper's λ and h is one row, and says so."""
    name = pair.study if is_by_study else ""
    return f"{name or pair.baseline} (the paper's λ and h)" if pair.is_paper_setting else name


def rival_account(results: Sequence[StudyResult]) -> str:
    """Which defence of each network is best, where there are studies of several; else nothing."""
    parts = []
    for baseline in dict.fromkeys(result.baseline for result in results):
        own = [result for result in results if result.baseline == baseline]
        if is_of_rivals([result.front for result in own]):
            rivals = [Rival(front=of.front, tables=of.scores, retrained=of.retrained) for of in own]
            parts.append(as_rival_text(answers(rivals)))
    return "\n".join(parts)


def paper_pairs(results: Sequence[StudyResult]) -> list[Pair]:
    """The models at the paper's λ and h, where a study has them and reports another trial."""
    pairs = []
    for result in results:
        for point in result.front.points:
            if point.is_paper_setting and point != result.front.reported and (pair := _pair(result, point)) is not None:
                pairs.append(dataclasses.replace(pair, study=f"{pair.study} (the paper's λ and h)", is_reported=False))
    return pairs


def _require_distinct(results: Sequence[StudyResult]) -> None:
    names = [result.front.study for result in results]
    if not names:
        raise ValueError("a report needs at least one study")
    if len(set(names)) != len(names):
        raise ValueError(f"each study can be reported once, got {', '.join(names)}")
    require_same_data([(result.front.study, result.data) for result in results])


def _png(figure: Figure) -> bytes:
    return to_png(to_matplotlib(figure.panels, columns=min(2, len(figure.panels))))


def _step_sizes(result: StudyResult) -> Table | None:
    swept = [point for point in result.front.points if point.is_nt_trial]
    if len({point.lam for point in swept}) != 1 or len({point.step_size for point in swept}) < 2:
        return None
    by_step_size = {point.step_size: result.tables(point.trial) for point in swept}
    return step_size_table(result.baseline, by_step_size, SPLIT)


def _attack_losses(result: StudyResult) -> list[Table]:
    """A table for the λ=0 baseline and one for the reported trial, for each group of attacks with several losses."""
    tables = []
    for labels in series_over(result.attacks, "loss"):
        for point in result.compared:
            scores, defence = result.tables(point.trial), "" if point.is_baseline else point.defence
            if all(set(labels) <= set(table["attack"]) for table in scores):
                tables.append(attack_loss_table(result.baseline, scores, labels, SPLIT, defence))
    return tables


def _numbered(tables: Sequence[Table]) -> list[Table]:
    """The tables with keys of their own, as they name files: 4, S2, S2-2, …"""
    seen: Counter[str] = Counter()
    numbered = []
    for table in tables:
        seen[table.key] += 1
        key = table.key if seen[table.key] == 1 else f"{table.key}-{seen[table.key]}"
        numbered.append(dataclasses.replace(table, key=key))
    return numbered


def _pair(result: StudyResult, nt: TrialPoint | None) -> Pair | None:
    without = result.front.baseline
    if without is None or nt is None:
        return None
    # The paper's λ and h were fixed before any seed was seen; any other trial was chosen on the study's own.
    is_claimable = bool(result.retrained.get(nt.trial))
    skipped = 1 if is_claimable and not nt.is_paper_setting else 0
    return Pair(
        baseline=result.baseline,
        study=result.front.study,
        without=result.tables(without.trial)[skipped:],
        nt=result.tables(nt.trial)[skipped:],
        data=result.data,
        suite=result.attacks,
        is_paper_setting=nt.is_paper_setting,
        is_flattered=not nt.is_paper_setting and not is_claimable,
    )
