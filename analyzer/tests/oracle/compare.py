"""Writes compare.json: what scipy and statsmodels answer for the statistics of runs.

Run with scipy and statsmodels installed:  python3 compare.py > compare.json
Where neither library has a statistic, it is computed here from its definition, by brute force, and
the function says so.
"""

import itertools
import warnings

import numpy as np
import scipy
import statsmodels
from scipy import special, stats
from statsmodels.stats.power import TTestIndPower
from statsmodels.stats.weightstats import ttost_ind

from split import plain, print_sections

GENERATOR = np.random.default_rng(20260202)


def rounded(sample, digits=3):
    return [round(float(value), digits) for value in sample]


PAIRS = {
    "normal_8": (rounded(GENERATOR.normal(9.4, 0.2, 8)), rounded(GENERATOR.normal(9.2, 0.3, 8))),
    "skewed_5_7": (rounded(GENERATOR.lognormal(1, 0.6, 5)), rounded(GENERATOR.lognormal(1.3, 0.6, 7))),
    "outlier_8_6": (rounded(GENERATOR.normal(100, 3, 7)) + [164.0], rounded(GENERATOR.normal(97, 3, 6))),
    "ties_6_6": ([1.0, 2.0, 2.0, 3.0, 5.0, 5.0], [2.0, 2.0, 4.0, 5.0, 6.0, 7.0]),
    "apart_8_8": (rounded(GENERATOR.normal(20, 0.5, 8)), rounded(GENERATOR.normal(10, 0.5, 8))),
    "small_2_3": ([1.25, 1.5], [1.125, 1.75, 2.25]),
    "large_30_25": (rounded(GENERATOR.normal(5, 1, 30), 5), rounded(GENERATOR.normal(5.4, 1.2, 25), 5)),
}


def pairs():
    for name, (first, second) in PAIRS.items():
        yield {"name": name, "first": first, "second": second,
               **means(first, second), **trimmed(first, second), **ranks(first, second)}


def means(first, second):
    one = stats.ttest_1samp(first, 0)
    low, high = one.confidence_interval(0.95)
    test = stats.ttest_ind(first, second, equal_var=False)
    interval = test.confidence_interval(0.95)
    x, y = np.array(first), np.array(second)
    n, m = len(x), len(y)
    # The logarithm of the ratio by the delta method, from its definition.
    parts = np.array([x.var(ddof=1) / n / x.mean() ** 2, y.var(ddof=1) / m / y.mean() ** 2])
    log_df = parts.sum() ** 2 / (parts ** 2 / np.array([n - 1, m - 1])).sum()
    log_ratio, error = np.log(x.mean() / y.mean()), np.sqrt(parts.sum())
    reach = stats.t.isf(0.025, log_df) * error
    margin = 0.1 * y.mean()
    _, (_, p_lower, _), (_, p_upper, _) = ttost_ind(x, y, -margin, margin, usevar="unequal")
    narrow = 0.01 * y.mean()
    below = stats.ttest_ind(x + narrow, y, equal_var=False, alternative="less").pvalue
    above = stats.ttest_ind(x - narrow, y, equal_var=False, alternative="greater").pvalue
    # Hedges' g with the exact correction, from its definition.
    df = n + m - 2
    pooled = np.sqrt(((n - 1) * x.var(ddof=1) + (m - 1) * y.var(ddof=1)) / df)
    correction = special.gamma(df / 2) / (np.sqrt(df / 2) * special.gamma((df - 1) / 2))
    return {
        "mean": [x.mean(), stats.sem(x), low, high],
        "welch": [x.mean() - y.mean(), test.df, interval.low,
                  interval.high, test.pvalue],
        "ratio": [np.exp(log_ratio), np.exp(log_ratio - reach), np.exp(log_ratio + reach),
                  2 * stats.t.sf(abs(log_ratio) / error, log_df)],
        "tost": {"margin": margin, "p_lower": p_lower, "p_upper": p_upper,
                 "narrow": narrow, "p_different": min(1, 2 * min(below, above))},
        "ratio_tost": ratio_tost(log_ratio, error, log_df),
        "hedges_g": correction * (x.mean() - y.mean()) / pooled,
        "z_scores": modified_z_scores(x),
    }


