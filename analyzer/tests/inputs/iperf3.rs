//! iperf3 results of every shape, with the traps that its output sets.

use std::fs;
use std::path::{Path, PathBuf};

use analyzer::input::iperf3::{Iperf3Result, Protocol, Role, Status, Way};
use proptest::prelude::*;
use serde_json::{Value, json};

pub fn sample(name: &str) -> Iperf3Result {
    Iperf3Result::read(&path(name)).expect("the sample is read")
}

fn path(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/iperf3");
    folder.join(format!("iperf3.12_{name}.json"))
}

fn text(name: &str) -> String {
    fs::read_to_string(path(name)).expect("the sample is there")
}

#[test]
fn tcp_with_an_omitted_second() {
    let run = sample("tcp");
    assert_eq!(run.status, Status::Complete);
    assert_eq!(
        (run.role, run.protocol),
        (Role::Client, Some(Protocol::Tcp))
    );
    assert_eq!(run.version.as_deref(), Some("iperf 3.12"));
    assert_eq!(
        (run.mss_bytes, run.path_mtu_bytes),
        (Some(1448), Some(1500))
    );
    let [stream] = &run.streams[..] else {
        panic!("one stream")
    };
    assert_eq!(
        (stream.local.address.as_str(), stream.local.port),
        ("10.99.0.2", 32776)
    );
    assert_eq!(
        (stream.remote.address.as_str(), stream.remote.port),
        ("10.99.0.1", 5299)
    );
    assert_eq!(stream.way, Way::Sent);
    assert_eq!(stream.sent.map(|rate| rate.bytes), Some(119_894_400));
    assert_eq!(stream.received.map(|rate| rate.bytes), Some(119_422_352));
    // The omitted second counts here and nowhere else.
    assert_eq!(stream.interval_bytes, 119_894_400 + 25_134_336);
    assert_eq!(stream.retransmits, Some(23_144));
    assert_eq!(stream.interval_retransmits, Some(23_144 + 4_568));
    let rtt = stream.rtt.expect("a sender knows its RTT");
    assert_eq!((rtt.min_us, rtt.max_us), (1242, 3789));
    // iperf3 says 2755, the omitted second in it.
    assert!((rtt.mean_us - 2700.4).abs() < 1e-9, "{}", rtt.mean_us);
    let [transfer] = &run.transfers[..] else {
        panic!("one transfer")
    };
    let goodput = transfer
        .goodput_bits_per_second()
        .expect("the server counted");
    assert!((goodput - 190_982_563.708_910).abs() < 1e-3, "{goodput}");
    assert_eq!(
        run.intervals
            .iter()
            .filter(|interval| interval.omitted)
            .count(),
        1
    );
}

#[test]
fn four_streams() {
    let run = sample("tcp_P4");
    let ports = run
        .streams
        .iter()
        .map(|stream| stream.local.port)
        .collect::<Vec<_>>();
    assert_eq!(ports, [32790, 32792, 32798, 32812]);
    let [transfer] = &run.transfers[..] else {
        panic!("one transfer")
    };
    let sent = run
        .streams
        .iter()
        .filter_map(|stream| stream.sent)
        .map(|rate| rate.bytes);
    assert_eq!(transfer.sent.map(|rate| rate.bytes), Some(sent.sum()));
    let bytes = run
        .streams
        .iter()
        .map(|stream| stream.interval_bytes)
        .sum::<i64>();
    assert_eq!(bytes, 97_162_200);
    assert_eq!(run.streams[3].sent.map(|rate| rate.bytes), Some(13_422_960));
}

#[test]
fn reversed() {
    let run = sample("tcp_R");
    assert_eq!(run.status, Status::Complete);
    assert_eq!(run.streams[0].way, Way::Received);
    // The receiver prints 0 for a time that it does not know.
    assert_eq!(run.streams[0].rtt, None);
    assert_eq!(run.streams[0].interval_retransmits, None);
    assert_eq!(run.streams[0].retransmits, Some(91));
    assert_eq!(run.streams[0].interval_bytes, 4_276_224_000);
    assert!(run.transfer(Way::Sent).is_none());
    let transfer = run.transfer(Way::Received).expect("the server sent");
    let goodput = transfer
        .goodput_bits_per_second()
        .expect("the client counted");
    assert!((goodput - 8_551_547_949.578_306).abs() < 1e-3, "{goodput}");
}

