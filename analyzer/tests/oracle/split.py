"""Writes split.json: what scipy and statsmodels answer for the statistics of shares.

Run with scipy and statsmodels installed:  python3 split.py > split.json
Where neither library has a statistic, it is computed here from its definition, in whole numbers,
exact fractions or by enumeration, and the case says so.
"""

import json
import math
from fractions import Fraction

import numpy as np
import scipy
import statsmodels
import statsmodels.api as sm
from scipy import special, stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import multinomial_proportions_confint, proportion_confint

SAMPLES = [
    (0, 1), (1, 1), (0, 2), (1, 2), (2, 2), (0, 10), (3, 10), (10, 10), (7, 30), (59, 100),
    (0, 200), (1, 200), (121, 200), (200, 200), (480, 1000), (5, 20_000), (11_950, 20_000),
    (7_999, 20_000), (599_100, 1_000_000), (1, 1_000_000), (4_001_500, 10_000_000),
    (9_999_998, 10_000_000),
]
SHARES = [0.0001, 0.05, 0.3, 0.4, 0.5, 0.6, 0.9999]


def intervals():
    for successes, n in SAMPLES:
        for confidence in (0.5, 0.9, 0.95, 0.999):
            low, high = stats.binomtest(successes, n).proportion_ci(confidence, "wilson")
            exact = proportion_confint(successes, n, 1 - confidence, "beta")
            yield {
                "successes": successes, "n": n, "confidence": confidence,
                "wilson": [low, high], "clopper_pearson": [float(end) for end in exact],
            }


def binomial_tests():
    for successes, n in SAMPLES:
        for share in SHARES + [0.0, 1.0, min(1.0, (successes + 1) / n)]:
            yield {
                "successes": successes, "n": n, "share": share,
                "p_value": stats.binomtest(successes, n, share).pvalue,
            }


def equivalence():
    """One-sided exact binomial tests at the edges of the margin."""
    cases = [(s, n, r, m) for s, n in SAMPLES if n > 2 for r in (0.3, 0.4, 0.6) for m in (0.01, 0.05)]
    cases += [(k, 25_974, 0.4, 0.01) for k in (10_130, 10_260, 10_390, 10_520, 10_650, 10_800)]
    for successes, n, reference, margin in cases:
        low, high = reference - margin, reference + margin
        yield {
            "successes": successes, "n": n, "reference": reference, "margin": margin,
            "p_lower": stats.binomtest(successes, n, low, "greater").pvalue,
            "p_upper": stats.binomtest(successes, n, high, "less").pvalue,
            "p_below": stats.binomtest(successes, n, low, "less").pvalue,
            "p_above": stats.binomtest(successes, n, high, "greater").pvalue,
        }


def goodness_of_fit():
    cases = [
        ([60, 40], [60, 40]), ([55, 45], [60, 40]), ([640, 360], [70, 30]),
        ([10, 0], [1, 1]), ([102, 205, 693], [10, 20, 70]), ([333, 333, 334], [1, 1, 1]),
        ([120_400, 239_700, 639_900], [12, 24, 64]), ([3, 1, 0, 6], [1, 1, 1, 7]),
    ]
    for observed, weights in cases:
        total, weight = sum(observed), sum(weights)
        expected = [total * w / weight for w in weights]
        statistic, p_value = stats.power_divergence(observed, expected, lambda_="log-likelihood")
        exact = [stats.binomtest(o, total, w / weight).pvalue for o, w in zip(observed, weights)]
        yield {
            "observed": observed, "weights": weights,
            "statistic": statistic, "p_value": p_value,
            "goodman_95": multinomial_proportions_confint(observed, 0.05, "goodman").tolist(),
            "exact": exact, "exact_holm": multipletests(exact, method="holm")[1].tolist(),
        }


def windows():
    generator = np.random.default_rng(20260101)
    fair = [(int(generator.binomial(n, 0.6)), int(n)) for n in generator.integers(80, 120, 24)]
    turns = [(60, 100), (60, 100), (61, 101), (60, 100), (59, 99), (60, 100)]
    drift = [(int(100 * (0.4 + 0.02 * i)), 100) for i in range(20)]
    few = [(1, 2), (0, 1), (3, 3), (2, 5)]
    for name, sample in (("fair", fair), ("turns", turns), ("drift", drift), ("few", few)):
        yield {"name": name, "windows": sample, **scatter(sample)}


