//! Is the latency true? k6 says how long it waited, the gateway how long its backends took.
//!
//! The backends answer so many requests a second and let the others wait, so that latencies are
//! long beside the way through the gateway. What k6 waited is what the probe measured and that way.

use std::time::Duration;

use lab::{DataPlane, Ingress, K6Options, K6Script, ProbeOptions};
use trace_schema::http::HttpRow;

use super::scene;
use crate::dataset;

/// Requests a second of each backend pod; with the virtual users it makes the latency.
const RATE_PER_S: u32 = 150;
const USERS: u32 = 40;
/// A bucket's width at most, as a share of its lower end.
const BUCKET: f64 = 1.0 / 16.0;
/// What the gateway and the pods' networks may add in the median, milliseconds.
const HOP_MS: f64 = 2.0;

#[test]
fn quantiles_agree_with_k6_and_the_gateway() {
    let mut config = scene::config(DataPlane::Nginx);
    config.rate_per_s = Some(RATE_PER_S);
    let dataset = tempfile::tempdir().expect("a temporary directory");
    let ingress = Ingress::up(config).expect("an ingress");
    let probes = ProbeOptions {
        nodes: vec!["worker".to_owned(), "gateway2".to_owned()],
        ..ProbeOptions::new(dataset::binary("weighbridge-probe"), dataset.path())
    };
    let probes = ingress.lab().start_probes(&probes).expect("probes");
    let options = K6Options {
        script: K6Script::Counter,
        duration: Duration::from_secs(4),
        ..K6Options::new(USERS, 4)
    };
    let run = ingress.k6(&options).expect("a run of k6");
    probes.stop().expect("probes end well");

    let (gateway, _) = ingress.listener();
    let mut measured = Vec::new();
    let rows: Vec<HttpRow> = dataset::rows(dataset.path());
    for row in rows
        .iter()
        .filter(|row| row.peer_address == gateway.to_string() && row.local_port == 8080)
    {
        check_buckets(row);
        measured.extend(buckets_ms(row));
    }
    let mut waited = waited_ms(&run.folder.join("k6.ndjson"));
    let mut took: Vec<f64> = ingress
        .gateway_log()
        .expect("the gateway's access log")
        .iter()
        .filter_map(|request| Some(request.response_head_s? * 1000.0))
        .collect();
    assert_eq!(measured.len(), waited.len(), "a response has no latency");
    assert_eq!(measured.len(), took.len());
    for samples in [&mut measured, &mut waited, &mut took] {
        samples.sort_by(f64::total_cmp);
    }
    for share in [0.1, 0.5, 0.9, 0.99] {
        let [probe, k6, nginx] = [&measured, &waited, &took].map(|all| quantile(all, share));
        println!("{share}: probe {probe:.2} ms, k6 {k6:.2} ms, gateway {nginx:.2} ms");
        let error = probe * BUCKET;
        // The loaded machine delays some requests on their way far more than most.
        let hop = if share > 0.5 { 5.0 * HOP_MS } else { HOP_MS };
        assert!(k6 > probe - error && k6 < probe + error + hop, "k6");
        // nginx's clock ticks in milliseconds, on both ends.
        assert!(
            nginx > probe - error - 1.0 && nginx < probe + error + hop,
            "the gateway"
        );
    }
    ingress.down().expect("the lab goes down");
}

fn check_buckets(row: &HttpRow) {
    for (lower, upper) in row.latency_lower_us.iter().zip(&row.latency_upper_us) {
        let width = (upper - lower) as f64;
        assert!(
            *upper > *lower && width <= (*lower as f64 * BUCKET).max(1.0),
            "a bucket from {lower} to {upper} µs"
        );
    }
}

/// The middle of its bucket for each response.
fn buckets_ms(row: &HttpRow) -> impl Iterator<Item = f64> {
    let bounds = row.latency_lower_us.iter().zip(&row.latency_upper_us);
    bounds
        .zip(&row.latency_responses)
        .flat_map(|((lower, upper), count)| {
            let middle_ms = (lower + upper) as f64 / 2.0 / 1000.0;
            std::iter::repeat_n(middle_ms, usize::try_from(*count).expect("a count"))
        })
}

/// k6's `http_req_waiting` of every request.
fn waited_ms(path: &std::path::Path) -> Vec<f64> {
    let text = std::fs::read_to_string(path).expect("k6's samples");
    text.lines()
        .filter(|line| line.contains("\"http_req_waiting\"") && line.contains("\"Point\""))
        .map(|line| {
            let point: serde_json::Value = serde_json::from_str(line).expect("a sample");
            point["data"]["value"].as_f64().expect("a value")
        })
        .collect()
}

/// The value below which this share of the sorted samples lies.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let position = (share * (sorted.len() - 1) as f64).round() as usize;
    sorted[position]
}
