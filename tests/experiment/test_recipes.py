"""Every recipe's losses equal its paper's formula, written plainly; one update moves what it should, nothing else."""

import math

import pytest
import torch
import yaml
from tensordict import TensorDict

from ramac.errors import InputError
from ramac.experiment.compose import compose
from ramac.experiment.presets import presets
from ramac.experiment.run import build_trainer
from ramac.spec import Spec

SPEC = Spec(3, 2, (-1.0,) * 2, (1.0,) * 2, (0.0,) * 3, (1.0,) * 3, 2.0, 3.0)  # returns: mean 2, deviation 3
GAMMA = 0.9
SMALL = ["critic.hidden=[32,32]", f"task.gamma={GAMMA}"]


class Case:
    """A recipe on a fixed batch, all warm-ups over."""

    def __init__(self, recipe, batch, *overrides):
        batch.set(("next", "action"), torch.rand(32, 2) * 2 - 1)
        batch.set(("next", "followed"), torch.arange(32).unsqueeze(-1) % 5 != 0)
        self.config = compose([f"recipe={recipe}", *SMALL, *overrides])
        self.trainer = build_trainer(self.config, SPEC, batch, torch.device("cpu"))
        with torch.no_grad():  # averages that differ from what they follow
            for parameter in self.trainer.target.parameters():
                parameter += 0.05 * torch.randn_like(parameter)
            if hasattr(self.trainer.agent.actor, "correction"):  # it starts at none, where its gradients vanish
                for parameter in self.trainer.agent.actor.correction.parameters():
                    parameter += 0.2 * torch.randn_like(parameter)
        self.loss = self.trainer.loss
        self.loss.step += 10_000
        self.online, self.target = self.trainer.agent, self.trainer.target
        self.s, self.a, self.s2 = batch["observation"], batch["action"], batch["next", "observation"]
        self.r, self.going = batch["next", "reward"], 1 - batch["next", "terminated"].float()
        self.batch = batch

    def composite(self, group):
        losses, reports = self.loss.sample_losses(self.batch, self.loss.group(group))
        return self.loss.weighted_sum({name: loss.mean() for name, loss in losses.items()}, reports, self.loss.step)

    def policy(self, actor, state):
        return actor(TensorDict({"observation": state}, state.shape[:1]))["action"]

    def y(self, after):
        """Standardised target of returns after the transition, in reward units [B, M]."""
        return ((self.r + GAMMA * self.going * after - 2) / 3).detach()


def features(critic, state, action):
    return critic.features(TensorDict({"observation": state, "action": action}, state.shape[:-1]))


def q(critic, state, action):
    """Scalar critic in reward units: [*b, E]."""
    return 2 + 3 * features(critic, state, action).squeeze(-1).movedim(0, -1).reshape(*state.shape[:-1], -1)


def z(critic, state, action, tau):
    """Implicit quantiles in reward units: [E, B, N]."""
    return 2 + 3 * critic.quantile(features(critic, state, action), tau)


def levels(count):
    return (torch.arange(count) + torch.rand(32, count)) / count


def pinball(value, tau, target):
    """value [E, B, N] and its levels [B, N] or [N] against target [B, M]."""
    u = target[:, None, :] - value.unsqueeze(-1)
    return ((tau.unsqueeze(-1) - (u < 0).float()).abs() * u.abs()).mean((-1, -2)).sum(0).mean()


def squared(case, y):
    return ((y - (q(case.online.critic, case.s, case.a) - 2) / 3) ** 2).sum(-1).mean()


def iqn_critic(case):
    """y = r + gamma min_j Z'_j(s', a'; tau'), a' from the averaged actor; quantile loss at levels of Z's own."""
    a2 = case.policy(case.target.actor, case.s2)
    y = case.y(z(case.target.critic, case.s2, a2, levels(8)).amin(0))
    tau = levels(8)
    return pinball((z(case.online.critic, case.s, case.a, tau) - 2) / 3, tau, y)


def ramac_actor(weight):
    """BC - eta / sd * CVaR_0.1 of min_j Z_j(s, a; tau), tau ~ U(0, 0.1), sd = 3."""

    def plain(case):
        a = case.policy(case.online.actor, case.s)
        bc = case.online.actor.bc(case.batch).mean()
        cvar = z(case.online.critic, case.s, a, 0.1 * levels(8)).amin(0).mean(-1)
        return bc - weight * (cvar.mean() - 2) / 3

    return plain


