"""Random draws of episodes that act as one batch: each episode's own, whatever the others are."""

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Normal
from torch.nn.functional import gumbel_softmax

from ramac.system.noise import AHEAD, EpisodeNoise

ROWS = 8
WEIGHT = torch.tensor([0.1, 0.2, 0.7])


def like(rows: int) -> torch.Tensor:
    return torch.zeros(rows, 3)


DRAWS = {
    "randn": lambda rows: torch.randn(rows, 3),
    "randn of a size": lambda rows: torch.randn((rows, 2), dtype=torch.float64),
    "randn_like": lambda rows: torch.randn_like(like(rows)),
    "rand": lambda rows: torch.rand(rows, 3),
    "rand_like": lambda rows: torch.rand_like(like(rows)),
    "normal": lambda rows: torch.normal(like(rows), 2.0),
    "normal_": lambda rows: like(rows).normal_(1.0, std=2.0),
    "uniform_": lambda rows: like(rows).uniform_(-1, 1),
    "exponential_": lambda rows: like(rows).exponential_(),
    "bernoulli": lambda rows: torch.bernoulli(like(rows) + 0.4),
    "randint": lambda rows: torch.randint(2, 1000, (rows,)),
    "randint from 0": lambda rows: torch.randint(1000, (rows,)),
    "multinomial": lambda rows: torch.multinomial(WEIGHT.expand(rows, 3), 1),
    "multinomial of two": lambda rows: WEIGHT.expand(rows, 3).multinomial(2),
    "gumbel_softmax": lambda rows: gumbel_softmax(like(rows), hard=True),
    "Normal": lambda rows: Normal(like(rows), 1.0).rsample(),
    "Categorical": lambda rows: Categorical(probs=WEIGHT.expand(rows, 3)).sample(),
}


@pytest.mark.parametrize("name", DRAWS)
def test_an_episode_draws_the_same_whatever_the_others_are(name):
    draw, seeds = DRAWS[name], list(range(10, 10 + ROWS))
    with EpisodeNoise(seeds):
        together = [draw(ROWS * 2) for _ in range(3)]
    found = []
    for part in (seeds[:3], seeds[3:4], seeds[4:]):
        with EpisodeNoise(part):
            found.append([draw(len(part) * 2) for _ in range(3)])
    for first, *others in zip(together, *found, strict=True):
        assert torch.equal(first, torch.cat(others))
    blocks = torch.stack(together, 1).double().unflatten(0, (ROWS, 2)).flatten(1)
    assert len(blocks.unique(dim=0)) > ROWS // 2, "episodes differ"


def test_the_draws_have_the_laws_of_torch():
    """Mean and variance of each law within five standard errors, 40000 draws of 4 episodes."""
    n = 40_000
    laws = {
        "randn": (0, 1), "rand": (0.5, 1 / 12), "normal": (0, 4), "normal_": (1, 4), "uniform_": (0, 1 / 3),
        "exponential_": (1, 1), "bernoulli": (0.4, 0.24), "randint": (500.5, 998**2 / 12), "multinomial": (1.6, 0.44),
        "gumbel_softmax": (1 / 3, 2 / 9), "Categorical": (1.6, 0.44),
    }  # fmt: skip
    with EpisodeNoise([0, 1, 2, 3]):
        for name, (mean, variance) in laws.items():
            value = DRAWS[name](n).double()
            value = value if value.dim() == 1 else value[:, 0]
            assert abs(value.mean() - mean) < 5 * (variance / n) ** 0.5, name
            assert value.var() == pytest.approx(variance, rel=0.06), name
        first = DRAWS["multinomial of two"](n)[:, 0]
        assert torch.allclose(first.bincount() / n, WEIGHT, atol=0.015)
        assert (like(n).exponential_() > 0).all()


def test_how_far_ahead_is_drawn_does_not_matter():
    """The same 3 AHEAD numbers, in one draw and in many."""
    with EpisodeNoise([5, 6]):
        once = torch.randn(2, 3 * AHEAD)
    with EpisodeNoise([5, 6]):
        often = torch.cat([torch.randn(2, count) for count in (1, 7, AHEAD - 20, 2 * AHEAD + 12)], 1)
    assert torch.equal(once, often)
    random = np.random.default_rng([5, 0])
    assert np.array_equal(once[0], random.standard_normal(3 * AHEAD, np.float32))


def test_other_draws_are_left_to_torch():
    """A leading dimension of other than E rows, and a generator of the caller's."""
    torch.manual_seed(3)
    plain = torch.randn(3), torch.rand(()), torch.randn(4, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(3)
    with EpisodeNoise([0, 1]):
        found = torch.randn(3), torch.rand(()), torch.randn(4, generator=torch.Generator().manual_seed(1))
    assert all(map(torch.equal, plain, found))


@pytest.mark.parametrize(
    ("by_place", "by_name"),
    [
        (lambda x: x.exponential_(5.0), lambda x: x.exponential_(lambd=5.0)),
        (lambda x: x.uniform_(2.0, 9.0), lambda x: x.uniform_(**{"from": 2.0, "to": 9.0})),
        (lambda x: x.uniform_(0.0, 9.0), lambda x: x.uniform_(to=9.0)),
        (lambda x: x.normal_(3.0, 2.0), lambda x: x.normal_(mean=3.0, std=2.0)),
        (lambda x: torch.randint(2, 9, x.shape), lambda x: torch.randint(low=2, high=9, size=x.shape)),
        (lambda x: torch.randint(9, x.shape), lambda x: torch.randint(high=9, size=x.shape)),
        (lambda x: torch.multinomial(x + 1, 2), lambda x: torch.multinomial(x + 1, num_samples=2)),
        (lambda x: torch.multinomial(x + 1, 2, True), lambda x: torch.multinomial(x + 1, 2, replacement=True)),
        (lambda x: torch.bernoulli(x + 0.3), lambda x: torch.bernoulli(input=x + 0.3)),
    ],
)
def test_arguments_count_by_name_as_by_place(by_place, by_name):
    found = []
    for draw in (by_place, by_name):
        with EpisodeNoise([1, 2, 3]):
            found.append(draw(torch.zeros(6, 4)))
    assert torch.equal(*found)
    if found[0].is_floating_point() and found[0].max() > 1:
        assert found[0].std() > 0