def ratio_tost(log_ratio, error, log_df):
    """TOST of the ratio at five percent, on its logarithm, from its definition."""
    edge = np.log(1.05)
    reach = stats.t.isf(0.05, log_df) * error
    return [stats.t.sf((log_ratio + edge) / error, log_df), stats.t.cdf((log_ratio - edge) / error, log_df),
            np.exp(log_ratio - reach), np.exp(log_ratio + reach)]


def modified_z_scores(x):
    mad = stats.median_abs_deviation(x)
    return (0.6745 * (x - np.median(x)) / mad).tolist()


def trimmed(first, second):
    test = stats.ttest_ind(first, second, equal_var=False, trim=0.2)
    # Against a sample that never varies Yuen's test is his one-sample test; its interval follows.
    alone = stats.ttest_ind(first, [0.0] * 9, equal_var=False, trim=0.2)
    value = stats.trim_mean(first, 0.2)
    error = value / alone.statistic
    reach = stats.t.isf(0.025, alone.df) * error
    return {
        "trimmed": [value, alone.df, value - reach, value + reach],
        "yuen": [value - stats.trim_mean(second, 0.2), test.df, test.pvalue],
    }


def ranks(first, second):
    u = stats.mannwhitneyu(first, second).statistic
    if len(first) + len(second) <= 16:
        # scipy's exact method refuses ties; its permutation method does not.
        p_value = exact_by_dealing(first, second, lambda a, b, axis: stats.mannwhitneyu(a, b, axis=axis).statistic)
        apart = stats.permutation_test(
            (first, second), lambda a, b, axis: np.abs(np.mean(a, axis) - np.mean(b, axis)),
            vectorized=True, n_resamples=np.inf, alternative="greater").pvalue
    else:
        assert len(set(first + second)) == len(first + second)
        p_value, apart = stats.mannwhitneyu(first, second, method="exact").pvalue, None
    return {
        "mann_whitney": [u, p_value],
        "permutation_p": apart,
        "permutation_least_p": least_p(first, second) if apart is not None else None,
        "cliffs_delta": 2 * u / (len(first) * len(second)) - 1,
        "shift": shift(first, second),
        "pseudo_median": pseudo_median(first) if len(first) <= 12 else None,
    }


def least_p(first, second):
    """The smallest p of all deals of these runs, each deal's own p counted, from its definition."""
    pooled, n, m = np.array(first + second), len(first), len(second)
    sums = pooled[np.array(list(itertools.combinations(range(n + m), n)))].sum(axis=1)
    apart = np.abs(sums / n - (pooled.sum() - sums) / m)
    return min((apart >= one - 1e-9).mean() for one in apart)


def large_permutations():
    """Splits too many to be looked at one by one elsewhere: all of them, here by brute force."""
    for n, m, shift in ((11, 10, 0.8), (12, 11, 0.0), (3, 40, 1.0)):
        x, y = rounded(GENERATOR.normal(shift, 1, n)), rounded(GENERATOR.normal(0, 1, m))
        pooled, size = np.array(x + y), min(n, m)
        observed = abs(np.mean(x) - np.mean(y))
        far = all_splits = 0
        deals = itertools.combinations(range(n + m), size)
        while block := list(itertools.islice(deals, 200_000)):
            sums = pooled[np.array(block)].sum(axis=1)
            apart = np.abs(sums / size - (pooled.sum() - sums) / (n + m - size))
            far += int((apart >= observed - 1e-9).sum())
            all_splits += len(block)
        yield {"first": x, "second": y, "p_value": far / all_splits, "splits": all_splits}


