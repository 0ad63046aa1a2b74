"""Makes three figures of a report again from the raw files, and compares.

Arguments: the dataset, and the report as JSON. Uses DuckDB for the tables and nothing of weighbridge.
"""

import json
import math
import pathlib
import statistics
import sys

import duckdb

# Quantiles of Student's t at 0.975 by degrees of freedom.
T = {1: 12.706204736432095, 2: 4.302652729911275, 3: 3.182446305284263, 4: 2.7764451051977987}
IN_RUN = "epoch_us(interval_start_us) >= {start_us} AND epoch_us(interval_start_us) < {end_us}"
RESOURCES = """
SELECT 100.0 * sum(cpu_ns) / sum(cpus * (epoch_us(interval_end_us) - epoch_us(interval_start_us)) * 1000.0) AS cpu
FROM read_parquet('{files}') WHERE scope = 'node' AND {in_run}
"""
MEMORY = """
SELECT sum(mean) FROM (
  SELECT node, avg(memory_bytes) AS mean FROM read_parquet('{files}') WHERE scope = 'node' AND {in_run} GROUP BY node)
"""
CYCLES = "SELECT sum(cycles) FROM read_parquet('{files}') WHERE scope <> 'idle' AND {in_run}"
RECEIVE = "SELECT sum(cycles) FROM read_parquet('{files}') WHERE scope = 'softirq' AND vector = 'net_rx' AND {in_run}"
PACKETS = "SELECT sum(packets) FROM read_parquet('{files}') WHERE vantage = 'uplink' AND {in_run}"


def main() -> None:
    dataset, report = pathlib.Path(sys.argv[1]), json.loads(pathlib.Path(sys.argv[2]).read_text())
    connection = duckdb.connect()

    def ask(query: str, table: str, run: dict) -> float:
        files = f"{dataset}/{table}/date=*/node=*/*.parquet"
        in_run = IN_RUN.format(**run)
        return float(connection.execute(query.format(files=files, in_run=in_run)).fetchone()[0])

    expected: dict[str, dict[str, list[tuple[str, float]]]] = {}
    for manifest in sorted(dataset.glob("runs/*/manifest.json")):
        run = json.loads(manifest.read_text())
        if run["outcome"] != "completed":
            continue
        result = json.loads((manifest.parent / "iperf3.json").read_text())
        packets = ask(PACKETS, "flows", run)
        values = {
            "Goodput": result["end"]["sum_received"]["bits_per_second"],
            "CPU use": ask(RESOURCES, "resources", run),
            "Memory in use": ask(MEMORY, "resources", run),
            "Charged by component and packet at the uplinks": ask(CYCLES, "cpu", run) / packets,
            "kernel receive": ask(RECEIVE, "cpu", run) / packets,
        }
        for what, value in values.items():
            expected.setdefault(what, {}).setdefault(run["case"], []).append((run["id"], value))

    plots = {plot["title"]: plot for figure in report["figures"] for plot in figure["plots"]}
    compared = 0

    def same(what: str, found: float, value: float) -> None:
        nonlocal compared
        if not math.isclose(found, value, rel_tol=1e-9):
            sys.exit(f"{what}: the report has {found}, the files {value}")
        compared += 1

    stack = plots["Charged by component and packet at the uplinks"]
    for what, cases in expected.items():
        plot = plots.get(what, stack)
        rows = {row["name"]: row for row in plot["rows"]}
        if sorted(rows) != sorted(cases):
            sys.exit(f"{what}: the report has cases {sorted(rows)}, the runs {sorted(cases)}")
        for case, values in cases.items():
            row, sample = rows[case], [value for _, value in values]
            mean = statistics.fmean(sample)
            if what not in plots:
                same(f"{what} of {case}", row["parts"][plot["components"].index(what)], mean)
                continue
            for (name, value), shown in zip(values, row["observations"], strict=True):
                if shown["name"] != name:
                    sys.exit(f"{what}: run {shown['name']} stands where {name} should")
                same(f"{what} of {name}", shown["value"], value)
            half = T[len(sample) - 1] * statistics.stdev(sample) / math.sqrt(len(sample))
            same(f"mean {what} of {case}", row["mean"]["value"], mean)
            same(f"low end of {what} of {case}", row["mean"]["interval"]["low"], mean - half)
            same(f"high end of {what} of {case}", row["mean"]["interval"]["high"], mean + half)
    print(f"{compared} numbers agree")


if __name__ == "__main__":
    main()
