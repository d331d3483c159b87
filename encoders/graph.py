"""Build the ONNX graph of an encoder from its arrays: token ids in, one vector per text out.

The graph is written node by node, not traced, so that each layer has the shape that pruning left.
Where the ONNX standard has no operator (products of quantized matrices, attention that masks
padding), onnxruntime's own are used.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from trimseek.encoders.block_codes import BLOCK, LEVELS, code_matrix, pack
from trimseek.encoders.pooling import Pooling
from trimseek.encoders.quantize import (
    ACTIVATION_LEVELS,
    WHOLE_ROW,
    Precision,
    Quantization,
    pack_nibbles,
    quantize_matrix,
    quantize_nibbles,
    quantize_rows,
)
from trimseek.encoders.transforms import EPSILON as TRANSFORM_EPSILON
from trimseek.encoders.weights import (
    RANGE,
    SMOOTH,
    Dense,
    EncoderWeights,
    FloatArray,
    LayerNorm,
    LayerWeights,
    Linear,
    distance_table,
    rotary_tables,
)

OPSET = 20
IR_VERSION = 10
CONTRIB = "com.microsoft"
SMALLEST_NORM = 1e-12
MASKED_OUT = -1e9


def build_graph(
    weights: EncoderWeights,
    *,
    pooling: Pooling | None,
    normalize: bool,
    quantization: Quantization,
) -> onnx.ModelProto:
    """The graph ``(input_ids, attention_mask) (batch, tokens) int64 -> embedding (batch, dim)``.

    Without a pooling it gives ``last_hidden_state (batch, tokens, dim)``, the tokens' vectors.

    Tokens are of type 0, whose embedding is added to those of the positions beforehand; those
    behind the first ``weights.separator``, where there is one, of type 1.
    """
    return GraphBuilder(quantization).build(weights, pooling, normalize)


class GraphBuilder:
    """Collects the nodes and constants of one graph.

    A method appends the nodes of its part. Values go in and come out as their names in the graph;
    ``name`` is what the names of the part's constants begin with.
    """

    def __init__(self, quantization: Quantization) -> None:
        self.quantization = quantization
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.made: dict[str, str] = {}  # values that several layers take, see ``once``
        self.inputs: Mapping[str, FloatArray] = {}

    def build(
        self, weights: EncoderWeights, pooling: Pooling | None, normalize: bool
    ) -> onnx.ModelProto:
        """The whole graph; see ``build_graph``."""
        self.inputs = weights.inputs
        x = self.embed(weights)
        mask = self.node("Cast", "attention_mask", to=TensorProto.INT32)
        for i, layer in enumerate(weights.layers):
            x = self.layer(f"layers.{i}", layer, weights, x, mask)
        if weights.final_norm is not None:
            x = self.norm("final_norm", weights.final_norm, x, weights.layer_norm_eps)
        shape: list[str | int | None] = ["batch", "tokens", weights.dim]
        name = "last_hidden_state"
        if pooling is not None:
            name, shape = "embedding", ["batch", weights.vector_dim]
            x = self.pool(x, pooling)
            for i, transform in enumerate(weights.transforms):
                x = self.transform(f"transforms.{i}", transform, x)
            x = self.unit(x) if normalize else x
        self.nodes.append(helper.make_node("Identity", [x], [name]))
        graph = helper.make_graph(
            self.nodes,
            "encoder",
            [
                helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
                for name in ("input_ids", "attention_mask")
            ],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)],
            list(self.constants.values()),
        )
        domains = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)]
        return helper.make_model(
            graph, opset_imports=domains, ir_version=IR_VERSION, producer_name="trimseek"
        )

    def embed(self, weights: EncoderWeights) -> str:
        """``input_ids`` to the first layer's input ``(batch, tokens, dim)``."""
        x = self.look_up("token_embeddings", weights.token_embeddings)
        positions, types = weights.position_embeddings, weights.token_type_embeddings
        if positions is not None:
            if types is not None:
                positions = positions + types[0]
            table = self.positions(positions)
            length = self.node("Shape", "input_ids", start=1, end=2)
            start = self.constant("zero", np.zeros(1, np.int64))
            x = self.node("Add", x, self.node("Slice", table, start, length))
        if weights.separator is not None and types is not None and len(types) > 1:
            x = self.node("Add", x, self.second_type(weights.separator, types[1] - types[0]))
        if weights.embedding_norm is not None:
            x = self.norm("embedding_norm", weights.embedding_norm, x, weights.layer_norm_eps)
        if weights.embedding_projection is not None:
            x = self.linear("embedding_projection", weights.embedding_projection, x)
        return x

    def layer(
        self, name: str, layer: LayerWeights, weights: EncoderWeights, x: str, mask: str
    ) -> str:
        """Attention, then the feed-forward network, each added to its input.

        The sums are normalized, or with ``weights.pre_norm`` what the two read.
        """
        eps, pre_norm = weights.layer_norm_eps, weights.pre_norm
        attention_name, output_name = f"{name}.attention_norm", f"{name}.output_norm"
        attention_norm, output_norm = layer.attention_norm, layer.output_norm
        inputs = x
        if pre_norm and attention_norm is not None:
            inputs = self.norm(attention_name, attention_norm, x, eps)
        x = self.node("Add", x, self.attention(name, layer, weights, inputs, mask))
        if not pre_norm and attention_norm is not None:
            x = self.norm(attention_name, attention_norm, x, eps)
        inputs = self.norm(output_name, output_norm, x, eps) if pre_norm else x
        hidden = self.linear(f"{name}.intermediate", layer.intermediate, inputs)
        if weights.gated:
            hidden, gate = self.split(hidden, 2)
            hidden = self.node("Mul", self.activate(hidden, weights.activation), gate)
        else:
            hidden = self.activate(hidden, weights.activation)
        x = self.node("Add", x, self.linear(f"{name}.output", layer.output, hidden))
        return x if pre_norm else self.norm(output_name, output_norm, x, eps)

    def attention(
        self, name: str, layer: LayerWeights, weights: EncoderWeights, x: str, mask: str
    ) -> str:
        """The heads' outputs of ``x``, projected."""
        scale = np.float32(weights.head_dim**-0.5)
        joined = Linear(
            np.concatenate([layer.query.weight * scale, layer.key.weight, layer.value.weight], 1),
            np.concatenate([layer.query.bias * scale, layer.key.bias, layer.value.bias]),
        )
        width = layer.query.weight.shape[1]
        query, key, value = self.split(self.linear(f"{name}.qkv", joined, x), 3)
        if layer.rotary:
            query, key = (self.turn(each, layer.rotary, weights) for each in (query, key))
        added = self.added_to_scores(name, layer, weights)
        attended = self.node(
            "MultiHeadAttention",
            *(query, key, value, "", mask, *added),
            domain=CONTRIB,
            num_heads=width // weights.head_dim,
            unidirectional=int(weights.causal),
            scale=1.0,
            mask_filter_value=MASKED_OUT,
        )
        return self.linear(f"{name}.attention_output", layer.attention_output, attended)

    def turn(self, x: str, theta: float, weights: EncoderWeights) -> str:
        """Queries or keys turned by the angles of their positions."""
        cosines, sines = f"rotary.{theta:g}.cos", f"rotary.{theta:g}.sin"
        if cosines not in self.constants:
            tables = rotary_tables(theta, weights.head_dim, weights.positions)
            for name, table in zip((cosines, sines), tables, strict=True):
                self.constant(name, table)
        first = self.constant("first_position", np.zeros(1, np.int64))
        return self.node("RotaryEmbedding", x, first, cosines, sines, domain=CONTRIB)

    def added_to_scores(
        self, name: str, layer: LayerWeights, weights: EncoderWeights
    ) -> tuple[str, ...]:
        """What is added to scores ``(1, heads or 1, tokens, tokens)``; nothing where none is."""
        if layer.distances is None and not layer.window:
            return ()
        distances = self.once("distances_of_tokens", self.distances_of_tokens)
        axes = self.constant("first_axis", np.zeros(1, np.int64))
        if layer.distances is None:
            return (
                self.once(f"window.{layer.window}", lambda: self.band(distances, layer.window)),
            )
        table = distance_table(layer, weights.positions, weights.reach)
        rows = self.node(
            "Add", distances, self.constant("middle", np.array(weights.positions - 1, np.int64))
        )
        added = self.node("Gather", self.constant(f"{name}.distances", table), rows, axis=1)
        added = self.node("Unsqueeze", added, axes)
        if layer.window:
            band = self.once(f"window.{layer.window}", lambda: self.band(distances, layer.window))
            added = self.node("Add", added, band)
        return (added,)

    def distances_of_tokens(self) -> str:
        """``(tokens, tokens)``: a key's position, the column, less its query's."""
        length = self.node("Shape", "input_ids", start=1, end=2)
        scalar = self.node("Squeeze", length)
        zero, one = (self.constant(f"scalar.{n}", np.array(n, np.int64)) for n in (0, 1))
        places = self.node("Range", zero, scalar, one)
        column = self.node("Unsqueeze", places, self.constant("second_axis", np.ones(1, np.int64)))
        return self.node("Sub", places, column)

    def band(self, distances: str, window: int) -> str:
        """0 within the window, ``(1, 1, tokens, tokens)``, and what masks beyond it."""
        size = self.node("Abs", distances)
        limit = self.constant(f"window.{window}.size", np.array(window, np.int64))
        inside, outside = (
            self.constant(f"scalar.{value}", np.array(value, np.float32))
            for value in (0.0, MASKED_OUT)
        )
        band = self.node("Where", self.node("Greater", size, limit), outside, inside)
        axes = self.constant("two_axes", np.array([0, 1], np.int64))
        return self.node("Unsqueeze", band, axes)

    def once(self, name: str, make: Callable[[], str]) -> str:
        """A value that is made for the first that asks for it."""
        if name not in self.made:
            self.made[name] = make()
        return self.made[name]

    def pool(self, x: str, pooling: Pooling) -> str:
        """``(batch, tokens, dim) -> (batch, dim)``, without the padding."""
        if pooling is Pooling.CLS:
            first = self.constant("first", np.array(0, np.int64))
            return self.node("Gather", x, first, axis=1)
        axis = self.constant("token_axis", np.ones(1, np.int64))
        if pooling is Pooling.MAX:
            is_token = self.node("Cast", "attention_mask", to=TensorProto.BOOL)
            is_token = self.node(
                "Unsqueeze", is_token, self.constant("last", np.array([-1], np.int64))
            )
            lowest = self.constant("lowest", np.array(-np.inf, np.float32))
            return self.node("ReduceMax", self.node("Where", is_token, x, lowest), axis, keepdims=0)
        mask = self.node("Cast", "attention_mask", to=TensorProto.FLOAT)
        count = self.node("ReduceSum", mask, axis, keepdims=1)
        if pooling is Pooling.MEAN:  # a text without tokens gets zeros
            count = self.node("Max", count, self.constant("one", np.array(1, np.float32)))
        if pooling in (Pooling.WEIGHTED, Pooling.LAST):
            places = self.node("CumSum", mask, self.constant("tokens_axis", np.array(1, np.int64)))
            if pooling is Pooling.WEIGHTED:
                mask = self.node("Mul", mask, places)
            else:
                is_last = self.node("Cast", self.node("Equal", places, count), to=TensorProto.FLOAT)
                mask = self.node("Mul", mask, is_last)
            count = self.node("ReduceSum", mask, axis, keepdims=1)
        elif pooling is Pooling.MEAN_SQRT:
            count = self.node("Sqrt", count)
        shares = self.node("Div", mask, count)
        mean = self.node("MatMul", self.node("Unsqueeze", shares, axis), x)
        return self.node("Squeeze", mean, axis)

    def transform(self, name: str, transform: Dense | LayerNorm, x: str) -> str:
        """What comes behind pooling; in float32, as it is small."""
        if isinstance(transform, LayerNorm):
            return self.norm(name, transform, x, TRANSFORM_EPSILON)
        product = self.node("MatMul", x, self.constant(f"{name}.weight", transform.weight))
        x = self.node("Add", product, self.constant(f"{name}.bias", transform.bias))
        if transform.activation == "identity":
            return x
        if transform.activation in ("tanh", "sigmoid"):
            return self.node(transform.activation.capitalize(), x)
        return self.activate(x, transform.activation)

    def unit(self, x: str) -> str:
        """Vectors ``(batch, dim)`` divided by their length."""
        axis = self.constant("vector_axis", np.array([-1], np.int64))
        length = self.node("ReduceL2", x, axis, keepdims=1)
        smallest = self.constant("smallest", np.array(SMALLEST_NORM, np.float32))
        return self.node("Div", x, self.node("Max", length, smallest))

    def linear(self, name: str, linear: Linear, x: str) -> str:
        """``x @ weight + bias``, in the number format that the quantization says."""
        precision = self.quantization.precision_of(name)
        bias = self.constant(f"{name}.bias", linear.bias)
        if precision is Precision.FLOAT32:
            product = self.node("MatMul", x, self.constant(f"{name}.weight", linear.weight))
            return self.node("Add", product, bias)
        weight, smooth = linear.weight, self.inputs.get(f"{name}{SMOOTH}")
        if smooth is not None:
            weight = weight * smooth[:, None]
            x = self.node("Mul", x, self.constant(f"{name}.factor", 1 / smooth))
        if precision is Precision.INT8:
            return self.int8_product(name, weight, x, bias)
        return self.product_of_codes(name, weight, x, bias, precision)

    def int8_product(self, name: str, weight: FloatArray, x: str, bias: str) -> str:
        """``x @ weight + bias`` in int8, with ``x`` quantized per tensor."""
        values, scale, zero = quantize_matrix(
            weight,
            symmetric=self.quantization.symmetric,
            per_channel=self.quantization.per_channel,
            reduced=self.quantization.reduced_range,
        )
        stored = self.constant(f"{name}.int8", values)
        return self.quantized_product(name, x, stored, scale, zero, bias)

    def quantized_product(
        self,
        name: str,
        x: str,
        values: str,
        scale: FloatArray,
        zero: NDArray[np.integer],
        bias: str,
    ) -> str:
        """``x @ weight + bias`` of a quantized weight; ``x`` in a calibrated range or its own."""
        of_weight = self.constant(f"{name}.scale", scale), self.constant(f"{name}.zero", zero)
        calibrated = self.inputs.get(f"{name}{RANGE}")
        if calibrated is None:
            return self.node("DynamicQuantizeMatMul", x, values, *of_weight, bias, domain=CONTRIB)
        low, high = calibrated
        step = (high - low) / ACTIVATION_LEVELS
        of_input = (
            self.constant(f"{name}.input_scale", np.array(step, np.float32)),
            self.constant(f"{name}.input_zero", np.array(np.rint(-low / step), np.uint8)),
        )
        return self.node(
            "MatMulIntegerToFloat",
            self.node("QuantizeLinear", x, *of_input),
            values,
            of_input[0],
            of_weight[0],
            of_input[1],
            of_weight[1],
            bias,
            domain=CONTRIB,
        )

    def product_of_codes(
        self, name: str, weight: FloatArray, x: str, bias: str, precision: Precision
    ) -> str:
        """As ``int8_product``, of a weight that is stored as ``block_codes``.

        onnxruntime makes the int8 matrix once, when it loads the graph: all of it is constant.
        """
        rows, levels = len(weight), LEVELS[precision]
        stored = code_matrix(weight, levels, reduced=self.quantization.reduced_range)
        packed = pack(stored.codes, levels)
        bytes_ = self.constant(f"{name}.{precision.value}", packed)
        numbers = self.node("Cast", bytes_, to=TensorProto.INT32)
        axis = self.constant("first_axis", np.zeros(1, np.int64))
        places = (levels.base ** np.arange(levels.packed)).astype(np.int32)[:, None]
        digits = self.node(
            "Div",
            self.node("Unsqueeze", numbers, self.constant("second_axis", np.ones(1, np.int64))),
            self.constant(f"places.{precision.value}", places),
        )
        codes = self.node("Mod", digits, self.integer(levels.base))
        shape = np.array([len(packed) * levels.packed, weight.shape[1]], np.int64)
        codes = self.node("Reshape", codes, self.constant(f"{name}.shape", shape))
        end = self.constant(f"rows.{rows}", np.array([rows], np.int64))
        codes = self.node("Slice", codes, axis, end)
        scaled = self.node("Mul", codes, self.integer(levels.step))
        numbers = self.node("Add", scaled, self.integer(levels.lowest))
        blocks = self.constant(f"blocks.{rows}", np.arange(rows) // BLOCK)
        multipliers = self.constant(f"{name}.multipliers", stored.multipliers)
        multipliers = self.node("Cast", multipliers, to=TensorProto.INT32)
        multipliers = self.node("Gather", multipliers, blocks, axis=0)
        values = self.node("Cast", self.node("Mul", numbers, multipliers), to=TensorProto.INT8)
        zero = np.zeros(len(stored.scale), np.int8)
        return self.quantized_product(name, x, values, stored.scale, zero, bias)

    def integer(self, value: int) -> str:
        """A constant number."""
        return self.constant(f"integer.{value}", np.array(value, np.int32))

    def look_up(self, name: str, table: FloatArray) -> str:
        """Rows of the table for ``input_ids``: ``(batch, tokens, columns)`` float32."""
        precision = self.quantization.table
        if precision is Precision.FLOAT32:
            return self.node("Gather", self.constant(name, table), "input_ids")
        if precision is Precision.INT8:
            bits, (values, scale, _) = 8, quantize_rows(table)
        else:
            bits, (values, scale, _) = 4, quantize_nibbles(table, WHOLE_ROW)
            values = pack_nibbles(values)
        return self.node(
            "GatherBlockQuantized",
            self.constant(f"{name}.int{bits}", values),
            "input_ids",
            self.constant(f"{name}.scale", scale),
            domain=CONTRIB,
            bits=bits,
            gather_axis=0,
            quantize_axis=1,
            block_size=WHOLE_ROW,
        )

    def positions(self, table: FloatArray) -> str:
        """The position table, stored in 8 bits beside a 4-bit token table.

        onnxruntime folds the nodes that read 8 bits back into a constant when it loads the graph.
        """
        if self.quantization.table is not Precision.INT4:
            return self.constant("position_embeddings", table)
        values, scale, zero = quantize_rows(table)
        name = "position_embeddings"
        numbers = self.node("Cast", self.constant(f"{name}.int8", values), to=TensorProto.FLOAT)
        middle = self.constant(f"{name}.zero", zero.astype(np.float32))
        centred = self.node("Sub", numbers, middle)
        return self.node("Mul", centred, self.constant(f"{name}.scale", scale))

    def second_type(self, separator: int, difference: FloatArray) -> str:
        """What is added to a token behind the first separator, ``(batch, tokens, columns)``."""
        token = self.constant("separator", np.array(separator, np.int64))
        is_separator = self.node("Equal", "input_ids", token)
        counts = self.node("Cast", is_separator, to=TensorProto.INT32)
        axis = self.constant("tokens_axis", np.array(1, np.int64))
        before = self.node("CumSum", counts, axis, exclusive=1)
        is_behind = self.node("Cast", before, to=TensorProto.BOOL)
        factor = self.node("Cast", is_behind, to=TensorProto.FLOAT)
        columns = self.node("Unsqueeze", factor, self.constant("last", np.array([-1], np.int64)))
        return self.node("Mul", columns, self.constant("second_type", difference))

    def activate(self, x: str, activation: str) -> str:
        """The FFN's activation; every GELU but the exact one is the tanh approximation."""
        if activation == "relu":
            return self.node("Relu", x)
        if activation == "silu":
            return self.node("Mul", x, self.node("Sigmoid", x))
        return self.node("Gelu", x, approximate="none" if activation == "gelu" else "tanh")

    def norm(self, name: str, norm: LayerNorm, x: str, epsilon: float) -> str:
        """Layer normalization over the last axis."""
        weight = self.constant(f"{name}.weight", norm.weight)
        bias = self.constant(f"{name}.bias", norm.bias)
        return self.node("LayerNormalization", x, weight, bias, epsilon=epsilon, axis=-1)

    def split(self, x: str, parts: int) -> Sequence[str]:
        """The last axis cut into so many equal parts."""
        outputs = [f"{x}.{i}" for i in range(parts)]
        self.nodes.append(helper.make_node("Split", [x], outputs, axis=-1, num_outputs=parts))
        return outputs

    def node(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Append a node with one output, and return the output's name."""
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(kind, inputs, [name], name=name, domain=domain, **attributes)
        )
        return name

    def constant(self, name: str, array: NDArray[np.generic]) -> str:
        """Add a constant, unless there is one of this name; returns the name."""
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.asarray(array, order="C"), name)
        return name
