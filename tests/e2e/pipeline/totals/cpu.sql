-- What does the table cpu hold, in sums that whoever reads its rows can repeat?
SELECT
    count(*) AS rows,
    count(DISTINCT date) AS dates,
    count(DISTINCT node) AS nodes,
    count(DISTINCT boot_id) AS kernels,
    count(DISTINCT cgroup_path) AS cgroup_paths,
    sum(cpu_ns) AS cpu_ns,
    sum(cpu_ns) FILTER (scope = 'cgroup') AS cgroup_cpu_ns,
    sum(cpu_ns) FILTER (scope = 'softirq') AS softirq_cpu_ns,
    sum(cpu_ns) FILTER (vector = 'net_rx') AS net_rx_cpu_ns,
    sum(cpu_ns) FILTER (scope = 'idle') AS idle_cpu_ns,
    sum(events) AS events,
    count(cycles) AS with_cycles,
    sum(cycles) AS cycles,
    count(*) FILTER (cycle_source = 'reference') AS reference_rows,
    count(pod_uid) AS of_pods,
    sum(cgroup_id) AS cgroup_ids,
    count(DISTINCT command) AS commands,
    min(epoch_us(interval_start_us)) AS interval_start_us,
    max(epoch_us(interval_end_us)) AS interval_end_us
FROM read_parquet($files, hive_partitioning = true)
