//! The maps and the constants that user space sets at load time.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, PerfEventArray},
};
use probe_abi::{
    cpu::{CPU_FRONT_SIDES, CPU_FRONT_SLOTS, CpuCharge, CpuKey, CpuPlace, CpuSlot, CpuState},
    flow::{FRONT_ENTRIES, FlowKey4, FlowKey6, FlowRecord, GENERATIONS, Slot4, Slot6, made},
    loss::{LossCount, LossKey},
    params::{Control, TUNNEL_PORTS},
    wire::{Before, Fingerprint, WireKey, WireRecord},
};

#[map]
pub static CONTROL: Array<Control> = Array::with_max_entries(1, 0);
#[map]
pub static FLOWS4: HashMap<FlowKey4, FlowRecord> = HashMap::with_max_entries(65_536, 0);
#[map]
pub static FLOWS6: HashMap<FlowKey6, FlowRecord> = HashMap::with_max_entries(65_536, 0);
#[map]
pub static FRONT4: PerCpuArray<Slot4> = PerCpuArray::with_max_entries(FRONT_ENTRIES, 0);
#[map]
pub static FRONT6: PerCpuArray<Slot6> = PerCpuArray::with_max_entries(FRONT_ENTRIES, 0);
#[map]
pub static LOSSES: HashMap<LossKey, LossCount> = HashMap::with_max_entries(4_096, 0);
#[map]
pub static FINGERPRINTS: LruHashMap<Fingerprint, Before> = LruHashMap::with_max_entries(65_536, 0);
#[map]
pub static WIRE: HashMap<WireKey, WireRecord> = HashMap::with_max_entries(65_536, 0);
#[map]
pub static REQUEST: PerCpuArray<Request> = PerCpuArray::with_max_entries(1, 0);
/// How many entries each generation made in each map of [`made`].
#[map]
pub static MADE: Array<u64> = Array::with_max_entries(made::MAPS * GENERATIONS, 0);
/// The keys of the first of them.
#[map]
pub static MADE4: Array<FlowKey4> = Array::with_max_entries(made::KEPT * GENERATIONS, 0);
#[map]
pub static MADE6: Array<FlowKey6> = Array::with_max_entries(made::KEPT * GENERATIONS, 0);
#[map]
pub static MADE_WIRE: Array<WireKey> = Array::with_max_entries(made::KEPT * GENERATIONS, 0);
/// What each CPU keeps of its time.
#[map]
pub static CPU: PerCpuArray<CpuState> = PerCpuArray::with_max_entries(1, 0);
/// Accounts that each CPU has at hand.
#[map]
pub static CPU_FRONT: PerCpuArray<CpuSlot> =
    PerCpuArray::with_max_entries(CPU_FRONT_SIDES * CPU_FRONT_SLOTS, 0);
/// Accounts that had to make room there.
#[map]
pub static CPU_ACCOUNTS: HashMap<CpuKey, CpuCharge> = HashMap::with_max_entries(16_384, 0);
/// Where the node's tasks are.
#[map]
pub static CPU_PLACE: Array<CpuPlace> = Array::with_max_entries(1, 0);
/// Each CPU's cycle counter.
#[map]
pub static CYCLES: PerfEventArray<u64> = PerfEventArray::new(0);

/// What an uplink's egress hook asks of the wire hook, which comes next on the same CPU.
#[repr(C)]
pub struct Request {
    /// Address of the sk_buff; nothing is asked of any other.
    pub skb: u64,
    /// Interface that it leaves by.
    pub ifindex: u32,
    /// Which of the keys below is the flow's: 4 or 6, or 0 where none is to be told.
    pub family: u32,
    /// Where the wire hook puts an address down to take it up again as a number.
    pub address: u64,
    /// The flow as the uplink counts it.
    pub key4: FlowKey4,
    /// The same in IPv6.
    pub key6: FlowKey6,
}

/// Declares constants that user space overrides before loading.
macro_rules! parameters {
    ($($(#[$doc:meta])* $name:ident: $of:ty = $default:expr;)*) => {
        $(
            $(#[$doc])*
            #[unsafe(no_mangle)]
            pub static $name: $of = $default;
        )*
    };
}

parameters! {
    /// Not zero where the pod hooks follow HTTP.
    HTTP_ON: u32 = 1;
    /// Inode of the network namespace whose packets the wire hook takes.
    NETNS_INODE: u32 = 0;
    /// Kernel ticks that a fingerprint lives.
    FINGERPRINT_LIFE_TICKS: u32 = 500;
    /// UDP ports of tunnels, network byte order; 0 ends the list.
    TUNNEL_PORT_LIST: [u16; TUNNEL_PORTS] = [0; TUNNEL_PORTS];
    /// The Geneve port among them, network byte order.
    GENEVE_PORT: u16 = 0;
    /// Offset of `sk_buff.dev`.
    SKB_DEV: u32 = 0;
    /// Offset of `sk_buff.head`.
    SKB_HEAD: u32 = 0;
    /// Offset of `sk_buff.data`.
    SKB_DATA: u32 = 0;
    /// Offset of `sk_buff.len`.
    SKB_LEN: u32 = 0;
    /// Offset of `sk_buff.data_len`.
    SKB_DATA_LEN: u32 = 0;
    /// Offset of `sk_buff.network_header`.
    SKB_NETWORK_HEADER: u32 = 0;
    /// Offset of `sk_buff._nfct`; 0 in a kernel without conntrack.
    SKB_NFCT: u32 = 0;
    /// Offset of `net_device.ifindex`.
    DEV_IFINDEX: u32 = 0;
    /// Offset of `net_device.nd_net`.
    DEV_NET: u32 = 0;
    /// Offset of `net.ns.inum`.
    NET_INUM: u32 = 0;
    /// Offset of `nf_conn.tuplehash[0].tuple`; 0 where unknown.
    CT_TUPLE_ORIGINAL: u32 = 0;
    /// Offset of `nf_conn.tuplehash[1].tuple`.
    CT_TUPLE_REPLY: u32 = 0;
    /// Offset of `task_struct.pid`.
    TASK_PID: u32 = 0;
    /// Offset of `task_struct.comm`.
    TASK_COMM: u32 = 0;
    /// Not zero where there are cycle counters to be read.
    CYCLES_ON: u32 = 0;
}

/// Reads a parameter. Volatile, since the compiler would fold the default in.
#[inline(always)]
pub fn value<T: Copy>(parameter: &'static T) -> T {
    // SAFETY: the reference is valid.
    unsafe { core::ptr::read_volatile(parameter) }
}

/// A parameter's value, by name.
macro_rules! parameter {
    ($name:ident) => {
        $crate::programs::maps::value(&$crate::programs::maps::$name)
    };
}
pub(crate) use parameter;
