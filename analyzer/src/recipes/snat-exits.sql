-- By which node and source address did each pod's connections leave?
--
-- Reads snat and flows. A connection is a five-tuple as its pod sees it; one that left two ways
-- counts in both rows. Packets are those on the wire. Wire flows that were found at no pod stand
-- beside an empty pod_uid, those that were not paired at all beside an empty method.
WITH sent AS (
    SELECT DISTINCT
        pod_uid,
        protocol,
        src_address,
        dst_address,
        src_port,
        dst_port
    FROM {flows}
    WHERE vantage = 'pod' AND direction = 'egress'
),
left_by AS (
    SELECT
        node,
        post_src_address,
        method,
        protocol,
        coalesce(pre_src_address, post_src_address) AS src_address,
        coalesce(pre_dst_address, post_dst_address) AS dst_address,
        coalesce(pre_src_port, post_src_port) AS src_port,
        coalesce(pre_dst_port, post_dst_port) AS dst_port,
        CAST(sum(packets) AS BIGINT) AS packets
    FROM {snat}
    GROUP BY ALL
)
SELECT
    sent.pod_uid,
    left_by.node,
    left_by.post_src_address,
    nullif(left_by.method, 'unpaired') AS method,
    CAST(count(*) AS BIGINT) AS connections,
    CAST(sum(left_by.packets) AS BIGINT) AS packets
FROM left_by
LEFT JOIN sent
    ON left_by.protocol = sent.protocol
    AND left_by.src_address = sent.src_address
    AND left_by.dst_address = sent.dst_address
    AND left_by.src_port = sent.src_port
    AND left_by.dst_port = sent.dst_port
GROUP BY ALL
ORDER BY ALL
