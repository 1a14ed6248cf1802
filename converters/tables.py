"""Large tables stored as the few distinct numbers that they hold."""

import numpy as np


def distinct_columns(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A table [H, U] and an index [N, M] with ``table[:, index]`` equal to values [H, N, M].

    Columns come in the order of their first appearance, so that tables of one structure share an
    index. Its dtype is uint8 where U allows it, else uint16 or uint32.
    """
    flat = values.reshape(len(values), -1)
    _, first, inverse = np.unique(flat, axis=1, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    index = rank[inverse.reshape(-1)].reshape(values.shape[1:])
    return flat[:, np.sort(first)].copy(), index.astype(np.min_scalar_type(len(first) - 1))
