"""Families of pictures that look the same: equal, or equal but for scaling, recompression and retouching."""

import itertools

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

DISTANCE = 4  # bits of 64 in which two pictures of one family may differ
_ROWS = 1024


def families(likenesses: np.ndarray) -> np.ndarray:
    """Connected components of `(N,)` 64-bit hashes, near-identical ones being linked: the number of each, `(N,)`.

    Hashes within d bits are equal in at least one of d + 1 bands, so only those of one band are compared.
    """
    hashes, inverse = np.unique(likenesses.astype(np.uint64), return_inverse=True)
    edges: list[np.ndarray] = []
    edges_of = np.linspace(0, 64, DISTANCE + 2).round().astype(int)
    for low, high in itertools.pairwise(edges_of.tolist()):
        band = (hashes >> np.uint64(low)) & np.uint64((1 << high - low) - 1)
        order = np.argsort(band, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(band[order]) > 0, True])
        for start, end in itertools.pairwise(starts.tolist()):
            if end - start > 1:
                edges.extend(_near(hashes, order[start:end]))
    joined = np.concatenate(edges) if edges else np.empty((0, 2), dtype=np.int64)
    graph = coo_array((np.ones(len(joined)), (joined[:, 0], joined[:, 1])), shape=(len(hashes), len(hashes)))
    labels: np.ndarray = connected_components(graph, directed=False)[1]
    return labels[inverse]


def _near(hashes: np.ndarray, members: np.ndarray) -> list[np.ndarray]:
    """Pairs of members within `DISTANCE`, each `(·, 2)`."""
    found = []
    for start in range(0, len(members), _ROWS):
        part = members[start : start + _ROWS]
        distance = np.bitwise_count(hashes[part][:, None] ^ hashes[members][None])  # (R, M)
        rows, columns = np.nonzero(distance <= DISTANCE)
        pairs = np.stack([part[rows], members[columns]], axis=1)
        found.append(pairs[pairs[:, 0] < pairs[:, 1]])
    return found
