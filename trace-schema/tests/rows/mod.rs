//! Any row of any table, for property tests: every field takes every kind of value, absent too.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use trace_schema::cpu::{CpuRow, CpuScope, CycleSource};
use trace_schema::flows::{Direction, FlowRow, NatState};
use trace_schema::http::{HttpRow, HttpVersion};
use trace_schema::ledger::{Count, LedgerRow, Vantage};
use trace_schema::objects::{ObjectEvent, ObjectRow};
use trace_schema::profile::{ProfileEvent, ProfileMode, ProfileRow};
use trace_schema::resources::{ResourceRow, ResourceScope};
use trace_schema::snat::{Method, SnatRow, Tuple, Witness};
use trace_schema::{Named, Record};

pub fn flows() -> impl Strategy<Value = Vec<FlowRow>> {
    let place = (
        text(),
        text(),
        named::<Vantage>(),
        option::of(text()),
        named::<Direction>(),
    );
    let pod = (
        named::<NatState>(),
        option::of(text()),
        option::of(text()),
        option::of(number()),
    );
    let tuple = (text(), tuple(), option::of(text()));
    let sums = [number(), number(), number(), number()];
    let tcp = (any::<i32>(), [(); 4].map(|()| option::of(number())));
    let row = ([(); 4].map(|()| time()), place, pod, tuple, sums, tcp);
    let row = row.prop_map(|(times, place, pod, tuple, sums, tcp)| FlowRow {
        interval_start_us: times[0],
        interval_end_us: times[1],
        node: place.0,
        boot_id: place.1,
        vantage: place.2,
        nat_state: pod.0,
        interface: place.3,
        direction: place.4,
        pod_uid: pod.1,
        container_id: pod.2,
        cgroup_id: pod.3,
        protocol: tuple.0,
        src_address: tuple.1.src_address,
        dst_address: tuple.1.dst_address,
        src_port: tuple.1.src_port,
        dst_port: tuple.1.dst_port,
        encapsulation: tuple.2,
        bytes: sums[0],
        packets: sums[1],
        buffers: sums[2],
        buffer_bytes: sums[3],
        tcp_flags: tcp.0,
        srtt_us: tcp.1[0],
        min_rtt_us: tcp.1[1],
        retransmits: tcp.1[2],
        cwnd_segments: tcp.1[3],
        first_seen_us: times[2],
        last_seen_us: times[3],
    });
    vec(row, 0..20)
}

pub fn cpus() -> impl Strategy<Value = Vec<CpuRow>> {
    let whose = (named::<CpuScope>(), option::of(number()));
    let texts = [(); 5].map(|()| option::of(text()));
    let sums = (number(), number(), option::of(number()));
    let row = (
        [time(), time()],
        [text(), text()],
        whose,
        texts,
        sums,
        named::<CycleSource>(),
    );
    let row = row.prop_map(|(times, [node, boot_id], whose, texts, sums, source)| {
        let [cgroup_path, pod_uid, container_id, command, vector] = texts;
        CpuRow {
            interval_start_us: times[0],
            interval_end_us: times[1],
            node,
            boot_id,
            scope: whose.0,
            cgroup_id: whose.1,
            cgroup_path,
            pod_uid,
            container_id,
            command,
            vector,
            events: sums.0,
            cpu_ns: sums.1,
            cycles: sums.2,
            cycle_source: source,
        }
    });
    vec(row, 0..20)
}

