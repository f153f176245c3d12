"""What the risk measure reads is an input of an exported policy."""

import numpy as np
import pytest
import torch

from ramac.agent import Agent
from ramac.deploy import parity
from ramac.deploy.export import describe, policy_of
from ramac.deploy.formats import FORMATS, silenced
from ramac.deploy.parity import difference
from ramac.deploy.program import traced
from ramac.errors import InputError
from ramac.spec import Spec
from ramac.system.noise import GivenNoise

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
SPEC = Spec(3, 2, (-2.0, 0.0), (2.0, 4.0), (0.5, -1.0, 0.0), (2.0, 1.0, 3.0))
STATIC = {"name": "cvar", "alpha": (0.05, 0.5), "horizon": "episode"}


def static(candidates: int) -> Agent:
    """An agent of static risk with a dial, whose thresholds are from -1 to 1."""
    parts = {"actor": {"name": "gaussian", "hidden": (8,)}, "critic": {"name": "qr", "hidden": (8,), "quantiles": 10}}
    torch.manual_seed(0)
    spec = SPEC.extended([1.0, 0.5], [2.0, 0.3])
    built = Agent.build({**parts, "risk": STATIC, "candidates": candidates}, spec).eval()
    built.risk.gamma.fill_(0.9)
    built.risk.threshold.copy_(torch.linspace(-1, 1, 9)[:, None])
    return built


@pytest.mark.parametrize(("ending", "candidates"), [(".onnx", 1), (".pt2", 4)])
def test_what_the_risk_measure_reads_is_an_input(ending, candidates):
    """The observation comes without it. A dial that is given counts, and the action is that of `agent.act`."""
    built = static(candidates)
    policy, form = policy_of(built, False), FORMATS[ending]()
    described = describe(policy, None)
    assert described["risk"] == "cvar" and described["inputs"]["observation"]["shape"] == ["batch", 3]
    column = {"shape": ["batch", 1], "type": "float32"}
    ends = {name: {"low": low, "high": high} for name, low, high in (("discount", 0, 1), ("alpha", 0.05, 0.5))}
    extra = {
        "reward_so_far": {"start": 0.0},
        "discount": {"start": 1.0, "gamma": 0.9, **ends["discount"]},
        "alpha": ends["alpha"],
    }
    for name, expected in extra.items():
        assert described["inputs"][name].pop("unit")
        assert described["inputs"][name] == {**column, **expected}
    with silenced():
        run = form.runner(form.encode(traced(policy), described))
    assert max(difference(policy, run).values()) < 2e-6
    given = parity.examples(policy, 256)
    assert given["alpha"].min() < 0.1 < 0.45 < given["alpha"].max() <= 0.5 and given["discount"].min() >= 0
    with GivenNoise(torch.from_numpy(given["noise"])):
        own = built.act(
            given["observation"], alpha=0.1, reward_so_far=given["reward_so_far"], discount=given["discount"]
        )
    found = run({**given, "alpha": np.full((256, 1), 0.1, np.float32)})
    apart = np.abs(found - own).max(-1) > 1e-5
    numbers = {name: given[name][apart] for name in ("observation", "reward_so_far", "discount")}
    rho = [built.risk_of(action=action[apart], alpha=0.1, **numbers) for action in (found, own)]
    assert apart.mean() < (0.5 if candidates > 1 else 1e-9) and np.allclose(*rho, atol=1e-5), "flat utility alone"
    for name in extra:
        changed = {**given, name: given[name][::-1].copy()}
        assert np.abs(run(changed) - run(given)).max() > 1e-3, name


def test_candidates_that_are_equally_good_may_come_in_another_order():
    """The utility is flat where no outcome falls below a threshold. A worse candidate is refused all the same."""
    policy = policy_of(static(4), False)

    def run(given, size=1.0):
        turned = given["noise"].reshape(-1, 4, 2)[:, ::-1].reshape(-1, 8).copy()
        with GivenNoise(torch.from_numpy(turned)):
            return size * policy.agent.act(**{name: x for name, x in given.items() if name != "noise"})

    apart = np.abs(run(given := parity.examples(policy, 256)) - parity.acted(policy, given)).max(-1)
    assert (apart > parity.LARGEST).mean() > 0.1 and max(difference(policy, run).values()) < 1e-6
    with pytest.raises(InputError, match="the exported policy differs"):
        difference(policy, lambda given: run(given, 0.9))
