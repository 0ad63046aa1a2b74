//! k6's files of every kind: real samples, one run in all formats at once, and damaged ones.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use analyzer::input::k6::{Failure, Format, K6Error, LoadResult, TimeOf, read, read_from};
use proptest::prelude::*;

const ECHO_1: &str = "echo-1-6d5f7c9b8d-x2k4p";
const ECHO_2: &str = "echo-2-7f86b5c5b9-q9w8z";

fn path(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/k6");
    folder.join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(path(name)).expect("the sample is there")
}

fn sample(name: &str) -> LoadResult {
    read(&path(name)).expect("the sample is read")
}

fn parse(text: &str) -> Result<LoadResult, K6Error> {
    read_from(text.as_bytes(), "x")
}

fn counts(pairs: &[(&str, u64)]) -> Option<BTreeMap<String, u64>> {
    let pairs = pairs.iter().map(|&(name, count)| (name.to_owned(), count));
    Some(pairs.collect())
}

fn seconds(result: &LoadResult) -> Vec<(i64, u64)> {
    let by_second = result.by_second.as_ref().expect("there are times");
    let sums = by_second
        .iter()
        .map(|(second, by)| (*second, by.values().sum()));
    sums.collect()
}

/// The expected numbers are `grep -c` of the files.
#[test]
fn log_lines_of_each_kind() {
    let check = |name: &str, format, echo_1, echo_2, failed| {
        let run = sample(name);
        assert_eq!(
            (run.format, run.requests),
            (format, echo_1 + echo_2),
            "{name}"
        );
        assert_eq!(
            run.backends,
            counts(&[(ECHO_1, echo_1), (ECHO_2, echo_2)]),
            "{name}"
        );
        assert_eq!(
            (run.failed, run.unnamed_responses()),
            (failed, failed),
            "{name}"
        );
        assert_eq!(
            (run.statuses.clone(), run.protocol.clone()),
            (None, None),
            "{name}"
        );
        assert_eq!((run.waiting_us, run.interrupted), (None, false), "{name}");
        assert_eq!(run.time_of, Some(TimeOf::RequestStart), "{name}");
        assert_eq!(
            seconds(&run).iter().map(|one| one.1).sum::<u64>(),
            run.requests
        );
        run
    };
    let json = check(
        "k6_1.1.0_console_json.log",
        Format::ConsoleJson,
        34,
        49,
        Some(0),
    );
    // 2026-11-21T23:30:21.586Z and 23.563Z: the inner times.
    assert_eq!(json.first_us, Some(1_795_303_821_586_000));
    assert_eq!(json.last_us, Some(1_795_303_823_563_000));
    check(
        "k6_1.1.0_console_logfmt.log",
        Format::ConsoleLogfmt,
        33,
        45,
        Some(0),
    );
    // Raw lines without a warning may be a file of --console-output, which never has one.
    check("k6_1.1.0_console_raw.log", Format::ConsoleRaw, 33, 50, None);
}

#[test]
fn a_second_is_that_of_the_request_and_not_of_the_log_line() {
    let run = parse(concat!(
        r#"time="2026-11-21T23:31:05Z" level=info msg="[2026-11-21T23:31:03.999Z] Hostname: a" source=console"#,
        "\n",
        r#"time="2026-11-21T23:31:05Z" level=info msg="[2026-11-22T01:31:04.000+02:00] Hostname: a" source=console"#,
        "\n",
    ));
    let run = run.expect("it is read");
    assert_eq!(seconds(&run), [(1_795_303_863, 1), (1_795_303_864, 1)]);
}

#[test]
fn a_server_that_is_down() {
    let name = "k6_1.1.0_console_refused.log";
    let run = sample(name);
    let message = "Get \"http://127.0.0.1:18999/echo\": dial tcp 127.0.0.1:18999: connect: connection refused";
    // Each request left a warning and a TypeError.
    assert_eq!(
        (run.requests, run.failed, run.responses()),
        (42, Some(42), Some(0))
    );
    assert_eq!(run.backends, counts(&[]));
    assert_eq!((run.by_second.clone(), run.first_us), (None, None));
    let first = Failure {
        line: 1,
        message: message.to_owned(),
    };
    assert_eq!(run.first_failure, Some(first));
    assert!(
        run.notes.contains(&format!(
            "None of 42 requests got a response (line 1: {message})."
        )),
        "{:?}",
        run.notes
    );
    let error = run
        .require_responses(Path::new("k6.log"))
        .expect_err("nothing answered");
    assert_eq!(
        error.to_string(),
        format!(
            "k6.log: line 1: none of 42 requests got a response ({message}); start the gateway before k6, and check its address"
        )
    );
}

