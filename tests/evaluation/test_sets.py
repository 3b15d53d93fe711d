"""Distances of sets, against normal distributions whose distance is known in closed form."""

import pytest
import torch

from model.evaluation.sets import (
    FeatureSpace,
    between_normals,
    frechet_distance,
    shrunk_covariance,
    spread,
    square_root,
)

MEAN, OTHER_MEAN = torch.tensor([0.0, 1.0, -2.0]).double(), torch.tensor([3.0, 1.0, 2.0]).double()


def drawn(n: int, mean: torch.Tensor, deviations: list[float], seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return mean + torch.randn(n, 3, generator=generator, dtype=torch.double) * torch.tensor(deviations).double()


def rotation() -> torch.Tensor:
    return torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.double))[0]


def test_the_distance_of_normals_whose_axes_agree() -> None:
    turned = rotation()
    one, other = (turned @ torch.diag(torch.tensor(v).double()) @ turned.T for v in ([1.0, 4.0, 9.0], [4.0, 4.0, 1.0]))

    distance = between_normals(MEAN, one, OTHER_MEAN, other)

    # |m - m'|^2 = 25, and (1-2)^2 + 0 + (3-1)^2 of the deviations along the shared axes
    assert distance == pytest.approx(25 + 5)
    assert between_normals(OTHER_MEAN, other, MEAN, one) == pytest.approx(distance)


def test_covariances_that_do_not_commute() -> None:
    turned = rotation()
    one = torch.diag(torch.tensor([1.0, 4.0, 9.0]).double())
    other = turned @ one @ turned.T

    roots = torch.linalg.eigvals(one @ other).sqrt().real.sum()  # of the product itself, which is not symmetric

    assert between_normals(MEAN, one, MEAN, other) == pytest.approx(float(one.trace() + other.trace() - 2 * roots))
    assert torch.allclose(square_root(other) @ square_root(other), other)


def test_flat_sets_have_a_distance() -> None:
    """Fewer points than dimensions: covariances are singular."""
    points = torch.randn(3, 8, generator=torch.Generator().manual_seed(0), dtype=torch.double)

    assert frechet_distance(points, points) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(points, points + 2) == pytest.approx(8 * 4)


def test_sets_drawn_from_normals_are_as_far_apart_as_those() -> None:
    one, again = (drawn(4000, MEAN, [1, 2, 3], seed) for seed in (2, 3))
    other = drawn(4000, OTHER_MEAN, [2, 2, 1], 4)

    assert frechet_distance(one, other) == pytest.approx(30, rel=0.03)
    assert frechet_distance(one, again) < 0.05


def test_shrinking_makes_few_points_solid_and_leaves_many_alone() -> None:
    few = torch.randn(10, 40, generator=torch.Generator().manual_seed(5), dtype=torch.double)
    many = drawn(20_000, MEAN, [1, 2, 3], 6)

    assert torch.linalg.eigvalsh(shrunk_covariance(few)).min() > 0.1
    assert torch.allclose(shrunk_covariance(many), torch.cov(many.T), atol=0.01)


def test_features_are_compared_along_the_reference() -> None:
    flat = torch.randn(50, 2, generator=torch.Generator().manual_seed(7)).double()
    reference = torch.cat([flat, torch.zeros(50, 3)], dim=1)
    space = FeatureSpace.of(reference, dimensions=2)

    assert torch.allclose(torch.pdist(space.place(reference)), torch.pdist(flat))
    assert space.place(torch.tensor([[0.0, 0, 5, 5, 5]])).norm() == pytest.approx(float(flat.mean(0).norm()), rel=1e-6)


def test_the_spread_of_a_triangle() -> None:
    assert spread(torch.tensor([[0.0, 0], [3, 0], [0, 4]])) == pytest.approx(4)
