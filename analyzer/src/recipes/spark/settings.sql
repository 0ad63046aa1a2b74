SET spark.sql.session.timeZone = UTC;
SET spark.sql.parquet.outputTimestampType = TIMESTAMP_MICROS;
SET spark.sql.parquet.compression.codec = zstd;
SET spark.sql.sources.partitionColumnTypeInference.enabled = false;
