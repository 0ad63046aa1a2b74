//! Chains of programs: ours is first, others stay, and nothing of ours stays behind.

use aya::programs::{Link, LinkOrder, SchedClassifier, TcAttachType, tc::TcAttachOptions};
use probe_user::{
    attach::{Followers, HANDLE, TcPath},
    interfaces::netlink::Netlink,
    loader::program,
    sampler::{Sample, Sampler},
};
use trace_schema::{
    ledger::Vantage,
    snat::{Method, SnatRow},
};

use crate::place::{
    Cgroup, Programs, add_filter, chosen, config, in_namespace, send, send_from, sh,
};

/// Another's program on `near`'s egress: one of our own object's, loaded a second time.
fn attach_other(other: &mut Programs, order: LinkOrder) {
    program::<SchedClassifier>(other.hooks.ebpf_mut(), "uplink_egress")
        .expect("a program")
        .attach_with_options(
            "near",
            TcAttachType::Egress,
            TcAttachOptions::TcxOrder(order),
        )
        .expect("a tcx link");
}

fn id(programs: &mut Programs) -> u32 {
    let found = program::<SchedClassifier>(programs.hooks.ebpf_mut(), "uplink_egress");
    found
        .expect("a program")
        .info()
        .expect("its description")
        .id()
}

fn netlink() -> Netlink {
    Netlink::open().expect("rtnetlink")
}

/// Interfaces on which hooks had to be put back at the head.
fn moved(programs: &mut Programs) -> Vec<String> {
    let moved = programs.hooks.keep_first(&mut netlink());
    let moved = moved.expect("chains").into_iter();
    let back = moved.map(|(interface, outcome)| outcome.map(|()| interface));
    back.collect::<Result<_, _>>().expect("hooks at the head")
}

/// Programs of the egress chain in their order.
fn chain() -> Vec<u32> {
    let (_, programs) =
        SchedClassifier::query_tcx("near", TcAttachType::Egress).expect("a tcx chain");
    programs
        .iter()
        .map(aya::programs::ProgramInfo::id)
        .collect()
}

#[test]
fn ours_is_first_of_a_tcx_chain_and_the_others_go_on() {
    in_namespace(|| {
        let (mut before, mut after) = (Programs::load(TcPath::Tcx), Programs::load(TcPath::Tcx));
        attach_other(&mut before, LinkOrder::first());
        let mut ours = Programs::load(TcPath::Tcx);
        let index = ours.attach("near");
        assert_eq!(ours.hooks.standing(index, false).followers, Followers::Some);
        attach_other(&mut after, LinkOrder::last());
        let order = [id(&mut ours), id(&mut before), id(&mut after)];
        assert_eq!(chain(), order);
        assert!(moved(&mut ours).is_empty());
        send(100);
        assert_eq!(
            [ours.counted(), before.counted(), after.counted()],
            [100; 3]
        );

        ours.hooks.detach_interfaces();
        assert_eq!(chain(), order[1..]);
        send(10);
        assert_eq!(
            [ours.counted(), before.counted(), after.counted()],
            [0, 10, 10]
        );
    });
}

#[test]
fn ours_comes_back_to_the_head_when_another_goes_before_it() {
    in_namespace(|| {
        let mut ours = Programs::load(TcPath::Tcx);
        let index = ours.attach("near");
        assert_eq!(ours.hooks.standing(index, false).followers, Followers::None);
        let mut other = Programs::load(TcPath::Tcx);
        attach_other(&mut other, LinkOrder::first());
        send(50);
        assert_eq!(chain(), [id(&mut other), id(&mut ours)]);
        assert_eq!(moved(&mut ours), ["near"]);
        assert_eq!(chain(), [id(&mut ours), id(&mut other)]);
        assert!(moved(&mut ours).is_empty());
        assert_eq!(ours.hooks.standing(index, false).followers, Followers::Some);
        send(50);
        assert_eq!([ours.counted(), other.counted()], [100; 2]);
        let hooks = ours.hooks.attached().len();
        assert_eq!(hooks, 2, "one at each direction");
    });
}

