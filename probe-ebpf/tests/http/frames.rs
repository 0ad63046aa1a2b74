//! HTTP/2 without TLS, its frames written by hand.

use probe_abi::http::version::{HTTP2, HTTP11};

use super::conversation::{
    Conversation,
    Side::{Backend, Client},
    check,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u32;
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn ask(stream: u32) -> Vec<u8> {
    // :method GET, :scheme http, :path /, :authority of four bytes in the clear.
    let block = b"\x82\x86\x84\x41\x04echo";
    frame(HEADERS, END_HEADERS | END_STREAM, stream, block)
}

fn answer(stream: u32, block: &[u8], body: &[u8]) -> Vec<u8> {
    let mut bytes = frame(HEADERS, END_HEADERS, stream, block);
    bytes.extend(frame(DATA, END_STREAM, stream, body));
    bytes
}

fn opening() -> Vec<u8> {
    [
        PREFACE,
        &frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]),
        &ask(1),
    ]
    .concat()
}

#[test]
fn prior_knowledge() {
    let settings = frame(SETTINGS, 0, 0, &[]);
    let first = [
        settings,
        answer(1, b"\x88\x5f\x0atext/plain", b"HTTP/1.1 500 no\r\n\r\n"),
    ]
    .concat();
    let second = answer(3, b"\x8d", &[b'x'; 300]);
    let literal = answer(5, b"\x48\x03503", b"");
    check(
        &[
            (Client, &opening()),
            (Backend, &first),
            (Client, &ask(3)),
            (Backend, &frame(PING, 1, 0, &[0; 8])),
            (Backend, &second),
            (Client, &ask(5)),
            (Backend, &literal),
        ],
        &[(HTTP2, 200), (HTTP2, 404), (HTTP2, 503)],
    );
}

#[test]
fn trailers_are_no_response() {
    let mut first = frame(HEADERS, END_HEADERS, 1, b"\x88\x5f\x10application/grpc");
    first.extend(frame(DATA, 0, 1, &[0; 12]));
    // grpc-status: 0, new to the table, and by the table the next time.
    first.extend(frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        1,
        b"\x40\x0bgrpc-status\x010",
    ));
    let mut second = frame(HEADERS, END_HEADERS, 3, b"\x88\xbf");
    second.extend(frame(HEADERS, END_HEADERS | END_STREAM, 3, b"\xbe"));
    check(
        &[
            (Client, &opening()),
            (Backend, &first),
            (Client, &ask(3)),
            (Backend, &second),
        ],
        &[(HTTP2, 200), (HTTP2, 200)],
    );
}

#[test]
fn padding_and_priority_come_before_the_block() {
    let padded = frame(
        HEADERS,
        END_HEADERS | END_STREAM | PADDED,
        1,
        b"\x03\x8e\0\0\0",
    );
    let urgent = frame(
        HEADERS,
        END_HEADERS | END_STREAM | PRIORITY,
        3,
        b"\0\0\0\0\x10\x89",
    );
    let both = frame(
        HEADERS,
        END_HEADERS | END_STREAM | PADDED | PRIORITY,
        5,
        b"\x02\0\0\0\0\x10\x3f\xe1\x1f\x8c\0\0",
    );
    check(
        &[
            (Client, &[opening(), ask(3), ask(5)].concat()),
            (Backend, &[padded, urgent, both].concat()),
        ],
        &[(HTTP2, 500), (HTTP2, 204), (HTTP2, 400)],
    );
}

#[test]
fn interim_responses_leave_the_stream_waiting() {
    let hints = frame(HEADERS, END_HEADERS, 1, b"\x48\x03103");
    check(
        &[
            (Client, &opening()),
            (Backend, &hints),
            (Backend, &answer(1, b"\x88", b"x")),
        ],
        &[(HTTP2, 103), (HTTP2, 200)],
    );
}

#[test]
fn streams_that_run_beside_each_other() {
    let mut conversation = Conversation::default();
    conversation.say(Client, &opening());
    conversation.say(Client, &[ask(3), ask(5)].concat());
    conversation.say(Backend, &frame(HEADERS, END_HEADERS, 5, b"\x88"));
    conversation.say(Backend, &frame(HEADERS, END_HEADERS, 1, b"\x88"));
    conversation.say(
        Backend,
        &[frame(DATA, 0, 5, b"a"), frame(DATA, 0, 1, b"b")].concat(),
    );
    conversation.say(
        Backend,
        &frame(HEADERS, END_HEADERS | END_STREAM, 5, b"\xbe"),
    );
    conversation.say(
        Backend,
        &frame(HEADERS, END_HEADERS | END_STREAM, 3, b"\x8e"),
    );
    assert_eq!(
        conversation.statuses(),
        [(HTTP2, 200), (HTTP2, 200), (HTTP2, 500)]
    );
    let latencies = conversation
        .responses
        .iter()
        .map(|response| response.latency);
    assert_eq!(latencies.collect::<Vec<_>>(), [Some(1), Some(3), Some(5)]);
}

#[test]
fn a_status_from_the_dynamic_table_is_counted_as_unread() {
    let mut conversation = Conversation::default();
    conversation.say(Client, &opening());
    conversation.say(Backend, &answer(1, b"\x48\x03201", b""));
    conversation.say(Client, &ask(3));
    conversation.say(Backend, &answer(3, b"\xbe", b""));
    assert_eq!(conversation.statuses(), [(HTTP2, 201), (HTTP2, 0)]);
    assert_eq!(conversation.lost, 1);
}

#[test]
fn a_backend_that_speaks_first() {
    let mut conversation = Conversation::default();
    conversation.say(Backend, &frame(SETTINGS, 0, 0, &[]));
    conversation.say(Client, &opening());
    conversation.say(Backend, &answer(1, b"\x88", b"ok"));
    assert_eq!(conversation.statuses(), [(HTTP2, 200)]);
}

#[test]
fn an_upgrade_from_http_1() {
    let request: &[u8] =
        b"GET / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
        HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    let switch: &[u8] =
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let settings = frame(SETTINGS, 0, 0, &[]);
    let preface = [PREFACE, &settings].concat();
    check(
        &[
            (Client, request),
            (Backend, &[switch, &settings].concat()),
            (Client, &preface),
            (Backend, &answer(1, b"\x88", b"body")),
            (Client, &ask(3)),
            (Backend, &answer(3, b"\x89", b"")),
        ],
        &[(HTTP11, 101), (HTTP2, 200), (HTTP2, 204)],
    );
    let mut conversation = Conversation::default();
    conversation.say(Client, request);
    conversation.say(Backend, switch);
    conversation.say(Client, &preface);
    conversation.say(Backend, &answer(1, b"\x88", b""));
    assert_eq!(
        conversation.responses[1].latency,
        Some(3),
        "of the request that asked for it"
    );
}

#[test]
fn more_frames_than_the_bound_are_one_loss() {
    let mut conversation = Conversation::default();
    conversation.say(Client, &opening());
    conversation.say(Backend, &frame(PING, 0, 0, &[0; 8]).repeat(1100));
    assert_eq!(conversation.lost, 1);
    conversation.say(Backend, &answer(1, b"\x88", b""));
    assert_eq!((conversation.statuses().len(), conversation.lost), (0, 1));
}
