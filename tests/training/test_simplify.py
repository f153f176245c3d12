"""A simplified trace computes less, and what it did before."""

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

from ramac.training.graph import Flat
from ramac.training.simplify import keep_views, simplify


class Calls(TorchDispatchMode):
    """Lists the operators that run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[object] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.found.append(func)
        return func(*args, **(kwargs or {}))


def names(graph: GraphModule) -> Counter[str]:
    """How often each operator is called, by its name."""
    with Calls() as calls, torch.no_grad():
        graph(torch.ones(3, 3))
    return Counter(func.overloadpacket.__name__ for func in calls.found)  # type: ignore[attr-defined]


def simplified(graph: GraphModule) -> GraphModule:
    simplify(graph)
    keep_views(graph)
    return graph


def changes_its_weight(weight: Tensor, x: Tensor) -> list[Tensor]:
    early, again = (weight * x).cos(), (weight * x).cos()
    weight.add_(1)
    late = (weight * x).cos()
    return [early + again, late]


def changes_a_result(weight: Tensor, x: Tensor) -> list[Tensor]:
    first = x.exp()
    part = first[0]
    part.mul_(2)  # by a view
    return [first, x.exp(), x[0].exp() + x[0].exp()]


def reads_by_views(weight: Tensor, x: Tensor) -> list[Tensor]:
    found = [x @ weight.t(), x.t().t() + x, weight[0] * weight[:1], torch.stack(weight.unbind()).sum()]
    weight.mul_(2)  # from here on `weight` is the result of an operator, whose views are taken anew
    return [*found, x @ weight.t(), weight[0] * weight[1]]


def runs_a_network_twice(weight: Tensor, x: Tensor) -> list[Tensor]:
    first, again = ((x / 2).view(3, 3) @ weight.t() for _ in range(2))
    return [first.tanh(), again.tanh() + x.view(9).view(3, 3)]


def leaves_results(weight: Tensor, x: Tensor) -> list[Tensor]:
    x.exp().sum().sqrt()
    weight.add_(1).cos()
    return [x + 1]


@pytest.mark.parametrize(
    ("function", "calls"),
    [
        (changes_its_weight, {"mul": 2, "cos": 2, "add_": 1}),
        (changes_a_result, {"exp": 3, "mul_": 1}),
        (reads_by_views, {"t": 1, "mm": 2, "unbind": 0, "mul_": 1}),
        (runs_a_network_twice, {"div": 1, "view": 0, "t": 0, "mm": 1, "tanh": 1}),
        (leaves_results, {"exp": 0, "sqrt": 0, "cos": 0, "add_": 1, "add": 1}),
    ],
)
def test_equal_operators_run_once_and_give_what_they_gave(
    function: Callable[[Tensor, Tensor], list[Tensor]], calls: dict[str, int]
) -> None:
    start = torch.randn(3, 3)
    weight, expected = start.clone(), start.clone()
    traced = make_fx(lambda x: function(weight, x))(torch.randn(3, 3))
    weight.copy_(start)
    graph = simplified(traced)
    for _ in range(3):
        x = torch.randn(3, 3)
        assert all(map(torch.equal, graph(x), function(expected, x)))
        assert torch.equal(weight, expected)
    counted = names(graph)
    assert {name: counted[name] for name in calls} == calls


def test_draws_are_neither_merged_nor_left_out() -> None:
    def draws(x: Tensor) -> list[Tensor]:
        torch.randn_like(x)
        return [torch.randn_like(x), torch.randn_like(x)]

    graph = simplified(make_fx(draws)(torch.ones(3, 3)))
    assert names(graph)["randn_like"] == 3


def uses_every_function(weight: Tensor, x: Tensor) -> list[Tensor]:
    row = x[0].unsqueeze(0).expand(3, -1)
    found = [x + row, x - row, x * 2, x / row, x @ weight.t(), torch.addmm(row[0], x, weight), torch.cat([x, row])]
    found += [torch.stack([x, row]).sum([0], keepdim=True), -x, x.sin(), x.cos(), x.exp(), x.tanh(), (x + 2).relu_()]
    found += [x.clamp(max=0.5), x.clamp(row, row + 1), x[1], (x + 3).permute(1, 0) * x, x.mean([-1]), x.mean()]
    found += [x.sum([-1], keepdim=True).squeeze(-1), x**2, x.amin([-1]), (x + 4).view(9)]
    return [*found, torch.nn.functional.layer_norm(x, [3]), torch.nn.functional.silu(x)]


def test_bindings_run_the_traced_operators() -> None:
    weight, x = torch.randn(2, 3, 3)
    graph = simplified(make_fx(lambda x: uses_every_function(weight, x))(torch.randn(3, 3)))
    traced = [node.target for node in graph.graph.nodes if isinstance(node.target, OpOverload)]
    operators = Flat(graph, [x])
    assert not any(isinstance(node.target, OpOverload) for node in graph.graph.nodes)
    with Calls() as calls, torch.inference_mode():
        graph(x)
    assert calls.found == traced
    assert all(map(torch.equal, operators(x), uses_every_function(weight, x)))


def test_an_operator_without_a_binding_stays_as_it_is() -> None:
    """`index` has none: the method of that name is another function."""
    graph = make_fx(lambda x: [x[torch.tensor([0, 2])]])(torch.ones(3, 3))
    x = torch.randn(3, 3)
    assert torch.equal(Flat(graph, [x])(x)[0], x[[0, 2]])
