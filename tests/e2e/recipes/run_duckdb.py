"""Runs recipes in DuckDB and prints, as one JSON object by recipe, the rows that they answer with."""

import json
import pathlib
import sys

import duckdb


def main() -> None:
    connection = duckdb.connect()
    answers = {}
    for recipe in map(pathlib.Path, sys.argv[1:]):
        text = recipe.read_text()
        if len(connection.extract_statements(text)) > 1:
            connection.execute(text)
            continue
        # As JSON, since times in Python take a further module.
        connection.execute(f"CREATE OR REPLACE TEMP TABLE answer AS {text}")
        rows = connection.execute("FROM answer SELECT to_json(answer)").fetchall()
        answers[recipe.stem] = [json.loads(row) for (row,) in rows]
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
