//! Tails and quantiles of the distributions that the tests and intervals of this module need.
//!
//! `statrs` supplies the inverse of `erfc`, `ln_gamma` and the incomplete gamma function. Its `erfc`
//! is good to ten digits only. Its incomplete beta function stops after a fixed number of terms, and
//! its prefactor cancels digits, so that it is wrong for the millions of requests of a long run:
//! binomial, beta and t tails are computed here. Both tails are returned wherever a small one would
//! be lost in a subtraction from 1. Quantiles are found by Newton's method on the tail itself.

use std::f64::consts::{PI, SQRT_2};

use statrs::function::erf::erfc_inv;
use statrs::function::gamma::{gamma_lr, gamma_ur, ln_gamma};

/// The largest number of trials that is answered for: the continued fraction takes a number of terms
/// that grows with its square root.
pub const MOST_TRIALS: u64 = 1 << 40;

/// Terms after which the continued fraction is cut off; enough for `MOST_TRIALS`.
const MOST_TERMS: u64 = 20_000_000;

/// Stands in for zero in Lentz's method, whose divisions it keeps finite.
const TINY: f64 = 1e-300;

/// The probability below and above a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tails {
    /// The probability at or below the point.
    pub lower: f64,
    /// The probability above the point.
    pub upper: f64,
}

/// P(Z > z) of the standard normal distribution: half of P(χ²₁ > z²) for z ≥ 0, and by symmetry below.
pub fn normal_upper_tail(z: f64) -> f64 {
    let beyond = 0.5 * chi_square_tails(z * z, 1).upper;
    if z >= 0.0 { beyond } else { 1.0 - beyond }
}

/// The z that a standard normal variable exceeds with the given probability, for 0 < upper < 1.
pub fn normal_quantile_of_upper(upper: f64) -> f64 {
    SQRT_2 * erfc_inv(2.0 * upper)
}

/// The tails of the chi-square distribution at a statistic of 0 or more.
///
/// No degree of freedom is the distribution that is always 0.
pub fn chi_square_tails(statistic: f64, degrees_of_freedom: u64) -> Tails {
    if statistic <= 0.0 || degrees_of_freedom == 0 {
        let at_zero = statistic <= 0.0;
        return match (at_zero, degrees_of_freedom) {
            (true, 0) => tails(1.0, 1.0),
            (true, _) => tails(0.0, 1.0),
            (false, _) => tails(1.0, 0.0),
        };
    }
    if statistic == f64::INFINITY {
        return tails(1.0, 0.0);
    }
    let (shape, point) = (degrees_of_freedom as f64 / 2.0, statistic / 2.0);
    tails(gamma_lr(shape, point), gamma_ur(shape, point))
}

/// P(T > t) of Student's t distribution with any positive number of degrees of freedom.
///
/// ½ I_x(ν/2, ½) with x = ν/(ν + t²) for t ≥ 0, and by symmetry below.
pub fn t_upper_tail(t: f64, degrees_of_freedom: f64) -> f64 {
    let square = t * t;
    let (x, y) = if square.is_finite() {
        let sum = degrees_of_freedom + square;
        (degrees_of_freedom / sum, square / sum)
    } else {
        (0.0, 1.0)
    };
    let beyond = 0.5 * beta_tails(degrees_of_freedom / 2.0, 0.5, x, y).lower;
    if t >= 0.0 { beyond } else { 1.0 - beyond }
}

/// The t that is exceeded with the given probability, for 0 < upper < 1.
pub fn t_quantile_of_upper(upper: f64, degrees_of_freedom: f64) -> f64 {
    if upper > 0.5 {
        return -t_quantile_of_upper(1.0 - upper, degrees_of_freedom);
    }
    let mut high = 1.0;
    while t_upper_tail(high, degrees_of_freedom) > upper && high < 1e300 {
        high *= 4.0;
    }
    let half = degrees_of_freedom / 2.0;
    let ln_scale = ln_gamma(half + 0.5) - ln_gamma(half) - 0.5 * (degrees_of_freedom * PI).ln();
    let density = |t: f64| (ln_scale - (half + 0.5) * (t * t / degrees_of_freedom).ln_1p()).exp();
    rising_root(0.0, high, |t| {
        (upper - t_upper_tail(t, degrees_of_freedom), density(t))
    })
}

/// P(X = k) of the binomial distribution, by the saddle-point expansion.
///
/// Loader, Fast and accurate computation of binomial probabilities, 2000: no digit is lost to the
/// cancellation of log-gammas, whatever the number of trials.
pub fn binomial_mass(k: u64, n: u64, p: f64) -> f64 {
    if k > n {
        return 0.0;
    }
    saddle_point_mass(k as f64, (n - k) as f64, p, 1.0 - p)
}

/// P(X ≤ k) of the binomial distribution.
pub fn binomial_at_most(k: u64, n: u64, p: f64) -> f64 {
    if k >= n {
        return 1.0;
    }
    beta_tails(k as f64 + 1.0, (n - k) as f64, p, 1.0 - p).upper
}

/// P(X ≥ k) of the binomial distribution.
pub fn binomial_at_least(k: u64, n: u64, p: f64) -> f64 {
    if k == 0 {
        return 1.0;
    }
    if k > n {
        return 0.0;
    }
    beta_tails(k as f64, (n - k) as f64 + 1.0, p, 1.0 - p).lower
}

/// The x that a beta(a, b) variable falls below with the given probability, for 0 < lower < 1.
pub fn beta_quantile_of_lower(lower: f64, a: f64, b: f64) -> f64 {
    beta_root(a, b, |tails| tails.lower - lower)
}

/// The x that a beta(a, b) variable exceeds with the given probability, for 0 < upper < 1.
pub fn beta_quantile_of_upper(upper: f64, a: f64, b: f64) -> f64 {
    beta_root(a, b, |tails| upper - tails.upper)
}