def paired():
    for name, (x, y) in {
        "blocks_8": ([9.1, 9.6, 8.8, 9.9, 9.4, 9.0, 9.7, 9.3], [8.9, 9.5, 8.5, 9.95, 9.1, 8.8, 9.2, 9.25]),
        "ties_5": ([3.0, 5.0, 4.0, 4.0, 7.0], [2.0, 5.0, 5.0, 3.0, 5.0]),
        "two": ([2.0, 3.5], [1.0, 3.25]),
        "drawn_12": (rounded(GENERATOR.lognormal(1, 0.3, 12)), rounded(GENERATOR.lognormal(1, 0.3, 12))),
        "alone_16": (rounded(GENERATOR.normal(50, 4, 16)), rounded(GENERATOR.normal(48, 4, 16))),
    }.items():
        test = stats.ttest_rel(x, y)
        interval = test.confidence_interval(0.95)
        logs = np.log(np.array(x) / np.array(y))
        low, high = stats.ttest_1samp(logs, 0).confidence_interval(0.95)
        flips = stats.permutation_test(
            (np.array(x) - np.array(y),), lambda d, axis: np.abs(np.mean(d, axis)), permutation_type="samples",
            vectorized=True, n_resamples=np.inf, alternative="greater")
        yield {"name": name, "first": x, "second": y,
               "difference": [np.mean(x) - np.mean(y), interval.low, interval.high, test.pvalue],
               "ratio": [np.exp(logs.mean()), np.exp(low), np.exp(high)],
               "sign_flip_p": flips.pvalue, "correlation": stats.pearsonr(x, y).statistic}


def quantiles():
    for name in ("normal_8", "ties_6_6", "small_2_3", "large_30_25"):
        sample = PAIRS[name][1]
        for probability in (0.0, 0.05, 0.5, 0.9, 0.95, 0.99, 1.0):
            yield {"sample": sample, "probability": probability, "value": np.quantile(sample, probability)}


def powers():
    for effect in (0.0, 0.2, 0.8, 1.5, 3.0, 8.0):
        for n in (2, 3, 8, 40, 500):
            for alpha in (0.05, 0.05 / 24, 0.001):
                # nct gives NaN far out; statsmodels sums the same two tails.
                power = TTestIndPower().power(effect, n, alpha)
                if np.isfinite(power):
                    yield {"effect": effect, "runs": n, "alpha": alpha, "power": power}


def needed():
    for effect in (0.25, 0.5, 1.0, 1.5, 2.5):
        for alpha in (0.05, 0.05 / 24):
            n = next(n for n in range(2, 10_000) if TTestIndPower().power(effect, n, alpha) >= 0.9)
            yield {"effect": effect, "alpha": alpha, "runs": n}


def detection():
    """How often 8 runs a side show a shift of 1.5 standard deviations at 5 %, by scipy on simulated campaigns.

    The permutation test looks at all 12,870 splits; Welch's is scipy's. The t test's power is exact.
    """
    campaigns, n = 20_000, 8
    x = GENERATOR.normal(0, 1, (campaigns, n))
    y = GENERATOR.normal(1.5, 1, (campaigns, n))
    welch = stats.ttest_ind(x, y, axis=1, equal_var=False).pvalue
    chosen = np.zeros((12870, 2 * n))
    for row, deal in enumerate(itertools.combinations(range(2 * n), n)):
        chosen[row, list(deal)] = 1
    pooled = np.concatenate([x, y], axis=1)
    p_values = np.empty(campaigns)
    for start in range(0, campaigns, 500):
        some = pooled[start:start + 500]
        sums = some @ chosen.T
        apart = np.abs(2 * sums - some.sum(axis=1)[:, None]) / n
        observed = np.abs(x[start:start + 500].mean(axis=1) - y[start:start + 500].mean(axis=1))
        p_values[start:start + 500] = (apart >= observed[:, None] - 1e-12).mean(axis=1)
    for alpha in (0.05, 0.05 / 6):
        yield {"shift": 1.5, "runs": n, "campaigns": campaigns, "alpha": alpha,
               "t_test": TTestIndPower().power(1.5, n, alpha),
               "welch": (welch <= alpha).mean(), "permutation": (p_values <= alpha).mean()}


def exact_by_dealing(first, second, statistic):
    return stats.permutation_test(
        (first, second), statistic, vectorized=True, n_resamples=np.inf, alternative="two-sided").pvalue


