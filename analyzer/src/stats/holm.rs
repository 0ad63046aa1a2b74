//! Holm's adjustment of a family of p-values.

use super::is_probability;

/// The p-values adjusted so that rejecting those at most α keeps the probability of any false
/// rejection in the family at most α.
///
/// Holm, A simple sequentially rejective multiple test procedure, 1979: of m p-values in rising
/// order the i-th becomes the largest of (m − j + 1) p_j over j ≤ i, at most 1. No assumption on how
/// the tests depend on each other. The order of the result is the order of the argument; `None`
/// where a number is not a probability.
pub fn holm(p_values: &[f64]) -> Option<Vec<f64>> {
    if !p_values.iter().all(|&p| is_probability(p)) {
        return None;
    }
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&left, &right| p_values[left].total_cmp(&p_values[right]));
    let mut adjusted = vec![0.0; p_values.len()];
    let mut largest = 0.0_f64;
    for (rank, &place) in order.iter().enumerate() {
        let scaled = p_values[place] * (p_values.len() - rank) as f64;
        largest = largest.max(scaled).min(1.0);
        adjusted[place] = largest;
    }
    Some(adjusted)
}

#[cfg(test)]
mod tests {
    use super::holm;

    #[test]
    fn keeps_the_order_and_refuses_what_is_no_probability() {
        assert_eq!(holm(&[]), Some(vec![]));
        assert_eq!(holm(&[0.25]), Some(vec![0.25]));
        assert_eq!(holm(&[0.5, 0.01, 0.5]), Some(vec![1.0, 0.03, 1.0]));
        assert_eq!(holm(&[0.5, f64::NAN]), None);
        assert_eq!(holm(&[-0.1]), None);
    }
}
