-- How small can flows and snat become without another verdict?
--
-- Reads flows and snat of {dataset} and writes them anew to {output}: what a flow did in unbroken
-- intervals of one minute becomes one row. Packets, bytes and flags are added up, first and last
-- packet kept. Rows stay apart where a connection was opened, where a run began or ended, and
-- wherever a pod's flow was not at the same wires throughout, so that leaks, holes and failovers
-- are told as before. Only bytes of a connection that lives through a change of policy are divided
-- by the time of a row, which is now longer.
--
-- The other tables are small beside these: first copy objects, ledger, http, cpu, resources, profile
-- and runs to {output} as they are. Then `weighbridge egress`, `split` and `cost` read it as any
-- dataset. The column schema_version stands for the metadata of a probe's files: by which version
-- these rows are to be read. Run it while no probe merges files, with {engine} or later.
{settings}

CREATE OR REPLACE {temporary} edges AS
SELECT edge_us FROM (VALUES {edges}) AS run (edge_us);

CREATE OR REPLACE {temporary} slots AS
WITH told AS (
    SELECT node, interval_start_us, interval_end_us FROM {flows}
    UNION
    SELECT node, interval_start_us, interval_end_us FROM {snat}
),
placed AS (
    SELECT
        node,
        interval_start_us,
        interval_end_us,
        max(edge_us) FILTER (WHERE edge_us <= {epoch_us}(interval_start_us)) AS edge_before_us,
        count(edge_us) FILTER (
            WHERE edge_us > {epoch_us}(interval_start_us) AND edge_us < {epoch_us}(interval_end_us)
        ) AS edges_within
    FROM told
    CROSS JOIN edges
    GROUP BY node, interval_start_us, interval_end_us
),
slotted AS (
    SELECT
        node,
        interval_start_us,
        interval_end_us,
        CASE
            WHEN edges_within > 0 THEN {epoch_us}(interval_start_us)
            ELSE greatest(
                {epoch_us}(interval_start_us) {div} 60000000 * 60000000,
                coalesce(edge_before_us, 0)
            )
        END AS slot_us
    FROM placed
)
SELECT
    *,
    min(interval_start_us) OVER (PARTITION BY node, slot_us) AS slot_start_us,
    max(interval_end_us) OVER (PARTITION BY node, slot_us) AS slot_end_us
FROM slotted;

-- Where each flow was at wires, slot by slot: whether in one unbroken stretch at each, and the time in
-- which it was at all of them.
CREATE OR REPLACE {temporary} crossings AS
WITH told AS (
    SELECT
        slots.slot_us,
        wire.node,
        wire.interface,
        wire.protocol,
        coalesce(wire.pre_src_address, wire.post_src_address) AS src_address,
        coalesce(wire.pre_dst_address, wire.post_dst_address) AS dst_address,
        coalesce(wire.pre_src_port, wire.post_src_port) AS src_port,
        coalesce(wire.pre_dst_port, wire.post_dst_port) AS dst_port,
        wire.post_src_address,
        wire.post_src_port,
        wire.interval_start_us,
        wire.interval_end_us,
        greatest(wire.first_seen_us, wire.interval_start_us) AS from_us,
        wire.last_seen_us AS to_us
    FROM {snat} AS wire
    JOIN slots
        ON slots.node = wire.node
        AND slots.interval_start_us = wire.interval_start_us
        AND slots.interval_end_us = wire.interval_end_us
),
followed AS (
    SELECT
        *,
        coalesce(
            2 * ({epoch_us}(interval_start_us) - {epoch_us}(lag(interval_end_us) OVER earlier))
            > {epoch_us}(interval_end_us) - {epoch_us}(interval_start_us),
            TRUE
        ) AS is_new
    FROM told
    WINDOW earlier AS (
        PARTITION BY
            slot_us, node, interface, protocol, src_address, dst_address, src_port, dst_port,
            post_src_address, post_src_port
        ORDER BY interval_start_us
    )
),
wires AS (
    SELECT
        slot_us,
        protocol,
        src_address,
        dst_address,
        src_port,
        dst_port,
        count(*) FILTER (WHERE is_new) AS stretches,
        min(from_us) AS from_us,
        max(to_us) AS to_us
    FROM followed
    GROUP BY
        slot_us, node, interface, protocol, src_address, dst_address, src_port, dst_port,
        post_src_address, post_src_port
)
SELECT
    slot_us,
    protocol,
    src_address,
    dst_address,
    src_port,
    dst_port,
    sum(stretches) = count(*) AS is_unbroken,
    max(from_us) AS from_us,
    min(to_us) AS to_us
