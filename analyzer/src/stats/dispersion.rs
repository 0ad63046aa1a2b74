//! Windows of one proportion: do they scatter as independent requests would, and what then is the
//! interval of the whole?
//!
//! A splitter that takes turns scatters less than chance, one whose share drifts, or that keeps a
//! client at its backend, scatters more: both tails mean something. The order of requests inside a
//! window is never used.

use serde::Serialize;

use super::distribution::{MOST_TRIALS, chi_square_tails, normal_upper_tail, t_quantile_of_upper};
use super::{Interval, is_level, is_probability};

/// One window's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Window {
    /// Of which at the backend.
    pub successes: u64,
    /// All.
    pub n: u64,
}

/// How the windows scatter, against independent requests with one share.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Dispersion {
    /// X² = Σ (x_i − n_i p)² / (n_i p (1 − p)).
    pub statistic: f64,
    /// Windows with a request, less one where the share was estimated.
    pub degrees_of_freedom: u64,
    /// X² ÷ degrees of freedom: 1 for independent requests, below for turns, above for drift.
    pub index: f64,
    /// Probability of scatter so small, by chi-square.
    pub p_under: f64,
    /// Probability of scatter so large, by chi-square.
    pub p_over: f64,
}

/// Tarone's test for scatter beyond the binomial.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Tarone {
    /// Standard normal if the requests are independent.
    pub z: f64,
    /// Probability of a z so small.
    pub p_under: f64,
    /// Probability of a z so large: Tarone's own alternative.
    pub p_over: f64,
}

/// The share of the whole, with windows and not requests as the unit that repeats.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ClusteredShare {
    /// Σ x_i / Σ n_i.
    pub share: f64,
    /// Its cluster-robust standard error.
    pub standard_error: f64,
    /// Windows with a request, less one.
    pub degrees_of_freedom: u64,
    /// By Student's t, cut off at 0 and 1.
    pub interval: Interval,
    /// Cluster-robust variance ÷ binomial variance; `None` where the share is 0 or 1.
    pub design_effect: Option<f64>,
    /// Independent requests that would say as much; `None` without a positive design effect.
    pub effective_n: Option<f64>,
}

/// The index of dispersion of windows about a given share, or about their own.
///
/// X² is chi-square with as many degrees of freedom as windows, one less where the share is
/// estimated (Fisher's variance test; Cochran 1954). The approximation wants n_i p and n_i (1 − p) of
/// about 5 or more in most windows. Windows without a request are left out. `None` where no degree
/// of freedom is left, where the share is 0 or 1, so that nothing can scatter, or where a window is
/// not one.
pub fn dispersion(windows: &[Window], share: Option<f64>) -> Option<Dispersion> {
    let sample = Sample::of(windows)?;
    let p = share.unwrap_or(sample.share());
    let degrees_of_freedom = sample.windows.len() as u64 - u64::from(share.is_none());
    if !is_probability(p) || p == 0.0 || p == 1.0 || degrees_of_freedom == 0 {
        return None;
    }
    let squares = sample.windows.iter().map(|window| {
        let n = window.n as f64;
        (window.successes as f64 - n * p).powi(2) / (n * p * (1.0 - p))
    });
    let statistic: f64 = squares.sum();
    let tails = chi_square_tails(statistic, degrees_of_freedom);
    Some(Dispersion {
        statistic,
        degrees_of_freedom,
        index: statistic / degrees_of_freedom as f64,
        p_under: tails.lower,
        p_over: tails.upper,
    })
}

/// Tarone's Z of the windows about their own share.
///
/// Z = (Σ (x_i − n_i p̂)²/(p̂(1 − p̂)) − Σ n_i) / √(2 Σ n_i(n_i − 1)); Tarone, Testing the goodness of
/// fit of the binomial distribution, 1979. The score test against a beta-binomial, normal when there
/// are many windows. `None` with fewer than two windows, where the share is 0 or 1, or where no
/// window has two requests.
pub fn tarone(windows: &[Window]) -> Option<Tarone> {
    let sample = Sample::of(windows)?;
    let p = sample.share();
    let pairs: f64 = sample.each(|window| window.n as f64 * (window.n as f64 - 1.0));
    if sample.windows.len() < 2 || p == 0.0 || p == 1.0 || pairs == 0.0 {
        return None;
    }
    let squares = sample.squared_residuals() / (p * (1.0 - p));
    let z = (squares - sample.n) / (2.0 * pairs).sqrt();
    Some(Tarone {
        z,
        p_under: normal_upper_tail(-z),
        p_over: normal_upper_tail(z),
    })
}

/// The share of all requests with an interval that allows for windows that are not alike.
///
/// Ratio estimator p̂ = Σx/Σn with variance k/(k−1) Σ(x_i − n_i p̂)²/(Σn)² and Student's t with k − 1
/// degrees of freedom (Cochran, Sampling Techniques, chapter 6; the same as a regression on a
/// constant with errors clustered by window). Design effect and effective n after Kish 1965. Windows
/// must be independent of each other, and a dozen or more for the interval to keep its level. `None`
/// with fewer than two windows that hold a request.
pub fn clustered_share(windows: &[Window], confidence: f64) -> Option<ClusteredShare> {
    let sample = Sample::of(windows)?;
    let count = sample.windows.len();
    if count < 2 || !is_level(confidence) {
        return None;
    }
    let (share, k) = (sample.share(), count as f64);
    let variance = k / (k - 1.0) * sample.squared_residuals() / (sample.n * sample.n);
    let standard_error = variance.sqrt();
    let t = t_quantile_of_upper(0.5 * (1.0 - confidence), k - 1.0);
    let binomial_variance = share * (1.0 - share) / sample.n;
    let design_effect = (binomial_variance > 0.0).then(|| variance / binomial_variance);
    Some(ClusteredShare {
        share,
        standard_error,
        degrees_of_freedom: count as u64 - 1,
        interval: Interval {
            low: (share - t * standard_error).max(0.0),
            high: (share + t * standard_error).min(1.0),
        },
        design_effect,
        effective_n: design_effect
            .filter(|&effect| effect > 0.0)
            .map(|effect| sample.n / effect),
    })
}

/// Windows that hold a request, and their sums.
struct Sample {
    windows: Vec<Window>,
    successes: f64,
    n: f64,
}

impl Sample {
    fn of(windows: &[Window]) -> Option<Self> {
        let windows: Vec<Window> = windows.iter().copied().filter(|w| w.n > 0).collect();
        let n = windows
            .iter()
            .try_fold(0_u64, |sum, window| sum.checked_add(window.n))?;
        let fits = windows.iter().all(|window| window.successes <= window.n);
        if n == 0 || n > MOST_TRIALS || !fits {
            return None;
        }
        let successes: u64 = windows.iter().map(|window| window.successes).sum();
        Some(Self {
            windows,
            successes: successes as f64,
            n: n as f64,
        })
    }

    fn share(&self) -> f64 {
        self.successes / self.n
    }

    fn each(&self, value: impl Fn(&Window) -> f64) -> f64 {
        self.windows.iter().map(value).sum()
    }

    /// Σ (x_i − n_i p̂)².
    fn squared_residuals(&self) -> f64 {
        let share = self.share();
        self.each(|window| (window.successes as f64 - window.n as f64 * share).powi(2))
    }
}
