"""Recipes written straight from their papers in torch alone, as a first version is written.

Nothing of ramac is used here. Sizes, hyperparameters and losses are those of ramac's recipes: tests/test_benchmarks.py
holds both against each other.
"""

from collections.abc import Callable

from benchmarks.plain.common import Method
from benchmarks.plain.fql import FQL
from benchmarks.plain.implicit import radac, rafmac
from benchmarks.plain.iql import IQL
from benchmarks.plain.td3bc import TD3BC

METHODS: dict[str, Callable[..., Method]] = {"radac": radac, "rafmac": rafmac, "td3bc": TD3BC, "iql": IQL, "fql": FQL}
