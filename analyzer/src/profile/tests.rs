//! Stacks as kernels 5.15 to 6.x write them, what counts once, and what is drawn.

use proptest::prelude::*;
use trace_schema::profile::ProfileEvent;

use super::*;

const RECEIVE: &str = "asm_common_interrupt;common_interrupt;irq_exit_rcu;__irq_exit_rcu;\
     __softirqentry_text_start;net_rx_action;__napi_poll;process_backlog;__netif_receive_skb;\
     __netif_receive_skb_one_core";
const SEND: &str = "entry_SYSCALL_64_after_hwframe;do_syscall_64;__x64_sys_sendto;__sys_sendto;\
     sock_sendmsg;inet_sendmsg;tcp_sendmsg";

/// The component of `<outer>;<inner>`, as it is printed.
fn check(outer: &str, inner: &str, expected: &str) {
    let stack = format!("{outer};{inner}");
    let component = classify(&stack, ProfileMode::Kernel, "iperf3");
    assert_eq!(component.to_string(), expected, "{stack}");
}

#[test]
fn the_innermost_frame_of_a_component_decides() {
    check(RECEIVE, "ip_rcv;ip_rcv_finish_core.constprop.0", "ip");
    check(
        RECEIVE,
        "ip_rcv;nf_hook_slow;nf_conntrack_in;_raw_spin_lock",
        "netfilter conntrack",
    );
    check(RECEIVE, "ip_rcv;nf_hook_slow", "netfilter rules");
    check(
        RECEIVE,
        "ip_output;nf_hook_slow;nf_nat_ipv4_out;nf_nat_inet_fn;nf_nat_packet;nf_nat_manip_pkt;\
         nf_nat_ipv4_manip_pkt;inet_proto_csum_replace4",
        "netfilter nat",
    );
    check(
        RECEIVE,
        "ip_rcv;nf_hook_slow;ipt_do_table;tcp_mt",
        "netfilter rules",
    );
    check(RECEIVE, "ip_local_deliver;ip_vs_in_hook", "netfilter rules");
    check(
        RECEIVE,
        "ip_local_deliver_finish;tcp_v4_rcv;tcp_ack;__kfree_skb",
        "tcp",
    );
    check(
        RECEIVE,
        "ip_local_deliver_finish;udp_rcv;vxlan_rcv;memcpy_erms",
        "tunnel",
    );
    check(
        RECEIVE,
        "udp_queue_rcv_one_skb;__udp_enqueue_schedule_skb",
        "udp",
    );
    check(
        RECEIVE,
        "br_handle_frame;br_handle_frame_finish;br_forward",
        "bridge",
    );
    check(
        RECEIVE,
        "br_handle_frame;br_nf_pre_routing;nf_hook_slow",
        "netfilter rules",
    );
    check(
        RECEIVE,
        "ovs_vport_receive;ovs_dp_process_packet;do_execute_actions",
        "ovs",
    );
    check(
        SEND,
        "tcp_write_xmit;__ip_queue_xmit;ip_finish_output2;__dev_queue_xmit;sch_direct_xmit",
        "qdisc",
    );
    check(
        SEND,
        "__dev_queue_xmit;dev_hard_start_xmit;veth_xmit;kmem_cache_free",
        "veth",
    );
    check(
        SEND,
        "dev_hard_start_xmit;start_xmit;virtqueue_add_outbuf",
        "driver",
    );
    check(
        SEND,
        "validate_xmit_skb;__skb_gso_segment;inet_gso_segment;tcp4_gso_segment",
        "gro/gso",
    );
    check(
        SEND,
        "validate_xmit_skb;skb_mac_gso_segment;inet_gso_segment;tcp_gso_segment;skb_segment",
        "gro/gso",
    );
    check(
        RECEIVE,
        "napi_gro_receive;dev_gro_receive;inet_gro_receive;tcp4_gro_receive",
        "gro/gso",
    );
    check(
        RECEIVE,
        "mlx5e_napi_poll;mlx5e_poll_rx_cq;napi_alloc_skb;__alloc_skb",
        "driver",
    );
    check(
        RECEIVE,
        "netvsc_poll;rndis_filter_receive;netvsc_recv_callback",
        "driver",
    );
    check(RECEIVE, "geneve_udp_encap_recv", "tunnel");
    check(RECEIVE, "wg_packet_rx_poll;chacha20_avx512vl", "tunnel");
}

#[test]
fn what_was_interrupted_does_not_decide() {
    let interrupted = format!("{SEND};tcp_sendmsg_locked;{RECEIVE}");
    check(&interrupted, "ip_rcv", "ip");
    check(
        SEND,
        "nf_hook_slow;nf_conntrack_in;asm_sysvec_apic_timer_interrupt;hrtimer_interrupt",
        "other kernel",
    );
    check(
        SEND,
        "ip_finish_output2;__local_bh_enable_ip;do_softirq.part.0;handle_softirqs",
        "softirq",
    );
    // Bottom halves are enabled at the sender's cost.
    check(SEND, "ip_finish_output2;__local_bh_enable_ip", "ip");
}

