-- Do the books balance: did as much pass each uplink's hook as the kernel counted there?
--
-- Reads ledger. Packets are those on the wire, buffers sk_buffs, bytes layer 3; the kernel's bytes
-- include link headers, but for buffers that a virtual function of hv_netvsc received. Drivers count
-- packets or buffers: one of the two residuals is 0, or no further off than the kernel's counter moved
-- while it was read (`weighbridge inspect` weighs that).
WITH books AS (
    SELECT
        node,
        interface,
        direction,
        count(*) AS intervals,
        sum(counted_packets) AS counted_packets,
        sum(counted_packets + overflow_packets + non_ip_packets + ip_unparsed_packets)
            AS passed_packets,
        sum(counted_bytes + overflow_bytes + non_ip_bytes + ip_unparsed_bytes) AS passed_bytes,
        sum(counted_buffers + overflow_buffers + non_ip_buffers + ip_unparsed_buffers)
            AS passed_buffers,
        sum(
            link_header_bytes
            * (counted_packets + overflow_packets + non_ip_packets + ip_unparsed_packets)
        ) AS link_bytes,
        sum(kernel_packets) AS kernel_packets,
        sum(kernel_bytes) AS kernel_bytes,
        coalesce(sum(dropped_behind_packets), 0) AS dropped_behind_packets
    FROM {ledger}
    WHERE vantage = 'uplink'
    GROUP BY node, interface, direction
)
SELECT
    node,
    interface,
    direction,
    CAST(intervals AS BIGINT) AS intervals,
    CAST(counted_packets AS BIGINT) AS counted_packets,
    CAST(passed_packets AS BIGINT) AS passed_packets,
    CAST(passed_bytes AS BIGINT) AS passed_bytes,
    CAST(kernel_packets AS BIGINT) AS kernel_packets,
    CAST(kernel_bytes AS BIGINT) AS kernel_bytes,
    CAST(dropped_behind_packets AS BIGINT) AS dropped_behind_packets,
    CAST(passed_packets - kernel_packets - dropped_behind_packets AS BIGINT)
        AS residual_packets,
    CAST(passed_buffers - kernel_packets - dropped_behind_packets AS BIGINT)
        AS residual_buffers,
    CAST(passed_bytes + link_bytes - kernel_bytes AS BIGINT) AS residual_bytes
FROM books
ORDER BY node, interface, direction
