COPY (
    SELECT * FROM fewer_flows
    ORDER BY node, interval_start_us, vantage, interface, direction, src_address, src_port
) TO '{output}/flows' (
    FORMAT parquet, COMPRESSION zstd, PARTITION_BY (date, node), WRITE_PARTITION_COLUMNS
);

COPY (
    SELECT * FROM fewer_snat
    ORDER BY node, interval_start_us, post_src_address, post_src_port
) TO '{output}/snat' (
    FORMAT parquet, COMPRESSION zstd, PARTITION_BY (date, node), WRITE_PARTITION_COLUMNS
);
