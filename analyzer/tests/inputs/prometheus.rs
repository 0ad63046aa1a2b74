//! Samples of Prometheus and node_exporter: real answers, CSV made of them, machines told apart, and
//! what is refused.

use std::fs;
use std::path::{Path, PathBuf};

use analyzer::input::iperf3::{Iperf3Result, Status};
use analyzer::input::k6;
use analyzer::input::prometheus::{Format, Gap, Machine, Samples, machines, parse, read};

/// First and last time of the recorded samples.
const FROM_US: i64 = 1_795_304_283_000_000;
const TO_US: i64 = 1_795_304_298_000_000;

fn fixtures(tool: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(tool)
}

fn sample(name: &str) -> Samples {
    read(&fixtures("prometheus").join(name)).unwrap()
}

fn only_machine(samples: &Samples) -> Machine {
    let found = machines(&samples.series);
    assert_eq!(found.len(), 1, "{found:?}");
    found.into_iter().next().unwrap()
}

#[track_caller]
fn assert_near(actual: Option<f64>, expected: f64) {
    let actual = actual.expect("a number");
    assert!(
        (actual - expected).abs() <= 1e-9 * expected.abs(),
        "{actual} is not {expected}"
    );
}

#[test]
fn processor_use_is_what_idle_leaves() {
    // Computed from the file apart: both CPUs were idle for 0.03 s of 15 s.
    for (name, format) in [
        (
            "prom2.42_query_range_node_cpu_seconds_total.json",
            Format::QueryRange,
        ),
        ("derived_prom_cpu_long.csv", Format::CsvLong),
    ] {
        let samples = sample(name);
        assert_eq!(samples.format, format);
        let machine = only_machine(&samples);
        assert_eq!((machine.cpus(), machine.names.len()), (2, 1));
        let (usage, gap) = machine.usage(FROM_US, TO_US);
        assert_eq!(gap, None);
        assert_near(usage.cpu_percent, 100.0 * (1.0 - 0.03 / 30.0));
        assert_near(usage.span_s, 15.0);
        assert_eq!(usage.cpu_over_time.len(), 15);
        let (_, gap) = machine.usage(FROM_US, FROM_US);
        assert_eq!(gap, Some(Gap::OneMoment));
        assert_eq!(machine.usage(0, 1).1, Some(Gap::NoCounter));
    }
}

#[test]
fn memory_in_use_is_total_less_available() {
    for (name, format) in [
        ("prom2.42_query_range_memory.json", Format::QueryRange),
        ("derived_prom_memory_wide.csv", Format::CsvWide),
    ] {
        let samples = sample(name);
        assert_eq!(samples.format, format);
        let (usage, gap) = only_machine(&samples).usage(FROM_US, TO_US);
        assert_near(usage.memory_bytes, 1_139_480_064.0);
        assert_eq!(usage.memory_over_time.len(), 16);
        assert_eq!(gap, Some(Gap::NoCounter));
    }
}

#[test]
fn files_without_labels_belong_to_the_machine_beside_them() {
    let mut series = sample("derived_prom_cpu_long.csv").series;
    series.extend(sample("derived_prom_memory_wide.csv").series);
    let found = machines(&series);
    assert_eq!(found.len(), 1);
    let (usage, _) = found[0].usage(FROM_US, TO_US);
    assert!(usage.cpu_percent.is_some() && usage.memory_bytes.is_some());
}

#[test]
fn two_scrapes_make_a_rate_without_a_clock() {
    let first = sample("node_exporter1.5_metrics_excerpt.prom");
    assert_eq!(first.format, Format::Exposition);
    let machine = only_machine(&first);
    let (usage, gap) = machine.usage(0, 1);
    assert_eq!((usage.cpu_percent, gap), (None, Some(Gap::OneMoment)));
    assert_near(usage.memory_bytes, 25_276_502_016.0 - 23_884_488_704.0);
    // Each CPU idle for 3 s and in user space for 1 s since.
    let mut second = first.clone();
    for one in &mut second.series {
        let more = match one.labels.get("mode").map(String::as_str) {
            Some("idle") => 3.0,
            Some("user") => 1.0,
            _ => 0.0,
        };
        one.points[0].value += more;
    }
    let both = [second.series, first.series].concat();
    let found = machines(&both);
    let (usage, gap) = found[0].usage(0, 1);
    assert_eq!(gap, None);
    assert_near(usage.cpu_percent.map(|percent| percent.round()), 25.0);
}

#[test]
fn a_counter_that_began_again_takes_its_interval_out() {
    let text = "timestamp,metric,instance,cpu,mode,value\n\
        100,node_cpu_seconds_total,a,0,idle,50\n\
        110,node_cpu_seconds_total,a,0,idle,55\n\
        120,node_cpu_seconds_total,a,0,idle,1\n\
        130,node_cpu_seconds_total,a,0,idle,6\n";
    let machine = only_machine(&parse(text, "reboot.csv").unwrap());
    let (usage, _) = machine.usage(100_000_000, 130_000_000);
    assert_near(usage.cpu_percent, 50.0);
    assert_near(usage.span_s, 20.0);
}

