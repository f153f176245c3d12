"""A traced gradient step with fewer calls of operators, and the same bits."""

import operator
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import GraphModule, Node

ATEN = torch.ops.aten
# these return or write memory of their inputs, and their schemas do not say so
UNDECLARED = {
    ATEN._unsafe_view, ATEN.unsafe_split, ATEN.unsafe_split_with_sizes, ATEN.unsafe_chunk, ATEN.lift,
    ATEN.native_batch_norm, ATEN.cudnn_batch_norm, ATEN.miopen_batch_norm, ATEN._cudnn_rnn, ATEN.as_strided,
}  # fmt: skip


def simplify(module: GraphModule) -> None:
    """Compute each result once, and nothing that nobody reads.

    Raises ValueError for operators that change the shape of their input in place.
    """
    kinds = {node.target for node in module.graph.nodes if isinstance(node.target, OpOverload)}
    for kind in kinds:
        if torch.Tag.inplace_view in kind.tags:
            raise ValueError(f"{kind} changes the shape of its input in place")
    erase_autograd(module)
    if not {kind.overloadpacket for kind in kinds} & UNDECLARED:
        merge_equal(module)
        erase_unused(module)
    module.recompile()


def erase_autograd(module: GraphModule) -> None:
    """Erase what only autograd and profilers need."""
    for node in reversed(module.graph.nodes):
        if "profiler" in str(node.target):
            module.graph.erase_node(node)
    for node in list(module.graph.nodes):
        if node.target is ATEN.detach.default:
            replace(node, node.args[0])


def replace(node: Node, other: Any) -> None:
    """Let all readers of a node read another one."""
    node.replace_all_uses_with(other)
    node.graph.erase_node(node)


def pure(node: Node) -> bool:
    """Whether an operator gives the same values for the same inputs, and does nothing else."""
    if node.target is operator.getitem:
        return True
    kind = node.target
    if not isinstance(kind, OpOverload) or kind.namespace != "aten" or not kind._schema.returns:
        return False
    return not kind._schema.is_mutable and torch.Tag.nondeterministic_seeded not in kind.tags


def view(node: Node) -> bool:
    """Whether an operator returns its input's memory in another shape."""
    return isinstance(node.target, OpOverload) and node.target.is_view


def aliased(node: Node, written: bool) -> Iterator[Node]:
    """Inputs of an operator whose memory it returns or writes; only what it writes, where `written`."""
    if node.target is operator.getitem:
        yield from () if written else node.all_input_nodes
    if not isinstance(node.target, OpOverload):
        return
    arguments = node.target._schema.arguments
    for index, argument in enumerate(arguments):
        given = node.args[index] if index < len(node.args) else node.kwargs.get(argument.name)
        if argument.alias_info is not None and (argument.alias_info.is_write or not written):
            yield from (
                each for each in (given if isinstance(given, list | tuple) else [given]) if isinstance(each, Node)
            )


def memories(module: GraphModule) -> dict[Node, frozenset[Any]]:
    """Names of the memory that each node's value may lie in: two values that share one may overlap."""
    found: dict[Node, frozenset[Any]] = {}
    for node in module.graph.nodes:
        if node.op == "placeholder":
            found[node] = frozenset(["inputs"])
        elif node.op == "get_attr":
            found[node] = frozenset([getattr(module, node.target).untyped_storage().data_ptr()])
        else:
            shared = [found[each] for each in aliased(node, written=False)]
            found[node] = frozenset[Any]().union(*shared) if shared else frozenset([node.name])
    return found


def merge_equal(module: GraphModule) -> None:
    """Compute equal operators of equal values once; a value is equal until its memory is written."""
    memory, layout = memories(module), layouts(module)
    changed = {place for node in module.graph.nodes for each in aliased(node, written=True) for place in memory[each]}
    writes: Counter[Any] = Counter()
    known: dict[Any, Node] = {}
    kept: dict[Node, Node] = {}  # what stands for a node that was erased
    for node in list(module.graph.nodes):
        base, shown = layout.get(node, (node, None))
        if node.op == "get_attr":
            key: Any = id(getattr(module, node.target))
        elif base is not node:  # the same memory in the same shape is the same value, whatever was written
            key = kept.get(base, base), shown
        elif node.op == "call_function" and pure(node) and not memory[node] & changed:
            read = frozenset((place, writes[place]) for each in node.all_input_nodes for place in memory[each])
            key = node.target, repr(node.args), repr(node.kwargs), read
        else:
            key = node
        writes.update(place for each in aliased(node, written=True) for place in memory[each])
        if (first := known.setdefault(key, node)) is not node:
            kept[node] = first
            replace(node, first)
        elif base is node:
            known[node, shown] = node  # a view of all of it is itself


def layouts(module: GraphModule) -> dict[Node, tuple[Node, Any]]:
    """The tensor whose memory each view and what it is taken from show, and how: equal ones are the same."""
    base: dict[Node, Node] = {}
    value: dict[Node, Any] = {}
    for node in module.graph.nodes:
        source = node.all_input_nodes[0] if node.all_input_nodes else node
        if view(node) or (node.target is operator.getitem and source in base):
            if source not in base:
                base[source], value[source] = source, node.all_input_nodes[0].meta["val"].to("meta")
            base[node] = base[source]
            value[node] = node.target(*torch.fx.map_arg(node.args, value.get), **node.kwargs)
    shown = {node: each for node, each in value.items() if isinstance(each, Tensor)}
    return {
        node: (
            base[node],
            (each.dtype, each.shape, each.stride(), each.storage_offset(), each.is_conj(), each.is_neg()),
        )
        for node, each in shown.items()
    }


def keep_views(module: GraphModule) -> None:
    """Take views of weights and other lasting tensors once, not in each replay."""
    kept: dict[Node, Any] = {}
    for node in list(module.graph.nodes):
        if node.op == "get_attr":
            kept[node] = getattr(module, node.target)
        elif (view(node) or node.target is operator.getitem) and all(each in kept for each in node.all_input_nodes):
            with torch.no_grad():
                kept[node] = node.target(*torch.fx.map_arg(node.args, kept.get), **node.kwargs)
            if isinstance(kept[node], Tensor):
                name = f"view_{node.name}"
                module.register_buffer(name, kept[node])
                with module.graph.inserting_before(node):
                    found = module.graph.get_attr(name)
                kept[found] = kept[node]
                node.replace_all_uses_with(found)
    erase_unused(module)
    module.recompile()


def erase_unused(module: GraphModule) -> None:
    """Erase operators whose results nobody reads."""
    for node in reversed(module.graph.nodes):
        if not node.users and (node.op == "get_attr" or (node.op == "call_function" and pure(node))):
            module.graph.erase_node(node)
