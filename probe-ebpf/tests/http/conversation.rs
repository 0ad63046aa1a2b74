//! A connection of scripted segments, followed as the pod hooks follow it.

use probe_abi::http::{Connection, LINE_WORDS, STREAMS, Streams};
use probe_ebpf::http::{
    Entry, Outcome, STEPS, Source, UNKNOWN, enter, frame, give_up, is_request, step,
};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Backend,
}

/// What was counted of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    pub version: u8,
    pub status: u16,
    /// Ticks of the conversation's clock; none where the request was not seen.
    pub latency: Option<u64>,
}

/// A packet's payload at a distance from its start, and the time.
pub struct Segment<'a> {
    pub bytes: &'a [u8],
    pub at: u32,
    pub now_ns: u64,
}

impl Source for Segment<'_> {
    fn fetch(&self, offset: u32, length: u32, words: &mut [u64; LINE_WORDS]) -> bool {
        assert!((1..=32).contains(&length), "{length}");
        assert!(words.iter().all(|&word| word == 0), "words come zeroed");
        let start = (offset - self.at) as usize;
        let Some(found) = self.bytes.get(start..start + length as usize) else {
            return false;
        };
        for (index, byte) in found.iter().enumerate() {
            words[index / 8] |= u64::from(*byte) << (index % 8 * 8);
        }
        true
    }

    fn now_ns(&self) -> u64 {
        self.now_ns
    }
}

/// The state of a connection and what came of it.
pub struct Conversation {
    pub connection: Option<Connection>,
    pub streams: Streams,
    pub responses: Vec<Response>,
    pub lost: u32,
    pub foreign: bool,
    /// Nanoseconds; a tick of 1,000 passes with each segment.
    now_ns: u64,
    seqs: [u32; 2],
}

impl Default for Conversation {
    fn default() -> Self {
        Self {
            connection: None,
            streams: Streams {
                asked: [0; STREAMS],
                begun: [0; STREAMS],
            },
            responses: Vec::new(),
            lost: 0,
            foreign: false,
            now_ns: 1_000_000,
            // Numbers that wrap soon.
            seqs: [u32::MAX - 100, u32::MAX - 50],
        }
    }
}

impl Conversation {
    /// The next segment of a side.
    pub fn say(&mut self, side: Side, bytes: &[u8]) {
        let seq = self.seqs[side as usize];
        self.seqs[side as usize] = seq.wrapping_add(bytes.len() as u32);
        self.segment(side, seq, bytes);
    }

    /// Bytes that are sent and never arrive.
    pub fn lose(&mut self, side: Side, bytes: u32) {
        self.seqs[side as usize] = self.seqs[side as usize].wrapping_add(bytes);
    }

    /// A segment again that ended `back` bytes before the last one.
    pub fn repeat(&mut self, side: Side, bytes: &[u8], back: u32) {
        let end = self.seqs[side as usize].wrapping_sub(back);
        self.segment(side, end.wrapping_sub(bytes.len() as u32), bytes);
    }

    fn segment(&mut self, side: Side, seq: u32, bytes: &[u8]) {
        self.now_ns += 1_000;
        let segment = Segment {
            bytes,
            at: 52,
            now_ns: self.now_ns,
        };
        let end = 52 + bytes.len() as u32;
        if self.connection.is_none() {
            if side == Side::Backend || !is_request(&segment, 52, end) {
                return;
            }
            self.connection = Some(Connection::default());
        }
        match side {
            Side::Client => self.follow::<false>(&segment, seq, end),
            Side::Backend => self.follow::<true>(&segment, seq, end),
        }
    }

    fn follow<const EGRESS: bool>(&mut self, segment: &Segment<'_>, seq: u32, end: u32) {
        let mut connection = self.connection.expect("a connection");
        let entry = enter::<EGRESS>(&mut connection, segment, seq, segment.at, end);
        self.lost += u32::from(entry == Entry::Lost);
        let mut outcome = Outcome::Done;
        if matches!(entry, Entry::New | Entry::Lost) {
            for _ in 0..STEPS {
                outcome = step::<EGRESS>(&mut connection, segment);
                if matches!(outcome, Outcome::Done | Outcome::Foreign) {
                    break;
                }
                self.act::<EGRESS>(&mut connection, outcome, segment);
            }
            if !matches!(outcome, Outcome::Done | Outcome::Foreign) {
                let last = give_up::<EGRESS>(&mut connection);
                self.act::<EGRESS>(&mut connection, last, segment);
            }
        }
        self.connection = Some(connection);
        if outcome == Outcome::Foreign {
            self.foreign = true;
            self.connection = None;
        }
    }

    fn act<const EGRESS: bool>(
        &mut self,
        connection: &mut Connection,
        outcome: Outcome,
        segment: &Segment<'_>,
    ) {
        match outcome {
            Outcome::Lost => self.lost += 1,
            Outcome::Response => {
                self.count(connection);
                if connection.http2 != 0 {
                    frame::inherit(connection, &mut self.streams);
                }
            }
            Outcome::Headers
                if frame::headers::<EGRESS>(connection, &mut self.streams, segment.now_ns) =>
            {
                self.count(connection);
            }
            _ => {}
        }
    }

    fn count(&mut self, connection: &Connection) {
        self.lost += u32::from(connection.egress.status == 0);
        self.responses.push(Response {
            version: connection.egress.version,
            status: connection.egress.status,
            latency: (connection.latency_ns != UNKNOWN).then_some(connection.latency_ns / 1_000),
        });
    }

    /// Versions and statuses.
    pub fn statuses(&self) -> Vec<(u8, u16)> {
        let pairs = self.responses.iter();
        pairs
            .map(|response| (response.version, response.status))
            .collect()
    }
}

/// Runs a script with every message whole, cut in two at each place, and byte by byte: the same
/// must come of it, and nothing may be lost.
pub fn check(script: &[(Side, &[u8])], expected: &[(u8, u16)]) {
    let run = |label: &str, pieces: &dyn Fn(usize, usize) -> Vec<usize>| {
        let mut conversation = Conversation::default();
        for (number, (side, message)) in script.iter().enumerate() {
            let mut from = 0;
            for to in pieces(number, message.len()) {
                if to > from {
                    conversation.say(*side, &message[from..to]);
                    from = to;
                }
            }
            conversation.say(*side, &message[from..]);
        }
        assert_eq!(conversation.statuses(), expected, "{label}");
        assert_eq!(conversation.lost, 0, "{label}");
        assert!(!conversation.foreign, "{label}");
    };
    run("whole", &|_, _| Vec::new());
    run("byte by byte", &|_, length| (1..length).collect());
    for (number, (side, message)) in script.iter().enumerate() {
        for at in 1..message.len() {
            run(
                &format!("{side:?}'s message {number} cut at {at}"),
                &|of, _| {
                    if of == number { vec![at] } else { Vec::new() }
                },
            );
        }
    }
}
