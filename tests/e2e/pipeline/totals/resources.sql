-- What does the table resources hold, in sums that whoever reads its rows can repeat?
SELECT
    count(*) AS rows,
    count(DISTINCT date) AS dates,
    count(DISTINCT node) AS nodes,
    count(*) FILTER (scope = 'node') AS node_rows,
    count(*) FILTER (scope = 'container') AS container_rows,
    count(DISTINCT pod_uid) AS pods,
    sum(cpus) AS cpus,
    sum(cpu_ns) AS cpu_ns,
    sum(cpu_user_ns) AS cpu_user_ns,
    sum(cpu_system_ns) AS cpu_system_ns,
    sum(cpu_softirq_ns) AS cpu_softirq_ns,
    sum(cpu_steal_ns) AS cpu_steal_ns,
    sum(cpu_throttled_ns) AS cpu_throttled_ns,
    sum(memory_bytes) AS memory_bytes,
    max(memory_working_set_bytes) AS highest_working_set_bytes,
    count(memory_limit_bytes) AS with_limit,
    sum(cpu_some_pressure_us) AS cpu_some_pressure_us,
    sum(memory_some_pressure_us) AS memory_some_pressure_us,
    sum(memory_full_pressure_us) AS memory_full_pressure_us,
    sum(io_some_pressure_us) AS io_some_pressure_us
FROM read_parquet($files, hive_partitioning = true)