def oraac_actor(case):
    """The prior's own loss, and -CVaR_0.1 at clip(b + bound tanh xi(s, b)), b detached."""
    actor = case.online.actor
    with torch.no_grad():
        b = actor.prior.sample(case.s)
    a = (b + 0.25 * actor.correction(torch.cat([case.s, b], -1)).tanh()).clamp(-1, 1)
    bc = actor.prior.clone(case.s, case.a).mean()
    cvar = z(case.online.critic, case.s, a, 0.1 * levels(8))[0].mean(-1)
    return bc - 0.5 * (cvar.mean() - 2) / 3


def sac_actor(rho):
    """alpha log pi - rho / sd at the actor's own action; alpha is 0.1 before it has moved."""

    def plain(case):
        a, log_prob = case.online.actor.sample_with_log_prob(case.s)
        return (0.1 * log_prob - (rho(case, a) - 2) / 3).mean()

    return plain


def proposals(case):
    """4 uniform actions, 4 of the policy at s, 4 at s', with their log densities."""
    actions, density = [torch.rand(32, 4, 2) * 2 - 1], [torch.full((32, 4), -2 * math.log(2))]
    for state in (case.s, case.s2):
        a, log_prob = case.online.actor.sample_with_log_prob(state.repeat_interleave(4, 0))
        actions.append(a.reshape(32, 4, 2))
        density.append(log_prob.reshape(32, 4))
    return torch.cat(actions, 1).detach(), torch.cat(density, 1).detach(), case.s.unsqueeze(1).expand(-1, 12, -1)


def cql_critic(case):
    a2, _ = case.online.actor.sample_with_log_prob(case.s2)
    td = squared(case, case.y(q(case.target.critic, case.s2, a2).amin(-1, keepdim=True)))
    torch.rand(32, 1)  # the level that a critic draws for its target, and a scalar one ignores
    a, density, s = proposals(case)
    inside = ((q(case.online.critic, s, a) - 2) / 3 - density.unsqueeze(-1)).exp().mean(1).log()
    return td + (inside - (q(case.online.critic, case.s, case.a) - 2) / 3).sum(-1).mean()


def codac_critic(case):
    a2, log_prob = case.online.actor.sample_with_log_prob(case.s2)
    z2 = z(case.target.critic, case.s2, a2, levels(32)).amin(0)
    grid = (torch.arange(32) + 0.5) / 32
    td = pinball(features(case.online.critic, case.s, case.a), grid, case.y(z2 - 0.1 * 3 * log_prob.unsqueeze(-1)))
    a, density, s = proposals(case)
    tau = (torch.arange(32) + torch.rand(32, 1, 32)) / 32
    each = (z(case.online.critic, s, a, tau.expand(-1, 12, -1).reshape(-1, 32)) - 2).reshape(2, 32, 12, 32) / 3
    inside = (each - density[..., None]).exp().mean(2).log()
    gap = inside - (z(case.online.critic, case.s, case.a, tau[:, 0]) - 2) / 3
    return td + 0.02 * gap.mean(-1).sum(0).mean()


def codac_risk(case, a):
    """The lowest member's CVaR_0.1: 3.2 of 32 equal cells."""
    sorted_z = 2 + 3 * features(case.online.critic, case.s, a).sort(-1).values
    return ((sorted_z[..., :3].sum(-1) + 0.2 * sorted_z[..., 3]) / 3.2).amin(0)


def smoothed(case):
    a2 = case.policy(case.target.actor, case.s2)
    return (a2 + (0.2 * torch.randn(32, 2)).clamp(-0.5, 0.5)).clamp(-1, 1)


def td3_critic(case):
    return squared(case, case.y(q(case.target.critic, case.s2, smoothed(case)).amin(-1, keepdim=True)))


def rebrac_critic(case):
    a2 = smoothed(case)
    far = ((a2 - case.batch["next", "action"]) ** 2).sum(-1, keepdim=True) * case.batch["next", "followed"]
    return squared(case, case.y(q(case.target.critic, case.s2, a2).amin(-1, keepdim=True) - 0.01 * 3 * far))


def td3_actor(case):
    """(pi - a)^2 - 2 / sd * Q_1; the paper has 2.5 / mean |Q_1|."""
    a = case.policy(case.online.actor, case.s)
    value = q(case.online.critic, case.s, a)[:, 0]
    return ((a - case.a) ** 2).mean() - 2 * (value.mean() - 2) / 3


