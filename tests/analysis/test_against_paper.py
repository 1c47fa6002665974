"""The page that lays the paper's claims and tables beside ours, on findings whose answer is known."""

import pytest

from analysis.against_paper import against_paper, printed_changes
from analysis.findings import Evidence, Finding
from analysis.metrics import Interval
from analysis.tables import Cell, Entry, Table

WHITE_BOX = "NT lessens what white-box attacks do to scores"


def finding(*changes: tuple[float, float]) -> Finding:
    evidence = tuple(
        Evidence(case=str(row), change=Interval(value=(low + high) / 2, low=low, high=high), by_seed=(), smallest=0.5)
        for row, (low, high) in enumerate(changes)
    )
    return Finding(statement=WHITE_BOX, source="Table 2", quantity="change", claim="falls", evidence=evidence)


FALLS, RISES, LITTLE, WIDE = (-3.0, -1.0), (1.0, 3.0), (-0.1, 0.1), (-5.0, 3.0)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([FALLS, FALLS, WIDE], "agree"),
        ([FALLS, WIDE, WIDE], "cannot tell"),
        ([FALLS, FALLS, RISES], "cannot tell"),
        ([FALLS, LITTLE, RISES], "disagree"),
        ([WIDE], "cannot tell"),
    ],
)
def test_a_claim_is_agreed_with_by_decided_cases_alone(changes: list[tuple[float, float]], expected: str) -> None:
    page = against_paper([finding(*changes)], [])
    (line,) = [line for line in page.splitlines() if line.startswith(f"| {WHITE_BOX}")]
    assert line.endswith(f"| {expected} |")
    assert "Table 2: 7 of 8 so" in line, "MANIQA's perceptual attack does nothing, with NT a little more of it"
    assert f"| 1, S1 to S4 | Change of each image's score under the four attacks | {expected} |" in page


def test_what_the_paper_prints_of_a_claim_is_computed_from_its_tables() -> None:
    assert printed_changes(WHITE_BOX)[:2] == pytest.approx([7.885 - 19.174, 0.130 - 6.360])
    steps = printed_changes("NT lessens what an attack does to scores whatever the step size h")
    assert steps == pytest.approx([7.356 - 32.778, 19.065 - 32.778, 28.785 - 32.778, 18.767 - 32.778])
    assert printed_changes("NT shrinks the input gradient") == [], "it is only drawn"


def test_a_table_counts_the_cells_that_go_the_paper_s_way() -> None:
    def cell(better: int | None, printed: tuple[float, float], is_tie: bool = False) -> Cell:
        entries = tuple(Entry(value=1.0, printed=of, is_better=better == row) for row, of in enumerate(printed))
        return Cell(entries=entries, metric="rmse_attacked", is_tie=is_tie)

    rows = [
        ("as printed", cell(1, (9.0, 4.0))),
        ("the other way", cell(0, (9.0, 4.0))),
        ("undecided", cell(None, (9.0, 4.0))),
        ("a tie", cell(None, (9.0, 4.0), is_tie=True)),
        ("no difference in print", cell(1, (4.0, 4.0))),
    ]
    table = Table(key="2", caption="RMSE", head=("", ""), rows=tuple((label, (one,)) for label, one in rows))
    assert "| 2. RMSE | 4 | 1 | 1 | 1 | 1 | disagree |" in against_paper([], [table])
    assert "| 4. own | 0 | – | – | – | – | cannot tell" in against_paper(
        [], [Table(key="4", caption="own", head=("",), rows=())]
    )
