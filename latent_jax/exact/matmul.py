"""Exact products on a processor: float32 holds the sums, so their order and fusing do not matter.

Two shapes of work. One row is a product of a matrix of bytes with a vector: memory decides, so
weights stay int8. A block of 16 rows is a tile of 6 outputs by 16 rows, held in registers while
all inputs pass by: weights are float32, each is loaded once for 16 rows. The tile is written as
LLVM's vectors of 8 floats, which become one AVX register, two of SSE or NEON; multiplication and
addition may be fused or not. With sums below 2^24 (`exact.bounds`) every choice gives one result.
"""

import itertools

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np import arrayobj

ROWS = 16
"""Rows of a block."""
OUTPUTS = 6
"""Outputs of a tile: 12 sums, 2 inputs and a weight fill 15 of 16 registers."""
_VECTOR = 8


@intrinsic
def _tile(typingctx, x_IR, w_OI, out_OR, first):
    """Write out[first:first + 6] = w[first:first + 6] x, for float32 arrays of 16 columns."""

    def build(context, builder, signature, arguments):
        x, w, out = (
            arrayobj.make_array(kind)(context, builder, value)
            for kind, value in zip(signature.args[:3], arguments[:3], strict=True)
        )
        vector, index = ir.VectorType(ir.FloatType(), _VECTOR), ir.IntType(64)
        n_vectors = ROWS // _VECTOR

        def at(array, position):
            return builder.gep(array.data, [position])

        def as_vector(pointer):
            return builder.bitcast(pointer, vector.as_pointer())

        def scaled(number, factor):
            return builder.mul(number, ir.Constant(index, factor))

        n_inputs = cgutils.unpack_tuple(builder, x.shape)[0]
        zero = ir.Constant(vector, [0.0] * _VECTOR)
        sums = [
            [cgutils.alloca_once_value(builder, zero) for _ in range(n_vectors)]
            for _ in range(OUTPUTS)
        ]
        for place in itertools.chain.from_iterable(sums):
            builder.store(zero, place)
        starts = [
            builder.mul(builder.add(arguments[3], ir.Constant(index, o)), n_inputs)
            for o in range(OUTPUTS)
        ]
        with cgutils.for_range(builder, n_inputs) as loop:
            begin = scaled(loop.index, ROWS)
            inputs = [
                builder.load(
                    as_vector(at(x, builder.add(begin, ir.Constant(index, v * _VECTOR)))), align=4
                )
                for v in range(n_vectors)
            ]
            for o in range(OUTPUTS):
                weight = builder.load(at(w, builder.add(starts[o], loop.index)))
                one = builder.insert_element(
                    ir.Constant(vector, ir.Undefined), weight, ir.Constant(ir.IntType(32), 0)
                )
                mask = ir.Constant(ir.VectorType(ir.IntType(32), _VECTOR), [0] * _VECTOR)
                spread = builder.shuffle_vector(one, one, mask)
                for v in range(n_vectors):
                    term = builder.fmul(spread, inputs[v], flags=("contract",))
                    total = builder.fadd(builder.load(sums[o][v]), term, flags=("contract",))
                    builder.store(total, sums[o][v])
        for o in range(OUTPUTS):
            begin = scaled(builder.add(arguments[3], ir.Constant(index, o)), ROWS)
            for v in range(n_vectors):
                place = as_vector(at(out, builder.add(begin, ir.Constant(index, v * _VECTOR))))
                builder.store(builder.load(sums[o][v]), place, align=4)
        return context.get_dummy_value()

    return types.void(x_IR, w_OI, out_OR, types.int64), build


@numba.njit(cache=True, nogil=True)
def block_product(x_IR, w_OI, out_OR):
    """Write w x into the first rows of `out`, all float32.

    Args:
        x_IR: integers, 16 columns.
        w_OI: integers; O is a multiple of 6.
        out_OR: sums.
    """
    for first in range(0, len(w_OI), OUTPUTS):
        _tile(x_IR, w_OI, out_OR, first)


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def row_product(x_I, w_OI, out_O):
    """Write w x for one row: x float32, w int8, out float32."""
    for o in range(len(w_OI)):
        total = np.float32(0)
        for i in range(len(x_I)):
            total += np.float32(w_OI[o, i]) * x_I[i]
        out_O[o] = total


def padded(w_IO: np.ndarray) -> np.ndarray:
    """Return the weights output by output, filled up to a multiple of 6, float32."""
    w_OI = np.ascontiguousarray(w_IO.T, np.float32)
    return np.pad(w_OI, ((0, -len(w_OI) % OUTPUTS), (0, 0)))
