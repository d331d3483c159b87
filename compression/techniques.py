"""The techniques that need no training, each as a recipe by its name."""

from dataclasses import replace

from trimseek.encoders.quantize import Precision, Quantization
from trimseek.encoders.shrink.recipe import Allocation, Method, Recipe
from trimseek.encoders.shrink.sparsity import Pattern, SparsityMethod

INT8 = Quantization()
INT4 = Quantization.everywhere(Precision.INT4)
HALF = 0.5  # of the weights
SPARSEGPT = Recipe(sparsity=HALF, sparsity_by=SparsityMethod.SPARSEGPT)

SEARCHED, GATES = Allocation.SEARCHED, Method.GATES
PRUNING = {
    "75 % of heads and neurons": Recipe(keep=0.75),
    "75 %, allocation searched": Recipe(keep=0.75, allocation=SEARCHED),
    "75 %, by learned gates": Recipe(keep=0.75, method=GATES),
    "50 % of heads and neurons": Recipe(keep=0.5),
    "50 %, allocation searched": Recipe(keep=0.5, allocation=SEARCHED),
    "50 %, by learned gates": Recipe(keep=0.5, method=GATES),
    "5 of 6 layers": Recipe(layers=5),
    "5 of 6 layers, the other not folded": Recipe(layers=5, folded=False),
}
STORAGE = {
    "int8": Recipe(),
    "int8, calibrated ranges": Recipe(static_ranges=True),
    "int8, calibrated ranges, smoothed": Recipe(static_ranges=True, smoothing=0.5),
    "int8, smoothed": Recipe(smoothing=0.5),
    "int8, asymmetric": Recipe(quantization=replace(INT8, symmetric=False)),
    "int8, one scale for a matrix": Recipe(quantization=replace(INT8, per_channel=False)),
    "int8, 2 matrices in float32": Recipe(kept_in_float=2),
    "int8, 4 matrices in float32": Recipe(kept_in_float=4),
    "int8, int4 token table": Recipe(quantization=replace(INT8, table=Precision.INT4)),
    "int4, int8 token table": Recipe(quantization=replace(INT8, matrices=Precision.INT4)),
    "int4": Recipe(quantization=INT4),
    "int4, to the nearest": Recipe(quantization=INT4, feedback=False),
    "int4, 8 matrices in int8": Recipe(quantization=INT4, kept_in_int8=8),
    "2 bits": Recipe(quantization=Quantization.everywhere(Precision.INT2)),
    "ternary": Recipe(quantization=Quantization.everywhere(Precision.TERNARY)),
    "binary": Recipe(quantization=Quantization.everywhere(Precision.BINARY)),
}
VOCABULARY = {"8,000 tokens of the texts": Recipe(vocabulary=8_000)}
SPARSITY = {
    "half zero, by magnitude": Recipe(sparsity=HALF),
    "half zero, by one threshold": Recipe(sparsity=HALF, sparsity_by=SparsityMethod.THRESHOLD),
    "half zero, by Wanda": Recipe(sparsity=HALF, sparsity_by=SparsityMethod.WANDA),
    "half zero, by SparseGPT": SPARSEGPT,
    "2 of 4 zero, by SparseGPT": replace(SPARSEGPT, pattern=Pattern.TWO_OF_FOUR),
}
