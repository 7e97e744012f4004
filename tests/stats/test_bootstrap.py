import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import binom, bootstrap, norm
from statsmodels.stats.contingency_tables import mcnemar as theirs_of
from statsmodels.stats.multitest import multipletests

from rarl.stats.bootstrap import (
    clustered_mean,
    clustered_means,
    holm,
    mcnemar,
)


def test_an_interval_over_single_rows_is_that_of_a_binomial_share() -> None:
    found = clustered_mean([1.0] * 70 + [0.0] * 30, [str(i) for i in range(100)], seed=1)
    assert (found.value, found.n, found.clusters) == (0.7, 100, 100)
    # Resampling 100 rows of which 70 are right draws from Binomial(100, 0.7).
    assert found.low == pytest.approx(binom.ppf(0.025, 100, 0.7) / 100, abs=0.0101)
    assert found.high == pytest.approx(binom.ppf(0.975, 100, 0.7) / 100, abs=0.0101)


def test_rows_that_share_an_image_count_once_for_the_width() -> None:
    values = [1.0] * 30 + [0.0] * 30
    alone = clustered_mean(values, [str(i) for i in range(60)], seed=0)
    copied = clustered_mean(values * 4, [str(i) for i in range(60)] * 4, seed=0)
    apart = clustered_mean(values * 4, [str(i) for i in range(240)], seed=0)
    assert (copied.low, copied.high) == (alone.low, alone.high)
    assert alone.low is not None and apart.low is not None
    assert 0.5 - apart.low == pytest.approx((0.5 - alone.low) / 2, rel=0.2)


def test_unequal_images_follow_the_ratio_estimator() -> None:
    rng = np.random.default_rng(3)
    sizes = rng.integers(1, 9, 200)
    rights = rng.binomial(sizes, 0.6)
    values = [float(j < r) for s, r in zip(sizes, rights, strict=True) for j in range(s)]
    clusters = [f"{i:03d}" for i, s in enumerate(sizes) for _ in range(s)]
    found = clustered_mean(values, clusters, seed=0)
    share = rights.sum() / sizes.sum()
    # Linearised standard error of a ratio (Cochran, Sampling Techniques, 6.13).
    error = np.sqrt(((rights - share * sizes) ** 2).sum()) / sizes.sum()
    assert found.value == pytest.approx(share)
    assert found.low == pytest.approx(share - norm.ppf(0.975) * error, abs=0.006)
    assert found.high == pytest.approx(share + norm.ppf(0.975) * error, abs=0.006)


def test_the_interval_depends_on_the_seed_and_not_on_the_order() -> None:
    rng = np.random.default_rng(0)
    values = rng.random(50).tolist()
    clusters = [str(i % 20) for i in range(50)]
    order = rng.permutation(50)
    first = clustered_mean(values, clusters, seed=4)
    again = clustered_mean([values[i] for i in order], [clusters[i] for i in order], seed=4)
    assert again.low == pytest.approx(first.low) and again.high == pytest.approx(first.high)
    assert clustered_mean(values, clusters, seed=5).low != first.low


def test_one_image_gives_no_interval_and_no_row_is_an_error() -> None:
    assert clustered_mean([1, 0], ["a", "a"], seed=0).low is None
    with pytest.raises(ValueError, match="no row"):
        clustered_mean([], [], seed=0)
    with pytest.raises(ValueError, match="2 values but 1 clusters"):
        clustered_mean([1, 0], ["a"], seed=0)


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [
        (0, 0, 1.0),
        (5, 5, 1.0),
        (1, 9, 22 / 1024),  # 2 * (1 + 10) / 2^10
        (0, 6, 2 / 64),
        (2, 5, 58 / 128),  # 2 * (1 + 7 + 21) / 2^7
        (1, 7, 18 / 256),  # 0.0703: the airway example of Fagerland et al. 2013
    ],
)
def test_mcnemar_against_binomial_tails(only_first: int, only_second: int, p: float) -> None:
    first = [True] * only_first + [False] * only_second + [True, False]
    second = [False] * only_first + [True] * only_second + [True, False]
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second) == (only_first, only_second)
    tail = 2 * binom.cdf(min(only_first, only_second), only_first + only_second, 0.5)
    assert found.p == pytest.approx(min(1.0, tail))
    assert found.p == pytest.approx(p)


def test_mcnemar_wants_pairs() -> None:
    with pytest.raises(ValueError, match="cannot be paired"):
        mcnemar([True], [])


def test_the_bootstrap_is_scipys() -> None:
    rng = np.random.default_rng(8)
    of = rng.integers(0, 40, 150)
    values = rng.random(150)
    names, of_row = np.unique([f"{i:02d}" for i in of], return_inverse=True)
    sums = np.bincount(of_row, weights=values)
    sizes = np.bincount(of_row).astype(float)

    def mean(totals: np.ndarray, rows: np.ndarray, axis: int) -> np.ndarray:
        return totals.sum(axis=axis) / rows.sum(axis=axis)

    theirs = bootstrap(
        (sums, sizes), mean, paired=True, vectorized=True, n_resamples=2000, batch=500,
        method="percentile", rng=np.random.default_rng(5),
    ).confidence_interval  # fmt: skip
    ours = clustered_mean(values.tolist(), [f"{i:02d}" for i in of], seed=5, resamples=2000)
    assert (ours.low, ours.high) == (pytest.approx(theirs.low), pytest.approx(theirs.high))
    assert ours.clusters == len(names)


def test_columns_share_their_resamples_and_skip_what_is_not_told() -> None:
    rng = np.random.default_rng(1)
    values = rng.random((60, 2))
    values[::3, 1] = np.nan
    clusters = [str(i // 2) for i in range(60)]
    both = clustered_means(values, clusters, seed=3)
    assert both[0] == clustered_mean(values[:, 0].tolist(), clusters, seed=3)
    assert (both[1].n, both[1].clusters) == (40, 30)
    assert both[1].value == pytest.approx(np.nanmean(values[:, 1]))
    with pytest.raises(ValueError, match="a column has no row"):
        clustered_means(np.full((3, 1), np.nan), ["a", "b", "c"], seed=0)


@pytest.mark.parametrize("p", [[0.01, 0.04, 0.03, 0.005], [0.2], [0.5, 0.5, 1.0, 1e-9]])
def test_holm_against_statsmodels(p: list[float]) -> None:
    _, theirs, *_ = multipletests(p, method="holm")
    assert holm(p) == pytest.approx(theirs.tolist())


@pytest.mark.parametrize("table", [[[59, 6], [16, 80]], [[794, 86], [150, 570]], [[5, 0], [3, 2]]])
def test_mcnemar_against_statsmodels(table: list[list[int]]) -> None:
    (both, first), (second, neither) = table
    ours = mcnemar(
        [True] * (both + first) + [False] * (second + neither),
        [True] * both + [False] * first + [True] * second + [False] * neither,
    )
    assert (ours.only_first, ours.only_second) == (first, second)
    assert ours.p == pytest.approx(theirs_of(table, exact=True).pvalue)


def test_statistics_load_no_torch() -> None:
    script = "import rarl.stats.bootstrap, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
