CREATE TABLE rolled_up_flows
USING parquet
PARTITIONED BY (date, node)
LOCATION '{output}/flows'
AS
SELECT * FROM fewer_flows;

CREATE TABLE rolled_up_snat
USING parquet
PARTITIONED BY (date, node)
LOCATION '{output}/snat'
AS
SELECT * FROM fewer_snat;
