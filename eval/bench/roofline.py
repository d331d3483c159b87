"""How fast the machine multiplies matrices: the limit of what an encoder can reach.

After the roofline model (Williams, Waterman & Patterson 2009), of which this is the flat part: the
products are so large that memory bandwidth does not limit them.
"""

import time
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from trimseek.encoders.graph import IR_VERSION, OPSET
from trimseek.encoders.native.library import product_rate

ROWS, INNER, COLUMNS = 2048, 384, 1536  # a feed-forward product of MiniLM for 2,048 tokens
RUNS = 5
SECONDS = 0.05  # for which the kernels multiply


class MatrixProducts:
    """One product in int8 and in float32, by the runtimes of the encoders.

    int8: by the compiled kernels or by onnxruntime, whichever is faster.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        chosen = np.random.default_rng(0)
        weight = chosen.integers(-127, 128, (INNER, COLUMNS))
        x = chosen.integers(0, 256, (ROWS, INNER))
        self._int8 = product(weight.astype(np.int8), "MatMulInteger", threads)
        self._float32 = product(weight.astype(np.float32), "MatMul", threads)
        self._x8, self._x32 = x.astype(np.uint8), x.astype(np.float32)

    def rates(self) -> tuple[float, float]:
        """int8 and float32, 10^9 multiply-accumulates a second: the best of ``RUNS`` runs each."""
        native = product_rate(ROWS, INNER, COLUMNS, self._threads, SECONDS) / 1e9
        return max(best_rate(self._int8, self._x8), native), best_rate(self._float32, self._x32)


def best_rate(session: Any, x: Any) -> float:
    """10^9 multiply-accumulates a second of the fastest run of an onnxruntime session."""
    shortest = float("inf")
    for _ in range(RUNS):
        began = time.perf_counter()
        session.run(None, {"x": x})
        shortest = min(shortest, time.perf_counter() - began)
    return ROWS * INNER * COLUMNS / shortest / 1e9


def product(weight: Any, kind: str, threads: int) -> Any:
    """An onnxruntime session that multiplies ``x (ROWS, INNER)`` by the weight.

    ``kind``: "MatMulInteger" for int8, "MatMul" for float32.
    """
    whole = kind == "MatMulInteger"
    element = TensorProto.UINT8 if whole else TensorProto.FLOAT
    result = TensorProto.INT32 if whole else TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node(kind, ["x", "weight"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", element, [ROWS, INNER])],
        [helper.make_tensor_value_info("y", result, [ROWS, COLUMNS])],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