#[test]
fn points_of_a_counter_tagged_by_backend() {
    let run = sample("k6_1.1.0_tagged_out.ndjson");
    assert_eq!((run.format, run.requests), (Format::Ndjson, 63));
    assert_eq!((run.failed, run.unexpected), (Some(0), Some(0)));
    assert_eq!(run.statuses, Some(BTreeMap::from([(200, 63)])));
    assert_eq!(run.backends, counts(&[(ECHO_1, 25), (ECHO_2, 38)]));
    assert_eq!(run.protocol.as_deref(), Some("HTTP/1.1"));
    assert_eq!(run.time_of, Some(TimeOf::ResponseEnd));
    assert_eq!(run.first_us, Some(1_795_304_001_903_241));
    assert!(!run.interrupted && run.notes.len() == 1, "{:?}", run.notes);
}

/// The summary is of the same run.
#[test]
fn rows_of_csv_and_the_summary_beside_them() {
    let rows = sample("k6_1.1.0_out.csv");
    let summary = sample("k6_1.1.0_summary_export.json");
    assert_eq!(
        (rows.format, summary.format),
        (Format::Csv, Format::SummaryExport)
    );
    assert_eq!((rows.requests, summary.requests), (78, 78));
    assert_eq!((rows.failed, summary.failed), (Some(0), Some(0)));
    assert_eq!(
        (rows.backends.clone(), summary.backends.clone()),
        (None, None)
    );
    assert_eq!(rows.first_us, Some(1_795_303_863_000_000));
    assert_eq!((summary.first_us, summary.time_of), (None, None));
    let rows = rows.waiting_us.expect("it has the metric");
    let summary = summary.waiting_us.expect("it has the metric");
    let is_near = |one: Option<f64>, other: Option<f64>, share: f64| {
        let (one, other) = (one.expect("a figure"), other.expect("a figure"));
        assert!((one / other - 1.0).abs() < share, "{one} {other}");
    };
    // The file rounds to a nanosecond; k6's quantiles lie between two values.
    is_near(rows.mean, summary.mean, 1e-5);
    is_near(rows.max, summary.max, 1e-5);
    is_near(rows.p50, summary.p50, 0.02);
    is_near(rows.p90, summary.p90, 0.02);
    is_near(rows.p95, summary.p95, 0.05);
    assert_eq!(
        (summary.p99, summary.count, rows.count),
        (None, None, Some(78))
    );
}

#[test]
fn the_data_of_handle_summary() {
    let run = sample("k6_1.1.0_handleSummary.json");
    assert_eq!((run.format, run.requests), (Format::HandleSummary, 63));
    // 63 `fails` of http_req_failed are 63 successes.
    assert_eq!((run.failed, run.unexpected), (Some(0), Some(0)));
    let waiting = run.waiting_us.expect("it has the metric");
    assert_eq!(
        (waiting.p50, waiting.p99),
        (Some(767.532), Some(1_771.789_520_000_002_2))
    );
    assert_eq!(waiting.count, Some(63));
    assert_eq!(run.backends, None);
    // The points are of the same run.
    let points = sample("k6_1.1.0_tagged_out.ndjson")
        .waiting_us
        .expect("the metric");
    assert_eq!((points.max, points.count), (waiting.max, waiting.count));
    assert!(points.p99 <= points.max, "{points:?}");
    let means = points.mean.zip(waiting.mean).expect("both have it");
    assert!((means.0 / means.1 - 1.0).abs() < 1e-9, "{means:?}");
}

