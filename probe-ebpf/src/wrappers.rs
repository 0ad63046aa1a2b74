//! Entry points for test runs. Each advances a counter that varies the source port, the program
//! that does nothing as well, so that what remains after subtracting it is the body alone.

use aya_ebpf::{
    bindings::{__sk_buff, BPF_NOEXIST},
    macros::{classifier, map},
    maps::{HashMap, PerCpuArray},
    programs::TcContext,
};
use probe_abi::flow::hook;
use probe_ebpf::packet::{QUICK4_LENGTH, Quick4};

use crate::programs::{atomic, pod, uplink};

/// Flows that a test run spreads its packets over.
#[unsafe(no_mangle)]
static BENCH_FLOWS: u32 = 1;

#[map]
static BENCH_COUNTER: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);
#[map]
static BENCH_HASH: HashMap<HashKey, HashCount> = HashMap::with_max_entries(65_536, 0);

/// Length of the Ethernet header of the test packet.
const ETHERNET: usize = 14;
/// A cgroup id for the pod body, which finds none in a test packet.
const SCOPE: u64 = 4242;

/// The smallest key that tells flows apart.
#[derive(Clone, Copy)]
#[repr(C)]
struct HashKey {
    src: u32,
    dst: u32,
    ports: u32,
    protocol: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct HashCount {
    packets: u64,
    bytes: u64,
}

#[classifier]
pub fn bench_noop(_ctx: TcContext) -> i32 {
    i32::from(vary() == u16::MAX)
}

#[classifier]
pub fn bench_hash(ctx: TcContext) -> i32 {
    hash(ctx.skb.skb, vary())
}

#[classifier]
pub fn bench_uplink(ctx: TcContext) -> i32 {
    uplink::count::<ETHERNET, { hook::UPLINK_EGRESS }>(ctx.skb.skb, vary())
}

#[classifier]
pub fn bench_pod(ctx: TcContext) -> i32 {
    pod::count::<{ hook::POD_EGRESS }>(ctx.skb.skb, SCOPE, ETHERNET, vary())
}

#[inline(always)]
fn vary() -> u16 {
    let Some(counter) = BENCH_COUNTER.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: the element exists, and test runs do not nest.
    unsafe {
        // Volatile, since user space sets it before loading.
        let flows = core::ptr::read_volatile(&raw const BENCH_FLOWS);
        let next = *counter + 1;
        *counter = if next >= flows { 0 } else { next };
        *counter as u16
    }
}

/// What a flow counter costs when it is nothing but a hash map.
#[inline(always)]
fn hash(skb: *mut __sk_buff, vary: u16) -> i32 {
    // SAFETY: the view is read after its bounds were checked; map values are live.
    unsafe {
        let data = (*skb).data as usize;
        if data + ETHERNET + QUICK4_LENGTH > (*skb).data_end as usize {
            return 0;
        }
        let ip = (data + ETHERNET) as *const Quick4;
        let key = HashKey {
            src: (*ip).src,
            dst: (*ip).dst,
            ports: (u32::from((*ip).src_port ^ vary) << 16) | u32::from((*ip).dst_port),
            protocol: u32::from((*ip).protocol),
        };
        match BENCH_HASH.get_ptr_mut(key) {
            Some(count) => {
                atomic::add(&raw mut (*count).packets, 1);
                atomic::add(&raw mut (*count).bytes, u64::from((*skb).len));
            }
            None => {
                let count = HashCount {
                    packets: 1,
                    bytes: u64::from((*skb).len),
                };
                let _ = BENCH_HASH.insert(key, count, u64::from(BPF_NOEXIST));
            }
        }
    }
    0
}
