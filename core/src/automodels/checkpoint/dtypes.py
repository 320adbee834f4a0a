"""Names of tensor types: those of the formats ↔ numpy's. Importing this imports numpy, and ml_dtypes for its types.

Source: https://github.com/huggingface/safetensors (README, "Format"); numpy's own names are those of Flax's files, and
torch's are almost the same.
"""

from __future__ import annotations

import ml_dtypes
import numpy as np

BY_SAFETENSORS_NAME: dict[str, np.dtype] = {
    "BOOL": np.dtype(np.bool_),
    "U8": np.dtype(np.uint8),
    "I8": np.dtype(np.int8),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "C64": np.dtype("<c8"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "F8_E4M3FNUZ": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "F8_E5M2FNUZ": np.dtype(ml_dtypes.float8_e5m2fnuz),
    "F8_E8M0": np.dtype(ml_dtypes.float8_e8m0fnu),
}
SUB_BYTE = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
"""safetensors' types that are packed across bytes, and their bits: no array of numpy can show them."""

BY_NUMPY_NAME: dict[str, np.dtype] = {
    dtype.name: dtype
    for dtype in (
        *BY_SAFETENSORS_NAME.values(),
        np.dtype("<c16"),
        *map(np.dtype, (ml_dtypes.float8_e4m3, ml_dtypes.float8_e3m4, ml_dtypes.float8_e4m3b11fnuz)),
    )
}
FLOATING = frozenset({"float16", "bfloat16", "float32", "float64"})


def is_floating(dtype: np.dtype) -> bool:
    """Whether tensors of this type may be cast to the type that parameters have. float8 is not: it needs scales."""
    return dtype.name in FLOATING
