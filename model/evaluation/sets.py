"""How far sets of clips lie apart, and how wide one is, in features of the judge: a small video encoder, trained on
rendered clips alone. The distances are comparable among themselves only; they are no FVD.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

DIMENSIONS = 64


@dataclass(frozen=True)
class FeatureSpace:
    """The main directions of a reference set, in which features are compared.

    mean: (f,). directions: (f, d), orthonormal.
    """

    mean: Tensor
    directions: Tensor

    @classmethod
    def of(cls, features: Tensor, dimensions: int = DIMENSIONS) -> Self:
        """From the features (n, f) of the reference; no more directions than it can show."""
        mean = features.double().mean(0)
        _, _, directions = torch.linalg.svd(features.double() - mean, full_matrices=False)
        return cls(mean, directions[: min(dimensions, len(features) - 1)].T)

    def place(self, features: Tensor) -> Tensor:
        """(n, f) -> (n, d)."""
        return (features.double() - self.mean) @ self.directions


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """Squared Fréchet distance (Dowson and Landau 1982) of the normal distributions nearest to two sets (n, d)."""
    return between_normals(one.mean(0), shrunk_covariance(one), other.mean(0), shrunk_covariance(other))


def between_normals(mean: Tensor, covariance: Tensor, other_mean: Tensor, other_covariance: Tensor) -> float:
    """|m - m'|² + tr(C + C' - 2 (C^½ C' C^½)^½); the product is symmetric, so its root has real eigenvalues."""
    root = square_root(covariance)
    product = root @ other_covariance @ root
    overlap = torch.linalg.eigvalsh((product + product.T) / 2).clamp(min=0).sqrt().sum()
    distance = (mean - other_mean).square().sum() + covariance.trace() + other_covariance.trace() - 2 * overlap
    return max(0.0, float(distance))


def square_root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T


def shrunk_covariance(points: Tensor) -> Tensor:
    """Covariance (d, d) of points (n, d), drawn towards a sphere as far as it is uncertain (Ledoit and Wolf 2004)."""
    n, d = points.shape
    centred = points - points.mean(0)
    sample = centred.T @ centred / n
    sphere = torch.eye(d, dtype=points.dtype) * sample.trace() / d
    apart = (sample - sphere).square().sum()
    squares = centred.square()
    uncertain = ((squares.T @ squares / n - sample.square()).sum() / n).clamp(max=apart)
    share = uncertain / apart if apart > 0 else torch.zeros_like(apart)
    return (1 - share) * sample + share * sphere


def spread(points: Tensor) -> float:
    """Mean distance between two of the points (n >= 2, d)."""
    return float(torch.pdist(points).mean())
