-- Where did processor time and cycles go, and how much is that for each packet on the wire?
--
-- Reads cpu and ledger. Packets are those that passed the uplinks' hooks, both directions, all
-- nodes. Rows of softirqs and idle time hold for a whole kernel: one of the nodes that share it writes
-- them, and of two that wrote the same interval the first counts. Rows of programs are part of the
-- others, and add to no sum. What counts as a cycle stands in cycle_source; rows of different sources
-- do not add up.
WITH wire AS (
    SELECT
        sum(
            counted_packets + overflow_packets + non_ip_packets + ip_unparsed_packets
        ) AS packets
    FROM {ledger}
    WHERE vantage = 'uplink'
),
told AS (
    SELECT
        *,
        min(node) OVER (PARTITION BY boot_id, interval_start_us, scope) AS first_node
    FROM {cpu}
)
SELECT
    scope,
    vector,
    pod_uid,
    container_id,
    cycle_source,
    CAST(sum(cpu_ns) AS BIGINT) AS cpu_ns,
    CAST(sum(cycles) AS BIGINT) AS cycles,
    CAST(max(wire.packets) AS BIGINT) AS wire_packets,
    sum(cpu_ns) / nullif(max(wire.packets), 0) AS cpu_ns_per_packet,
    sum(cycles) / nullif(max(wire.packets), 0) AS cycles_per_packet
FROM told
CROSS JOIN wire
WHERE scope NOT IN ('softirq', 'idle') OR node = first_node
GROUP BY scope, vector, pod_uid, container_id, cycle_source
ORDER BY scope, vector, pod_uid, container_id, cycle_source
