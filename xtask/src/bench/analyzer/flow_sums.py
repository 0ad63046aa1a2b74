"""Prints the rows of a query over a dataset's flows and ledger, as JSON. Arguments: dataset, query."""

import json
import pathlib
import sys

import duckdb


def main() -> None:
    dataset, query = sys.argv[1], pathlib.Path(sys.argv[2]).read_text()
    tables = {table: f"{dataset}/{table}/*/*/*.parquet" for table in ("flows", "ledger")}
    answer = duckdb.connect().execute(query, tables)
    names = [column[0] for column in answer.description]
    json.dump([dict(zip(names, row)) for row in answer.fetchall()], sys.stdout)


if __name__ == "__main__":
    main()
