-- What did each pod and each uplink carry, interval by interval?
--
-- Reads flows. Bytes are layer 3; packets are those on the wire, buffers the sk_buffs that the hook
-- saw. A packet that passes several vantages has a row at each: add up within one vantage only.
SELECT
    interval_start_us,
    node,
    vantage,
    interface,
    direction,
    pod_uid,
    CAST(count(*) AS BIGINT) AS flows,
    CAST(sum(packets) AS BIGINT) AS packets,
    CAST(sum(bytes) AS BIGINT) AS bytes,
    CAST(sum(buffers) AS BIGINT) AS buffers
FROM {flows}
GROUP BY ALL
ORDER BY ALL
