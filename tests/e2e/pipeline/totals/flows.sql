-- What does the table flows hold, in sums that whoever reads its rows can repeat?
SELECT
    count(*) AS rows,
    count(DISTINCT date) AS dates,
    count(DISTINCT node) AS nodes,
    count(DISTINCT src_address) AS src_addresses,
    sum(bytes) AS bytes,
    sum(packets) AS packets,
    sum(buffers) AS buffers,
    sum(buffer_bytes) AS buffer_bytes,
    sum(src_port) AS src_ports,
    count(srtt_us) AS sampled,
    sum(srtt_us) AS srtt_us,
    count(*) FILTER (vantage = 'pod') AS pod_rows,
    count(*) FILTER (direction = 'egress') AS egress_rows,
    min(epoch_us(first_seen_us)) AS first_seen_us,
    max(epoch_us(last_seen_us)) AS last_seen_us
FROM read_parquet($files, hive_partitioning = true)
