-- What does the table ledger hold, in sums that whoever reads its rows can repeat?
SELECT
    count(*) AS rows,
    count(DISTINCT date) AS dates,
    count(DISTINCT node) AS nodes,
    count(interface) AS with_interface,
    sum(counted_packets) AS counted_packets,
    sum(counted_bytes) AS counted_bytes,
    sum(overflow_packets) AS overflow_packets,
    sum(non_ip_buffers) AS non_ip_buffers,
    sum(ip_unparsed_buffer_bytes) AS ip_unparsed_buffer_bytes,
    sum(kernel_packets) AS kernel_packets,
    sum(kernel_bytes) AS kernel_bytes,
    count(dropped_behind_packets) AS with_drops,
    sum(pairing_missed) AS pairing_missed,
    sum(http_unparsed) AS http_unparsed,
    sum(spool_dropped_rows) AS spool_dropped_rows,
    min(epoch_us(interval_start_us)) AS interval_start_us,
    max(epoch_us(interval_end_us)) AS interval_end_us
FROM read_parquet($files, hive_partitioning = true)