pub fn resources() -> impl Strategy<Value = Vec<ResourceRow>> {
    let whose = (
        named::<ResourceScope>(),
        option::of(number()),
        option::of(any::<i32>()),
    );
    let texts = [(); 3].map(|()| option::of(text()));
    let sums = (
        [(); 6].map(|()| option::of(number())),
        [(); 7].map(|()| option::of(number())),
    );
    let row = ([time(), time()], [text(), text()], whose, texts, sums);
    let row = row.prop_map(|(times, [node, boot_id], whose, texts, (cpu, rest))| {
        let [cgroup_path, pod_uid, container_id] = texts;
        ResourceRow {
            interval_start_us: times[0],
            interval_end_us: times[1],
            node,
            boot_id,
            scope: whose.0,
            cgroup_id: whose.1,
            cgroup_path,
            pod_uid,
            container_id,
            cpus: whose.2,
            cpu_ns: cpu[0],
            cpu_user_ns: cpu[1],
            cpu_system_ns: cpu[2],
            cpu_softirq_ns: cpu[3],
            cpu_steal_ns: cpu[4],
            cpu_throttled_ns: cpu[5],
            memory_bytes: rest[0],
            memory_working_set_bytes: rest[1],
            memory_limit_bytes: rest[2],
            cpu_some_pressure_us: rest[3],
            memory_some_pressure_us: rest[4],
            memory_full_pressure_us: rest[5],
            io_some_pressure_us: rest[6],
        }
    });
    vec(row, 0..20)
}

pub fn profiles() -> impl Strategy<Value = Vec<ProfileRow>> {
    let what = (
        named::<ProfileEvent>(),
        named::<ProfileMode>(),
        any::<i32>(),
        option::of(number()),
    );
    let texts = [(); 3].map(|()| option::of(text()));
    let row = (
        [time(), time()],
        [(); 4].map(|()| text()),
        what,
        texts,
        number(),
    );
    let row = row.prop_map(|(times, required, what, texts, samples)| {
        let [node, boot_id, command, stack] = required;
        let [cgroup_path, pod_uid, container_id] = texts;
        ProfileRow {
            interval_start_us: times[0],
            interval_end_us: times[1],
            node,
            boot_id,
            event: what.0,
            frequency_hz: what.2,
            mode: what.1,
            cgroup_id: what.3,
            cgroup_path,
            pod_uid,
            container_id,
            command,
            stack,
            samples,
        }
    });
    vec(row, 0..20)
}

pub fn https() -> impl Strategy<Value = Vec<HttpRow>> {
    let place = [(); 4].map(|()| text());
    let pod = (option::of(text()), option::of(text()), number());
    let what = (
        any::<i32>(),
        named::<HttpVersion>(),
        option::of(any::<i32>()),
    );
    let buckets = vec((number(), number(), number()), 0..5);
    let row = ([time(), time()], place, pod, what, number(), buckets);
    let row = row.prop_map(|(times, place, pod, what, responses, buckets)| {
        let [node, boot_id, local_address, peer_address] = place;
        HttpRow {
            interval_start_us: times[0],
            interval_end_us: times[1],
            node,
            boot_id,
            pod_uid: pod.0,
            container_id: pod.1,
            cgroup_id: pod.2,
            local_address,
            local_port: what.0,
            peer_address,
            version: what.1,
            status: what.2,
            responses,
            latency_lower_us: buckets.iter().map(|bucket| bucket.0).collect(),
            latency_upper_us: buckets.iter().map(|bucket| bucket.1).collect(),
            latency_responses: buckets.iter().map(|bucket| bucket.2).collect(),
        }
    });
    vec(row, 0..20)
}

