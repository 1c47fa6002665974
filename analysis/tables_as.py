"""Tables as text: Markdown, LaTeX, CSV and HTML."""

from __future__ import annotations

import html
import io
from collections.abc import Callable

import pandas as pd
from markdown_it import MarkdownIt

from analysis.labels import number
from analysis.tables import Cell, Entry, Table, entry_text
from trainables.trust import as_cell

MISSING = "–"
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "λ": r"$\lambda$",
    "Δ": r"$\Delta$",
    "±": r"$\pm$",
    "∞": r"$\infty$",
    "≈": r"$\approx$",
}


def as_markdown(table: Table) -> str:
    """A heading, the table, its notes. The paper's values, where known, follow in italics."""

    def entry(one: Entry) -> str:
        text = f"**{number(one.value)}**" if one.is_better else number(one.value)
        return text + entry_text(one).removeprefix(number(one.value)) + _printed(one, " *(paper {})*")

    lines = [
        f"### Table {table.key}. {table.caption}",
        "",
        _row([_escaped(name) for name in table.head]),
        _row(["---", *("---:" for _ in table.head[1:])]),
        *(_row([_escaped(label), *(_cell(cell, entry) for cell in cells)]) for label, cells in table.rows),
        "",
        *table.notes,
    ]
    return "\n".join(lines) + "\n"


def as_latex(table: Table) -> str:
    """A `table` environment for a document that loads `booktabs` and `graphicx`."""

    def entry(one: Entry) -> str:
        text = _latex(number(one.value))
        bounds = entry_text(one).removeprefix(number(one.value))
        small = rf" {{\scriptsize {_latex(bounds.strip())}}}" if bounds else ""
        return (rf"\textbf{{{text}}}" if one.is_better else text) + small + _printed(one, r" \emph{{(paper {})}}")

    tie = _LATEX["≈"]
    rows = [[_latex(label), *(_cell(cell, entry).replace("≈", tie) for cell in cells)] for label, cells in table.rows]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex(table.caption)} (the paper's Table {_latex(table.key)}).}}",
        # Shrunk where it is wider than the text, never enlarged.
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * (len(table.head) - 1)}}}",
        r"\toprule",
        " & ".join(_latex(name) for name in table.head) + r" \\",
        r"\midrule",
        *(" & ".join(row) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}}",
        *(rf"\par\smallskip{{\footnotesize {_latex(note)}}}" for note in table.notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def as_csv(table: Table) -> str:
    """One line per number: table, row, column, metric, nt, value, low, high, paper, better, tie.

    To ten digits, on which all processors agree.
    """
    rows = [
        {
            "table": table.key,
            "row": label,
            "column": column,
            "metric": cell.metric,
            "nt": position if len(cell.entries) == 2 else "",
            "value": entry.value,
            "low": entry.low,
            "high": entry.high,
            "paper": entry.printed,
            "better": int(entry.is_better),
            "tie": int(cell.is_tie),
        }
        for label, cells in table.rows
        for column, cell in zip(table.head[1:], cells, strict=True)
        for position, entry in enumerate(cell.entries)
    ]
    columns = ["table", "row", "column", "metric", "nt", "value", "low", "high", "paper", "better", "tie"]
    buffer = io.StringIO()
    safe = pd.DataFrame(rows, columns=columns).map(as_cell)
    safe.to_csv(buffer, index=False, lineterminator="\n", float_format="%.10g")
    return buffer.getvalue()


def as_html(table: Table) -> str:
    """A `table` element with caption and notes; styled by the page that holds it."""

    def entry(one: Entry) -> str:
        text = html.escape(number(one.value))
        bounds = entry_text(one).removeprefix(number(one.value))
        small = f" <small>{html.escape(bounds.strip())}</small>" if bounds else ""
        return (f"<b>{text}</b>" if one.is_better else text) + small + _printed(one, " <i>(paper {})</i>")

    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in table.head)
    body = "\n".join(
        f'<tr><th scope="row">{html.escape(label)}</th>'
        + "".join(f"<td>{_cell(cell, entry)}</td>" for cell in cells)
        + "</tr>"
        for label, cells in table.rows
    )
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in table.notes)
    caption = html.escape(f"Table {table.key}. {table.caption}")
    return (
        f'<figure class="table"><figcaption>{caption}</figcaption><div class="wide"><table>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>{notes}</figure>\n"
    )


def _cell(cell: Cell, write: Callable[[Entry], str]) -> str:
    between = " ≈ " if cell.is_tie else " / "
    return between.join(write(entry) for entry in cell.entries) if cell.entries else MISSING


def _printed(entry: Entry, pattern: str) -> str:
    return "" if entry.printed is None else pattern.format(f"{entry.printed:g}")


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _escaped(text: str) -> str:
    return text.replace("|", r"\|") or " "


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def from_markdown(text: str) -> str:
    """Markdown as HTML one level of headings down, for the page has its own first one; wide tables scroll."""
    markdown = MarkdownIt("js-default")
    tokens = markdown.parse(text)
    for token in tokens:
        if token.type.startswith("heading"):
            token.tag = f"h{int(token.tag[1:]) + 1}"
    page = str(markdown.renderer.render(tokens, markdown.options, {}))
    page = page.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")
    return f'<div class="account">{page}</div>'
