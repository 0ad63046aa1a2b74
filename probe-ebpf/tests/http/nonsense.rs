//! A million inputs that were bent out of shape: none may panic, and the state stays sound.

use super::conversation::{
    Conversation,
    Side::{self, Backend, Client},
};

const INPUTS: u32 = 1_000_000;

/// What inputs are made from.
const SEEDS: [(Side, &[u8]); 8] = [
    (
        Client,
        b"POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n",
    ),
    (
        Backend,
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.0 404 No\r\n\r\n",
    ),
    (
        Backend,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n",
    ),
    (
        Backend,
        b"HTTP/1.1 101 S\r\nUpgrade: h2c\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    ),
    (
        Client,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x01\x01\x05\0\0\0\x01\x82",
    ),
    (
        Backend,
        b"\0\0\x07\x01\x2c\0\0\0\x01\x02\0\0\0\0\x10\x88\0\0\x02\0\x01\0\0\0\x01ok",
    ),
    (Backend, b"\0\0\x05\x01\x04\0\0\0\x03\x48\x83\x64\x0e\xff"),
    (
        Client,
        b"HEAD / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;x\r\na\r\n0\r\nT: x\r\n\r\n",
    ),
];

/// xorshift64* (Vigna 2016): the same inputs each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides
    }
}

#[test]
fn a_million_bent_inputs() {
    let mut dice = Dice(0x77_6569_6768);
    let mut conversation = Conversation::default();
    let mut responses = 0;
    for number in 0..INPUTS {
        if number % 16 == 0 {
            responses += conversation.responses.len();
            conversation = Conversation::default();
            conversation.say(Client, b"GET ");
        }
        let (side, seed) = SEEDS[dice.roll(SEEDS.len())];
        let mut input = seed.to_vec();
        for _ in 0..dice.roll(4) {
            bend(&mut input, &mut dice);
        }
        if input.is_empty() {
            continue;
        }
        match dice.roll(16) {
            0 => conversation.repeat(side, &input, dice.roll(40) as u32),
            1 => conversation.lose(side, dice.roll(40) as u32),
            _ => conversation.say(side, &input),
        }
        if let Some(connection) = &conversation.connection {
            for stream in [connection.ingress, connection.egress] {
                assert!(stream.at <= stream.end, "{stream:?}");
            }
            assert!(connection.asked >= connection.answered, "{connection:?}");
        }
    }
    assert!(
        responses > INPUTS as usize / 100,
        "most inputs must get past the first line"
    );
}

fn bend(input: &mut Vec<u8>, dice: &mut Dice) {
    if input.is_empty() {
        return;
    }
    let at = dice.roll(input.len());
    match dice.roll(5) {
        0 => input[at] ^= 1 << dice.roll(8),
        1 => input[at] = dice.roll(256) as u8,
        2 => input.truncate(at),
        3 => {
            let piece = input[at..].to_vec();
            input.extend(piece);
        }
        _ => {
            input.drain(..at);
        }
    }
}