def rebrac_actor(case):
    a = case.policy(case.online.actor, case.s)
    value = q(case.online.critic, case.s, a).amin(-1)
    return 0.5 * ((a - case.a) ** 2).mean() - (value.mean() - 2) / 3


def dql_critic(case):
    a2 = case.policy(case.target.actor, case.s2)
    return squared(case, case.y(q(case.target.critic, case.s2, a2).amin(-1, keepdim=True)))


def dql_actor(case):
    """BC - Q_i / sd, i drawn; the paper has mean |Q_j| for sd, j the other."""
    a = case.policy(case.online.actor, case.s)
    bc = case.online.actor.bc(case.batch).mean()
    i = int(torch.randint(2, (1,)))
    value = q(case.online.critic, case.s, a)
    return bc - (value[:, i].mean() - 2) / 3


def fql_critic(case):
    a2 = case.policy(case.online.actor, case.s2)
    return squared(case, case.y(q(case.target.critic, case.s2, a2).mean(-1, keepdim=True)))


def fql_actor(case):
    noise = torch.randn(32, 2)
    student = case.online.actor.student(noise, noise[:, :0], case.s)
    teacher = case.online.actor.carry(noise, case.s).detach()
    flow = case.online.actor.clone(case.s, case.a).mean()
    value = q(case.online.critic, case.s, student.clamp(-1, 1)).mean(-1)
    return flow + 10 * ((student - teacher) ** 2).mean() - (value.mean() - 2) / 3


def iql_critic(case):
    """MSE to r + gamma V(s'), and the 0.7-expectile of min_j Q'_j(s, a) for V."""
    net = case.loss.terms["iql"].net
    td = squared(case, case.y(2 + 3 * net(case.s2)))
    u = (q(case.target.critic, case.s, case.a).amin(-1).detach() - 2) / 3 - net(case.s).squeeze(-1)
    return td + (torch.where(u > 0, 0.7, 0.3) * u**2).mean()


def iql_actor(case):
    net = case.loss.terms["iql"].net
    advantage = (q(case.target.critic, case.s, case.a).amin(-1) - 2) / 3 - net(case.s).squeeze(-1)
    scale = math.sqrt(math.log(2)) / advantage.std(correction=0)  # half of the data count
    weight = (scale * (advantage - advantage.mean())).exp().clamp(max=100).detach()
    distribution = case.online.actor.distribution(case.s)
    return (weight * -2 * distribution.log_prob(case.a.clamp(-0.999, 0.999)).mean(-1)).mean()


def cloning(case):
    return case.online.actor.clone(case.s, case.a).mean()


PLAIN = {
    "radac": (iqn_critic, ramac_actor(0.5)),
    "rafmac": (iqn_critic, ramac_actor(0.5)),
    "oraac": (iqn_critic, oraac_actor),
    "oraac_diff": (iqn_critic, oraac_actor),
    "oraac_flow": (iqn_critic, oraac_actor),
    "codac": (codac_critic, sac_actor(codac_risk)),
    "dql": (dql_critic, dql_actor),
    "fql": (fql_critic, fql_actor),
    "td3bc": (td3_critic, td3_actor),
    "rebrac": (rebrac_critic, rebrac_actor),
    "iql": (iql_critic, iql_actor),
    "idql": (iql_critic, cloning),
    "cql": (cql_critic, sac_actor(lambda case, a: q(case.online.critic, case.s, a).amin(-1))),
    "bc": (None, cloning),
}
MOVED = {
    "oraac": {"actor.prior", "actor.correction"},
    "oraac_diff": {"actor.prior", "actor.correction"},
    "oraac_flow": {"actor.prior", "actor.correction"},
    "radac": {"actor.epsilon"},
    "dql": {"actor.epsilon"},
    "idql": {"actor.epsilon", "iql.net"},
    "fql": {"actor.velocity", "actor.student"},
    "iql": {"actor.net", "iql.net"},
    "cql": {"actor.net", "entropy.multiplier"},
    "codac": {"actor.net", "entropy.multiplier"},
    "td3bc": {"actor.net"},
    "rebrac": {"actor.net"},
    "rafmac": {"actor.velocity"},
    "bc": {"actor.velocity"},
}


