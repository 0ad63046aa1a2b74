-- What does the table profile hold, in sums that whoever reads its rows can repeat?
SELECT
    count(*) AS rows,
    count(DISTINCT date) AS dates,
    count(DISTINCT node) AS nodes,
    sum(samples) AS samples,
    sum(samples) FILTER (mode = 'kernel') AS kernel_samples,
    sum(samples) FILTER (mode = 'idle') AS idle_samples,
    count(*) FILTER (event = 'cpu_clock') AS clock_rows,
    max(frequency_hz) AS frequency_hz,
    count(DISTINCT command) AS commands,
    count(DISTINCT stack) AS stacks,
    sum(strlen(stack)) AS stack_bytes,
    count(cgroup_id) AS with_cgroup,
    count(pod_uid) AS of_pods
FROM read_parquet($files, hive_partitioning = true)
