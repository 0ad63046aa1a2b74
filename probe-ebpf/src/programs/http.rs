//! HTTP at the pod hooks: which packets are looked at, and what becomes of what they say.
//!
//! A connection is taken up at the first segment towards the pod that begins with a request, and
//! kept until the pod closes it. Packets of other TCP flows are looked at until it is clear that no
//! connection is theirs; then their flow is marked, and the mark holds for the generation. It is
//! the number that stands in `HTTP_MARK` at the time: taking up a connection whose beginning was
//! not seen advances it, so that no flow keeps a mark from before.

use core::arch::asm;

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_NO_PREALLOC, BPF_NOEXIST},
    helpers::{bpf_ktime_get_ns, generated::bpf_skb_load_bytes},
    macros::map,
    maps::{Array, HashMap},
};
use probe_abi::{
    flow::{FlowKey4, FlowKey6, hook},
    http::{Connection, ConnectionKey, LINE_WORDS},
    loss::reason,
};
use probe_ebpf::{
    http::{self, Entry, FETCHED, Outcome, STEPS, Source},
    packet::{Load, tcp_flags},
};

use super::{
    account::{FlowKey, generation},
    atomic,
    buffer::{Buffer, jiffies},
    loss::lose_event,
    responses::{forget_streams, http_act_egress, http_act_ingress},
};

/// Connections; user space sets the capacity.
#[map]
static CONNECTIONS: HashMap<ConnectionKey, Connection> =
    HashMap::with_max_entries(65_536, BPF_F_NO_PREALLOC);
/// What a map entry is made from that would not fit the stack: zeros.
#[map]
static BLANK_CONNECTION: Array<Connection> = Array::with_max_entries(1, 0);
/// The mark of flows that need no more looks.
#[unsafe(no_mangle)]
static mut HTTP_MARK: u64 = 1;

/// Steps that are taken in a row: both loops over them together are cheap to verify.
const RUN: u32 = 32;
/// Packets of a flow in a generation among which the first request of a connection is looked for.
const PATIENCE: u64 = 4;

/// [`look`]: the flow may have more to say.
pub const OPEN: u32 = 0;
/// [`look`]: the flow needs no more looks.
pub const SETTLED: u32 = 1;

/// A flow's key as its connection sees it.
pub trait Connected: FlowKey {
    /// Fills in addresses and ports; `is_egress` says which side is the pod's.
    fn connection(&self, is_egress: bool, key: &mut ConnectionKey);
}

impl Source for Buffer {
    #[inline(always)]
    fn fetch(&self, offset: u32, length: u32, words: &mut [u64; LINE_WORDS]) -> bool {
        let mut length = u64::from(length);
        // SAFETY: a register is copied to itself: the compiler is kept from knowing what the
        // verifier does not, which has to see the length compared.
        unsafe { asm!("{0} = {0}", inout(reg) length) };
        if length == 0 || length > u64::from(FETCHED) {
            return false;
        }
        // SAFETY: the destination is as long as the longest length.
        let result = unsafe {
            bpf_skb_load_bytes(
                self.skb.cast(),
                offset,
                words.as_mut_ptr().cast(),
                length as u32,
            )
        };
        result == 0
    }

    #[inline(always)]
    fn now_ns(&self) -> u64 {
        now_ns()
    }
}

#[inline(always)]
pub fn now_ns() -> u64 {
    // SAFETY: the helper takes nothing.
    unsafe { bpf_ktime_get_ns() }
}

/// The mark that a settled flow bears now.
#[inline(always)]
pub fn mark() -> u32 {
    // SAFETY: the global is an aligned word of a map.
    unsafe { core::ptr::read_volatile(&raw const HTTP_MARK) as u32 }
}