#[test]
fn both_directions() {
    let run = sample("tcp_bidir");
    let ways = run
        .streams
        .iter()
        .map(|stream| stream.way)
        .collect::<Vec<_>>();
    assert_eq!(ways, [Way::Sent, Way::Received]);
    assert_eq!(run.transfers.len(), 2);
    let received = |way| {
        run.transfer(way)
            .and_then(|transfer| transfer.received)
            .map(|rate| rate.bytes)
    };
    assert_eq!(received(Way::Sent), Some(94_457_176));
    assert_eq!(received(Way::Received), Some(1_974_022_224));
}

#[test]
fn udp() {
    let run = sample("udp");
    assert_eq!(
        (run.status.clone(), run.protocol),
        (Status::Complete, Some(Protocol::Udp))
    );
    let transfer = run.transfer(Way::Sent).expect("the client sent");
    let udp = transfer.udp.expect("the server counted datagrams");
    assert_eq!((udp.packets, udp.lost), (34_524, 3));
    assert!((udp.jitter_ms - 0.009_322_8).abs() < 1e-6);
    // `sum` has the rate that was sent; three datagrams of it did not arrive.
    let arrived = transfer.received.expect("the server counted bytes");
    assert_eq!(arrived.bytes, 49_990_752 - 3 * 1448);
    assert_eq!(run.streams[0].interval_bytes, 49_990_752);
}

#[test]
fn udp_of_versions_without_sums_by_end() {
    let mut document = serde_json::from_str::<Value>(&text("udp")).expect("JSON");
    let end = document["end"].as_object_mut().expect("an object");
    end.remove("sum_sent")
        .and(end.remove("sum_received"))
        .expect("both are there");
    let run = Iperf3Result::parse(&document.to_string(), "old").expect("it is read");
    let transfer = run.transfer(Way::Sent).expect("the client sent");
    assert_eq!(transfer.sent.map(|rate| rate.bytes), Some(49_990_752));
    assert_eq!(
        transfer.received.map(|rate| rate.bytes),
        Some(49_990_752 - 3 * 1448)
    );
}

#[test]
fn refused() {
    let run = sample("err_refused");
    let message = "unable to connect to server: Connection refused".to_owned();
    assert_eq!(run.status, Status::Error(message));
    assert!(run.streams.is_empty() && run.transfers.is_empty() && run.intervals.is_empty());
}

#[test]
fn server_died() {
    let run = sample("err_server_died");
    let message = "unable to write to stream socket: Connection reset by peer".to_owned();
    assert_eq!(run.status, Status::ServerDied(message));
    // The last interval stands twice in the file.
    assert_eq!(run.intervals.len(), 3);
    assert_eq!(
        run.streams[0].interval_bytes,
        25_329_816 + 23_522_760 + 24_044_040
    );
    assert_eq!(run.streams[0].sent, None);
    assert!(run.transfers.is_empty());
}

#[test]
fn interrupted() {
    let run = sample("interrupted_sigint");
    let message = "interrupt - the client has terminated".to_owned();
    assert_eq!(run.status, Status::Interrupted(message));
    let transfer = run.transfer(Way::Sent).expect("the client sent");
    assert_eq!(transfer.sent.map(|rate| rate.bytes), Some(79_797_784));
    // The server never reported: its 0 is not a measurement.
    assert_eq!(transfer.received, None);
    assert_eq!(run.streams[0].received, None);
}

#[test]
fn streams_of_events_say_the_same() {
    for name in [
        "tcp",
        "tcp_P4",
        "tcp_R",
        "tcp_bidir",
        "udp",
        "err_server_died",
        "interrupted_sigint",
    ] {
        let streamed = Iperf3Result::parse(&events(&text(name)), name).expect("events are read");
        // Both are printed anew, so that their numbers go through the same reading.
        let document = serde_json::from_str::<Value>(&text(name))
            .expect("JSON")
            .to_string();
        let whole = Iperf3Result::parse(&document, name).expect("the document is read");
        assert_eq!(streamed, whole, "{name}");
    }
}

