"""A function of images as an ONNX file (``pip install 'glintiqa-jax[export]'``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import onnx
from jax.tree_util import keystr, tree_leaves_with_path
from onnx import helper

from glintiqa_jax.exporting.onnx_graph import IR_VERSION, OPSET, Graph, Tensor, add_jaxpr

INPUT, OUTPUT = "crops", "scores"
_OF_NNX = ".value"  # which the path of a variable's array ends with


def onnx_bytes(function: Callable, state: Any, images: jax.ShapeDtypeStruct, said: Mapping[str, str]) -> bytes:
    """The file's content.

    Args:
      function: ``function(state, images)`` gives float32 ``(batch,)``.
      state: its arrays, a pytree; they keep their names.
      images: shape and type; the first size is symbolic.
      said: what the file says of itself, in its properties.

    Raises:
      InputError: a function of operations that have no rule in ``onnx_graph``.
    """
    traced = jax.make_jaxpr(function)(state, images)
    arrays = [
        Tensor(np.shape(value), keystr(path, simple=True, separator=".").removesuffix(_OF_NNX), np.asarray(value))
        for path, value in tree_leaves_with_path(state)
    ]
    graph = Graph(INPUT)
    (found,) = add_jaxpr(graph, traced, [*arrays, Tensor(images.shape, INPUT)])
    graph.nodes.append(helper.make_node("Identity", [found.name], [OUTPUT], name=OUTPUT))
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(images.dtype))
    content = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "glintiqa",
            [helper.make_tensor_value_info(INPUT, kind, ["batch", *images.shape[1:]])],
            [helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, ["batch"])],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="glintiqa-jax",
    )
    helper.set_model_props(content, dict(said))
    return content.SerializeToString()
