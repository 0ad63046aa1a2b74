//! Which kernel functions belong to which component, by name.
//!
//! Names are those of kernels 5.15 to 6.x without compilers' suffixes. A pattern that ends in `*`
//! means every function that begins so; the longest pattern that fits decides. Functions that serve
//! everybody stand in no list.

use std::collections::HashMap;
use std::sync::LazyLock;

/// What a function is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Driver,
    GroGso,
    Bridge,
    Ovs,
    Tunnel,
    Veth,
    Rules,
    Conntrack,
    Nat,
    BpfCalls,
    Ip,
    Tcp,
    Udp,
    Qdisc,
    Socket,
    Scheduler,
    /// Copies between user space and kernel memory: packets only below a networking function.
    Copy,
    /// Allocates or frees packet buffers.
    Buffer,
    /// Softirqs, NAPI and the backlog.
    Softirq,
}

/// The class of a function, if it belongs to one.
pub(super) fn class(symbol: &str) -> Option<Class> {
    let patterns = &*PATTERNS;
    if let Some(&class) = patterns.whole.get(symbol) {
        return Some(class);
    }
    let longest = symbol.len().min(patterns.longest);
    (1..=longest)
        .rev()
        .filter_map(|length| symbol.get(..length))
        .find_map(|prefix| patterns.beginnings.get(prefix).copied())
}

/// Whether what is outside of this frame was interrupted by what is inside.
pub(super) fn is_interrupt_entry(symbol: &str) -> bool {
    symbol.starts_with("asm_sysvec_") || INTERRUPT_ENTRIES.contains(&symbol)
}

const INTERRUPT_ENTRIES: &[&str] = &[
    "asm_common_interrupt",
    "common_interrupt",
    "asm_exc_nmi",
    "el1_interrupt",
    "el0_interrupt",
    "el1_irq",
    "el0_irq",
    "handle_softirqs",
    "__do_softirq",
    // The name of __do_softirq where the linker's section mark has the same address.
    "__softirqentry_text_start",
];

struct Patterns {
    whole: HashMap<&'static str, Class>,
    beginnings: HashMap<&'static str, Class>,
    longest: usize,
}

static PATTERNS: LazyLock<Patterns> = LazyLock::new(|| {
    let mut patterns = Patterns {
        whole: HashMap::new(),
        beginnings: HashMap::new(),
        longest: 0,
    };
    for &(class, names) in LISTS {
        for name in names.split_ascii_whitespace() {
            match name.strip_suffix('*') {
                None => drop(patterns.whole.insert(name, class)),
                Some(beginning) => {
                    patterns.longest = patterns.longest.max(beginning.len());
                    patterns.beginnings.insert(beginning, class);
                }
            }
        }
    }
    patterns
});