/// 40 requests: 32 responses that name a backend, 3 of the gateway's own, 5 refused connections.
#[test]
fn one_run_in_every_format() {
    let backends = counts(&[("echo-1-abc", 18), ("echo-2-abc", 14)]);
    let statuses = Some(BTreeMap::from([(200, 32), (502, 3)]));
    for name in [
        "console.log",
        "out.ndjson",
        "out.csv",
        "summary-export.json",
        "handle-summary.json",
    ] {
        let run = sample(&format!("one_run/{name}"));
        assert_eq!((run.requests, run.failed), (40, Some(5)), "{name}");
        assert_eq!(
            (run.responses(), run.unnamed_responses()),
            (Some(35), Some(3)),
            "{name}"
        );
        assert_eq!(run.backends, backends, "{name}");
        if name == "console.log" {
            assert_eq!((run.statuses.clone(), run.unexpected), (None, None));
        } else {
            assert_eq!(
                (run.statuses.clone(), run.unexpected),
                (statuses.clone(), Some(8)),
                "{name}"
            );
        }
        assert!(!run.interrupted, "{name}");
        run.require_responses(Path::new(name))
            .expect("something answered");
        if let Some(failure) = run.first_failure {
            let refused = "connection refused";
            assert!(failure.message.contains(refused), "{name}: {failure:?}");
        }
    }
    // Requests without a response waited for nothing, and are no measurement of 0.
    let waiting = sample("one_run/out.ndjson").waiting_us.expect("the metric");
    let mut witness = text("one_run/out.ndjson")
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
        .filter(|line| line["metric"] == "http_req_waiting" && line["type"] == "Point")
        .filter(|line| line["data"]["tags"]["status"] != "0")
        .map(|line| line["data"]["value"].as_f64().expect("a number") * 1000.0)
        .collect::<Vec<_>>();
    witness.sort_by(f64::total_cmp);
    assert_eq!((waiting.count, witness.len()), (Some(35), 35));
    for (quantile, share) in [(waiting.p50, 0.5), (waiting.p90, 0.9), (waiting.p99, 0.99)] {
        let rank = (share * witness.len() as f64).ceil() as usize;
        let ratio = quantile.expect("a figure") / witness[rank - 1];
        assert!((ratio - 1.0).abs() < 0.001, "{share}: {ratio}");
    }
}

#[test]
fn files_of_console_output_have_no_warnings() {
    let whole = text("one_run/console.log");
    let responses = whole.lines().filter(|line| line.contains("Hostname:"));
    let file = responses
        .map(|line| line.replace(" source=console", "") + "\n")
        .collect::<String>();
    let run = parse(&file).expect("it is read");
    assert_eq!(
        (run.requests, run.failed, run.responses()),
        (32, None, None)
    );
    assert!(
        run.notes
            .iter()
            .any(|note| note.contains("--console-output"))
    );
}

/// Redirecting both of k6's outputs to one file is usual.
#[test]
fn what_k6_prints_around_its_log_lines_is_passed_over() {
    let banner =
        "\n         /\\      Grafana   /‾‾/  \n     execution: local\n        script: s.js\n";
    let progress = "\nrunning (03.0s), 0/2 VUs, 116 complete and 0 interrupted iterations\ndefault ✓ [ 100% ] 2 VUs  3s\n  █ TOTAL RESULTS \n\n    http_reqs....: 116    38.152812/s\n";
    for name in [
        "one_run/console.log",
        "k6_1.1.0_console_json.log",
        "k6_1.1.0_console_raw.log",
    ] {
        let both = format!("{banner}{}{progress}", text(name));
        let run = parse(&both).expect("it is read");
        assert_eq!(run.backends, sample(name).backends, "{name}");
    }
}

#[test]
fn raw_lines_of_failures() {
    let run = parse(concat!(
        "starting\n",
        "Request Failed\nTypeError: Cannot read property 'match' of undefined or null\n\tat default (file:///s.js:13:29(20))\n\n",
        "TypeError: Cannot read property '1' of null\n\tat default (file:///s.js:13:29(20))\n\n",
        "GoError: Get \"http://gateway/echo\": dial tcp: lookup gateway: no such host\n\tat native\n",
        "[2026-11-21T23:30:23.715Z] Hostname: echo-2\n",
        "[2026-11-21T23:30:23.716Z] Hostname: undefined\n",
        "test run was aborted because k6 received a 'interrupt' signal\n",
    ));
    let run = run.expect("it is read");
    assert_eq!((run.requests, run.failed), (5, Some(2)));
    assert_eq!(
        (run.backends.clone(), run.unnamed_responses()),
        (counts(&[("echo-2", 1)]), Some(2))
    );
    assert!(run.interrupted);
    assert_eq!(run.first_failure.map(|failure| failure.line), Some(2));
}

