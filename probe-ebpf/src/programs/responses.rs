//! What the pod hooks count of HTTP: responses, and what could not be followed.

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST},
    macros::map,
    maps::{Array, HashMap},
};
use probe_abi::{
    flow::{hook, made},
    http::{Connection, ConnectionKey, HttpKey, NO_LATENCY, Streams, bucket_of},
    loss::reason,
};
use probe_ebpf::http::{Outcome, UNKNOWN, frame};

use super::{
    account::generation,
    atomic,
    http::{advance_mark, now_ns},
    loss::lose_event,
    made::note,
};

/// The streams of those that speak HTTP/2.
#[map]
static STREAMS: HashMap<ConnectionKey, Streams> =
    HashMap::with_max_entries(16_384, BPF_F_NO_PREALLOC);
/// Responses.
#[map]
static RESPONSES: HashMap<HttpKey, u64> = HashMap::with_max_entries(65_536, BPF_F_NO_PREALLOC);
/// What the table of a connection's streams is made from: zeros that would not fit the stack.
#[map]
static BLANK_STREAMS: Array<Streams> = Array::with_max_entries(1, 0);

/// What a step's outcome asks for, towards the pod. Global, so that the verifier looks at it once by itself.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn http_act_ingress(
    connection: *mut Connection,
    id: *const ConnectionKey,
    outcome: u32,
) -> u32 {
    // SAFETY: the pointers are null or lead to a live map value and the caller's stack.
    let (Some(connection), Some(id)) = (unsafe { connection.as_mut() }, unsafe { id.as_ref() })
    else {
        return 0;
    };
    if outcome == Outcome::Lost as u32 {
        lose_event(hook::POD_EGRESS, reason::HTTP_UNPARSED, generation());
    } else if outcome == Outcome::Preface as u32 {
        // The backend may have spoken first.
        advance_mark();
        let _ = streams_of(id);
    } else if outcome == Outcome::Headers as u32
        && let Some(streams) = streams_of(id)
    {
        // SAFETY: the pointer is a live map value; each hook writes its own half.
        frame::headers::<false>(connection, unsafe { &mut *streams }, now_ns());
    }
    0
}

/// The same from the pod.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn http_act_egress(
    connection: *mut Connection,
    id: *const ConnectionKey,
    outcome: u32,
) -> u32 {
    // SAFETY: the pointers are null or lead to a live map value and the caller's stack.
    let (Some(connection), Some(id)) = (unsafe { connection.as_mut() }, unsafe { id.as_ref() })
    else {
        return 0;
    };
    if outcome == Outcome::Lost as u32 {
        lose_event(hook::POD_EGRESS, reason::HTTP_UNPARSED, generation());
    } else if outcome == Outcome::Response as u32 {
        count(connection, id);
        if connection.http2 != 0
            && let Some(streams) = streams_of(id)
        {
            // SAFETY: the pointer is a live map value, and nobody else writes before the switch.
            frame::inherit(connection, unsafe { &mut *streams });
        }
    } else if outcome == Outcome::Headers as u32
        && let Some(streams) = streams_of(id)
    {
        // SAFETY: the pointer is a live map value; each hook writes its own half.
        if frame::headers::<true>(connection, unsafe { &mut *streams }, now_ns()) {
            count(connection, id);
        }
    }
    0
}

/// The table of an HTTP/2 connection's streams, made where there is none.
#[inline(always)]
fn streams_of(id: &ConnectionKey) -> Option<*mut Streams> {
    // A copy: kernels before 6 take a map's key from the stack, and not from where this points.
    let id = &{ *id };
    if let Some(streams) = STREAMS.get_ptr_mut(id) {
        return Some(streams);
    }
    if let Some(blank) = BLANK_STREAMS.get_ptr(0) {
        // SAFETY: the array's element always exists, and nobody writes it.
        let _ = STREAMS.insert(id, unsafe { &*blank }, u64::from(BPF_NOEXIST));
    }
    let made = STREAMS.get_ptr_mut(id);
    if made.is_none() {
        lose_event(hook::POD_EGRESS, reason::HTTP_OVERFLOW, generation());
    }
    made
}

/// Counts the response that the connection tells of.
#[inline(never)]
fn count(connection: &Connection, id: &ConnectionKey) -> u32 {
    let bucket = if connection.latency_ns == UNKNOWN {
        NO_LATENCY
    } else {
        bucket_of(connection.latency_ns / 1000)
    };
    let generation = generation();
    let key = HttpKey {
        scope: id.scope,
        local: id.local,
        peer: id.peer,
        local_port: id.local_port,
        status: connection.egress.status,
        bucket,
        version: connection.egress.version,
        generation: generation as u8,
        family: id.family,
        reserved: [0; 7],
    };
    if key.status == 0 {
        lose_event(hook::POD_EGRESS, reason::HTTP_UNPARSED, generation);
    }
    let one = 1u64;
    if RESPONSES.get_ptr(&key).is_none()
        && RESPONSES.insert(&key, one, u64::from(BPF_NOEXIST)).is_ok()
    {
        note(made::RESPONSES, generation);
        return 1;
    }
    match RESPONSES.get_ptr_mut(&key) {
        // SAFETY: the pointer is a live map value; entries of the current generation stay.
        Some(known) => unsafe { atomic::add(known, one) },
        None => lose_event(hook::POD_EGRESS, reason::HTTP_OVERFLOW, generation),
    }
    1
}

/// Forgets the table of a connection that is over.
#[inline(always)]
pub fn forget_streams(id: &ConnectionKey) {
    let _ = STREAMS.remove(id);
}
