"""Prints, as one JSON object by table, what DuckDB finds in a dataset.

Arguments: the dataset, then one .sql file a table, named after it. Every query asks for one row.
"""

import json
import pathlib
import sys

import duckdb


def main() -> None:
    dataset, queries = pathlib.Path(sys.argv[1]), map(pathlib.Path, sys.argv[2:])
    connection = duckdb.connect()
    totals = {}
    for query in queries:
        files = f"{dataset}/{query.stem}/date=*/node=*/*.parquet"
        answer = connection.execute(query.read_text(), {"files": files})
        names = [column[0] for column in answer.description]
        values = [None if value is None else int(value) for value in answer.fetchone()]
        totals[query.stem] = dict(zip(names, values))
    json.dump(totals, sys.stdout)


if __name__ == "__main__":
    main()