#[test]
fn responses_without_a_time_have_no_windows() {
    let run = parse("Hostname: a\n[2026-11-21T23:30:23.715Z] Hostname: b\n").expect("it is read");
    assert_eq!(run.backends, counts(&[("a", 1), ("b", 1)]));
    assert_eq!(
        (run.by_second, run.time_of, run.first_us),
        (None, None, None)
    );
    assert!(
        run.notes
            .iter()
            .any(|note| note.starts_with("1 responses are logged without"))
    );
}

#[test]
fn times_of_csv_in_every_unit() {
    for time in [
        "1795303863",
        "1795303863500",
        "1795303863500000",
        "1795303863500000000",
        "2026-11-21T23:31:03.5Z",
        "2026-11-22T00:31:03.5+01:00",
    ] {
        let file = format!(
            "metric_name,timestamp,metric_value,error,status,extra_tags\nhttp_reqs,{time},1.000000,,200,\nhits,{time},2.000000,,,\"a=\"\"x\ny,\"\"&backend=b\"\n"
        );
        let run = parse(&file).expect(time);
        assert_eq!(seconds(&run), [(1_795_303_863, 2)], "{time}");
        assert_eq!(run.first_us.map(|at| at / 1_000_000), Some(1_795_303_863));
        assert_eq!(run.backends, counts(&[("b", 2)]));
    }
}

#[test]
fn two_counters_tagged_backend_are_not_guessed_between() {
    let whole = text("one_run/out.ndjson");
    let second = whole
        .lines()
        .filter(|line| line.contains("backend_hits"))
        .map(|line| line.replace("\"backend_hits", "\"more_hits") + "\n");
    let run = parse(&(whole.clone() + &second.collect::<String>())).expect("it is read");
    assert_eq!(
        (run.requests, run.backends, run.by_second),
        (40, None, None)
    );
    let expected = "Several counters are tagged `backend` (backend_hits, more_hits): which of them counts responses is not known.";
    assert!(run.notes.contains(&expected.to_owned()), "{:?}", run.notes);
    // Scripts may count what names no backend, too.
    let none = whole.replace("\"backend\":\"echo-2-abc\"", "\"backend\":\"none\"");
    let run = parse(&none).expect("it is read");
    assert_eq!(run.backends, counts(&[("echo-1-abc", 18)]));
    assert_eq!(run.unnamed_responses(), Some(3 + 14));
    // A trend with that tag is no counter.
    let trend = whole.lines().map(|line| match line.contains("\"Metric\"") {
        true => line.replace("\"type\":\"counter\"", "\"type\":\"trend\"") + "\n",
        false => line.to_owned() + "\n",
    });
    let run = parse(&trend.collect::<String>()).expect("it is read");
    assert_eq!((run.requests, run.backends), (40, None));
}

#[test]
fn requests_without_the_tag_status() {
    let whole = text("one_run/out.ndjson");
    let bare = whole
        .replace("\"status\":\"0\",", "")
        .replace("\"status\":\"200\",", "");
    let run = parse(&bare).expect("it is read");
    assert_eq!(
        (run.requests, run.failed, run.statuses, run.unexpected),
        (40, None, None, Some(8))
    );
}

#[test]
fn summaries_say_no_more_than_they_know() {
    let failed = |passes: u64, longest: f64| {
        let text = format!(
            r#"{{"metrics":{{"http_reqs":{{"count":10}},"http_req_failed":{{"passes":{passes},"fails":{}}},"http_req_waiting":{{"max":{longest}}}}}}}"#,
            10 - passes
        );
        parse(&text).expect("it is read")
    };
    assert_eq!(
        (failed(0, 1.0).failed, failed(0, 1.0).unexpected),
        (Some(0), Some(0))
    );
    // Four without a response, or four of the gateway's errors.
    assert_eq!(
        (failed(4, 1.0).failed, failed(4, 1.0).unexpected),
        (None, Some(4))
    );
    assert_eq!(
        (failed(10, 1.0).failed, failed(10, 0.0).failed),
        (None, Some(10))
    );
    let error = failed(10, 0.0)
        .require_responses(Path::new("s.json"))
        .expect_err("none answered");
    assert!(
        error
            .to_string()
            .starts_with("s.json: line 1: none of 10 requests got a response")
    );
}