#[test]
fn an_ebpf_program_owns_what_it_calls() {
    let program = "bpf_prog_6deef7357e7b4530_cil_from_container";
    let bpf = "bpf cil_from_container";
    check(RECEIVE, &format!("tcx_run;{program}"), bpf);
    check(
        RECEIVE,
        &format!("cls_bpf_classify;{program};bpf_skb_fib_lookup;fib_table_lookup"),
        bpf,
    );
    check(
        RECEIVE,
        &format!("{program};bpf_prog_0011223344556677_parse;htab_map_hash"),
        bpf,
    );
    check(
        RECEIVE,
        &format!("{program};bpf_loop;bpf_prog_0011223344556677_step"),
        bpf,
    );
    check(
        RECEIVE,
        &format!(
            "{program};bpf_clone_redirect;__dev_queue_xmit;bpf_trace_run2;bpf_prog_8899aabbccddeeff_wire"
        ),
        "bpf wire",
    );
    check(
        SEND,
        "__seccomp_filter;bpf_prog_1122334455667788",
        "bpf 1122334455667788",
    );
    check(SEND, "ip_output;__cgroup_bpf_run_filter_skb", "bpf [calls]");
    // Kernel functions that only begin like programs.
    check(RECEIVE, "bpf_prog_run_generic_xdp", "bpf [calls]");
}

#[test]
fn scheduling_and_copying_count_for_themselves() {
    check(
        SEND,
        "sk_stream_wait_memory;schedule_timeout;schedule;__schedule",
        "scheduler",
    );
    check(
        RECEIVE,
        "tcp_data_ready;sock_def_readable;__wake_up_sync_key;ep_poll_callback;try_to_wake_up;_raw_spin_lock_irqsave",
        "scheduler",
    );
    check(
        SEND,
        "tcp_sendmsg_locked;_copy_from_iter;copy_user_enhanced_fast_string",
        "memory",
    );
    check(
        "do_syscall_64;__sys_recvfrom;tcp_recvmsg",
        "skb_copy_datagram_iter;__skb_datagram_iter;_copy_to_iter",
        "memory",
    );
    // Nobody sends these.
    check(
        "do_syscall_64;ksys_write;vfs_write;pipe_write",
        "_copy_from_iter",
        "other kernel",
    );
}

#[test]
fn what_serves_everybody_counts_for_nobody_else() {
    check(RECEIVE, "consume_skb;skb_release_data", "memory");
    check(RECEIVE, "__netif_receive_skb_core.constprop.0", "softirq");
    check(
        "ret_from_fork;kthread;worker_thread",
        "process_one_work;vmstat_update",
        "other kernel",
    );
    check(
        "do_syscall_64;ksys_read;vfs_read",
        "ext4_file_read_iter",
        "other kernel",
    );
    check(
        "asm_exc_page_fault;exc_page_fault",
        "handle_mm_fault;clear_page_erms",
        "other kernel",
    );
    // Real-time kernels' locks are no routes.
    check(RECEIVE, "tcp_v4_rcv;rt_spin_lock", "tcp");
    check(RECEIVE, "raw_spin_rq_lock_nested", "softirq");
}

#[test]
fn real_stacks_belong_where_a_reader_puts_them() {
    let lines = include_str!("../../tests/fixtures/profile/stacks.tsv").lines();
    let mut seen = 0;
    for line in lines.filter(|line| !line.starts_with('#')) {
        let mut fields = line.split('\t');
        let mut field = || fields.next().expect("three fields");
        let (expected, command, stack) = (field(), field(), field());
        let component = classify(stack, ProfileMode::Kernel, command);
        assert_eq!(component.to_string(), expected, "{stack}");
        seen += 1;
    }
    assert!(seen > 20, "{seen} stacks");
}

#[test]
fn modes_come_before_stacks() {
    let of = |stack: &str, mode| classify(stack, mode, "nginx").to_string();
    assert_eq!(of("", ProfileMode::User), "user nginx");
    assert_eq!(of("do_idle;cpuidle_enter", ProfileMode::Idle), "idle");
    assert_eq!(of("[hidden]", ProfileMode::Kernel), "hidden kernel");
    assert_eq!(of("", ProfileMode::Kernel), "other kernel");
}