pub fn ledgers() -> impl Strategy<Value = Vec<LedgerRow>> {
    let place = (
        text(),
        text(),
        named::<Vantage>(),
        option::of(text()),
        option::of(text()),
    );
    let direction = option::of(named::<Direction>());
    let counts = [(); 4].map(|()| count());
    let kernel = [(); 6].map(|()| option::of(number()));
    let losses = [(); 8].map(|()| number());
    let row = (
        [time(), time()],
        place,
        direction,
        counts,
        any::<i32>(),
        kernel,
        losses,
    );
    let row = row.prop_map(
        |(times, place, direction, counts, header, kernel, losses)| LedgerRow {
            interval_start_us: times[0],
            interval_end_us: times[1],
            node: place.0,
            boot_id: place.1,
            vantage: place.2,
            interface: place.3,
            direction,
            counted: counts[0],
            overflow: counts[1],
            non_ip: counts[2],
            ip_unparsed: counts[3],
            link_header_bytes: header,
            virtual_function: place.4,
            kernel_packets: kernel[0],
            kernel_bytes: kernel[1],
            boundary_packets: kernel[2],
            boundary_bytes: kernel[3],
            dropped_behind_packets: kernel[4],
            pairing_missed: losses[0],
            pairing_ambiguous: losses[1],
            pairing_overflow: losses[2],
            http_unparsed: losses[6],
            ring_drops: losses[3],
            hook_misses: kernel[5],
            map_entries: losses[4],
            map_capacity: losses[5],
            spool_dropped_rows: losses[7],
        },
    );
    vec(row, 0..20)
}

pub fn objects() -> impl Strategy<Value = Vec<ObjectRow>> {
    let texts = [(); 6].map(|()| text());
    let row = (
        time(),
        named::<ObjectEvent>(),
        texts,
        option::of(text()),
        "\\PC{0,40}",
    );
    let row = row.prop_map(|(observed_at_us, event, texts, namespace, object)| {
        let [api_version, kind, name, uid, resource_version, _] = texts;
        ObjectRow {
            observed_at_us,
            event,
            api_version,
            kind,
            namespace,
            name,
            uid,
            resource_version,
            object,
        }
    });
    vec(row, 0..20)
}

pub fn snats() -> impl Strategy<Value = Vec<SnatRow>> {
    let place = [(); 4].map(|()| text());
    let pairing = (option::of(tuple()), tuple(), option::of(any::<bool>()));
    let how = (
        named::<Method>(),
        named::<Witness>(),
        (number(), number()),
        option::of(any::<i32>()),
    );
    let row = ([(); 4].map(|()| time()), place, pairing, how);
    let row = row.prop_map(|(times, place, (pre, post, translated), how)| {
        let [node, boot_id, interface, protocol] = place;
        SnatRow {
            interval_start_us: times[0],
            interval_end_us: times[1],
            node,
            boot_id,
            interface,
            protocol,
            pre,
            post,
            translated,
            method: how.0,
            witness: how.1,
            first_seen_us: times[2],
            last_seen_us: times[3],
            packets: how.2.0,
            buffers: how.2.1,
            packets_until_paired: how.3,
        }
    });
    vec(row, 0..20)
}

/// Rows as a batch and back.
pub fn through_batch<R: Record>(rows: &[R]) -> Vec<R> {
    let batch = R::to_batch(rows).expect("rows are encoded");
    assert_eq!(batch.schema(), R::arrow_schema());
    R::from_batch(&batch).expect("the batch is decoded")
}

fn named<N: Named + std::fmt::Debug>() -> impl Strategy<Value = N> {
    let values = N::NAMES.iter().map(|(value, _)| *value).collect::<Vec<_>>();
    prop::sample::select(values)
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9.:/-]{0,12}", "\\PC{0,6}"]
}

fn time() -> impl Strategy<Value = i64> {
    prop_oneof![
        any::<i64>(),
        1_700_000_000_000_000_i64..1_900_000_000_000_000
    ]
}

fn number() -> impl Strategy<Value = i64> + Clone {
    prop_oneof![any::<i64>(), 0_i64..10_000]
}

fn tuple() -> impl Strategy<Value = Tuple> {
    (text(), text(), any::<i32>(), any::<i32>()).prop_map(
        |(src_address, dst_address, src_port, dst_port)| Tuple {
            src_address,
            dst_address,
            src_port,
            dst_port,
        },
    )
}

fn count() -> impl Strategy<Value = Count> {
    [(); 4]
        .map(|()| number())
        .prop_map(|[packets, bytes, buffers, buffer_bytes]| Count {
            packets,
            bytes,
            buffers,
            buffer_bytes,
        })
}
