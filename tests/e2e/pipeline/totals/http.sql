-- What does the table http hold, in sums that whoever reads its rows can repeat?
SELECT
    count(*) AS rows,
    count(DISTINCT date) AS dates,
    count(DISTINCT node) AS nodes,
    count(DISTINCT local_address) AS local_addresses,
    sum(responses) AS responses,
    sum(local_port) AS local_ports,
    count(*) FILTER (version = '1.1') AS http11_rows,
    count(status) AS with_status,
    sum(status) AS statuses,
    sum(len(latency_lower_us)) AS buckets,
    sum(list_sum(latency_lower_us)) AS lower_us,
    sum(list_sum(latency_upper_us)) AS upper_us,
    sum(list_sum(latency_responses)) AS timed_responses
FROM read_parquet($files, hive_partitioning = true)
