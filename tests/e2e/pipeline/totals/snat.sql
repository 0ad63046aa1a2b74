-- What does the table snat hold, in sums that whoever reads its rows can repeat?
SELECT
    count(*) AS rows,
    count(DISTINCT date) AS dates,
    count(DISTINCT node) AS nodes,
    count(DISTINCT post_src_address) AS post_src_addresses,
    count(pre_src_address) AS paired,
    count(*) FILTER (translated) AS translated,
    count(*) FILTER (method = 'fingerprint') AS by_fingerprint,
    sum(buffers) AS buffers,
    sum(post_src_port) AS post_src_ports,
    sum(pre_src_port) AS pre_src_ports,
    min(epoch_us(first_seen_us)) AS first_seen_us,
    max(epoch_us(last_seen_us)) AS last_seen_us
FROM read_parquet($files, hive_partitioning = true)