/// Looks at a TCP packet whose header stands at `tcp`. `buffers` is what the flow has had so far.
#[inline(never)]
pub fn look<const EGRESS: bool, K: Connected>(
    skb: *mut __sk_buff,
    key: &K,
    tcp: u32,
    buffers: u64,
) -> u32 {
    let buffer = Buffer { skb };
    let Some(header) = buffer.load::<16>(tcp) else {
        return OPEN;
    };
    let flags = header[13];
    let mut seq = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    let payload = tcp + u32::from(header[12] >> 4) * 4;
    let mut id = ConnectionKey::default();
    key.connection(EGRESS, &mut id);
    if flags & (tcp_flags::SYN | tcp_flags::RST) != 0 {
        forget(&id);
        seq = seq.wrapping_add(u32::from(flags & tcp_flags::SYN != 0));
    }
    let mut outcome = OPEN;
    if payload < buffer.length() {
        outcome = read::<EGRESS, K>(skb, key, &id, payload, seq, buffers);
    }
    if EGRESS && flags & tcp_flags::FIN != 0 {
        forget(&id);
    }
    outcome
}

#[inline(always)]
fn read<const EGRESS: bool, K: Connected>(
    skb: *mut __sk_buff,
    key: &K,
    id: &ConnectionKey,
    payload: u32,
    seq: u32,
    buffers: u64,
) -> u32 {
    let connection = match CONNECTIONS.get_ptr_mut(id) {
        Some(known) => known,
        None => {
            if EGRESS {
                return SETTLED;
            }
            if http_begins(skb, payload) == 0 {
                return if buffers < PATIENCE { OPEN } else { SETTLED };
            }
            take_up(key, id);
            match CONNECTIONS.get_ptr_mut(id) {
                Some(made) => made,
                None => {
                    lose_event(hook::POD_INGRESS, reason::HTTP_OVERFLOW, generation());
                    return OPEN;
                }
            }
        }
    };
    if follow::<EGRESS>(skb, connection, id, payload, seq) == Outcome::Foreign as u32 {
        forget(id);
        return SETTLED;
    }
    OPEN
}

/// Whether the payload begins as a request does. Global, see [`http_run_ingress`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn http_begins(skb: *mut __sk_buff, payload: u32) -> u32 {
    let buffer = Buffer { skb };
    u32::from(http::is_request(&buffer, payload, buffer.length()))
}

/// Makes the state of a connection that has begun with a request.
#[inline(always)]
fn take_up<K: Connected>(key: &K, id: &ConnectionKey) {
    // SAFETY: the pointers are live map values, or checked to be there.
    unsafe {
        if let Some(blank) = BLANK_CONNECTION.get_ptr(0) {
            let _ = CONNECTIONS.insert(id, &*blank, u64::from(BPF_NOEXIST));
        }
        let begun = match key.record() {
            Some(record) => (*record).tcp_flags & u32::from(tcp_flags::SYN),
            None => 0,
        };
        if begun == 0 {
            advance_mark();
        }
    }
}

/// Makes flows that need no more looks be looked at again.
#[inline(always)]
pub fn advance_mark() {
    // SAFETY: the global is an aligned word of a map.
    unsafe { atomic::add(&raw mut HTTP_MARK, 1) }
}

/// Out of line, since the three places that call it need no copy each.
#[inline(never)]
fn forget(id: &ConnectionKey) -> u32 {
    let Some(connection) = CONNECTIONS.get_ptr(id) else {
        return 0;
    };
    // SAFETY: the pointer is a live map value until after this program's run.
    if unsafe { (*connection).http2 } != 0 {
        forget_streams(id);
    }
    let _ = CONNECTIONS.remove(id);
    1
}

/// Follows one segment.
#[inline(never)]
fn follow<const EGRESS: bool>(
    skb: *mut __sk_buff,
    connection: *mut Connection,
    id: &ConnectionKey,
    payload: u32,
    seq: u32,
) -> u32 {
    // SAFETY: the pointer is a live map value. Of its two streams each hook writes its own, and
    // one socket's packets pass a hook one after the other; where a machine's receive steering
    // breaks that, counts may be off and memory is not.
    let connection = unsafe { &mut *connection };
    connection.last_jiffies = jiffies();
    let entry = if EGRESS {
        http_enter_egress(skb, connection, payload, seq)
    } else {
        http_enter_ingress(skb, connection, payload, seq)
    };
    if entry == Entry::Lost as u32 {
        lose_event(hook::POD_EGRESS, reason::HTTP_UNPARSED, generation());
    }
    if entry == Entry::Old as u32 || entry == Entry::Skipped as u32 {
        return Outcome::Done as u32;
    }
    for _ in 0..STEPS / RUN {
        let outcome = if EGRESS {
            http_run_egress(skb, connection, id)
        } else {
            http_run_ingress(skb, connection, id)
        };
        if outcome != Outcome::More as u32 {
            return outcome;
        }
    }
    let outcome = http::give_up::<EGRESS>(connection);
    if outcome != Outcome::Done {
        if EGRESS {
            http_act_egress(connection, id, outcome as u32);
        } else {
            http_act_ingress(connection, id, outcome as u32);
        }
    }
    Outcome::Done as u32
}