/// One exporter's idle and user counters, scraped every 5 s from a delay on and asked for every
/// second: what `query_range` gives.
fn exporter(instance: &str, delay_s: i64, lead_s: f64, busy: impl Fn(i64) -> f64) -> String {
    let mut text = String::new();
    for second in 0..60 {
        let scraped = (second - delay_s).div_euclid(5) * 5 + delay_s;
        let user: f64 = lead_s + (0..scraped.max(0)).map(&busy).sum::<f64>();
        let idle = 2_000.0 + scraped as f64 - user;
        for (mode, value) in [("idle", idle), ("user", user)] {
            text += &format!("{second},node_cpu_seconds_total,{instance},0,{mode},{value:.2}\n");
        }
    }
    text
}

#[test]
fn nodes_that_share_a_machine_count_once() {
    let header = "timestamp,metric,instance,cpu,mode,value\n";
    let busy = |second: i64| if second % 20 < 10 { 0.9 } else { 0.2 };
    let text = header.to_owned()
        + &exporter("kind-control-plane", 0, 100.0, busy)
        + &exporter("kind-worker", 2, 100.0, busy)
        + &exporter("elsewhere", 1, 140.0, |second| busy(second + 7));
    let found = machines(&parse(&text, "kind.csv").unwrap().series);
    let names: Vec<&[String]> = found
        .iter()
        .map(|machine| machine.names.as_slice())
        .collect();
    assert_eq!(
        names,
        [
            &["elsewhere".to_owned()][..],
            &["kind-control-plane".to_owned(), "kind-worker".to_owned()]
        ]
    );
}

#[test]
fn columns_of_a_wide_file_may_carry_labels_and_times_may_be_text() {
    let text = "Time,\"node_cpu_seconds_total{cpu=\"\"0\"\",instance=\"\"a,b\"\",mode=\"\"idle\"\"}\"\n\
        2026-11-22 08:00:00,10\n2026-11-22T08:00:10Z,12.5\n";
    let samples = parse(text, "grafana.csv").unwrap();
    assert_eq!(samples.format, Format::CsvWide);
    let machine = only_machine(&samples);
    assert_eq!(machine.names, ["a,b"]);
    let (usage, _) = machine.usage(i64::MIN, i64::MAX);
    assert_near(usage.cpu_percent, 75.0);
}

#[test]
fn what_is_not_samples_is_refused_with_one_line() {
    let refused = |text: &str, names: &str| {
        let error = parse(text, "given.txt").unwrap_err().to_string();
        assert!(
            error.starts_with("given.txt: ") && error.contains(names),
            "{error}"
        );
        assert!(!error.contains('\n'), "{error}");
    };
    refused("", "empty");
    refused(" \n\n", "empty");
    refused("hello world", "neither Prometheus' JSON");
    refused("{\"status\":", "cut off at line 1");
    refused("{\"start\":{}}", "not an answer of Prometheus' API");
    refused("{\"status\":\"success\"}", "no key \"data\"");
    refused(
        "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[]}}",
        "query_range",
    );
    refused(
        "{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":[]}}",
        "no sample",
    );
    refused(
        "{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":[{\"metric\":{},\"values\":[[1,\"x\"]]}]}}",
        "\"x\" is not a number",
    );
    refused("timestamp,a\n1,2\n2\n", "line 3: 1 fields");
    refused("timestamp,a\n1,two\n", "line 2: \"two\"");
    refused("timestamp,a\nnoon,2\n", "\"noon\" is not a time");
    refused("up 1\nup{job=\"a} 2\n", "line 2");
    refused("up NaN\n", "no sample");
    let error = read(Path::new("/nonexistent/samples.json")).unwrap_err();
    assert_eq!(error.to_string(), "cannot read /nonexistent/samples.json");
}

/// Each sample by its reader: what it is read as, or the line that refuses it.
fn outcome(path: &Path, tool: &str) -> String {
    match tool {
        "prometheus" => read(path).map_or_else(
            |error| error.to_string(),
            |samples| format!("{:?}, {} series", samples.format, samples.series.len()),
        ),
        "iperf3" => Iperf3Result::read(path).map_or_else(
            |error| error.to_string(),
            |result| match result.status {
                Status::Error(text) | Status::ServerDied(text) => format!("iperf3: {text}"),
                status => format!("{status:?}"),
            },
        ),
        _ => {
            let load = k6::read(path).and_then(|load| {
                load.require_responses(path)?;
                Ok(load)
            });
            load.map_or_else(
                |error| error.to_string(),
                |load| format!("{}, {} requests", load.format, load.requests),
            )
        }
    }
}

#[test]
fn every_sample_is_read_or_refused_with_one_line() {
    let mut told = Vec::new();
    for tool in ["iperf3", "k6", "prometheus"] {
        let mut paths: Vec<PathBuf> = fs::read_dir(fixtures(tool))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .collect();
        paths.sort();
        for path in paths {
            let line = outcome(&path, tool);
            assert!(!line.contains('\n') && !line.is_empty(), "{line}");
            let folder = format!("{}/", fixtures(tool).display());
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            told.push(format!("{name}: {}", line.replace(&folder, "")));
        }
    }
    insta::assert_snapshot!("every_sample", told.join("\n"));
}
