//! The size of a difference in units of the runs' own scatter.

use statrs::function::gamma::ln_gamma;

use super::mean::Moments;

/// Hedges' g: the difference of means, first less second, in pooled standard deviations, unbiased.
///
/// g = J(ν) (x̄ − ȳ)/s_p with ν = n + m − 2 and J(ν) = Γ(ν/2)/(√(ν/2) Γ((ν − 1)/2)), the exact
/// correction (Hedges 1981). Assumes normal runs of equal variance. `None` with fewer than two runs
/// on either side, and where no run differs from another of its side: no scatter, no unit.
pub fn hedges_g(first: &[f64], second: &[f64]) -> Option<f64> {
    let (first, second) = (Moments::of(first)?, Moments::of(second)?);
    let degrees_of_freedom = first.n + second.n - 2.0;
    let squares = (first.n - 1.0) * first.variance + (second.n - 1.0) * second.variance;
    let deviation = (squares / degrees_of_freedom).sqrt();
    let half = 0.5 * degrees_of_freedom;
    let correction = (ln_gamma(half) - ln_gamma(half - 0.5)).exp() / half.sqrt();
    let g = correction * (first.mean - second.mean) / deviation;
    g.is_finite().then_some(g)
}
