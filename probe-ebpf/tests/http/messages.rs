//! HTTP/1: what a browser, a proxy and a server may send each other.

use probe_abi::http::version::{HTTP10, HTTP11};

use super::conversation::{
    Conversation, Response,
    Side::{Backend, Client},
    check,
};

const GET: &[u8] =
    b"GET /echo HTTP/1.1\r\nHost: echo\r\nUser-Agent: k6/0.49.0 (https://k6.io/)\r\n\r\n";
const HEAD: &[u8] = b"HEAD /echo HTTP/1.1\r\nHost: echo\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nServer: echo\r\nDate: Tue, 02 Jan 2029 10:00:00 GMT\r\nContent-Length: 5\r\n\r\nhello";
const MISSING: &[u8] = b"HTTP/1.1 404 Not Found\r\ncontent-length:0\r\n\r\n";

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

#[test]
fn keep_alive() {
    check(
        &[
            (Client, GET),
            (Backend, OK),
            (Client, GET),
            (Backend, MISSING),
            (Client, GET),
            (Backend, OK),
        ],
        &[(HTTP11, 200), (HTTP11, 404), (HTTP11, 200)],
    );
}

#[test]
fn a_body_that_looks_like_a_response() {
    let body = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    // Its own segment: nothing but the length tells that it is a body.
    check(
        &[
            (Client, GET),
            (Backend, head.as_bytes()),
            (Backend, body),
            (Client, GET),
            (Backend, OK),
        ],
        &[(HTTP11, 200), (HTTP11, 200)],
    );
}