/// Twenty flows leave a pod; what the sampler says of them.
fn interval(sampler: &mut Sampler, pod: &Cgroup) -> (Sample, Vec<SnatRow>) {
    send_from(pod, 20);
    let sample = sampler.close_interval().expect("an interval");
    let rows = sample.snat.iter();
    let rows = rows.filter(|row| row.post.dst_address == "192.0.2.9" && row.post.dst_port == 9);
    let rows = rows.cloned().collect::<Vec<_>>();
    // The kernel may give one port twice.
    assert!((18..=20).contains(&rows.len()), "{rows:?}");
    (sample, rows)
}

fn are_paired(rows: &[SnatRow]) -> bool {
    let mut paired = rows.iter().map(|row| {
        let own = row.pre.as_ref() == Some(&row.post) && row.translated == Some(false);
        row.method == Method::Fingerprint && own
    });
    let first = paired.next().expect("rows");
    assert!(paired.all(|one| one == first), "{rows:?}");
    first
}

#[test]
fn a_program_that_comes_in_behind_ours_makes_what_left_meanwhile_doubtful() {
    in_namespace(|| {
        let pod = Cgroup::new("doubt");
        let mut sampler = Sampler::start(config(&pod)).expect("a sampler");
        assert!(!sampler.has_wire(), "nothing follows");
        assert!(are_paired(&interval(&mut sampler, &pod).1));

        let mut other = Programs::load(TcPath::Tcx);
        attach_other(&mut other, LinkOrder::last());
        let (sample, rows) = interval(&mut sampler, &pod);
        assert!(!are_paired(&rows), "it may have translated them");
        let missed = sample
            .ledger
            .iter()
            .filter(|row| row.vantage == Vantage::Wire);
        assert!(missed.map(|row| row.pairing_missed).sum::<i64>() >= 18);
        assert!(sampler.has_wire());
        let (_, rows) = interval(&mut sampler, &pod);
        assert!(
            !are_paired(&rows),
            "some may have left before the wire took over"
        );
        assert!(are_paired(&interval(&mut sampler, &pod).1));

        drop(other);
        assert!(are_paired(&interval(&mut sampler, &pod).1));
        assert!(!sampler.has_wire(), "nothing follows any more");
        assert!(are_paired(&interval(&mut sampler, &pod).1));
        sampler.stop();
    });
}

/// Filters on `near`, as tc lists them.
fn filters(direction: &str) -> String {
    sh(&format!("tc filter show dev near {direction}"))
}

fn has_ours(direction: &str) -> bool {
    filters(direction).contains(&format!("pref 1 bpf chain 0 handle {HANDLE:#x}"))
}

#[test]
fn below_tcx_ours_is_the_first_filter_and_nothing_else_is_touched() {
    in_namespace(|| {
        sh("tc qdisc add dev near clsact");
        let _other = add_filter(TcAttachType::Egress, 5);
        let mut ours = Programs::load(TcPath::Netlink);
        let index = ours.attach("near");
        assert!(
            has_ours("egress") && has_ours("ingress"),
            "{}",
            filters("egress")
        );
        assert!(filters("egress").find("pref 1 ") < filters("egress").find("pref 5 "));
        assert_eq!(ours.hooks.standing(index, true).followers, Followers::Some);
        assert_eq!(ours.hooks.standing(index, false).followers, Followers::None);
        assert!(moved(&mut ours).is_empty());
        send(100);
        assert_eq!(ours.counted(), 100);

        ours.hooks.detach_interfaces();
        assert!(
            !has_ours("egress") && !has_ours("ingress"),
            "{}",
            filters("egress")
        );
        assert!(
            filters("egress").contains("pref 5 bpf chain 0 handle 0x9"),
            "the other filter stays"
        );
        assert!(
            sh("tc qdisc show dev near").contains("clsact"),
            "the qdisc stays"
        );
        send(10);
        assert_eq!(ours.counted(), 0);
    });
}

/// Where our filter and the other stand at the egress.
fn places() -> [Option<usize>; 2] {
    let filters = filters("egress");
    [HANDLE, 9].map(|handle| filters.find(&format!("pref 1 bpf chain 0 handle {handle:#x} ")))
}

