"""One tensor for all numbers of a compiled model, instead of an input per column.

ONNX Runtime takes about half a microsecond per input, and joins them again before the first real step: for
one row of a usual model that is half of its time.
"""

from __future__ import annotations

from typing import Any

NUMBERS = "numbers"
"""Name of the tensor, unless a column has it."""


def fuse_numbers(model: Any) -> None:
    """Replace a graph's numeric inputs, if there are two or more, by one before all others.

    Its columns are the inputs in their order. Where the graph joins just these it takes the tensor itself,
    else they are split from it. `serving.feeding` knows both kinds of graph.
    """
    from onnx import TensorProto, helper

    graph = model.graph
    numbers = [item.name for item in graph.input if item.type.tensor_type.elem_type == TensorProto.FLOAT]
    if len(numbers) < 2:
        return
    texts = [item for item in graph.input if item.name not in numbers]
    name = _free(graph)
    whole = helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, len(numbers)])
    nodes = _without_joins(graph, numbers, name)
    if any(used in numbers for node in nodes for used in node.input):
        nodes.insert(0, _split(graph, name, numbers))
    del graph.input[:], graph.node[:]
    graph.input.extend([whole, *texts])
    graph.node.extend(nodes)


def _without_joins(graph: Any, numbers: list[str], name: str) -> list[Any]:
    """The nodes, without those that join all numbers in their order; who used these uses the tensor."""
    outputs = {item.name for item in graph.output}
    joined = {
        node.output[0]
        for node in graph.node
        if node.op_type == "Concat" and list(node.input) == numbers and node.output[0] not in outputs
    }
    nodes = [node for node in graph.node if not joined.intersection(node.output)]
    for node in nodes:
        for place, used in enumerate(node.input):
            if used in joined:
                node.input[place] = name
    return nodes


def _split(graph: Any, name: str, numbers: list[str]) -> Any:
    from onnx import TensorProto, helper

    sizes = helper.make_tensor(f"{name}_sizes", TensorProto.INT64, [len(numbers)], [1] * len(numbers))
    graph.initializer.append(sizes)
    return helper.make_node("Split", [name, sizes.name], numbers, name=f"{name}_split", axis=1)


def _free(graph: Any) -> str:
    """A name that nothing in the graph has."""
    taken = {item.name for item in (*graph.input, *graph.initializer)}
    taken.update(name for node in graph.node for name in node.output)
    name = NUMBERS
    while any(one.startswith(name) for one in taken):
        name += "_"
    return name
