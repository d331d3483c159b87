"""A student of another width: a small encoder, projected into a large one's space.

The projection is fitted to the large encoder's vectors by ridge regression, so that training begins
where the student already is of use (as Vujanic & Rueckstiess 2025 train all at once: LEAF).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trimseek.encoders.checkpoint import Checkpoint, tokenizer_of
from trimseek.encoders.folder import space_of
from trimseek.encoders.shrink.agreement import encode
from trimseek.encoders.shrink.module import EncoderModule
from trimseek.encoders.weights import Dense, FloatArray

RIDGE = 1e-3  # see ``ridge``


def ridge(inputs: NDArray[np.float64], targets: NDArray[np.floating], share: float) -> FloatArray:
    """The matrix that maps inputs ``(n, a)`` to targets ``(n, b)`` with the least squares.

    ``share``: of the mean diagonal of X'X, which is added to it.
    """
    hessian = inputs.T @ inputs
    hessian += share * np.trace(hessian) / len(hessian) * np.eye(len(hessian))
    solution: FloatArray = np.linalg.solve(hessian, inputs.T @ targets).astype(np.float32)
    return solution


def projected(
    student: Checkpoint,
    teacher: Checkpoint,
    texts: Sequence[str],
    vectors: FloatArray,
    role: str = "query",
) -> Checkpoint:
    """The student with a projection, as an encoder of the teacher's space.

    ``vectors (n, teacher's dim)``: the teacher's of the texts. ``role``: whose prompt they get.
    """
    tokenizer = tokenizer_of(student, role)
    module = EncoderModule(student.weights, student.pooling, normalize=False).eval()
    own = encode(module, [text.ids for text in tokenizer.encode(texts)]).astype(np.float64)
    inputs = np.hstack([own, np.ones((len(own), 1))])
    solution = ridge(inputs, vectors, RIDGE)
    dense = Dense(np.ascontiguousarray(solution[:-1]), solution[-1].copy(), "identity")
    weights = replace(student.weights, transforms=(*student.weights.transforms, dense))
    return replace(
        student,
        weights=weights,
        normalize=teacher.normalize,
        truncate_dim=teacher.truncate_dim,
        space=space_of(teacher),
    )
