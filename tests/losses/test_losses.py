import pytest
import torch
from tensordict import TensorDict

from ramac.agent import Agent
from ramac.composite import CompositeLoss
from ramac.errors import InputError
from ramac.losses import Term, build_terms
from ramac.registry import losses
from ramac.spec import Spec
from ramac.training.trainer import Trainer

SPEC = Spec(3, 2, (-1.0,) * 2, (1.0,) * 2, (0.0,) * 3, (1.0,) * 3, 2.0, 3.0)


def agent(actor="gaussian", critic="qr", risk="cvar0.25") -> Agent:
    return Agent.build({"actor": actor, "critic": critic, "risk": risk}, SPEC)


def terms(*nodes) -> dict[str, Term]:
    """Terms by name; a node is a name or a configuration."""
    return build_terms({node if isinstance(node, str) else node["name"]: node for node in nodes}, SPEC)


def pair(observation, action) -> TensorDict:
    return TensorDict({"observation": observation, "action": action}, observation.shape[:1])


def test_td_equals_the_plain_formula(batch):
    online, target = agent(), agent()
    torch.manual_seed(1)
    loss = losses.build({"name": "td", "gamma": 0.9})
    found = CompositeLoss(online, {"td": loss}, target=target).sample_losses(batch)[0]["td"]
    torch.manual_seed(1)
    with torch.no_grad():
        action = target.actor(TensorDict({"observation": batch["next", "observation"]}, [32]))["action"]
        after = target.critic(pair(batch["next", "observation"], action))["value"].min(1).values  # over the ensemble
        going = 1.0 - batch["next", "terminated"].float()
        y = batch["next", "reward"] + 0.9 * going * after
    z = online.critic.features(batch)  # [E, B, N], standardised
    tau = (torch.arange(100) + 0.5) / 100
    u = ((y - 2.0) / 3.0)[None, :, None, :] - z.unsqueeze(-1)
    plain = ((tau[:, None] - (u < 0).float()).abs() * u.abs()).mean((-2, -1)).sum(0)
    assert torch.allclose(found, plain, atol=1e-5)


@pytest.mark.parametrize("aggregation", ["quantile_min", "risk_min", "mean", "tqc"])
def test_aggregation_equals_the_plain_formula(aggregation):
    value = torch.randn(6, 3, 10).sort(-1).values  # [B, E, N], equally likely
    loss = losses.build({"name": "td", "aggregation": aggregation} | ({"drop": 0.1} if aggregation == "tqc" else {}))
    found = loss.aggregate(value, agent(risk="cvar0.2").risk)
    for b in range(6):
        members = value[b].tolist()
        if aggregation == "quantile_min":
            plain = [min(column) for column in zip(*members, strict=True)]
        elif aggregation == "mean":
            plain = [sum(column) / 3 for column in zip(*members, strict=True)]
        elif aggregation == "risk_min":
            plain = min(members, key=lambda member: member[0] + member[1])  # CVaR_0.2 of ten
        else:
            plain = sorted(value for member in members for value in member)[:27]  # without the highest tenth
        assert found[b].tolist() == pytest.approx(plain)


def test_risk_min_ranks_members_in_standardised_returns():
    """Entropic, beta 1 per deviation of the returns, 3: of N(-2, 10^2) and N(-30, 1) the wide one is the safer."""
    score = torch.special.ndtri((torch.arange(200) + 0.5) / 200)
    value = (torch.stack([-2 + 10 * score, -30 + score]).unsqueeze(0) - 2) / 3
    found = losses.build({"name": "td", "aggregation": "risk_min"}).aggregate(value, agent(risk="entropic1").risk)
    assert torch.equal(found[0], value[0, 1])


def test_terminal_states_do_not_bootstrap(batch):
    target = agent()
    returns = losses.build("td").returns(batch, target, target)
    ended = batch["next", "terminated"].squeeze(-1)
    reward = ((batch["next", "reward"] - 2) / 3).expand_as(returns)
    assert torch.allclose(returns[ended], reward[ended], atol=1e-6)
    assert not torch.isclose(returns[~ended], reward[~ended]).any()


