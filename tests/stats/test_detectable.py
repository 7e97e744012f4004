"""The smallest detectable difference is the one that a simulated study finds in 80 of 100 cases."""

import numpy as np
import pytest
from scipy.stats import norm

from rarl.stats.bootstrap import clustered_mean
from rarl.stats.power import cluster_size, detectable, spread, standard_error


def drawn(rng: np.random.Generator, images: int, each: int, shift: float, share: float):
    """Differences of mean `shift`: an image's own part, or the question's, decides."""
    own = rng.normal(size=(images, 1)) * np.sqrt(share)
    latent = own + rng.normal(size=(images, each)) * np.sqrt(1 - share)
    # As many differ as without a shift, more of them in favour of the first.
    low, high = norm.ppf(norm.cdf(-1) - shift / 2), norm.isf(norm.cdf(-1) + shift / 2)
    values = np.where(latent > high, 1.0, np.where(latent < low, -1.0, 0.0))
    names = np.repeat(np.arange(images), each)
    return values.ravel(), names


def test_the_correlation_within_images_is_estimated() -> None:
    rng = np.random.default_rng(0)
    estimates = []
    for _ in range(40):
        values, names = drawn(rng, 200, 5, 0.0, 0.0)
        estimates.append(spread(values, names.tolist()).correlation)
    assert np.mean(estimates) < 0.03
    values, names = drawn(rng, 2000, 5, 0.0, 1.0)
    assert spread(values, names.tolist()).correlation == pytest.approx(1.0)


@pytest.mark.parametrize("share", [0.0, 0.6])
def test_the_standard_error_is_that_of_repeated_studies(share: float) -> None:
    rng = np.random.default_rng(1)
    pilot = spread(*(part.tolist() for part in drawn(rng, 3000, 4, 0.0, share)))
    _, names = drawn(rng, 150, 6, 0.0, share)
    planned = standard_error(pilot, 900, cluster_size(names.tolist()))
    means = [drawn(rng, 150, 6, 0.0, share)[0].mean() for _ in range(600)]
    assert planned == pytest.approx(np.std(means), rel=0.1)


def test_a_difference_of_that_size_is_found_in_four_of_five_studies() -> None:
    rng = np.random.default_rng(2)
    pilot = spread(*(part.tolist() for part in drawn(rng, 3000, 3, 0.0, 0.5)))
    error = standard_error(pilot, 600, 3.0)
    wished = detectable(error)
    found = 0
    for seed in range(200):
        values, names = drawn(rng, 200, 3, wished, 0.5)
        estimate = clustered_mean(
            values.tolist(), [str(name) for name in names], resamples=400, seed=seed
        )
        found += estimate.low > 0
    assert found / 200 == pytest.approx(0.8, abs=0.08)


def test_seeds_count_beside_questions() -> None:
    known = spread([1, 0, -1, 0], ["a", "b", "c", "d"])
    alone = standard_error(known, 10_000_000, 1.0, seeds=4, seed_deviation=0.02)
    assert alone == pytest.approx(0.01, rel=0.01)


def test_what_cannot_be_estimated_is_refused() -> None:
    with pytest.raises(ValueError, match="two images"):
        spread([0, 1], ["a", "a"])
    with pytest.raises(ValueError, match="an image for each"):
        spread([0, 1], ["a"])
    assert spread([0, 1, -1], ["a", "b", "c"]).correlation == 0
    assert spread([0, 0, 0], ["a", "a", "b"]).variance == 0
