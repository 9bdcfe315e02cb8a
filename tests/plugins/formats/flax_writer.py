"""Write msgpack files as flax.serialization does, for tests."""

import msgpack
import numpy as np


def array(value, dtype=None):
    """Encode an array as the documentation of flax.serialization describes it."""
    return (list(value.shape), dtype or value.dtype.name, value.tobytes("C"))


def packed(tree):
    """Encode nested mappings as ``flax.serialization.msgpack_serialize`` does."""

    def extension(value):
        if isinstance(value, np.ndarray):
            return msgpack.ExtType(1, msgpack.packb(array(value)))
        if isinstance(value, complex):
            return msgpack.ExtType(2, msgpack.packb((value.real, value.imag)))
        return msgpack.ExtType(3, msgpack.packb(array(np.asarray(value))))

    return msgpack.packb(tree, default=extension, strict_types=True)