def scatter(sample):
    hits, counts = np.array([x for x, _ in sample]), np.array([n for _, n in sample])
    k, total, share = len(sample), int(counts.sum()), hits.sum() / counts.sum()
    # Pearson's chi-square of the table of windows against success and failure is X² about the
    # estimated share; that of each window's two cells about a given share sums to X² about it.
    table = np.array([hits, counts - hits])
    estimated = stats.chi2_contingency(table, correction=False)
    given = sum(stats.chisquare([x, n - x], [0.6 * n, 0.4 * n]).statistic for x, n in sample)
    # Tarone's Z from its definition, in fractions up to the root.
    p = Fraction(int(hits.sum()), total)
    squares = sum((int(x) - int(n) * p) ** 2 for x, n in sample) / (p * (1 - p))
    pairs = sum(int(n) * (int(n) - 1) for n in counts)
    z = float(squares - total) / math.sqrt(2 * pairs)
    # The clustered interval is that of a regression of single requests on a constant.
    outcome = np.concatenate([np.r_[np.ones(x), np.zeros(n - x)] for x, n in sample])
    groups = np.repeat(np.arange(k), counts)
    fit = sm.OLS(outcome, np.ones(total)).fit(
        cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)
    low, high = fit.conf_int(0.05)[0]
    return {
        "estimated": {
            "statistic": estimated.statistic,
            "p_under": stats.chi2.cdf(estimated.statistic, k - 1), "p_over": estimated.pvalue,
        },
        "given_60": {
            "statistic": given,
            "p_under": stats.chi2.cdf(given, k), "p_over": stats.chi2.sf(given, k),
        },
        "tarone": {"z": z, "p_over": stats.norm.sf(z), "p_under": stats.norm.cdf(z)},
        "clustered": {
            "share": share, "standard_error": fit.bse[0], "low": max(low, 0), "high": min(high, 1),
            "design_effect": fit.bse[0] ** 2 / (share * (1 - share) / total),
        },
    }


def expected_distances():
    """E|p̂ − p| by summing over every count; for one and two requests, by hand."""
    for n in (1, 2, 7, 100, 20_000):
        for share in SHARES + [0.25]:
            counts = np.arange(n + 1)
            apart = np.abs(counts / n - share)
            yield {
                "n": n, "share": share,
                "expected": math.fsum(apart * stats.binom.pmf(counts, n, share)),
            }


def distributions():
    normal = [{"z": z, "upper": stats.norm.sf(z)} for z in (-9.0, -1.96, -1e-3, 0.0, 0.3, 1.0, 3.0, 12.0)]
    quantiles = [{"upper": u, "z": stats.norm.isf(u)} for u in (1e-12, 0.001, 0.025, 0.05, 0.4, 0.5, 0.7, 0.999)]
    t = [{"t": x, "df": df, "upper": stats.t.sf(x, df)}
         for df in (1, 1.7, 2, 7, 13.4, 100, 1e6) for x in (-3.0, 0.0, 1e-4, 0.7, 2.3, 9.0, 60.0)]
    t_quantiles = [{"upper": u, "df": df, "t": stats.t.isf(u, df)}
                   for df in (1, 1.7, 2, 7, 13.4, 100, 1e6) for u in (1e-6, 0.005, 0.025, 0.05, 0.3, 0.8, 0.99)]
    chi_square = [{"x": x * df, "df": df, "lower": stats.chi2.cdf(x * df, df), "upper": stats.chi2.sf(x * df, df)}
                  for df in (1, 2, 5, 23, 720, 10_000) for x in (0.0, 0.01, 0.5, 0.9, 1.0, 1.1, 2.0)]
    # betainc of scipy is Boost's, accurate for large and for fractional arguments.
    beta = [{"a": a, "b": b, "x": x, "lower": special.betainc(a, b, x), "upper": special.betaincc(a, b, x)}
            for a, b in ((0.5, 0.5), (0.5, 4e5), (3.25, 1), (40, 60), (4e6, 6e6), (2e9, 3e9))
            for x in (1e-9, 0.01, 0.35, 0.3997, 0.4, 0.4004, 0.5, 0.77, 1 - 1e-9)]
    return {"normal": normal, "normal_quantiles": quantiles, "t": t, "t_quantiles": t_quantiles,
            "chi_square": chi_square, "beta": beta}


def holm():
    for family in ([0.01, 0.04, 0.03, 0.005], [0.5, 0.5, 0.5], [0.2], [0.0, 1.0, 0.05, 0.05]):
        yield {"p_values": family, "adjusted": multipletests(family, method="holm")[1].tolist()}


def plain(value):
    """Numbers and lists as JSON knows them."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return value.item() if isinstance(value, np.generic) else value


def print_sections(answers):
    """One case a line."""
    sections = []
    for name, value in answers.items():
        if isinstance(value, list):
            cases = ",\n".join(json.dumps(case, allow_nan=False) for case in value)
            sections.append(f"{json.dumps(name)}: [\n{cases}\n]")
        else:
            sections.append(f"{json.dumps(name)}: {json.dumps(value, allow_nan=False)}")
    print("{\n" + ",\n".join(sections) + "\n}")


if __name__ == "__main__":
    answers = {
        "made_with": {"scipy": scipy.__version__, "statsmodels": statsmodels.__version__},
        **distributions(),
        "intervals": list(intervals()),
        "binomial_tests": list(binomial_tests()),
        "equivalence": list(equivalence()),
        "goodness_of_fit": list(goodness_of_fit()),
        "windows": list(windows()),
        "expected_distances": list(expected_distances()),
        "holm": list(holm()),
    }
    print_sections(plain(answers))