#[test]
fn a_killed_stream_of_events_keeps_its_intervals() {
    let events = events(&text("tcp"));
    let lines = events.lines().collect::<Vec<_>>();
    let until_interval_three = lines[..4].join("\n");
    let run = Iperf3Result::parse(&until_interval_three, "killed").expect("it is read");
    assert_eq!((run.status, run.intervals.len()), (Status::Unfinished, 3));
    let cut = format!("{until_interval_three}\n{}", &lines[4][..40]);
    let run = Iperf3Result::parse(&cut, "killed").expect("a cut last line is left out");
    assert_eq!((run.status, run.intervals.len()), (Status::Unfinished, 3));
    let broken = format!("{}\nnonsense\n{}", lines[0], lines[1]);
    check(
        &broken,
        "x: not the JSON of iperf3 (run it with -J or --json-stream)",
    );
}

#[test]
fn bad_files_are_one_line() {
    let whole = text("tcp");
    check("", "x: empty; iperf3 was killed before it wrote its result");
    check(
        " \n",
        "x: empty; iperf3 was killed before it wrote its result",
    );
    check(
        "iperf3: error",
        "x: not the JSON of iperf3 (run it with -J or --json-stream)",
    );
    check(
        "{\"metrics\": {}}",
        "x: JSON, but not iperf3's: no \"start\" in it",
    );
    check("[]", "x: JSON, but not iperf3's: no \"start\" in it");
    check(
        "{\"start\": 5, \"intervals\": [], \"end\": {}}",
        "x: not the JSON of iperf3 (run it with -J or --json-stream)",
    );
    let half = &whole[..whole.len() / 2];
    let line = half.lines().count();
    check(
        half,
        &format!(
            "x: cut off at line {line}; iperf3 was killed while it wrote, or the file was not copied whole"
        ),
    );
    let absent = Iperf3Result::read(Path::new("/nonexistent/x.json")).expect_err("it is not there");
    assert_eq!(absent.to_string(), "cannot read /nonexistent/x.json");
}

#[test]
fn addresses_are_as_flows_have_them() {
    let mapped = text("tcp")
        .replace("10.99.0.2", "::ffff:10.99.0.2")
        .replace("10.99.0.1", "FE80:0::1%eth0");
    let run = Iperf3Result::parse(&mapped, "x").expect("it is read");
    assert_eq!(run.streams[0].local.address, "10.99.0.2");
    assert_eq!(run.streams[0].remote.address, "fe80::1");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_cut_document_is_taken_for_a_result(share in 0.0_f64..1.0) {
        let whole = text("tcp_bidir");
        let whole = whole.trim_end();
        let length = (whole.len() as f64 * share) as usize;
        prop_assert!(Iperf3Result::parse(&whole[..length], "x").is_err());
    }

    #[test]
    fn no_cut_stream_of_events_is_taken_for_complete(share in 0.0_f64..1.0) {
        let whole = events(&text("tcp_bidir"));
        let length = (whole.len() as f64 * share) as usize;
        if let Ok(run) = Iperf3Result::parse(&whole[..length], "x") {
            prop_assert_eq!(run.status, Status::Unfinished);
        }
    }
}

/// The same run as `--json-stream` prints it.
fn events(document: &str) -> String {
    let document = serde_json::from_str::<Value>(document).expect("JSON");
    let event = |name: &str, data: &Value| json!({"event": name, "data": data}).to_string();
    let mut lines = vec![event("start", &document["start"])];
    let intervals = document["intervals"].as_array().expect("an array");
    lines.extend(intervals.iter().map(|interval| event("interval", interval)));
    if let Some(error) = document.get("error") {
        lines.push(event("error", error));
    }
    lines.push(event("end", &document["end"]));
    lines.join("\n")
}

fn check(text: &str, expected: &str) {
    let error = Iperf3Result::parse(text, "x").expect_err(expected);
    assert_eq!(error.to_string(), expected);
}
