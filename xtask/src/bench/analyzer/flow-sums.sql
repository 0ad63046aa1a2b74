-- Do flows and ledger hold the same packets and bytes, interval by interval, and how many?
WITH seen AS (
    SELECT
        node,
        vantage,
        interface,
        direction,
        interval_start_us,
        sum(packets) AS packets,
        sum(bytes) AS bytes,
        sum(buffers) AS buffers,
        sum(buffer_bytes) AS buffer_bytes
    FROM read_parquet($flows, hive_partitioning = false)
    GROUP BY ALL
),
counted AS (
    SELECT
        node,
        vantage,
        interface,
        direction,
        interval_start_us,
        sum(counted_packets) AS packets,
        sum(counted_bytes) AS bytes,
        sum(counted_buffers) AS buffers,
        sum(counted_buffer_bytes) AS buffer_bytes
    FROM read_parquet($ledger, hive_partitioning = false)
    GROUP BY ALL
)
SELECT
    counted.node,
    counted.vantage,
    counted.interface,
    counted.direction,
    CAST(sum(seen.packets) AS BIGINT) AS packets,
    CAST(sum(seen.bytes) AS BIGINT) AS bytes,
    CAST(sum(seen.buffers) AS BIGINT) AS buffers,
    CAST(sum(seen.buffer_bytes) AS BIGINT) AS buffer_bytes,
    count(*) FILTER (
        WHERE
            counted.packets IS DISTINCT FROM seen.packets
            OR counted.bytes IS DISTINCT FROM seen.bytes
            OR counted.buffers IS DISTINCT FROM seen.buffers
            OR counted.buffer_bytes IS DISTINCT FROM seen.buffer_bytes
    ) AS differing_intervals
FROM counted
FULL JOIN seen
    ON counted.node = seen.node
    AND counted.vantage = seen.vantage
    AND counted.interface IS NOT DISTINCT FROM seen.interface
    AND counted.direction = seen.direction
    AND counted.interval_start_us = seen.interval_start_us
GROUP BY ALL
ORDER BY ALL