def test_without_a_future_no_next_action_is_sampled(batch):
    online = agent()
    target = agent()
    target.actor.forward = None  # type: ignore[assignment]
    term = losses.build({"name": "td", "gamma": 0.0})
    assert CompositeLoss(online, {"td": term}, target=target).sample_losses(batch)[0]["td"].isfinite().all()
    assert torch.allclose(term.returns(batch, online, target), (batch["next", "reward"] - 2) / 3)


def test_risk_is_minus_the_lowest_member(batch):
    online = agent()
    torch.manual_seed(1)
    found = CompositeLoss(online, terms("td", "risk"), target=online).sample_losses(batch, ["risk"])[0]["risk"]
    torch.manual_seed(1)
    action = online.actor(batch.select("observation"))["action"]
    z = online.critic.features(pair(batch["observation"], action)).sort(-1).values
    weight = torch.zeros(100)
    weight[:25] = 1 / 25  # a quarter of a hundred cells
    assert torch.allclose(found, -(z * weight).sum(-1).min(0).values, atol=1e-4)


def test_an_action_that_two_terms_ask_for_is_sampled_once(batch):
    online, calls = agent(), []
    online.actor.register_forward_hook(lambda *_: calls.append(1))
    loss = CompositeLoss(online, {**terms("td", "risk"), "again": losses.build("risk")}, target=agent())
    loss.sample_losses(batch, ["risk", "again"])
    assert calls == [1]


@pytest.mark.parametrize(
    ("warmup", "ramp", "step", "share"),
    [(0, 0, 0, 1), (10, 0, 9, 0), (10, 0, 10, 1), (10, 10, 14, 0.5), (10, 10, 99, 1)],
)
def test_weight_warms_up_and_ramps(warmup, ramp, step, share):
    term = losses.build({"name": "bc", "weight": 2.0, "warmup": warmup, "ramp": ramp})
    assert term.weight_at(torch.tensor(step)).item() == pytest.approx(2.0 * share)


def test_warm_up_and_ramp_are_fractions_of_the_run(batch):
    node = {"name": "bc", "weight": 2.0, "warmup": 0.2, "ramp": 0.1, "final": 1.0, "decay": 0.5}
    term = CompositeLoss(agent(), terms(node), steps=1000, target=agent()).terms["bc"]
    found = [term.weight_at(torch.tensor(step)).item() for step in (199, 249, 299, 300, 550, 800, 999)]
    assert found == pytest.approx([0, 1, 2, 2, 1.5, 1, 1], abs=1e-6)
    with pytest.raises(ValueError, match=r"warmup=0.2 is a fraction of a run; tell CompositeLoss its steps"):
        terms(node)["bc"].weight_at(torch.tensor(0))


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"warmup": 500}, r"loss=bc: warmup=500 reaches beyond the run of 300 gradient steps: the term would never"),
        ({"warmup": 100, "ramp": 200, "final": 0.5, "decay": 10}, r"loss=bc: final=0.5 has no effect"),
    ],
)
def test_a_schedule_that_cannot_act_in_the_run_is_refused(node, words, batch):
    with pytest.raises(InputError, match=words):
        Trainer(agent(), terms({"name": "bc", **node}), batch, 0, steps=300)


def test_a_ramp_beyond_the_end_is_warned_about(batch):
    with pytest.warns(UserWarning, match="loss=bc: ramp=400: the weight reaches only 50%"):
        Trainer(agent(), terms({"name": "bc", "warmup": 100, "ramp": 400}), batch, 0, steps=300)


@pytest.mark.parametrize("name", ["warmup", "ramp", "decay"])
def test_a_number_of_steps_is_whole(name):
    with pytest.raises(InputError, match=rf"loss=bc: {name} must be below 1 \(a fraction of the run\) or a whole"):
        losses.build({"name": "bc", "final": 1.0, "decay": 5, name: 1.5})


@pytest.mark.parametrize(("shape", "half"), [("linear", 2.0), ("cosine", 2.0)])
def test_weight_moves_to_its_final_value(shape, half):
    term = losses.build(
        {"name": "bc", "weight": 3.0, "warmup": 10, "ramp": 10, "final": 1.0, "decay": 20, "shape": shape}
    )
    found = term.weight_at(torch.tensor([9, 14, 20, 30, 40, 99])).tolist()
    assert found == pytest.approx([0, 1.5, 3, half, 1, 1])
    quarter = term.weight_at(torch.tensor(25)).item()
    assert quarter == pytest.approx(2.5 if shape == "linear" else 1 + 2 * (1 + 0.5**0.5) / 2)


