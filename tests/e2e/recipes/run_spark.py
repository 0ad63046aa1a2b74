"""Runs recipes in Spark, on a cluster of two workers that are processes of this machine, and prints,
as one JSON object by recipe, the rows of their last answers."""

import datetime
import json
import pathlib
import sys
import tempfile

from pyspark.sql import SparkSession


def plain(value):
    return value.isoformat() if isinstance(value, datetime.datetime) else value


def session(scratch: str) -> SparkSession:
    builder = SparkSession.builder.master("local-cluster[2,1,1024]").appName("recipes")
    settings = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.local.dir": scratch,
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.warehouse.dir": f"{scratch}/warehouse",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        spark = session(scratch)
        answers = {}
        for recipe in map(pathlib.Path, sys.argv[1:]):
            statements = [text for text in recipe.read_text().split(";\n") if text.strip()]
            for statement in statements:
                answer = spark.sql(statement)
            rows = [row.asDict() for row in answer.collect()]
            answers[recipe.stem] = [
                {name: plain(value) for name, value in row.items()} for row in rows
            ]
        spark.stop()
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