const LISTS: &[(Class, &str)] = &[
    (
        Class::Driver,
        "virtnet_* start_xmit xmit_skb receive_buf \
         receive_mergeable receive_small free_old_xmit* try_fill_recv page_to_skb vhost_* handle_tx* handle_rx* tun_* tap_* \
         mlx4_* mlx5_* mlx5e_* e1000_* e1000e_* igb_* igc_* ixgbe_* ixgbevf_* i40e_* iavf_* ice_* \
         ena_* netvsc_* rndis_* mana_* bnxt_* bnx2x_* gve_* vmxnet3_* rtl8169_* rtl_* \
         tg3_* xennet_* stmmac_* nfp_* qede_* aq_ring_* atl_* cxgb4_* t4_* \
         loopback_xmit dummy_xmit bond_* team_* vlan_* macvlan_* ipvlan_* ifb_* vrf_*",
    ),
    (
        Class::GroGso,
        "dev_gro_* napi_gro_* inet_gro_* ipv6_gro_* tcp_gro_* tcp4_gro_* tcp6_gro_* udp_gro_* \
         udp4_gro_* udp6_gro_* skb_gro_* eth_gro_* gro_* napi_skb_finish napi_frags_* \
         skb_gso_* __skb_gso_* skb_mac_gso_* inet_gso_* ipv6_gso_* tcp_gso_segment tcp4_gso_* \
         tcp6_gso_* udp4_ufo_* udp6_ufo_* __udp_gso_* skb_segment* skb_udp_tunnel_segment \
         __skb_udp_tunnel_segment tcp_tso_segment",
    ),
    (
        Class::Bridge,
        "br_* __br_* nbp_* deliver_clone maybe_deliver should_deliver",
    ),
    (
        Class::Ovs,
        "ovs_* __ovs_* do_execute_actions clone_execute do_output key_extract key_extract_l3l4 \
         masked_flow_lookup flow_lookup queue_userspace_packet execute_recirc \
         execute_check_pkt_len internal_dev_*",
    ),
    (
        Class::Tunnel,
        "vxlan_* __vxlan_* geneve_* udp_tunnel_* udp_tunnel6_* setup_udp_tunnel_* ip_tunnel_* \
         __ip_tunnel_* iptunnel_* __iptunnel_* ip6_tnl_* ip6tunnel_* ip6_tunnel_* ip4ip6_* ipxip6_* \
         ipip_* sit_* ipip6_* tunnel4_* tunnel6_* gre_* __gre_* ipgre_* ip6gre_* erspan_* fou_* gue_* \
         wg_* lwtunnel_* xfrm_* __xfrm_* xfrm4_* xfrm6_* esp_* esp4_* esp6_* ah_*",
    ),
    (Class::Veth, "veth_* netkit_*"),
    (
        Class::Rules,
        "nf_* __nf_* nft_* __nft_* ipt_* ip6t_* iptable_* ip6table_* xt_* ebt_* br_nf_* nfnl_* nfnetlink_* \
         nfqnl_* nfulnl_* ip_set_* hash_ip* hash_net* set_match_v* set_target_v* ip_vs_* \
         tcp_mt udp_mt icmp_match multiport_mt comment_mt mark_mt mark_tg mark_tg6 addrtype_mt* \
         statistic_mt physdev_mt mac_mt limit_mt hashlimit_mt* tcpmss_tg4 tcpmss_tg6 reject_tg*",
    ),
    (
        Class::Conntrack,
        "nf_conntrack_* __nf_conntrack_* nf_ct_* __nf_ct_* nf_confirm* ipv4_confirm ipv6_confirm \
         ipv4_conntrack_* ipv6_conntrack_* resolve_normal_ct hash_conntrack* tcp_in_window \
         tcp_new tcp_error early_drop* gc_worker conntrack_mt* state_mt connmark_tg* connmark_mt* \
         nft_ct_* nft_connlimit_* nf_defrag_* nf_flow_* nf_conncount_*",
    ),
    (
        Class::Nat,
        "nf_nat_* __nf_nat_* l4proto_manip_pkt nf_xfrm_me_harder in_vrf_postrouting iptable_nat_* \
         ip6table_nat_* nft_nat_* nft_masq_* nft_redir_* xt_snat_* xt_dnat_* masquerade_tg* \
         redirect_tg* netmap_tg* get_unique_tuple hash_by_src find_best_ips_proto",
    ),
    (
        Class::BpfCalls,
        "bpf_trampoline_* bpf_dispatcher_* bpf_tramp_* __bpf_prog_* __bpf_tramp_* __cgroup_bpf_run* \
         bpf_trace_run* __bpf_trace_* bpf_prog_run* bpf_prog_test_run* bpf_test_run* xdp_do_* \
         do_xdp_generic* bpf_prog_run_generic_xdp skb_do_redirect cls_bpf_classify",
    ),
    (
        Class::Ip,
        "ip_* __ip_* ip6_* __ip6_* ipv4_* ipv6_* __ipv6_* ip4_* fib_* __fib_* fib4_* fib6_* rt6_* \
         rt_cache_* rt_dst_* rt_set_nexthop rt_add_uncached_list rt_del_uncached_list __mkroute_* inet_rtm_* inet_forward* inet_addr_* inet6_rt* dst_* neigh_* __neigh_* \
         arp_* ndisc_* icmp_* __icmp_* icmpv6_* icmp6_* raw_local_deliver raw_rcv* raw_v4_* raw_sendmsg raw_recvmsg rawv6_* raw6_* igmp_* mld_* inetpeer_* \
         find_exception fou_build_header",
    ),
    (
        Class::Tcp,
        "tcp_* __tcp_* tcp4_* tcp6_* inet_csk_* __inet_csk_* inet6_csk_* inet_twsk_* __inet_lookup* \
         __inet6_lookup* inet_lookup* inet6_lookup* inet_ehash* __inet_hash* inet_hash* __inet_inherit_* \
         inet_put_port cubictcp_* bictcp_* bbr_* dctcp_* mptcp_* __mptcp_* reqsk_* sk_stream_* \
         tls_* __inet_stream_connect",
    ),
    (
        Class::Udp,
        "udp_* __udp_* udp4_* __udp4_* udp6_* __udp6_* udpv6_* __udpv6_* udplite_* \
         __skb_recv_udp first_packet_length __first_packet_length",
    ),
    (
        Class::Qdisc,
        "dev_queue_xmit* __dev_queue_xmit dev_hard_start_xmit xmit_one dev_direct_xmit __dev_direct_xmit \
         validate_xmit_skb* sch_* qdisc_* __qdisc_* pfifo_* fq_* bfifo_* codel_* htb_* tbf_* hfsc_* \
         netem_* prio_enqueue prio_dequeue cake_* tcf_* __tcf_* tc_run tcx_run tcf_classify fl_classify \
         mall_classify u32_classify netdev_core_pick_tx netdev_pick_tx skb_tx_hash \
         netif_skb_features dql_*",
    ),
    (
        Class::Socket,
        "sock_* __sock_* sk_* __sk_* release_sock lock_sock_* __lock_sock* __release_sock \
         __sys_send* __sys_recv* ___sys_send* ___sys_recv* ____sys_send* ____sys_recv* do_recvmmsg \
         __sys_connect __sys_accept4 do_accept __sys_bind __sys_socket inet_sendmsg inet6_sendmsg \
         inet_recvmsg inet6_recvmsg inet_send_prepare inet_stream_connect inet_accept inet_release \
         inet_create datagram_* __skb_wait_for_more_packets __skb_recv_datagram skb_recv_datagram \
         do_epoll_* ep_* __ep_* __x64_sys_epoll_* do_sys_poll do_select unix_* netlink_* __netlink_* packet_* \
         tpacket_* prb_* dev_queue_xmit_nit deliver_ptype_list_skb xsk_* __xsk_* sctp_*",
    ),
    (
        Class::Scheduler,
        "__schedule schedule schedule_* __cond_resched preempt_schedule* try_to_wake_up ttwu_* \
         sched_ttwu_* default_wake_function __wake_up* wake_up_* autoremove_wake_function \
         pick_next_task* enqueue_task* dequeue_task* finish_task_switch __switch_to* \
         select_task_rq* scheduler_tick sched_tick sched_balance_* load_balance rebalance_domains \
         run_rebalance_domains newidle_balance update_blocked_averages",
    ),
    (
        Class::Copy,
        "_copy_from_iter* _copy_to_iter* __skb_datagram_iter skb_copy_datagram_* \
         skb_copy_and_csum_* csum_and_copy_* simple_copy_to_iter ip_generic_getfrag \
         skb_do_copy_data_nocache skb_copy_to_page_nocache skb_add_data_nocache \
         copy_page_to_iter copy_page_from_iter",
    ),
    (
        Class::Buffer,
        "__alloc_skb alloc_skb_* napi_alloc_* __napi_alloc_* __netdev_alloc_* netdev_alloc_* \
         build_skb __build_skb* napi_build_skb __napi_build_skb kfree_skb* __kfree_skb consume_skb \
         __consume_* napi_consume_skb skb_release_* skb_free_* skb_attempt_defer_free \
         skb_defer_free_flush __napi_kfree_* napi_skb_cache_* kfree_skbmem page_pool_* __page_pool_* \
         dev_kfree_skb_*",
    ),
    (
        Class::Softirq,
        "handle_softirqs __do_softirq __softirqentry_text_start do_softirq do_softirq_own_stack \
         run_ksoftirqd __irq_exit_rcu net_rx_action net_tx_action napi_poll __napi_poll \
         napi_schedule* __napi_schedule* napi_complete* process_backlog raise_softirq* \
         __raise_softirq_irqoff netif_receive_skb* __netif_receive_skb* netif_rx* __netif_rx* \
         enqueue_to_backlog napi_threaded_poll* flush_backlog net_rps_* get_rps_cpu",
    ),
];