#[test]
fn below_tcx_ours_comes_back_when_another_goes_before_it_or_takes_it_off() {
    in_namespace(|| {
        let mut ours = Programs::load(TcPath::Netlink);
        ours.attach("near");
        // At ours' own priority, as Cilium does it.
        let other = add_filter(TcAttachType::Egress, 1);
        let [own, others] = places();
        assert!(others.is_some() && others < own, "{}", filters("egress"));
        let mut keep_first = || moved(&mut ours);
        assert_eq!(keep_first(), ["near"]);
        let [own, others] = places();
        assert!(own.is_some() && own < others, "{}", filters("egress"));
        assert!(keep_first().is_empty());

        sh("tc filter del dev near egress");
        assert!(!has_ours("egress") && has_ours("ingress"));
        assert_eq!(keep_first(), ["near"]);
        assert!(has_ours("egress") && has_ours("ingress"));
        sh("tc qdisc del dev near clsact");
        assert_eq!(keep_first(), ["near"]);
        assert!(has_ours("egress") && has_ours("ingress"));
        send(100);
        assert_eq!(ours.counted(), 100);
        assert_eq!(ours.hooks.attached().len(), 2, "one at each direction");
        // It went with the filters that were deleted.
        assert!(other.detach().is_err());
    });
}

#[test]
fn a_filter_that_a_killed_probe_left_is_replaced() {
    in_namespace(|| {
        let mut killed = Programs::load(TcPath::Netlink);
        killed.attach("near");
        let mut ours = Programs::load(TcPath::Netlink);
        ours.attach("near");
        assert_eq!(
            filters("egress").matches("handle").count(),
            1,
            "{}",
            filters("egress")
        );
        send(20);
        assert_eq!([ours.counted(), killed.counted()], [20, 0]);
        ours.hooks.detach_interfaces();
        assert!(!filters("egress").contains("bpf"), "{}", filters("egress"));
        assert!(
            sh("tc qdisc show dev near").contains("clsact"),
            "the qdisc stays"
        );
    });
}

#[test]
fn filters_of_others_at_the_egress_are_seen() {
    in_namespace(|| {
        let mut netlink = Netlink::open().expect("rtnetlink");
        let index = chosen("near").link.index;
        let mut others = || {
            netlink
                .has_other_egress_filters(index, HANDLE)
                .expect("a list of filters")
        };
        assert!(!others(), "there is no clsact");
        sh("tc qdisc add dev near clsact");
        assert!(!others());
        let at_ingress = add_filter(TcAttachType::Ingress, 5);
        assert!(!others(), "a filter at the ingress is none at the egress");
        let mut ours = Programs::load(TcPath::Netlink);
        ours.attach("near");
        assert!(!others(), "ours does not count");
        for priority in [1, 7] {
            let other = add_filter(TcAttachType::Egress, priority);
            assert!(others(), "priority {priority}");
            other.detach().expect("a filter that goes");
            assert!(!others(), "priority {priority} is gone");
        }
        sh("tc filter add dev near egress pref 9 protocol ip u32 match ip dst 192.0.2.0/24");
        assert!(others(), "a filter of another kind");
        drop(at_ingress);
    });
}

#[test]
fn where_one_direction_cannot_be_hooked_neither_is() {
    in_namespace(|| {
        sh("tc qdisc add dev near clsact");
        // The first priority belongs to a filter of another kind, so that ours finds no place.
        sh("tc filter add dev near egress pref 1 protocol ip u32 match ip dst 192.0.2.0/24");
        let mut ours = Programs::load(TcPath::Netlink);
        let error = ours
            .hooks
            .attach(&chosen("near"))
            .expect_err("no place at the egress");
        assert!(
            error
                .to_string()
                .contains("uplink_egress to the interface near"),
            "{error}"
        );
        assert!(!has_ours("ingress"), "{}", filters("ingress"));
        assert_eq!(ours.hooks.attached(), []);
        assert!(
            filters("egress").contains("pref 1 u32"),
            "the other filter stays"
        );
    });
}
