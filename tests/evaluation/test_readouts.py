"""The table of what each critic's read-out makes of a known law."""

import pytest

from ramac.cli import doctor
from ramac.evaluation import readouts
from ramac.registry import critics, risks


def test_the_table_has_every_measure_and_critic_with_its_bias(monkeypatch, capsys):
    monkeypatch.setattr(readouts, "laws", lambda: [(problem := readouts.gaussian(), problem.questions[0])])
    assert doctor.main(["measures"]) == 0
    lines = capsys.readouterr().out.splitlines()
    head, line, *rows = ([cell.strip() for cell in row.strip("|").split("|")] for row in lines)
    assert head == ["law", "measure", "truth", *(f"`{name}`" for name in critics)]
    assert line == ["---"] * len(head)
    table = {row[1].strip("`"): dict(zip(head[3:], row[3:], strict=True)) for row in rows}
    assert {risks.label(name) for name in risks} < set(table)
    assert {row[1]: float(row[2]) for row in rows}["`cvar0.01`"] == pytest.approx(-2.67, abs=0.01)
    for name in ("c51", "hlgauss", "expectile"):
        assert abs(float(table["cvar0.1"][f"`{name}`"])) <= 0.02
    assert float(table["cvar0.1"]["`mean`"]) == pytest.approx(1.755, abs=0.01), "minus the CVaR"
    assert {row[1]: float(row[2]) for row in rows}["`entropic3`"] == pytest.approx(-1.49, abs=0.015)
    bias, deviation = map(float, table["entropic1"]["`iqn`"].split(" ± "))
    assert abs(bias) <= 0.01
    assert deviation == pytest.approx(0.07, abs=0.01)
