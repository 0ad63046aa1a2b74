//! What was measured: a line of the table, and the table.

use serde::Serialize;

/// One line of the result.
#[derive(Debug, Serialize)]
pub struct Figure {
    /// The program, and what it was given.
    pub program: String,
    /// Flows that the packets are spread over.
    pub flows: u32,
    /// Median over the rounds.
    pub ns_per_packet: f64,
    /// The same less what a program costs that does nothing, where one ran beside it or before.
    pub ns_net_of_noop: Option<f64>,
    /// With the way to the program and back, without the statistics that its run time comes from,
    /// where that way was measured.
    pub ns_as_called: Option<f64>,
}

/// The middle of the samples.
pub fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        (sorted[middle - 1] + sorted[middle]) / 2.0
    }
}

/// Prints the table.
pub fn print(figures: &[Figure]) {
    println!(
        "{:<26} {:>7} {:>12} {:>14} {:>11}",
        "program", "flows", "ns a packet", "net of no-op", "as called"
    );
    let or_none = |ns: Option<f64>| ns.map_or_else(|| "-".to_owned(), |ns| format!("{ns:.1}"));
    for figure in figures {
        println!(
            "{:<26} {:>7} {:>12.1} {:>14} {:>11}",
            figure.program,
            figure.flows,
            figure.ns_per_packet,
            or_none(figure.ns_net_of_noop),
            or_none(figure.ns_as_called)
        );
    }
}
