"""Weights on the sphere: which measured directions surround a wanted one, and how much each of them counts.

The measured directions are the corners of a net of triangles, the convex hull of their unit vectors. A wanted
direction pierces one triangle; its weights there are barycentric: positive, continuous, 1 at a corner. Where nothing was
measured (under KEMAR's feet, or everywhere but in a ring of loudspeakers) a helping corner closes the net; it gives its
weight to the measured corners beside it, so that the nearest measured rim is held.
"""

import numpy as np
from scipy.spatial import ConvexHull, cKDTree

GAP_DEG = 45.0
"""A helping corner stands on an axis farther than this from every measured direction."""


class SphereNet:
    """Triangles over D directions given as unit vectors (D, 3)."""

    def __init__(self, vectors_D3: np.ndarray):
        self.tree = cKDTree(vectors_D3)
        self.measured = len(vectors_D3)
        axes = np.concatenate([np.eye(3), -np.eye(3)])
        helping = axes[(vectors_D3 @ axes.T).max(axis=0) < np.cos(np.radians(GAP_DEG))]
        corners = np.concatenate([vectors_D3, helping])
        self.triangles_T3 = ConvexHull(corners, qhull_options="Qt").simplices
        solid = np.abs(np.linalg.det(corners[self.triangles_T3])) > 1e-9  # slivers hold no direction
        self.triangles_T3 = self.triangles_T3[solid]
        inverse_T33 = np.linalg.inv(corners[self.triangles_T3])  # direction = weights @ corners
        self._to_weights_3X = inverse_T33.transpose(1, 2, 0).reshape(3, -1)  # X = 3 corners of all triangles

    def weights(self, vectors_S3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Indices (S, 3) of the surrounding directions and their weights (S, 3), which sum to 1."""
        index_S3 = np.empty((len(vectors_S3), 3), np.int64)
        weight_S3 = np.empty((len(vectors_S3), 3))
        for block in range(0, len(vectors_S3), 64):
            part = slice(block, block + 64)
            all_S3T = (vectors_S3[part] @ self._to_weights_3X).reshape(-1, 3, len(self.triangles_T3))
            pierced_S = np.minimum(np.minimum(all_S3T[:, 0], all_S3T[:, 1]), all_S3T[:, 2]).argmax(axis=1)
            index_S3[part] = self.triangles_T3[pierced_S]
            weight_S3[part] = np.take_along_axis(all_S3T, pierced_S[:, None, None], axis=2)[..., 0]
        helping_S3 = index_S3 >= self.measured
        weight_S3 = np.where(helping_S3 | (weight_S3 < 1e-9), 0.0, weight_S3)
        index_S3 = np.where(helping_S3, 0, index_S3)
        lost_S = weight_S3.sum(axis=1) < 1e-6  # nothing but helping corners around
        if lost_S.any():
            index_S3[lost_S, 0], weight_S3[lost_S] = self.nearest(vectors_S3[lost_S]), (1.0, 0.0, 0.0)
        return index_S3, weight_S3 / weight_S3.sum(axis=1, keepdims=True)

    def nearest(self, vectors_S3: np.ndarray) -> np.ndarray:
        """Indices (S,) of the nearest measured directions."""
        return self.tree.query(vectors_S3)[1]

    def areas(self) -> np.ndarray:
        """The share (D,) of the sphere that each measured direction stands for; the shares sum to 1."""
        corner_T33 = self.tree.data[np.minimum(self.triangles_T3, self.measured - 1)]
        area_T = np.linalg.norm(
            np.cross(corner_T33[:, 1] - corner_T33[:, 0], corner_T33[:, 2] - corner_T33[:, 0]), axis=1
        )
        area_T = np.where((self.triangles_T3 < self.measured).all(axis=1), area_T, 0.0)
        share_D = np.bincount(self.triangles_T3.ravel(), np.repeat(area_T, 3), minlength=self.measured)[: self.measured]
        return share_D / share_D.sum() if share_D.sum() > 0 else np.full(self.measured, 1 / self.measured)