def test_a_budget_makes_the_weight_a_multiplier(batch):
    """Above its budget the loss gets a larger weight, below a smaller one."""
    for budget, rises in ((-100.0, True), (100.0, False)):
        trainer = Trainer(agent(), terms({"name": "bc", "budget": budget}), batch, 0, steps=9, multiplier_lr=0.01)
        weights = [trainer.update(batch)["multiplier_bc"].item() for _ in range(5)]
        assert (weights[-1] > 1.02) if rises else (weights[-1] < 0.98)
        assert weights == sorted(weights, reverse=not rises)


@pytest.mark.parametrize(("unit", "scale"), [("std", 1.0), ("abs", None), ("none", 1 / 3)])
def test_the_weight_of_risk_counts_in_its_unit(unit, scale, batch):
    """The loss is minus standardised rho; per reward unit it is a third of that, per |rho| 1 / mean |2 + 3 rho|."""
    node = {"name": "risk", "weight": 0.5, "warmup": 0, "ramp": 0, "normalise": unit}
    loss = CompositeLoss(agent(), terms("td", node), target=agent())
    found = loss.sample_losses(batch, ["risk"])
    rho = -found[0]["risk"]
    if scale is None:
        scale = ((2 + 3 * rho).abs().mean() / 3).item()
    assert found[1]["scale_risk"].item() == pytest.approx(scale, rel=1e-5)
    assert not found[1]["scale_risk"].requires_grad
    total = loss.weighted_sum({"risk": found[0]["risk"].mean()}, found[1], torch.tensor(5))
    assert total.item() == pytest.approx(-0.5 * rho.mean().item() / scale, rel=1e-5)


@pytest.mark.parametrize("actor", ["ddpm", "flow", "gaussian"])
def test_one_step_moves_exactly_the_parameters_it_should(batch, actor):
    def moved(*nodes):
        online = agent(actor, "iqn")
        trainer = Trainer(online, terms(*nodes), batch, 0, steps=2)
        before = {key: value.clone() for key, value in online.named_parameters()}
        trainer.update(batch)
        return {key.split(".")[0] for key, value in online.named_parameters() if not torch.equal(before[key], value)}

    risk = {"name": "risk", "warmup": 0, "ramp": 0}
    assert moved("td") == {"critic"}
    assert moved("bc") == {"actor"}
    assert moved({"name": "td", "weight": 0.0}, risk) == {"actor"}
    assert moved("td", "bc", risk) == {"actor", "critic"}


def test_the_average_follows_by_its_decay(batch):
    online = agent()
    trainer = Trainer(online, terms("bc"), batch, 0, steps=3, average_decay=0.9)
    trainer.update(batch)  # the first average is a copy
    before = [p.clone() for p in trainer.target.actor.parameters()]
    trainer.update(batch)
    for old, new, live in zip(before, trainer.target.actor.parameters(), online.actor.parameters(), strict=True):
        assert torch.allclose(new, 0.9 * old + 0.1 * live, atol=1e-6)


def test_gradients_are_clipped(batch):
    online = agent()
    trainer = Trainer(online, terms("bc1000"), batch, 0, steps=2, clip=1e-3, schedule="constant")
    norms = []
    trainer.optimisers["actor"].step = lambda: norms.append(  # type: ignore[method-assign,assignment]
        torch.nn.utils.get_total_norm([p.grad for p in online.actor.parameters() if p.grad is not None]).item()
    )
    metrics = trainer.update(batch)
    assert metrics["gradient_norm_actor"] > 1
    assert norms == [pytest.approx(1e-3, rel=1e-2)]


@pytest.mark.parametrize(
    "node", [{"name": "td", "gamma": 1.5}, {"name": "bc", "weight": -1.0}, {"name": "risk", "ramp": -1}]
)
def test_impossible_terms_are_refused(node):
    with pytest.raises(InputError, match="loss="):
        losses.build(node)
