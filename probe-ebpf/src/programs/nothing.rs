//! Programs that do nothing, one for each way in which the kernel calls ours: the difference that one
//! makes to a packet is what it takes to come to a program and back.
//!
//! They are attached while that is measured, and never beside the others.

use aya_ebpf::{
    macros::{btf_tracepoint, cgroup_skb, classifier},
    programs::{BtfTracePointContext, SkBuffContext, TcContext},
};

#[classifier]
pub fn nothing_tc(_ctx: TcContext) -> i32 {
    super::uplink::NEXT
}

#[cgroup_skb]
pub fn nothing_cgroup(_ctx: SkBuffContext) -> i32 {
    super::pod::PASS
}

#[btf_tracepoint(function = "softirq_entry")]
pub fn nothing_tracepoint(_ctx: BtfTracePointContext) -> i32 {
    0
}
