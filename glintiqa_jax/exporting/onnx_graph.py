"""A traced function as an ONNX graph: one rule for each primitive that our networks are made of.

What does not depend on the input is computed while the graph is written and becomes an initializer. An axis that JAX
broadcasts stays of length 1, as ONNX broadcasts by itself, until an operation needs it whole. The batch is the one size
that may be symbolic: graphs are made for any.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import onnx
from jax.extend import core
from onnx import helper, numpy_helper

from glintiqa_jax.errors import InputError

Step = Any  # a jax.extend.core.JaxprEqn, whose values have shapes
OPSET, IR_VERSION = 17, 8
"""Of the graphs: what ONNX Runtime 1.13 and later, of October 2022, read."""


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A value of the graph.

    Attributes:
      shape: as it is there; a broadcast axis may be of length 1 still.
      name: in the graph; empty for an array that is in none yet.
      array: the value, where it does not depend on the input.
    """

    shape: tuple[Any, ...]
    name: str = ""
    array: np.ndarray | None = None


class Graph:
    """The nodes of a graph and its initializers, as they are added.

    Args:
      batched: the name of an input whose first axis is the batch.
    """

    def __init__(self, batched: str):
        self.nodes: list[onnx.NodeProto] = []
        self._batched, self._constants = batched, dict[Any, tuple[str, np.ndarray]]()

    @property
    def initializers(self) -> list[onnx.TensorProto]:
        """The constants, by name."""
        return [numpy_helper.from_array(array, name) for name, array in self._constants.values()]

    def add(self, operation: str, *inputs: Any, shape: tuple[Any, ...], **attributes: Any) -> Tensor:
        """A new node of one output of this shape; arrays and numbers among its inputs become initializers."""
        output = f"{operation.lower()}_{len(self.nodes)}"
        names = [self.named(value) for value in inputs]
        self.nodes.append(helper.make_node(operation, names, [output], name=output, **attributes))
        return Tensor(shape, output)

    def named(self, value: Any) -> str:
        """The name of a value, which becomes an initializer if it is a constant; equal ones are kept once."""
        tensor = value if isinstance(value, Tensor) else Tensor(np.shape(value), array=np.asarray(value))
        if tensor.array is None:
            return tensor.name
        array = np.ascontiguousarray(tensor.array)
        name = tensor.name or f"constant_{len(self._constants)}"
        key = (array.dtype.str, tensor.shape, hashlib.sha256(array.data).digest())
        return self._constants.setdefault(key, (name, array))[0]

    def whole(self, tensor: Tensor, shape: tuple[Any, ...]) -> Tensor:
        """The value with the axes that are broadcast at their length."""
        if tensor.shape == shape:
            return tensor
        if tensor.array is not None and all(isinstance(size, int) for size in shape):
            return Tensor(shape, array=np.broadcast_to(tensor.array, shape))
        wanted = [size if isinstance(size, int) else 1 for size in shape]
        target: Any = np.array(wanted, np.int64)
        if missing := [
            axis for axis, size in enumerate(shape) if not isinstance(size, int) and _is_one(tensor.shape[axis])
        ]:
            sizes = self.add("Shape", Tensor((), self._batched), shape=(4,))
            batch = self.add("Slice", sizes, np.array([0]), np.array([1]), shape=(1,))
            around = np.split(target, [missing[0], missing[0] + 1])
            target = self.add("Concat", around[0], batch, around[2], shape=(len(shape),), axis=0)
        return self.add("Expand", tensor, target, shape=shape)

    def reshaped(self, tensor: Tensor, shape: tuple[Any, ...]) -> Tensor:
        """The value in another shape, of the same number of elements."""
        if tensor.shape == shape:
            return tensor
        if tensor.array is not None:
            return Tensor(shape, array=tensor.array.reshape(shape))
        # at most one size depends on the batch
        return self.add("Reshape", tensor, np.array([n if isinstance(n, int) else -1 for n in shape]), shape=shape)

    def transposed(self, tensor: Tensor, axes: Sequence[int]) -> Tensor:
        """The value with its axes in another order."""
        if list(axes) == sorted(axes):
            return tensor
        shape = tuple(tensor.shape[axis] for axis in axes)
        if tensor.array is not None:
            return Tensor(shape, array=tensor.array.transpose(axes))
        return self.add("Transpose", tensor, shape=shape, perm=list(axes))