#[test]
fn a_body_that_looks_like_a_request() {
    let post = join(&[
        b"POST / HTTP/1.1\r\nContent-Length: 18\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ]);
    let chunked = join(&[
        b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n12\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\r\n0\r\n\r\n",
    ]);
    check(
        &[
            (Client, &post),
            (Backend, OK),
            (Client, &chunked),
            (Backend, MISSING),
            (Client, GET),
            (Backend, OK),
        ],
        &[(HTTP11, 200), (HTTP11, 404), (HTTP11, 200)],
    );
}

#[test]
fn chunks() {
    let ok: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding:chunked\r\n\r\n1A;name=value\r\nHTTP/1.1 500 in a chunk...\r\n\
        a\r\n0123456789\r\n000\r\nTrailer: HTTP/1.1 500\r\n\r\n";
    check(
        &[
            (Client, GET),
            (Backend, ok),
            (Client, GET),
            (Backend, ok),
            (Client, GET),
            (Backend, OK),
        ],
        &[(HTTP11, 200), (HTTP11, 200), (HTTP11, 200)],
    );
}

#[test]
fn interim_responses() {
    let post: &[u8] = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    let early: &[u8] = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
    check(
        &[
            (Client, post),
            (Backend, b"HTTP/1.1 100 Continue\r\n\r\n"),
            (Client, b"body"),
            (Backend, early),
            (Backend, OK),
            (Client, GET),
            (Backend, OK),
        ],
        &[(HTTP11, 100), (HTTP11, 103), (HTTP11, 200), (HTTP11, 200)],
    );
}

#[test]
fn responses_without_a_body() {
    let head_only: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n";
    let none: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
    let same: &[u8] = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5000\r\n\r\n";
    check(
        &[
            (Client, HEAD),
            (Backend, head_only),
            (Client, GET),
            (Backend, none),
            (Client, GET),
            (Backend, same),
            (Client, GET),
            (Backend, OK),
        ],
        &[(HTTP11, 200), (HTTP11, 204), (HTTP11, 304), (HTTP11, 200)],
    );
}

#[test]
fn pipelined_requests() {
    let asked = join(&[GET, HEAD, GET, GET]);
    let head_only: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
    let answered = join(&[OK, head_only, MISSING, OK]);
    check(
        &[
            (Client, &asked),
            (Backend, &answered),
            (Client, GET),
            (Backend, OK),
        ],
        &[
            (HTTP11, 200),
            (HTTP11, 200),
            (HTTP11, 404),
            (HTTP11, 200),
            (HTTP11, 200),
        ],
    );
}

#[test]
fn http_1_0_with_and_without_keep_alive() {
    let ask: &[u8] = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let kept: &[u8] = b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok";
    let last: &[u8] = b"HTTP/1.0 200 OK\r\n\r\nHTTP/1.1 500 of the body\r\n\r\n";
    check(
        &[
            (Client, ask),
            (Backend, kept),
            (Client, ask),
            (Backend, last),
        ],
        &[(HTTP10, 200), (HTTP10, 200)],
    );
}

#[test]
fn a_body_without_framing_ends_with_the_next_request() {
    // Broken, but seen: the client knows by other means where the body ended.
    let endless: &[u8] =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n";
    check(
        &[
            (Client, GET),
            (Backend, endless),
            (Client, GET),
            (Backend, endless),
            (Client, GET),
            (Backend, OK),
        ],
        &[(HTTP11, 200), (HTTP11, 200), (HTTP11, 200)],
    );
}

#[test]
fn empty_lines_before_a_request_are_passed_over() {
    let asked = join(&[b"\r\n", GET]);
    check(
        &[
            (Client, GET),
            (Backend, OK),
            (Client, &asked),
            (Backend, OK),
        ],
        &[(HTTP11, 200), (HTTP11, 200)],
    );
}

#[test]
fn after_an_upgrade_nothing_is_http() {
    let ask: &[u8] = b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    let switch: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
    check(
        &[
            (Client, ask),
            (Backend, switch),
            (Client, GET),
            (Backend, OK),
        ],
        &[(HTTP11, 101)],
    );
}

#[test]
fn a_head_longer_than_the_bound_counts_and_the_next_request_is_taken_up() {
    let cookies = format!("Set-Cookie: {}\r\n", "x".repeat(60)).repeat(600);
    let long = format!("HTTP/1.1 201 Created\r\n{cookies}Content-Length: 5\r\n\r\nhello");
    let asked = format!("GET / HTTP/1.1\r\n{}\r\n", cookies.replace("Set-", ""));
    let mut conversation = Conversation::default();
    for _ in 0..3 {
        conversation.say(Client, asked.as_bytes());
        conversation.say(Backend, long.as_bytes());
    }
    conversation.say(Client, GET);
    conversation.say(Backend, OK);
    let long = (HTTP11, 201);
    assert_eq!(conversation.statuses(), [long, long, long, (HTTP11, 200)]);
    assert_eq!(
        conversation.lost, 0,
        "one answer at a time needs no framing"
    );
}

#[test]
fn latency_is_from_a_requests_first_byte_to_the_segment_with_the_status() {
    let mut conversation = Conversation::default();
    conversation.say(Client, &GET[..3]);
    conversation.say(Client, &GET[3..]);
    conversation.say(Backend, b"HTTP/1.1 100 Continue\r\n\r\n");
    conversation.say(Backend, &OK[..20]);
    conversation.say(Backend, &OK[20..]);
    conversation.say(Client, &join(&[GET, GET]));
    conversation.say(Backend, OK);
    conversation.say(Backend, OK);
    let latencies = conversation
        .responses
        .iter()
        .map(|response| response.latency);
    let expected = [Some(2), Some(3), Some(1), Some(2)];
    assert_eq!(latencies.collect::<Vec<_>>(), expected);
}

#[test]
fn only_the_last_requests_have_times() {
    let mut conversation = Conversation::default();
    conversation.say(Client, &GET.repeat(9));
    conversation.say(Backend, &OK.repeat(9));
    let timed = conversation
        .responses
        .iter()
        .filter(|response| response.latency.is_some());
    assert_eq!((timed.count(), conversation.responses.len()), (8, 9));
}

#[test]
fn more_requests_at_once_than_are_kept_lose_their_methods() {
    let mut conversation = Conversation::default();
    conversation.say(Client, &GET.repeat(30));
    conversation.say(Client, &GET.repeat(35));
    conversation.say(Backend, OK);
    assert_eq!(conversation.statuses(), [(HTTP11, 200)]);
    // Where that response ended is not known; the next is found where a segment begins with it.
    conversation.say(Backend, OK);
    assert_eq!(conversation.statuses().len(), 2);
}

#[test]
fn what_is_sent_again_counts_once() {
    let mut conversation = Conversation::default();
    conversation.say(Client, GET);
    conversation.repeat(Client, GET, 0);
    conversation.say(Backend, OK);
    conversation.repeat(Backend, OK, 0);
    conversation.repeat(Backend, &OK[OK.len() - 10..], 0);
    conversation.say(Client, GET);
    // The last response again, with the next one behind it.
    conversation.repeat(Backend, OK, 0);
    let both = join(&[&OK[OK.len() - 7..], MISSING]);
    conversation.lose(Backend, MISSING.len() as u32);
    conversation.repeat(Backend, &both, 0);
    assert_eq!(conversation.statuses(), [(HTTP11, 200), (HTTP11, 404)]);
    assert_eq!(conversation.lost, 0);
}

#[test]
fn a_gap_within_a_body_is_no_loss_and_one_elsewhere_is() {
    let head: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";
    let mut conversation = Conversation::default();
    conversation.say(Client, GET);
    conversation.say(Backend, head);
    conversation.lose(Backend, 60);
    conversation.say(Backend, &[b'x'; 40]);
    conversation.say(Client, GET);
    conversation.say(Backend, OK);
    assert_eq!((conversation.responses.len(), conversation.lost), (2, 0));
    conversation.say(Client, GET);
    conversation.lose(Backend, 3);
    conversation.say(Backend, &OK[3..]);
    assert_eq!((conversation.responses.len(), conversation.lost), (2, 1));
    conversation.say(Client, GET);
    conversation.say(Backend, OK);
    assert_eq!((conversation.responses.len(), conversation.lost), (3, 1));
}

#[test]
fn a_connection_older_than_the_probe_is_taken_up_at_the_next_request() {
    let mut conversation = Conversation::default();
    conversation.say(Client, b"rest of an upload");
    conversation.say(Backend, OK);
    assert_eq!(conversation.statuses(), []);
    conversation.say(Client, GET);
    conversation.say(Backend, OK);
    let expected = Response {
        version: HTTP11,
        status: 200,
        latency: Some(1),
    };
    assert_eq!(conversation.responses, [expected]);
}

#[test]
fn what_is_not_http_is_foreign() {
    let mut conversation = Conversation::default();
    conversation.say(Client, b"GET key\r\n");
    conversation.say(Backend, b"$5\r\nvalue\r\n");
    assert!(conversation.foreign && conversation.responses.is_empty());
    assert_eq!(conversation.lost, 0);
    let mut other = Conversation::default();
    other.say(Client, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    assert!(other.connection.is_none());
}

#[test]
fn an_answer_to_nobody_counts_without_latency() {
    let mut conversation = Conversation::default();
    conversation.say(Client, GET);
    conversation.say(Backend, OK);
    conversation.say(
        Backend,
        b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(conversation.statuses(), [(HTTP11, 200), (HTTP11, 408)]);
    assert_eq!(conversation.responses[1].latency, None);
    assert_eq!(conversation.lost, 0);
}
