-- What does the table objects hold, in sums that whoever reads its rows can repeat?
SELECT
    count(*) AS rows,
    count(DISTINCT date) AS dates,
    count(DISTINCT node) AS nodes,
    count(DISTINCT uid) AS uids,
    count(namespace) AS namespaced,
    count(*) FILTER (event = 'deleted') AS deleted,
    sum(strlen(object)) AS object_bytes,
    min(epoch_us(observed_at_us)) AS observed_at_us
FROM read_parquet($files, hive_partitioning = true)
