"""Agreement against published values and another library."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa

from rarl.stats.agreement import cohen_kappa, krippendorff_alpha

# Krippendorff, Computing Krippendorff's alpha-reliability (2011), section C: four observers, twelve
# units, values 1-5, some missing.
UNITS = [
    [1, 1, 1], [2, 2, 3, 2], [3, 3, 3, 3], [3, 3, 3, 3], [2, 2, 2, 2], [1, 2, 3, 4],
    [4, 4, 4, 4], [1, 1, 2, 1], [2, 2, 2, 2], [5, 5, 5], [1, 1], [3],
]  # fmt: skip


@pytest.mark.parametrize(
    ("measurement", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_alpha_as_published(measurement: str, alpha: float) -> None:
    pictures = [str(number) for number in range(12)]
    found = krippendorff_alpha(
        UNITS,
        pictures,
        categories=range(1, 6),
        measurement=measurement,  # type: ignore[arg-type]
        resamples=200,
    )
    assert found is not None and found.value == pytest.approx(alpha, abs=5e-4)
    assert found.low is not None and found.high is not None
    assert found.low < found.value < found.high <= 1 and found.clusters == 12


# Sections A and B of the same: two observers without missing values, two and five categories.
TWO_CATEGORIES = [(0, 1), (1, 1), (0, 1), (0, 0), (0, 0), (0, 1), (0, 0), (0, 0), (1, 0), (0, 0)]
FIVE_CATEGORIES = list(zip("aabbdcccedda", "babbbccceddd", strict=True))


@pytest.mark.parametrize(
    ("scores", "alpha"),
    [
        (TWO_CATEGORIES, 0.095),
        ([tuple("abcde".index(letter) for letter in pair) for pair in FIVE_CATEGORIES], 0.692),
    ],
)
def test_alpha_of_two_observers_as_published(scores: list[tuple[int, int]], alpha: float) -> None:
    pictures = [str(number) for number in range(len(scores))]
    found = krippendorff_alpha(
        scores, pictures, categories=range(5), measurement="nominal", resamples=50
    )
    assert found is not None and found.value == pytest.approx(alpha, abs=5e-4)


def test_ordinal_alpha_ignores_missing_scores_and_how_the_scale_is_numbered() -> None:
    pictures = [str(number) for number in range(12)]
    plain = krippendorff_alpha(UNITS, pictures, categories=range(1, 6), resamples=50)
    stretched = krippendorff_alpha(
        [[score**3 for score in unit] for unit in UNITS],
        pictures,
        categories=[1, 8, 27, 64, 125],
        resamples=50,
    )
    single = krippendorff_alpha(
        [*UNITS, [5], []], [*pictures, "12", "13"], categories=range(1, 6), resamples=50
    )
    assert plain is not None and stretched is not None and single is not None
    assert stretched == plain
    assert single.value == plain.value


@pytest.mark.parametrize("weights", ["none", "linear", "quadratic"])
def test_kappa_as_statsmodels(weights: str) -> None:
    draw = np.random.default_rng(5)
    first = draw.integers(0, 4, 60)
    second = np.where(draw.random(60) < 0.6, first, draw.integers(0, 4, 60))
    table = np.zeros((4, 4))
    np.add.at(table, (first, second), 1)
    wanted = cohens_kappa(table, wt=None if weights == "none" else weights)
    found = cohen_kappa(
        first.tolist(),
        second.tolist(),
        [str(number) for number in range(60)],
        weights=weights,  # type: ignore[arg-type]
        resamples=400,
    )
    assert found is not None and found.low is not None and found.high is not None
    assert found.value == pytest.approx(wanted.kappa)
    # A bootstrap over independent answers comes close to the asymptotic interval.
    assert found.low == pytest.approx(wanted.kappa_low, abs=0.06)
    assert found.high == pytest.approx(wanted.kappa_upp, abs=0.06)


def test_pictures_are_resampled_whole() -> None:
    first, second = [0, 0, 3, 3] * 5, [0, 3, 3, 3] * 5
    apart = cohen_kappa(first, second, [str(number) for number in range(20)], seed=1)
    together = cohen_kappa(first, second, [str(number // 4) for number in range(20)], seed=1)
    assert apart is not None and together is not None
    assert apart.value == together.value and together.clusters == 5
    # Every picture holds the same answers, so that nothing varies from picture to picture.
    assert together.low == together.high == pytest.approx(together.value)
    assert apart.low is not None and apart.low < apart.value
    assert apart == cohen_kappa(first, second, [str(number) for number in range(20)], seed=1)


def test_not_defined() -> None:
    assert cohen_kappa([], [], []) is None and krippendorff_alpha([], []) is None
    assert cohen_kappa([2, 2], [2, 2], ["a", "b"]) is None
    assert krippendorff_alpha([[2, 2], [2]], ["a", "b"]) is None
    one = cohen_kappa([0, 3], [0, 3], ["a", "a"])
    assert one is not None and (one.value, one.low, one.high) == (1.0, None, None)
    for bad in ([0, 1, 2], [0, 7]):
        with pytest.raises(ValueError, match=r"paired|off the scale"):
            cohen_kappa([0, 1], bad, ["a", "b"])
    with pytest.raises(ValueError, match="off the scale"):
        krippendorff_alpha([[9, 0]], ["a"])
