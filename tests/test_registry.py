import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
from omegaconf.errors import ValidationError

import ramac
from ramac.errors import InputError
from ramac.registry import GROUPS, Registry, actors, critics, paper, risks, summary


def test_suffix_sets_the_number():
    assert risks.parse("cvar0.07") == ("cvar", {"alpha": 0.07})
    assert risks.parse("wang-0.75") == ("wang", {"eta": -0.75})
    assert actors.parse("flow20") == ("flow", {"steps": 20})
    assert critics.parse("iqn64") == ("iqn", {"quantiles": 64})
    assert risks.parse("cvar1e-3") == ("cvar", {"alpha": 1e-3})


@pytest.mark.parametrize("spec", ["cvr0.1", "gaussian5", "cvar0.1x", ""])
def test_unknown_spec_names_the_choices(spec):
    with pytest.raises(InputError, match="choose from"):
        (actors if spec.startswith("g") else risks).parse(spec)


def test_error_suggests_the_nearest():
    with pytest.raises(InputError, match="did you mean 'flow'"):
        actors.parse("flwo")


def test_config_is_typed_by_the_signature():
    node = actors.config("flow7")
    assert (node.name, node.steps, node.solver) == ("flow", 7, "midpoint")
    with pytest.raises(ValidationError):
        node.steps = "many"
    with pytest.raises(ValidationError, match="midpoint"):
        node.solver = "heun"


def test_label_shows_what_identifies_an_entry():
    assert risks.label("cvar") == "cvar0.1"
    assert risks.label({"name": "cvar", "alpha": 0.3}) == "cvar0.3"
    assert risks.label({"name": "cvar"}) == "cvar0.1", "a preset need not name the number"
    assert (actors.label("flow"), actors.label("flow20"), risks.label("neutral")) == ("flow", "flow20", "neutral")


def test_a_name_is_declared_once():
    registry = Registry("risk", "ramac.risk")
    registry.register("x")(int)
    with pytest.raises(InputError, match="already registered"):
        registry.register("x")(float)


def test_refusals_name_the_entry():
    with pytest.raises(InputError, match=r"risk=cvar: alpha must be in \(0, 1\], got 1.5"):
        risks.build("cvar1.5")
    with pytest.raises(InputError, match="risk=cvar has no argument 'alhpa'; did you mean 'alpha'"):
        risks.build({"name": "cvar", "alhpa": 0.1})


def test_make_builds_from_a_name():
    assert ramac.make("risk", "cvar0.25").alpha == 0.25
    assert ramac.make("risk", "cvar", alpha=0.5).alpha == 0.5
    with pytest.raises(InputError, match="did you mean 'risk'"):
        ramac.make("risks", "cvar0.1")


def test_every_entry_is_documented_and_typed():
    for registry in GROUPS.values():
        for name, entry in registry.items():
            assert summary(entry).endswith((".", ")")), f"{registry.group}={name}"
            for parameter in registry.parameters(name).values():
                assert parameter.annotation is not parameter.empty
                assert parameter.default is not parameter.empty
    assert "Rockafellar" in paper(risks["cvar"])


def run_python(code: str, path: Path, **variables: str) -> subprocess.CompletedProcess:
    import os

    environment = {**os.environ, "PYTHONPATH": str(path), **variables}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)


PLUGIN = """
from ramac.registry import risks
from ramac.risk import RiskMeasure
@risks.register("mine")
class Mine(RiskMeasure):
    "Mine."
"""


def test_plugins_come_in_by_variable_and_entry_point(tmp_path):
    (tmp_path / "plugged.py").write_text(PLUGIN)
    code = "from ramac.registry import risks; print('mine' in risks)"
    assert run_python(code, tmp_path, RAMAC_PLUGINS="plugged").stdout.strip() == "True"
    distribution = tmp_path / "plugged-1.0.dist-info"
    distribution.mkdir()
    (distribution / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged\nVersion: 1.0\n")
    (distribution / "entry_points.txt").write_text("[ramac]\nmine = plugged\n")
    assert run_python(code, tmp_path).stdout.strip() == "True"


def test_a_broken_plugin_is_skipped_with_a_warning(tmp_path):
    (tmp_path / "broken.py").write_text("raise RuntimeError('no')")
    done = run_python("from ramac.registry import risks; print(len(risks) > 3)", tmp_path, RAMAC_PLUGINS="broken")
    assert done.stdout.strip() == "True"
    assert "plug-in 'broken' skipped" in done.stderr


def test_literal_arguments_accept_their_choices_only():
    registry = Registry("risk", "ramac.risk")

    @registry.register("choosy")
    class Choosy:
        """Choosy."""

        def __init__(self, *, way: Literal["a", "b"] = "a") -> None:
            self.way = way

    assert registry.build(registry.config("choosy")).way == "a"