def shift(first, second):
    """Median of differences, and the ends between which Mann–Whitney's exact test keeps the shift."""
    differences = sorted(np.subtract.outer(first, second).ravel().tolist())
    return ends(differences, lambda u: mann_whitney_cdf(len(first), len(second), u))


def mann_whitney_cdf(n, m, u):
    """P(U <= u) without ties, from the distribution behind scipy's exact test."""
    from scipy.stats._mannwhitneyu import _mwu_state
    _mwu_state.s.set_shapes(n, m)
    return float(_mwu_state.s.cdf(np.array(u)))


def pseudo_median(sample):
    """Median of Walsh averages; the signed-rank distribution by all signs."""
    n = len(sample)
    walsh = sorted((sample[i] + sample[j]) / 2 for i in range(n) for j in range(i, n))
    sums = [sum(r for r, s in zip(range(1, n + 1), signs) if s)
            for signs in itertools.product((0, 1), repeat=n)]
    return ends(walsh, lambda w: sum(s <= w for s in sums) / 2 ** n)


def ends(points, tail):
    k = 0
    while k < len(points) // 2 and tail(k) <= 0.025 * (1 + 1e-12):
        k += 1
    if k == 0:
        return {"value": float(np.median(points)), "low": None, "high": None, "confidence": None}
    return {"value": float(np.median(points)), "low": points[k - 1], "high": points[-k],
            "confidence": 1 - 2 * tail(k - 1)}


def series():
    """MSER-5 and Geyer's sum from their definitions; batch means with scipy's t interval."""
    for phi, n, warm_up in ((0.0, 200, 0), (0.7, 203, 40), (0.9, 1000, 150), (-0.4, 64, 0)):
        noise = GENERATOR.normal(0, 1, n)
        values = np.zeros(n)
        for i in range(n):
            values[i] = (values[i - 1] if i else 0) * phi + noise[i]
        values = rounded(values + 50 - 30 * np.exp(-np.arange(n) / 10) * (warm_up > 0))
        z = np.array(values[: n // 5 * 5]).reshape(-1, 5).mean(axis=1)
        k = len(z)
        scores = [((z[d:] - z[d:].mean()) ** 2).sum() / (k - d) ** 2 for d in range(k // 2 + 1)]
        best = int(np.argmin(scores))
        size = n // 10
        means = np.array(values[n - 10 * size:]).reshape(10, size).mean(axis=1)
        low, high = stats.ttest_1samp(means, 0).confidence_interval(0.95)
        yield {"values": values, "dropped": 5 * best, "settled": best < k // 2,
               "batch_means": [means.mean(), low, high], "effective": effective(np.array(values))}


def effective(values):
    n, x = len(values), values - values.mean()
    rho = np.correlate(x, x, "full")[n - 1:] / (x @ x)
    tau = -1.0
    for lag in range(0, n - 1, 2):
        pair = rho[lag] + rho[lag + 1]
        if pair <= 0:
            break
        tau += 2 * pair
    return n / max(tau, 1.0)


def bootstraps():
    """The replicates that scipy drew, and the interval that it made of them.

    Values in eighths have exact sums, so that replicates equal to the estimate are so to the last bit.
    """
    for name in ("normal_8", "skewed_5_7", "outlier_8_6"):
        sample = [round(8 * value) / 8 for value in PAIRS[name][0]]
        result = stats.bootstrap((sample,), np.mean, confidence_level=0.95, n_resamples=499,
                                 method="BCa", rng=np.random.default_rng(7))
        yield {"sample": sample, "estimate": float(np.mean(sample)), "replicates": result.bootstrap_distribution.tolist(),
               "low": result.confidence_interval.low, "high": result.confidence_interval.high}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print_sections(plain({
        "made_with": {"scipy": scipy.__version__, "statsmodels": statsmodels.__version__},
        "pairs": list(pairs()),
        "series": list(series()),
        "bootstraps": list(bootstraps()),
        "large_permutations": list(large_permutations()),
        "paired": list(paired()),
        "quantiles": list(quantiles()),
        "powers": list(powers()),
        "needed": list(needed()),
        "detection": list(detection()),
    }))