FROM wires
GROUP BY slot_us, protocol, src_address, dst_address, src_port, dst_port;

CREATE OR REPLACE TEMPORARY VIEW fewer_flows AS
WITH left_node AS (
    SELECT DISTINCT protocol, src_address, dst_address, src_port, dst_port FROM crossings
),
told AS (
    SELECT
        flow.*,
        slots.slot_us,
        slots.slot_start_us,
        slots.slot_end_us
    FROM {flows} AS flow
    JOIN slots
        ON slots.node = flow.node
        AND slots.interval_start_us = flow.interval_start_us
        AND slots.interval_end_us = flow.interval_end_us
),
followed AS (
    SELECT
        *,
        coalesce(
            2 * ({epoch_us}(interval_start_us) - {epoch_us}(lag(interval_end_us) OVER earlier))
            > {epoch_us}(interval_end_us) - {epoch_us}(interval_start_us),
            TRUE
        ) AS is_apart,
        min(interval_end_us) OVER slot AS first_end_us,
        max(interval_start_us) OVER slot AS last_start_us
    FROM told
    WINDOW
        slot AS (
            PARTITION BY
                node, slot_us, boot_id, vantage, nat_state, interface, direction, pod_uid,
                container_id, cgroup_id, protocol, src_address, dst_address, src_port, dst_port,
                encapsulation
        ),
        earlier AS (
            PARTITION BY
                node, slot_us, boot_id, vantage, nat_state, interface, direction, pod_uid,
                container_id, cgroup_id, protocol, src_address, dst_address, src_port, dst_port,
                encapsulation
            ORDER BY interval_start_us
        )
),
held AS (
    SELECT
        followed.*,
        followed.is_apart
        OR (followed.protocol = 'tcp' AND followed.tcp_flags & 2 <> 0)
        OR (
            followed.vantage = 'pod'
            AND followed.direction = 'egress'
            AND left_node.protocol IS NOT NULL
            AND NOT coalesce(
                crossings.is_unbroken
                AND crossings.from_us <= followed.first_end_us
                AND crossings.to_us >= followed.last_start_us,
                FALSE
            )
        ) AS is_new
    FROM followed
    LEFT JOIN left_node
        ON left_node.protocol = followed.protocol
        AND left_node.src_address = followed.src_address
        AND left_node.dst_address = followed.dst_address
        AND left_node.src_port = followed.src_port
        AND left_node.dst_port = followed.dst_port
    LEFT JOIN crossings
        ON crossings.slot_us = followed.slot_us
        AND crossings.protocol = followed.protocol
        AND crossings.src_address = followed.src_address
        AND crossings.dst_address = followed.dst_address
        AND crossings.src_port = followed.src_port
        AND crossings.dst_port = followed.dst_port
),
numbered AS (
    SELECT
        *,
        sum(CASE WHEN is_new THEN 1 ELSE 0 END) OVER (
            PARTITION BY
                node, slot_us, boot_id, vantage, nat_state, interface, direction, pod_uid,
                container_id, cgroup_id, protocol, src_address, dst_address, src_port, dst_port,
                encapsulation
            ORDER BY interval_start_us
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS part
    FROM held
)
SELECT
    slot_start_us AS interval_start_us,
    slot_end_us AS interval_end_us,
    node,
    boot_id,
    vantage,
    nat_state,
    interface,
    direction,
    pod_uid,
    container_id,
    cgroup_id,
    protocol,
    src_address,
    dst_address,
    src_port,
    dst_port,
    encapsulation,
    CAST(sum(bytes) AS BIGINT) AS bytes,
    CAST(sum(packets) AS BIGINT) AS packets,
    CAST(sum(buffers) AS BIGINT) AS buffers,
    CAST(sum(buffer_bytes) AS BIGINT) AS buffer_bytes,
    CAST(bit_or(tcp_flags) AS INTEGER) AS tcp_flags,
    max_by(srtt_us, last_seen_us) FILTER (WHERE srtt_us IS NOT NULL) AS srtt_us,
    max_by(min_rtt_us, last_seen_us) FILTER (WHERE min_rtt_us IS NOT NULL) AS min_rtt_us,
    max_by(retransmits, last_seen_us) FILTER (WHERE retransmits IS NOT NULL) AS retransmits,
    max_by(cwnd_segments, last_seen_us) FILTER (WHERE cwnd_segments IS NOT NULL) AS cwnd_segments,
    min(first_seen_us) AS first_seen_us,
    max(last_seen_us) AS last_seen_us,
    CAST({schema_version} AS INTEGER) AS schema_version,
    CAST(CAST(slot_start_us AS DATE) AS STRING) AS date
FROM numbered
GROUP BY
    node, slot_us, slot_start_us, slot_end_us, boot_id, vantage, nat_state, interface, direction,
    pod_uid, container_id, cgroup_id, protocol, src_address, dst_address, src_port, dst_port,
    encapsulation, part;

CREATE OR REPLACE TEMPORARY VIEW fewer_snat AS
WITH told AS (
    SELECT
        wire.*,
        slots.slot_us
    FROM {snat} AS wire
    JOIN slots
        ON slots.node = wire.node
        AND slots.interval_start_us = wire.interval_start_us
        AND slots.interval_end_us = wire.interval_end_us
),
followed AS (
    SELECT
        *,
        coalesce(
            2 * ({epoch_us}(interval_start_us) - {epoch_us}(lag(interval_end_us) OVER earlier))
            > {epoch_us}(interval_end_us) - {epoch_us}(interval_start_us),
            TRUE
        ) AS is_new
    FROM told
    WINDOW earlier AS (
        PARTITION BY
            node, slot_us, boot_id, interface, protocol, pre_src_address, pre_dst_address,
            pre_src_port, pre_dst_port, post_src_address, post_dst_address, post_src_port,
            post_dst_port, translated, method, witness, first_seen_us, packets_until_paired
        ORDER BY interval_start_us
    )
),
numbered AS (
    SELECT
        *,
        sum(CASE WHEN is_new THEN 1 ELSE 0 END) OVER (
            PARTITION BY
                node, slot_us, boot_id, interface, protocol, pre_src_address, pre_dst_address,
                pre_src_port, pre_dst_port, post_src_address, post_dst_address, post_src_port,
                post_dst_port, translated, method, witness, first_seen_us, packets_until_paired
            ORDER BY interval_start_us
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS part
    FROM followed
)
SELECT
    min(interval_start_us) AS interval_start_us,
    max(interval_end_us) AS interval_end_us,
    node,
    boot_id,
    interface,
    protocol,
    pre_src_address,
    pre_dst_address,
    pre_src_port,
    pre_dst_port,
    post_src_address,
    post_dst_address,
    post_src_port,
    post_dst_port,
    translated,
    method,
    witness,
    first_seen_us,
    max(last_seen_us) AS last_seen_us,
    CAST(sum(packets) AS BIGINT) AS packets,
    CAST(sum(buffers) AS BIGINT) AS buffers,
    packets_until_paired,
    CAST({schema_version} AS INTEGER) AS schema_version,
    CAST(CAST(min(interval_start_us) AS DATE) AS STRING) AS date
FROM numbered
GROUP BY
    node, slot_us, boot_id, interface, protocol, pre_src_address, pre_dst_address, pre_src_port,
    pre_dst_port, post_src_address, post_dst_address, post_src_port, post_dst_port, translated,
    method, witness, first_seen_us, packets_until_paired, part;

{write}
