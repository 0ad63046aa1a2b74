//! Is every way to speak HTTP/1 followed? A client that speaks it byte by byte, and real nginx.
//!
//! Each conversation is a connection of its own. nginx's access log says how many answers of which
//! status there were, what the client read says how many were interim.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use lab::{DataPlane, Ingress, ProbeOptions};
use trace_schema::http::{HttpRow, HttpVersion};
use trace_schema::ledger::LedgerRow;

use super::scene;
use crate::dataset;

const POD: &str = "echo-v1-1";
/// Between two pieces of a request that is sent in pieces.
const PIECE_PAUSE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(10);

/// What is sent on one connection, one piece a segment.
type Conversation = Vec<Vec<u8>>;

#[test]
fn every_conversation_is_counted_to_the_answer() {
    let dataset = tempfile::tempdir().expect("a temporary directory");
    let ingress = Ingress::up(scene::config(DataPlane::Nginx)).expect("an ingress");
    let probes = ProbeOptions {
        nodes: vec!["worker".to_owned()],
        ..ProbeOptions::new(dataset::binary("weighbridge-probe"), dataset.path())
    };
    let probes = ingress.lab().start_probes(&probes).expect("probes");
    let pods = ingress.backend_pods();
    let (_, address) = pods.iter().find(|(pod, _)| pod == POD).expect("the pod");
    let server = SocketAddr::new((*address).into(), 8080);
    let read = ingress.client().namespace().run(|| {
        let conversations = conversations();
        let answers = conversations.iter().map(|one| speak(server, one));
        answers.collect::<Vec<String>>().concat()
    });
    let read = read.expect("the client's network");
    let occurrences = |text: &str| read.matches(text).count() as i64;
    assert!(
        occurrences("Transfer-Encoding: chunked") > 0,
        "nginx sent no chunks"
    );
    let interim = occurrences("HTTP/1.1 100 Continue\r\n");
    probes.stop().expect("probes end well");

    let mut expected: BTreeMap<(HttpVersion, Option<i32>), i64> = BTreeMap::new();
    // nginx answers an HTTP/1.0 request with a status line of HTTP/1.1.
    for request in ingress.backend_log(POD).expect("the access log") {
        let status = Some(i32::from(request.status));
        *expected.entry((HttpVersion::Http11, status)).or_default() += 1;
    }
    assert!(interim > 0, "nginx never asked to continue");
    expected.insert((HttpVersion::Http11, Some(100)), interim);
    let mut counted: BTreeMap<(HttpVersion, Option<i32>), i64> = BTreeMap::new();
    let rows: Vec<HttpRow> = dataset::rows(dataset.path());
    for row in rows
        .iter()
        .filter(|row| row.local_address == address.to_string())
    {
        *counted.entry((row.version, row.status)).or_default() += row.responses;
    }
    assert_eq!(counted, expected, "probe (left) and nginx (right)");
    let ledger: Vec<LedgerRow> = dataset::rows(dataset.path());
    let unparsed: i64 = ledger.iter().map(|row| row.http_unparsed).sum();
    assert_eq!(unparsed, 0, "answers that could not be followed");
    ingress.down().expect("the lab goes down");
}

fn conversations() -> Vec<Conversation> {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: lab\r\n\r\n");
    let last = "GET /echo HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n".to_owned();
    let whole = |requests: &[String]| -> Conversation {
        requests
            .iter()
            .map(|request| request.clone().into_bytes())
            .collect()
    };
    let head = |path: &str| format!("HEAD {path} HTTP/1.1\r\nHost: lab\r\n\r\n");
    let post = "POST /echo HTTP/1.1\r\nHost: lab\r\nContent-Length: 5\r\n\r\nhello".to_owned();
    let expect = "POST /echo HTTP/1.1\r\nHost: lab\r\nContent-Length: 5\r\n\
                  Expect: 100-continue\r\n\r\n"
        .to_owned();
    let chunked_post = "POST /echo HTTP/1.1\r\nHost: lab\r\nTransfer-Encoding: chunked\r\n\r\n\
                        5\r\nhello\r\n0\r\n\r\n"
        .to_owned();
    let keep = "GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_owned();
    vec![
        whole(&[get("/echo"), get("/healthz"), last.clone()]),
        whole(&["GET /echo HTTP/1.0\r\n\r\n".to_owned()]),
        whole(&[keep.clone(), keep, "GET /echo HTTP/1.0\r\n\r\n".to_owned()]),
        whole(&[head("/echo"), head("/large"), last.clone()]),
        whole(&[
            get("/empty"),
            get("/unchanged"),
            get("/moved"),
            get("/missing"),
            last.clone(),
        ]),
        whole(&[get("/large"), get("/echo"), get("/large"), last.clone()]),
        whole(&[get("/chunked"), get("/echo"), get("/chunked"), last.clone()]),
        whole(&[post.clone(), chunked_post, get("/echo"), last.clone()]),
        whole(&[expect, "hello".to_owned(), get("/echo"), last.clone()]),
        // Pipelined: several requests in a segment, and a large answer between small ones.
        whole(&[format!("{0}{0}{0}{last}", get("/echo"))]),
        whole(&[format!(
            "{0}{1}{0}{2}{0}{last}",
            get("/echo"),
            get("/large"),
            get("/chunked")
        )]),
        whole(&[format!("{}{}{post}{last}", head("/large"), get("/empty"))]),
        // A request a byte at a time, and one that is cut in its second line.
        last.bytes().map(|byte| vec![byte]).collect(),
        last.as_bytes().chunks(20).map(<[u8]>::to_vec).collect(),
        whole(&["GET /without-host HTTP/1.1\r\n\r\n".to_owned()]),
    ]
}

/// Sends the pieces and reads to the end.
fn speak(server: SocketAddr, conversation: &Conversation) -> String {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE).expect("a connection");
    stream.set_nodelay(true).expect("no delay");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let mut reader = stream.try_clone().expect("the other half");
    let reading = thread::spawn(move || {
        let mut answers = String::new();
        reader.read_to_string(&mut answers).expect("answers");
        answers
    });
    for piece in conversation {
        stream.write_all(piece).expect("a piece is sent");
        thread::sleep(PIECE_PAUSE);
    }
    reading.join().expect("the reader")
}