/// What a killed k6 leaves: everything but the rest of the last line.
#[test]
fn a_killed_run_keeps_its_whole_lines() {
    for name in [
        "one_run/console.log",
        "one_run/out.ndjson",
        "one_run/out.csv",
        "k6_1.1.0_console_raw.log",
    ] {
        let whole = text(name);
        let end = whole.trim_end().rfind('\n').expect("several lines") + 30;
        let run = parse(&whole[..end]).expect(name);
        assert!(run.interrupted, "{name}");
        let note =
            "The last line is cut and left out: k6 was killed, or the file was not copied whole.";
        assert!(
            run.notes.contains(&note.to_owned()),
            "{name}: {:?}",
            run.notes
        );
    }
    // Killed between two points of a request.
    let whole = text("one_run/out.ndjson");
    let at = whole
        .rfind("{\"metric\":\"http_req_duration\"")
        .expect("a point");
    let run = parse(&whole[..at]).expect("it is read");
    assert!(run.interrupted && run.requests == 40);
    // An editor that drops the last line end does no harm where the line shows its own.
    for name in [
        "one_run/out.ndjson",
        "one_run/out.csv",
        "k6_1.1.0_console_json.log",
    ] {
        assert_eq!(
            parse(text(name).trim_end_matches('\n')).expect(name),
            sample(name)
        );
    }
}