def add_jaxpr(graph: Graph, traced: core.ClosedJaxpr, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Add what a traced function does to its inputs; gives its outputs.

    Raises:
      InputError: a primitive, or a form of one, that has no rule.
    """
    known: dict[Any, Tensor] = {}
    known.update(zip(traced.jaxpr.invars, inputs, strict=True))
    known.update({name: _constant(value) for name, value in zip(traced.jaxpr.constvars, traced.consts, strict=True)})
    for step in traced.jaxpr.eqns:
        values = [_constant(value.val) if isinstance(value, core.Literal) else known[value] for value in step.invars]
        known.update(zip(step.outvars, _outputs(graph, step, values), strict=True))
    return [_constant(value.val) if isinstance(value, core.Literal) else known[value] for value in traced.jaxpr.outvars]


def _constant(value: Any) -> Tensor:
    return Tensor(np.shape(value), array=np.asarray(value))


def _outputs(graph: Graph, step: Step, values: list[Tensor]) -> list[Tensor]:
    name, params = step.primitive.name, step.params
    if name in _INLINED:
        return add_jaxpr(graph, params[_INLINED[name]], values)
    if name == "platform_index":  # of lax.platform_dependent: what is for every platform
        return [_constant(np.int32([names is None for names in params["platforms"]].index(True)))]
    if name == "cond" and values[0].array is not None:
        return add_jaxpr(graph, params["branches"][int(values[0].array)], values[1:])
    shapes = [value.aval.shape for value in step.invars]
    if name not in _BROADCASTING:
        values = [graph.whole(value, shape) for value, shape in zip(values, shapes, strict=True)]
    if name not in _ON_CONSTANTS and _is_constant(values, shapes, step.outvars[0].aval.shape):
        return [_constant(step.primitive.bind(*(jnp.asarray(value.array) for value in values), **params))]
    if (rule := RULES.get(name)) is None:
        raise _unknown(step)
    return [rule(graph, step, *values)]


def _is_constant(values: list[Tensor], shapes: list[Any], shape: tuple[Any, ...]) -> bool:
    arrays = all(value.array is not None and value.shape == whole for value, whole in zip(values, shapes, strict=True))
    return arrays and all(isinstance(size, int) for size in shape)


def _is_one(size: Any) -> bool:
    return isinstance(size, int) and size == 1


def _unknown(step: Step) -> InputError:
    return InputError(
        expected=f"operations that ONNX is written of ({', '.join(sorted(RULES))})",
        found=f"{step.primitive.name}: {' '.join(str(step).split())}",
    )


def _elementwise(function: Callable[..., Any], *operations: str) -> Callable[..., Tensor]:
    """The rule of a function of each element: one operation after the other, or NumPy's function of constants."""

    def rule(graph: Graph, step: Step, *values: Tensor) -> Tensor:
        if all(value.array is not None for value in values):
            return _constant(function(*(value.array for value in values)).astype(step.outvars[0].aval.dtype))
        axes = max(len(value.shape) for value in values)  # some of the others are single numbers
        aligned = [(1,) * (axes - len(value.shape)) + value.shape for value in values]
        shape = tuple(next((size for size in sizes if not _is_one(size)), 1) for sizes in zip(*aligned, strict=True))
        found = graph.add(operations[0], *values, shape=shape)
        for operation in operations[1:]:
            found = graph.add(operation, found, shape=shape)
        return found

    return rule


def _square(graph: Graph, step: Step, x: Tensor) -> Tensor:
    return graph.add("Mul", x, x, shape=x.shape)


def _erfc(graph: Graph, step: Step, x: Tensor) -> Tensor:
    return graph.add("Sub", np.float32(1), graph.add("Erf", x, shape=x.shape), shape=x.shape)


def _select(graph: Graph, step: Step, which: Tensor, *cases: Tensor) -> Tensor:
    if step.invars[0].aval.dtype != bool or len(cases) != 2:
        raise _unknown(step)
    return graph.add("Where", which, cases[1], cases[0], shape=step.outvars[0].aval.shape)


def _cast(graph: Graph, step: Step, x: Tensor) -> Tensor:
    to = helper.np_dtype_to_tensor_dtype(np.dtype(step.params["new_dtype"]))
    return graph.add("Cast", x, shape=x.shape, to=to)


def _broadcast(graph: Graph, step: Step, x: Tensor, *sizes: Tensor) -> Tensor:
    shape: list[Any] = [1] * len(step.outvars[0].aval.shape)
    for axis, size in zip(step.params["broadcast_dimensions"], x.shape, strict=True):
        shape[axis] = size
    return graph.reshaped(x, tuple(shape))


def _reshape(graph: Graph, step: Step, x: Tensor, *sizes: Tensor) -> Tensor:
    return graph.reshaped(x, step.outvars[0].aval.shape)


def _transpose(graph: Graph, step: Step, x: Tensor) -> Tensor:
    return graph.transposed(x, step.params["permutation"])


def _slice(graph: Graph, step: Step, x: Tensor) -> Tensor:
    starts, ends = step.params["start_indices"], step.params["limit_indices"]
    strides = step.params["strides"] or (1,) * len(starts)
    cuts = zip(starts, ends, strides, x.shape, strict=True)
    axes = [axis for axis, (start, end, stride, size) in enumerate(cuts) if (start, end, stride) != (0, size, 1)]
    parts = [np.array([values[axis] for axis in axes], np.int64) for values in (starts, ends)]
    by = np.array([strides[axis] for axis in axes], np.int64)
    return graph.add("Slice", x, *parts, np.array(axes, np.int64), by, shape=step.outvars[0].aval.shape)


def _gather(graph: Graph, step: Step, x: Tensor, indices: Tensor) -> Tensor:
    """Indexing, which is a gather where the batch is symbolic: ``x[:, 1]``, ``x[:, 1:]``, ``x[:, ::2, ::2]``."""
    numbers, sizes, shape = step.params["dimension_numbers"], step.params["slice_sizes"], step.outvars[0].aval.shape
    axes, kept = numbers.start_index_map, [dim for dim in range(len(shape)) if dim not in numbers.offset_dims]
    whole = all(sizes[axis] == x.shape[axis] for axis in range(len(sizes)) if axis not in axes)
    if indices.array is None or numbers.operand_batching_dims or not whole or indices.array.min(initial=0) < 0:
        raise _unknown(step)
    collapsed = list(numbers.collapsed_slice_dims)
    places = np.moveaxis(indices.array, -1, 0).astype(np.int64)
    if places.ndim > 1 and kept != collapsed:
        raise _unknown(step)
    for axis, place in zip(axes, places, strict=True):
        chosen = place.reshape(1, -1)
        if place.ndim and axis in collapsed:  # one of the sizes of ``places`` counts along this axis
            dim = collapsed.index(axis)
            chosen = np.moveaxis(place, dim, 0).reshape(place.shape[dim], -1)
        if (chosen != chosen[:, :1]).any():
            raise _unknown(step)
        line, size = chosen[:, 0], 1 if axis in collapsed else sizes[axis]
        between = (*x.shape[:axis], len(line) * size, *x.shape[axis + 1 :])
        if len(line) > 1:
            x = graph.add("Gather", x, line, shape=between, axis=axis)
        else:
            x = graph.add("Slice", x, line, line + size, np.array([axis]), shape=between)
    return graph.reshaped(x, shape)


def _pad(graph: Graph, step: Step, x: Tensor, value: Tensor) -> Tensor:
    before, after, between = zip(*step.params["padding_config"], strict=True)
    if any(between):
        raise _unknown(step)
    return graph.add("Pad", x, np.array([*before, *after], np.int64), value, shape=step.outvars[0].aval.shape)


def _concatenate(graph: Graph, step: Step, *values: Tensor) -> Tensor:
    return graph.add("Concat", *values, shape=step.outvars[0].aval.shape, axis=step.params["dimension"])


def _dot_general(graph: Graph, step: Step, left: Tensor, right: Tensor) -> Tensor:
    """A product of matrices: (batch..., free, summed) by (batch..., summed, free)."""
    (left_summed, right_summed), (left_batch, right_batch) = step.params["dimension_numbers"]
    left_free = [axis for axis in range(len(left.shape)) if axis not in (*left_summed, *left_batch)]
    right_free = [axis for axis in range(len(right.shape)) if axis not in (*right_summed, *right_batch)]

    def sizes(tensor: Tensor, axes: Sequence[int]) -> tuple[Any, ...]:
        return tuple(tensor.shape[axis] for axis in axes)

    batch, rows, columns = sizes(left, left_batch), sizes(left, left_free), sizes(right, right_free)
    summed = math.prod(sizes(left, left_summed))
    a = graph.transposed(left, (*left_batch, *left_free, *left_summed))
    b = graph.transposed(right, (*right_batch, *right_summed, *right_free))
    matrix_rows = (math.prod(rows),) if batch else rows  # of one matrix for all, any axes before the last are rows
    a = graph.reshaped(a, (*batch, *matrix_rows, summed))
    b = graph.reshaped(b, (*batch, summed, math.prod(columns)))
    found = graph.add("MatMul", a, b, shape=(*batch, *matrix_rows, math.prod(columns)))
    return graph.reshaped(found, (*batch, *rows, *columns))


def _convolution(graph: Graph, step: Step, x: Tensor, kernel: Tensor) -> Tensor:
    params, numbers = step.params, step.params["dimension_numbers"]
    if params["batch_group_count"] != 1 or set(params["lhs_dilation"]) != {1}:
        raise _unknown(step)
    before, after = zip(*params["padding"], strict=True)
    shape = step.outvars[0].aval.shape
    found = graph.add(
        "Conv",
        graph.transposed(x, numbers.lhs_spec),
        graph.transposed(kernel, numbers.rhs_spec),
        shape=tuple(shape[axis] for axis in numbers.out_spec),
        group=params["feature_group_count"],
        strides=list(params["window_strides"]),
        dilations=list(params["rhs_dilation"]),
        pads=[int(pad) for pad in (*before, *after)],
    )
    return graph.transposed(found, np.argsort(numbers.out_spec).tolist())


def _reduce_sum(graph: Graph, step: Step, x: Tensor) -> Tensor:
    axes = np.array(step.params["axes"], np.int64)
    return graph.add("ReduceSum", x, axes, shape=step.outvars[0].aval.shape, keepdims=0)


def _reduce_max(graph: Graph, step: Step, x: Tensor) -> Tensor:
    axes = [int(axis) for axis in step.params["axes"]]
    return graph.add("ReduceMax", x, shape=step.outvars[0].aval.shape, axes=axes, keepdims=0)


def _same(graph: Graph, step: Step, x: Tensor) -> Tensor:
    return x


_INLINED = {"jit": "jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr"}
_ARITHMETIC: dict[str, Callable[..., Tensor]] = {
    "add": _elementwise(np.add, "Add"),
    "sub": _elementwise(np.subtract, "Sub"),
    "mul": _elementwise(np.multiply, "Mul"),
    "div": _elementwise(np.divide, "Div"),
    "max": _elementwise(np.maximum, "Max"),
    "min": _elementwise(np.minimum, "Min"),
    "neg": _elementwise(np.negative, "Neg"),
    "exp": _elementwise(np.exp, "Exp"),
    "tanh": _elementwise(np.tanh, "Tanh"),
    "sqrt": _elementwise(np.sqrt, "Sqrt"),
    "rsqrt": _elementwise(lambda x: 1 / np.sqrt(x), "Sqrt", "Reciprocal"),
    "copy": _same,
    "stop_gradient": _same,
}
_BROADCASTING = {
    *_ARITHMETIC,
    "broadcast_in_dim",
    "convert_element_type",
    "erfc",
    "square",
    "transpose",
}  # take an axis of length 1 for a longer one
_ON_CONSTANTS = {*_ARITHMETIC, "broadcast_in_dim", "reshape", "squeeze", "transpose"}  # whose rules compute with arrays
RULES: dict[str, Callable[..., Tensor]] = _ARITHMETIC | {
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "convert_element_type": _cast,
    "conv_general_dilated": _convolution,
    "dot_general": _dot_general,
    "erfc": _erfc,
    "gather": _gather,
    "pad": _pad,
    "reduce_max": _reduce_max,
    "reduce_sum": _reduce_sum,
    "reshape": _reshape,
    "select_n": _select,
    "slice": _slice,
    "square": _square,
    "squeeze": _reshape,
    "transpose": _transpose,
}
"""By primitive of JAX: ``rule(graph, step, *values)`` adds its nodes and gives its output."""