#[test]
fn shares_leave_idle_time_out_and_carry_wilsons_interval() {
    let mut profile = Profile::default();
    let second = (0, 1_000_000);
    profile.add(&row("worker", second, ProfileMode::Idle, "do_idle", 700));
    profile.add(&row("worker", second, ProfileMode::Kernel, "ip_rcv", 30));
    profile.add(&row(
        "worker",
        second,
        ProfileMode::Kernel,
        "ip_forward",
        20,
    ));
    profile.add(&row("worker", second, ProfileMode::User, "", 50));
    assert_eq!((profile.samples(), profile.idle_samples()), (800, 700));
    let shares = profile.shares(0.95);
    let seen: Vec<(String, u64, f64)> = shares
        .iter()
        .map(|share| (share.component.to_string(), share.samples, share.share))
        .collect();
    assert_eq!(
        seen,
        [
            ("ip".to_owned(), 50, 0.5),
            ("user iperf3".to_owned(), 50, 0.5)
        ]
    );
    // scipy.stats.binomtest(50, 100).proportion_ci(0.95, "wilson")
    assert!((shares[0].interval.low - 0.403_831_530_365_995_2).abs() < 1e-12);
    assert!((shares[0].interval.high - 0.596_168_469_634_004_8).abs() < 1e-12);
    assert!(profile.shares(2.0).is_empty());
    assert!(Profile::default().shares(0.95).is_empty());
}

#[test]
fn a_kernel_counts_once_whichever_node_speaks_of_it() {
    let mut profile = Profile::default();
    for second in 0..3 {
        let interval_us = (second * 1_000_000, (second + 1) * 1_000_000);
        for stack in ["ip_rcv", "tcp_ack"] {
            profile.add(&row("worker", interval_us, ProfileMode::Kernel, stack, 1));
        }
    }
    // The other node ends its intervals at other times, and goes on when the first has gone.
    for second in 0..5 {
        let start_us = second * 1_000_000 + 300_000;
        let interval_us = (start_us, start_us + 1_000_000);
        profile.add(&row(
            "gateway",
            interval_us,
            ProfileMode::Kernel,
            "ip_rcv",
            10,
        ));
    }
    assert_eq!(profile.samples(), 6 + 20);
    assert_eq!(profile.repeated_samples(), 30);
    let elsewhere = ProfileRow {
        boot_id: "another".to_owned(),
        ..row("gateway", (0, 1_000_000), ProfileMode::Kernel, "ip_rcv", 5)
    };
    profile.add(&elsewhere);
    assert_eq!(profile.samples(), 31);
}

#[test]
fn a_flame_graph_holds_every_frame_and_is_the_same_each_time() {
    let mut profile = Profile::default();
    let second = (0, 1_000_000);
    profile.add(&row("worker", second, ProfileMode::Idle, "do_idle", 9));
    profile.add(&row(
        "worker",
        second,
        ProfileMode::Kernel,
        "ip_rcv;nf_hook_slow",
        3,
    ));
    profile.add(&row("worker", second, ProfileMode::Kernel, "ip_rcv", 1));
    profile.add(&row("worker", second, ProfileMode::User, "", 2));
    let folded = profile.folded();
    let expected = [
        "iperf3;[user space] 2",
        "iperf3;ip_rcv 1",
        "iperf3;ip_rcv;nf_hook_slow 3",
    ];
    assert_eq!(folded, expected);
    let draw = || {
        let mut svg = Vec::new();
        flamegraph::write(&folded, "a run", &mut svg).unwrap();
        String::from_utf8(svg).unwrap()
    };
    let svg = draw();
    for part in [
        "a run",
        "nf_hook_slow (3 samples, 50.00%)",
        "all (6 samples",
    ] {
        assert!(svg.contains(part), "{part} is not in {svg}");
    }
    assert_eq!(svg, draw());
    let nothing = flamegraph::write(&[], "a run", Vec::new()).unwrap_err();
    assert!(nothing.to_string().contains("--profile"), "{nothing}");
}

proptest! {
    #[test]
    fn every_sample_counts_for_one_component(
        rows in prop::collection::vec(("[a-z_;.]{0,40}", 0i64..1000), 0..20),
    ) {
        let mut profile = Profile::default();
        for (stack, samples) in &rows {
            profile.add(&row("worker", (0, 1), ProfileMode::Kernel, stack, *samples));
        }
        let all: u64 = profile.by_component().values().sum();
        prop_assert_eq!(all, rows.iter().map(|(_, samples)| samples.unsigned_abs()).sum::<u64>());
    }
}

fn row(
    node: &str,
    interval_us: (i64, i64),
    mode: ProfileMode,
    stack: &str,
    samples: i64,
) -> ProfileRow {
    ProfileRow {
        interval_start_us: interval_us.0,
        interval_end_us: interval_us.1,
        node: node.to_owned(),
        boot_id: "0f2a".to_owned(),
        event: ProfileEvent::CpuClock,
        frequency_hz: 99,
        mode,
        cgroup_id: None,
        cgroup_path: None,
        pod_uid: None,
        container_id: None,
        command: "iperf3".to_owned(),
        stack: stack.to_owned(),
        samples,
    }
}