#[test]
fn bad_files_are_one_line() {
    let logfmt = text("k6_1.1.0_console_logfmt.log");
    let json = text("k6_1.1.0_console_json.log");
    let raw = text("k6_1.1.0_console_raw.log");
    let ndjson = text("k6_1.1.0_tagged_out.ndjson");
    let csv = text("k6_1.1.0_out.csv");
    let summary = text("k6_1.1.0_summary_export.json");
    let empty = "x: empty; k6 was killed before it wrote, or wrote elsewhere (its log lines go to standard error)";
    check("", empty);
    check(" \n\n", empty);
    check("\u{feff}", empty);
    let kinds =
        "give its log lines, --out json, --out csv, --summary-export or handleSummary's data";
    check(
        "iperf3: error\n",
        &format!("x: line 1: not k6's output: \"iperf3: error\"; {kinds}"),
    );
    check(
        "\nGET /echo HTTP/1.1 200\nHost: a\n",
        &format!("x: line 2: not k6's output: \"GET /echo HTTP/1.1 200\"; {kinds}"),
    );
    check(
        "[1, 2]",
        &format!("x: line 1: not k6's output: \"[1, 2]\"; {kinds}"),
    );
    check(
        "{nonsense\n",
        &format!("x: line 1: not k6's output: \"{{nonsense\"; {kinds}"),
    );
    let other = "x: line 1: JSON, but not k6's: no \"metrics\" in it; give --summary-export, handleSummary's data or --out json";
    check("{\"start\": {}, \"intervals\": []}", other);
    check("{\n \"start\": 1\n}\n", other);
    check("{\"level\": \"info\"}\n", other);

    // Cut in the middle, and so that the rest follows in the same line or the next.
    let cut = "cut off; k6 was killed while it wrote, or the file was not copied whole";
    check(
        &summary[..summary.len() / 2],
        &format!(
            "x: line {}: {cut}",
            summary[..summary.len() / 2].lines().count()
        ),
    );
    check(&ndjson[..100], &format!("x: line 1: {cut}"));
    check(&logfmt[..70], &format!("x: line 1: {cut}"));
    let lines = logfmt.lines().collect::<Vec<_>>();
    check(
        &format!("{}\n{}\n{}\n", lines[0], &lines[1][..60], lines[2]),
        &format!("x: line 2: {cut}"),
    );
    check(
        &format!("{}\n{}{}\n", lines[0], &lines[1][..60], lines[2]),
        "x: line 2: a line that cannot be read, in k6's log lines (logfmt); the file is damaged: copy it again or repeat the run",
    );
    check(
        &format!("{}\n{}\n", lines[0], &lines[1][60..]),
        "x: line 2: neither a log line nor what k6 prints beside them, in k6's log lines (logfmt); the file is damaged: copy it again or repeat the run",
    );
    let lines = ndjson.lines().collect::<Vec<_>>();
    check(
        &format!("{}\n{}\n{}\n", lines[0], &lines[1][..60], lines[2]),
        &format!("x: line 2: {cut}"),
    );
    check(
        &format!("{}\n{}\n", lines[0], lines[3]),
        "x: line 2: a point of \"http_req_duration\", which no line before declares; the file's beginning is missing: copy it again",
    );
    check(
        &format!("{}\n", lines[1]),
        "x: line 1: a point of \"http_reqs\", which no line before declares; the file's beginning is missing: copy it again",
    );
    let lines = csv.lines().collect::<Vec<_>>();
    check(
        &format!("{}\n{}\n{}\n", lines[0], &lines[1][..40], lines[2]),
        "x: line 2: 9 of 19 columns, in k6's --out csv; the file is damaged: copy it again or repeat the run",
    );
    check(
        &format!("{}\n{}\n", lines[0], lines[1].replace("1795303863", "noon")),
        "x: line 2: time \"noon\", in k6's --out csv; the file is damaged: copy it again or repeat the run",
    );
    check(
        "metric_name,timestamp,metric_value_ms\n1,2,3\n",
        "x: line 1: no column metric_value, in k6's --out csv; the file is damaged: copy it again or repeat the run",
    );
    check(
        "[2026-11-21T23:30:23.715Z] Hostname: a\n[2026-11-21T23:30:23.7\n[2026-11-21T23:30:23.715Z] Hostname: a\n",
        "x: line 2: a time without its end, in k6's log lines (raw); the file is damaged: copy it again or repeat the run",
    );
    check(
        "[2026-11-21T23:30:23.7\n[2026-11-21T23:30:23.715Z] Hostname: a\n",
        &format!("x: line 1: not k6's output: \"[2026-11-21T23:30:23.7\"; {kinds}"),
    );

    // Two formats, or two runs.
    let split = "give one file for each format";
    let number = |text: &str| text.lines().count() + 1;
    check(
        &format!("{logfmt}{json}"),
        &format!(
            "x: line {}: a line of JSON in a file of k6's log lines (logfmt); {split}",
            number(&logfmt)
        ),
    );
    check(
        &format!("{logfmt}{raw}"),
        &format!(
            "x: line {}: a raw log line in a file of k6's log lines (logfmt); {split}",
            number(&logfmt)
        ),
    );
    check(
        &format!("{json}{logfmt}"),
        &format!(
            "x: line {}: a line of logfmt in a file of k6's log lines (JSON); {split}",
            number(&json)
        ),
    );
    check(
        &format!("{json}{ndjson}"),
        &format!(
            "x: line {}: a line of --out json in a file of k6's log lines (JSON); {split}",
            number(&json)
        ),
    );
    check(
        &format!("{raw}{logfmt}"),
        &format!(
            "x: line {}: a line of logfmt in a file of k6's log lines (raw); {split}",
            number(&raw)
        ),
    );
    check(
        &format!("{ndjson}{logfmt}"),
        &format!(
            "x: line {}: a log line in a file of k6's --out json; {split}",
            number(&ndjson)
        ),
    );
    check(
        &format!("{csv}{logfmt}"),
        &format!(
            "x: line {}: a line of another format in a file of k6's --out csv; {split}",
            number(&csv)
        ),
    );
    check(
        &format!("{ndjson}{ndjson}"),
        &format!(
            "x: line {}: a second run begins; give one file for each run",
            number(&ndjson)
        ),
    );
    check(
        &format!("{csv}{csv}"),
        &format!(
            "x: line {}: a second run begins; give one file for each run",
            number(&csv)
        ),
    );

    // Nothing about requests.
    let start = text("one_run/out.ndjson")
        .lines()
        .find(|line| line.contains("\"metric\":\"iterations\""))
        .expect("a metric")
        .to_owned();
    check(
        &start,
        "x: k6's --out json, but not a single HTTP request in it; give the output of a run that sends HTTP requests",
    );
    check(
        "time=\"2026-11-21T23:31:03Z\" level=info msg=starting source=console\n",
        "x: k6's log lines (logfmt), but not a single HTTP request in it; let the script log `[${start.toISOString()}] Hostname: ${pod}` for each response",
    );
    check(
        "{\"metrics\": {\"vus\": {\"value\": 1}}}",
        "x: line 1: k6's --summary-export, but not a single HTTP request in it; give the summary of a run that sends HTTP requests",
    );

    // Not text, or not as k6 writes it.
    check(
        "INFO[0000] [2026-11-21T23:30:23.715Z] Hostname: a  source=console\n",
        "x: line 1: log lines as for a terminal; let k6 write them to a file (2>k6.log or --console-output)",
    );
    check(
        "\u{1b}[36mINFO\u{1b}[0m[0000] [2026-11-21T23:30:23.715Z] Hostname: a\n",
        "x: line 1: log lines as for a terminal; let k6 write them to a file (2>k6.log or --console-output)",
    );
    check_bytes(
        &[0x1f, 0x8b, 8, 0, 0],
        "x: compressed by gzip; unpack it first (gunzip)",
    );
    check_bytes(
        &[0xff, 0xfe, b't', 0],
        "x: UTF-16, as some shells redirect; write it as UTF-8",
    );
    check_bytes(
        b"\x7fELF\x02\x01\x01\0\0\0",
        "x: line 1: not text; give the file as k6 wrote it",
    );
    check_bytes(
        &[raw.as_bytes(), b"\xc3\x28\n"].concat(),
        &format!(
            "x: line {}: not text; give the file as k6 wrote it",
            number(&raw)
        ),
    );
    let long = "longer than 1048576 bytes, which no line of k6's is; give the file as k6 wrote it";
    check(&"x".repeat(3 << 20), &format!("x: line 1: {long}"));
    check(
        &format!("{raw}{}\n", "x".repeat(2 << 20)),
        &format!("x: line {}: {long}", number(&raw)),
    );

    let absent = read(Path::new("/nonexistent/x.log")).expect_err("it is not there");
    assert_eq!(absent.to_string(), "cannot read /nonexistent/x.log");
    let folder = read(&path("one_run")).expect_err("it is a folder");
    assert!(folder.to_string().starts_with("cannot read "), "{folder}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_cut_file_is_taken_for_a_complete_run(file in 0..6_usize, share in 0.0_f64..1.0) {
        let name = [
            "one_run/console.log",
            "one_run/out.ndjson",
            "one_run/out.csv",
            "k6_1.1.0_console_raw.log",
            "k6_1.1.0_console_json.log",
            "k6_1.1.0_handleSummary.json",
        ][file];
        let whole = text(name);
        let length = (whole.trim_end().len() as f64 * share) as usize;
        // Between two lines nothing shows.
        prop_assume!(!whole[..length].ends_with('\n'));
        if let Ok(run) = parse(&whole[..length]) {
            let all = sample(name);
            prop_assert!(run.requests <= all.requests);
            let tail = whole[..length].lines().last().unwrap_or_default();
            let shows_its_end = whole[length..].starts_with('\n') || tail.contains(" msg=\"");
            prop_assert!(run.interrupted || shows_its_end, "{name} at {length}");
        }
    }

    #[test]
    fn damage_is_never_a_panic_and_always_one_line(
        file in 0..5_usize, at in 0.0_f64..1.0, length in 0..400_usize, with in "\\PC{0,20}",
    ) {
        let name = [
            "one_run/console.log",
            "one_run/out.ndjson",
            "one_run/out.csv",
            "k6_1.1.0_console_raw.log",
            "k6_1.1.0_handleSummary.json",
        ][file];
        let whole = text(name).into_bytes();
        let start = (whole.len() as f64 * at) as usize;
        let end = (start + length).min(whole.len());
        let damaged = [&whole[..start], with.as_bytes(), &whole[end..]].concat();
        if let Err(error) = read_from(&damaged[..], "x") {
            prop_assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
}

fn check(text: &str, expected: &str) {
    check_bytes(text.as_bytes(), expected);
}

fn check_bytes(bytes: &[u8], expected: &str) {
    let error = read_from(bytes, "x").expect_err(expected);
    assert_eq!(error.to_string(), expected);
}
