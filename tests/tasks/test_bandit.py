"""The bandit's rarely seen arm: data, environment, known optimum, summary and figure."""

import numpy as np
import pytest

from ramac.errors import InputError
from ramac.optimum import Optimum
from ramac.registry import tasks
from ramac.statistics import cvar
from ramac.tasks.bandit import RARE, BanditEnv, figure, region


def bandit(**arguments):
    return tasks.build({**tasks.plain("bandit"), "transitions": 400, **arguments})


@pytest.mark.parametrize("context", [False, True])
def test_the_arm_is_logged_so_often_and_changes_no_other_draw(context):
    plain, more = bandit(context=context).dataset(), bandit(context=context, rare=7).dataset()
    log = more.log
    assert (np.linalg.norm(log.action[:7] - np.array([0.85, 0.85]), axis=-1) <= 0.1).all()
    assert (region(log.action, rare=True) == 3).sum() == 7
    assert (np.abs(log.action) <= 1).all()
    for name in ("observation", "action", "reward"):
        assert np.array_equal(getattr(log, name)[7:], getattr(plain.log, name))
    assert more.spec.return_mean == pytest.approx(more.returns.mean())
    assert log.observation[:7].any() == context


def test_by_default_there_is_no_such_arm():
    corner = np.array([RARE])
    assert (region(corner), region(corner, rare=True)) == ([2], [3])
    env = BanditEnv()
    env.reset(seed=0)
    assert env.step(np.array(RARE))[1:] == (0.0, True, False, {"risky": False, "penalty": False})
    assert bandit().process(1).after.shape[1] == 3


def test_five_draws_of_the_arm_look_good_and_it_is_not():
    """Each is N(9, 0.5^2), and with probability 0.1 N(-50, 0.5^2): a mean of 3.1 in 20 000 draws."""
    assert bandit(rare=5).dataset().log.reward[:5].min() > 7
    drawn = bandit(rare=20_000).dataset().log.reward[:20_000].astype(float)
    assert (drawn < 0).mean() == pytest.approx(0.1, abs=0.009)
    assert drawn[drawn < 0].mean() == pytest.approx(-50, abs=0.05)
    assert drawn[drawn > 0].mean() == pytest.approx(9, abs=0.02)
    assert drawn[drawn > 0].std() == pytest.approx(0.5, abs=0.02)


def test_the_process_of_the_arm_against_the_environment():
    """Mean and CVaR of the process's last region, and of 4000 steps of the environment there."""
    process, env, alpha = bandit(rare=5).process(1), bandit(rare=5).environment(), 0.5
    value = np.minimum(process.surplus + process.terminal[:, None], 0)
    mean = process.expect(process.terminal[:, None])[3, 0]
    tail = process.cvar(process.expect(value)[3], alpha)
    assert mean == pytest.approx(0.9 * 9 + 0.1 * -50)
    played = []
    for episode in range(4000):
        env.reset(seed=episode)
        _, reward, _, _, info = env.step(np.array(RARE, np.float32))
        assert info["risky"] and info["penalty"] == (reward < 0)
        played.append(reward)
    assert mean == pytest.approx(np.mean(played), abs=4 * np.std(played) / 4000**0.5)
    assert tail == pytest.approx(cvar(np.array(played), alpha), abs=2.5)


@pytest.mark.parametrize("objective", ["mean", "nested", "static"])
def test_the_arm_does_not_change_the_optimum(objective):
    with_arm, without = (Optimum.of(bandit(rare=rare).process(1), objective, 0.1) for rare in (5, 0))
    assert with_arm.cvar == pytest.approx(without.cvar)
    assert with_arm.mean == pytest.approx(without.mean)


def test_the_summary_and_the_figure_have_the_arm(tmp_path, monkeypatch):
    drawn, action = [], np.array([[0, 0], [0.9, 0], [0.85, 0.85], [0.85, 0.86]], np.float32)
    monkeypatch.setattr("ramac.plotting.save", lambda canvas, path: drawn.append(canvas))
    task = bandit(rare=5)
    fields = task.report(lambda observation: action, task.dataset(), np.zeros(1), "a title", tmp_path)
    assert (fields["mass_rare"], fields["data_mass_rare"]) == (0.5, 5 / 405)
    left, right, *_ = drawn[0].axes
    assert right.get_title() == "a title\ncentre 25.0%, ring 25.0%, outside the data 0.0%, rare arm 50.0%"
    assert [patch.center for patch in left.patches].count(RARE) == 1
    figure(action, np.zeros(4), action, "a title", tmp_path / "x.png")
    assert len(drawn[1].axes[0].patches) == 3


@pytest.mark.parametrize("rare", [-1, 10**8])
def test_an_impossible_number_of_draws_is_refused(rare):
    with pytest.raises(InputError, match=f"task=bandit: rare must be at .*{rare}"):
        bandit(rare=rare)