def test_every_recipe_is_held_against_its_paper():
    assert set(presets("recipe")) == set(PLAIN) == set(MOVED)
    for name, path in presets("recipe").items():
        lines = path.read_text().splitlines()
        assert len(lines[1:]) <= 15, name  # below Hydra's package header
        about = yaml.safe_load(path.read_text())["about"]
        assert about.keys() == {"what", "paper", "deviations"} and all(about.values()), name


@pytest.mark.parametrize("recipe", presets("recipe"))
@pytest.mark.parametrize("group", ["critic", "actor"])
def test_the_composite_loss_is_the_papers(recipe, group, batch):
    plain = PLAIN[recipe][group == "actor"]
    case = Case(recipe, batch)
    if plain is None:
        assert not case.loss.group(group)
        return
    torch.manual_seed(1)
    found = case.composite(group)
    torch.manual_seed(1)
    expected = plain(case)
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)
    weights = case.loss.parameters_of(group)
    for a, b in zip(
        torch.autograd.grad(found, weights, allow_unused=True),
        torch.autograd.grad(expected, weights, allow_unused=True),
        strict=True,
    ):
        assert (a is None or not a.any()) if b is None else torch.allclose(a, b, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("recipe", presets("recipe"))
def test_one_step_moves_exactly_what_it_should(recipe, batch):
    case = Case(recipe, batch)
    before = {key: value.clone() for key, value in case.loss.named_parameters()}
    for _ in range(case.trainer.delay):
        case.trainer.update(batch)
    after = dict(case.loss.named_parameters())
    moved = {key for key, value in before.items() if not torch.equal(value, after[key])}
    parts = {".".join(key.split(".")[1:3]) for key in moved if "agent_params.critic" not in key}
    assert parts == MOVED[recipe]
    assert any("agent_params.critic" in key for key in moved) == (recipe != "bc")


@pytest.mark.parametrize(
    "actor", ["ddpm", "ddim", "dpmsolver", "edm", "flow", "shortcut", "vae", "mixture", "gaussian"]
)
def test_cloning_goes_with_any_actor(actor, batch):
    trainer = Case("bc", batch, f"actor={actor}").trainer
    assert trainer.update(batch)["loss_bc"].isfinite()


def test_a_recipe_can_be_overridden(batch):
    case = Case("oraac", batch, "actor.prior=flow", "critic=qr", "loss.risk.weight=0.7", "mode=false", "risk=wang-0.5")
    assert case.config.recipe == "oraac"
    assert case.online.critic.quantiles == 100
    assert case.loss.terms["risk"].schedule.weight == 0.7
    assert not case.online.acting.mode


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["recipe=orac"], "no recipe 'orac'; choose from .*did you mean 'oraac'"),
        (["recipe=null"], "leave it out for no recipe; choose from bc"),
        (["recipe=fql", "actor=flow"], "loss=distill needs the actor's sample_with_teacher; actor=flow has none"),
        (["recipe=cql", "actor=ddpm"], "loss=entropy needs the actor's sample_with_log_prob"),
        (["recipe=oraac", "actor.prior=vaee"], "no actor 'vaee'.*did you mean 'vae'"),
        (["recipe=dql", "candidates=0"], "candidates must be a whole number from 1, got 0"),
        (["recipe=dql", "candidates=1"], "temperature=0.05 chooses among candidates"),
        (["recipe=iql", "candidates=8"], "mode=true is a single action"),
        (["recipe=bc", "mode=2"], "mode must be true or false, got 2"),
        (["recipe=bc", "candidates=8"], "candidates=8 are judged by the critic, which only td trains"),
        (["recipe=oraac", "actor.prior=onestep"], "prior=onestep would need distill"),
        (["recipe=codac", "critic=c51"], "loss=conservative needs the critic's differentiable_quantile"),
        (["recipe=td3bc", "trainer.steps=1"], r"delay must be at most steps \(1\), or the actor never moves, got 2"),
        (
            ["recipe=iql", "loss=[td,iql,awr,critic_bc]"],
            "loss=iql replaces the next action .*, so critic_bc has no effect",
        ),
        (
            ["recipe=iql", "loss.td.smoothing=0.2"],
            "loss=iql replaces the next action .*, so td.smoothing has no",
        ),
    ],
)
def test_bad_recipes_are_refused_in_words(overrides, words, batch):
    with pytest.raises(InputError, match=words):
        build_trainer(compose(overrides), SPEC, batch, torch.device("cpu"))