/// Takes up a segment. Global, see [`http_run_ingress`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn http_enter_ingress(
    skb: *mut __sk_buff,
    connection: *mut Connection,
    payload: u32,
    seq: u32,
) -> u32 {
    enter::<false>(skb, connection, payload, seq)
}

/// See [`http_enter_ingress`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn http_enter_egress(
    skb: *mut __sk_buff,
    connection: *mut Connection,
    payload: u32,
    seq: u32,
) -> u32 {
    enter::<true>(skb, connection, payload, seq)
}

#[inline(always)]
fn enter<const EGRESS: bool>(
    skb: *mut __sk_buff,
    connection: *mut Connection,
    payload: u32,
    seq: u32,
) -> u32 {
    let buffer = Buffer { skb };
    // SAFETY: the pointer is null or leads to a live map value.
    match unsafe { connection.as_mut() } {
        Some(connection) => {
            http::enter::<EGRESS>(connection, &buffer, seq, payload, buffer.length()) as u32
        }
        None => Entry::Old as u32,
    }
}

/// Steps in a row. Global, as its like below, so that the verifier looks at it once by itself and
/// not at every turn of the loop; a global function's pointers are checked for null.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn http_run_ingress(
    skb: *mut __sk_buff,
    connection: *mut Connection,
    id: *const ConnectionKey,
) -> u32 {
    for _ in 0..RUN {
        let outcome = http_step_ingress(skb, connection);
        if outcome == Outcome::Done as u32 || outcome == Outcome::Foreign as u32 {
            return outcome;
        }
        if outcome != Outcome::More as u32 {
            http_act_ingress(connection, id, outcome);
        }
    }
    Outcome::More as u32
}

/// See [`http_run_ingress`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn http_run_egress(
    skb: *mut __sk_buff,
    connection: *mut Connection,
    id: *const ConnectionKey,
) -> u32 {
    for _ in 0..RUN {
        let outcome = http_step_egress(skb, connection);
        if outcome == Outcome::Done as u32 || outcome == Outcome::Foreign as u32 {
            return outcome;
        }
        if outcome != Outcome::More as u32 {
            http_act_egress(connection, id, outcome);
        }
    }
    Outcome::More as u32
}

/// One step.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn http_step_ingress(skb: *mut __sk_buff, connection: *mut Connection) -> u32 {
    // SAFETY: the pointer is null or leads to a live map value.
    match unsafe { connection.as_mut() } {
        Some(connection) => http::step::<false>(connection, &Buffer { skb }) as u32,
        None => Outcome::Done as u32,
    }
}

/// See [`http_step_ingress`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn http_step_egress(skb: *mut __sk_buff, connection: *mut Connection) -> u32 {
    // SAFETY: as there.
    match unsafe { connection.as_mut() } {
        Some(connection) => http::step::<true>(connection, &Buffer { skb }) as u32,
        None => Outcome::Done as u32,
    }
}

macro_rules! connected {
    ($key:ty, $family:expr, $place:expr) => {
        impl Connected for $key {
            #[inline(always)]
            fn connection(&self, is_egress: bool, key: &mut ConnectionKey) {
                let place: fn(&mut [u32; 4], &$key, bool) = $place;
                key.scope = self.scope;
                key.family = $family;
                place(&mut key.local, self, is_egress);
                place(&mut key.peer, self, !is_egress);
                (key.local_port, key.peer_port) = if is_egress {
                    (self.src_port, self.dst_port)
                } else {
                    (self.dst_port, self.src_port)
                };
            }
        }
    };
}

connected!(FlowKey4, 4, |words, key, is_source| {
    words[0] = if is_source { key.src } else { key.dst };
});
connected!(FlowKey6, 6, |words, key, is_source| {
    *words = if is_source { key.src } else { key.dst };
});