/// The tails of the beta distribution: the regularised incomplete beta function I_x(a, b) and its
/// complement, for positive a and b, with y = 1 − x given apart so that no digit of it is lost.
///
/// The continued fraction of DLMF 8.17.22 by Lentz's method, on the side of the mean where it
/// converges fast; its prefactor x^a y^b / (a B(a, b)) is the binomial mass times b/(a + b).
pub fn beta_tails(a: f64, b: f64, x: f64, y: f64) -> Tails {
    if x <= 0.0 {
        return tails(0.0, 1.0);
    }
    if y <= 0.0 {
        return tails(1.0, 0.0);
    }
    let mass = saddle_point_mass(a, b, x, y);
    if mass == 0.0 {
        // Only far from the mean is there nothing that a number can hold.
        return if x * (a + b) < a {
            tails(0.0, 1.0)
        } else {
            tails(1.0, 0.0)
        };
    }
    if x < (a + 1.0) / (a + b + 2.0) {
        let lower = (mass * b / (a + b) * beta_fraction(a, b, x)).min(1.0);
        tails(lower, 1.0 - lower)
    } else {
        let upper = (mass * a / (a + b) * beta_fraction(b, a, y)).min(1.0);
        tails(1.0 - upper, upper)
    }
}

fn tails(lower: f64, upper: f64) -> Tails {
    Tails { lower, upper }
}

/// Where an excess over the wanted tail, rising in x, is zero.
fn beta_root(a: f64, b: f64, excess: impl Fn(Tails) -> f64) -> f64 {
    rising_root(0.0, 1.0, |x| {
        let y = 1.0 - x;
        // The density is Γ(a+b)/(Γ(a)Γ(b)) x^(a−1) y^(b−1), and a b/((a+b) x y) times the mass.
        let slope = saddle_point_mass(a, b, x, y) * a * b / ((a + b) * x * y);
        (excess(beta_tails(a, b, x, y)), slope)
    })
}

/// The root of a rising function between two points, by Newton's method kept inside a bracket that
/// bisection halves whenever a Newton step would leave it or no longer shrinks.
fn rising_root(mut low: f64, mut high: f64, value_and_slope: impl Fn(f64) -> (f64, f64)) -> f64 {
    const MOST_STEPS: usize = 2_000;
    let mut x = 0.5 * (low + high);
    let mut step_before = high - low;
    for _ in 0..MOST_STEPS {
        let (value, slope) = value_and_slope(x);
        if value == 0.0 {
            return x;
        }
        if value < 0.0 {
            low = x;
        } else {
            high = x;
        }
        let newton = x - value / slope;
        let inside = newton > low && newton < high;
        let next = if inside && (newton - x).abs() < 0.5 * step_before.abs() {
            newton
        } else {
            0.5 * (low + high)
        };
        step_before = next - x;
        x = next;
        if step_before.abs() <= f64::EPSILON * x.abs() {
            break;
        }
    }
    x
}

/// Γ(a+b+1)/(Γ(a+1)Γ(b+1)) x^a y^b for y = 1 − x: the binomial mass, for any a and b from 0 on.
fn saddle_point_mass(a: f64, b: f64, x: f64, y: f64) -> f64 {
    let n = a + b;
    if x <= 0.0 {
        return if a == 0.0 { 1.0 } else { 0.0 };
    }
    if y <= 0.0 {
        return if b == 0.0 { 1.0 } else { 0.0 };
    }
    if a == 0.0 {
        return (n * (-x).ln_1p()).exp();
    }
    if b == 0.0 {
        return (n * (-y).ln_1p()).exp();
    }
    let exponent = stirling_error(n)
        - stirling_error(a)
        - stirling_error(b)
        - deviance(a, n * x)
        - deviance(b, n * y);
    exponent.exp() * (n / (2.0 * PI * a * b)).sqrt()
}

/// ln Γ(n + 1) − ln(√(2πn) (n/e)^n).
fn stirling_error(n: f64) -> f64 {
    if n <= 15.0 {
        return ln_gamma(n + 1.0) - (n + 0.5) * n.ln() + n - 0.5 * (2.0 * PI).ln();
    }
    let square = n * n;
    let tail = 1.0 / 1188.0 - 691.0 / 360_360.0 / square;
    let tail = 1.0 / 1680.0 - tail / square;
    let tail = 1.0 / 1260.0 - tail / square;
    let tail = 1.0 / 360.0 - tail / square;
    (1.0 / 12.0 - tail / square) / n
}

/// x ln(x/m) + m − x, by a series where x and m are near and the terms would cancel.
fn deviance(x: f64, mean: f64) -> f64 {
    let difference = x - mean;
    if difference.abs() >= 0.1 * (x + mean) {
        return x * (x / mean).ln() + mean - x;
    }
    let ratio = difference / (x + mean);
    let square = ratio * ratio;
    let mut sum = difference * ratio;
    let mut power = 2.0 * x * ratio;
    for odd in (3..1_000).step_by(2) {
        power *= square;
        let next = sum + power / f64::from(odd);
        if next == sum {
            break;
        }
        sum = next;
    }
    sum
}

/// The continued fraction of the incomplete beta function.
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    let away_from_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let sum = a + b;
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - sum * x / (a + 1.0));
    let mut fraction = d;
    for term in 1..MOST_TERMS {
        let m = term as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away_from_zero(1.0 + even * d);
        c = away_from_zero(1.0 + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (sum + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away_from_zero(1.0 + odd * d);
        c = away_from_zero(1.0 + odd / c);
        fraction *= d * c;
        if (d * c - 1.0).abs() <= f64::EPSILON {
            break;
        }
    }
    fraction
}
