"""Round trips: random rows of every type, written by other systems and read by pulse, and written by pulse and read by them.

    python files.py PULSE [--seed N] [--rows N] [--no-spark]

Writers: PyArrow, DuckDB, fastavro, deltalake, Python's csv and json, and Spark. Readers of what pulse wrote: deltalake, PyArrow, DuckDB and
Spark. Every value must be the one that was made here, bit for bit. Spark needs Java and the package pyspark.
"""

import argparse
import base64
import csv
import json
import math
import random
import shutil
import struct
import subprocess
import sys
import tempfile
from datetime import date, datetime, timedelta, timezone
from decimal import Context, Decimal
from pathlib import Path

import duckdb
import fastavro
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake
from pyarrow.compute import field

from report import Report

NULL = "NULL~"
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
# The name of a column, pulse's type of it and Arrow's.
SCALARS = [
    ("id", "bigint", pa.int64()),
    ("ok", "boolean", pa.bool_()),
    ("i8", "tinyint", pa.int8()),
    ("i16", "smallint", pa.int16()),
    ("i32", "int", pa.int32()),
    ("i64", "bigint", pa.int64()),
    ("f32", "float", pa.float32()),
    ("f64", "double", pa.float64()),
    ("money", "decimal(9,2)", pa.decimal128(9, 2)),
    ("wide", "decimal(18,6)", pa.decimal128(18, 6)),
    ("widest", "decimal(38,10)", pa.decimal128(38, 10)),
    ("s", "string", pa.string()),
    ("bin", "binary", pa.binary()),
    ("d", "date", pa.date32()),
    ("ts", "timestamp", pa.timestamp("us", "UTC")),
    ("clock", "timestamp_ntz", pa.timestamp("us")),
]
LEG = pa.struct([("px", pa.decimal128(12, 4)), ("tags", pa.map_(pa.string(), pa.int32())), ("at", pa.timestamp("us", "UTC"))])
NESTED = [
    ("items", "array<bigint>", pa.list_(pa.int64())),
    ("words", "map<string,string>", pa.map_(pa.string(), pa.string())),
    ("legs", "array<struct<px:decimal(12,4),tags:map<string,int>,at:timestamp>>", pa.list_(LEG)),
    ("pair", "struct<a:double,b:struct<c:array<array<string>>>>", pa.struct([("a", pa.float64()), ("b", pa.struct([("c", pa.list_(pa.list_(pa.string())))]))])),
]
COLUMNS = SCALARS + NESTED


# Values.


class Values:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def of(self, kind):
        """A value as Python has it; every eighth is null."""
        choose = self.random
        if choose.random() < 0.125:
            return None
        if pa.types.is_boolean(kind):
            return choose.random() < 0.5
        if pa.types.is_integer(kind):
            top = 2 ** (kind.bit_width - 1)
            return choose.choice([0, -1, 1, top - 1, -top, choose.randrange(-top, top), choose.randrange(-100, 100)])
        if pa.types.is_float32(kind):
            return struct.unpack("<f", struct.pack("<f", self.real(24, -149, 127)))[0]
        if pa.types.is_float64(kind):
            return self.real(53, -1074, 1023)
        if pa.types.is_decimal(kind):
            top = 10**kind.precision
            return Decimal(choose.choice([0, 1, -1, top - 1, 1 - top, choose.randrange(1 - top, top)])).scaleb(-kind.scale, CONTEXT)
        if pa.types.is_string(kind):
            return self.text()
        if pa.types.is_binary(kind):
            return bytes(choose.randrange(256) for _ in range(choose.randrange(0, 9)))
        if pa.types.is_date(kind):
            return choose.choice([date(1, 1, 1), date(9999, 12, 31), date(1582, 10, 15), date(1970, 1, 1), date.fromordinal(choose.randrange(1, 3652060))])
        if pa.types.is_timestamp(kind):
            at = choose.choice([datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999), datetime(1969, 12, 31, 23, 59, 59, 999999), self.moment(), self.moment()])
            return at.replace(tzinfo=timezone.utc) if kind.tz else at
        if pa.types.is_map(kind):
            return {self.text() + str(at): self.of(kind.item_type) for at in range(choose.randrange(0, 4))}
        if pa.types.is_list(kind):
            return [self.of(kind.value_type) for _ in range(choose.randrange(0, 4))]
        return {field.name: self.of(field.type) for field in kind}

    def real(self, bits, least, most):
        choose = self.random
        smallest, largest = math.ldexp(1, least), math.ldexp(2**bits - 1, most + 1 - bits)
        exact = math.ldexp(choose.randrange(2 ** (bits - 1), 2**bits), choose.randrange(-bits - 20, -bits + 30))
        return choose.choice([0.0, -0.0, smallest, -smallest, largest, -largest, 0.1, 1.0, float(2**bits), exact, -exact])

    def moment(self):
        return datetime(1, 1, 1) + timedelta(microseconds=self.random.randrange(0, 315537897599999999))

    def text(self):
        letters = ["a", "Z", "0", " ", '"', "'", "\\", ",", ";", "\n", "\r", "\t", "\u00e9", "\u20ac", "\U0001f600", "null", "NA", "#", "{", "\u2028"]
        return "".join(self.random.choice(letters) for _ in range(self.random.randrange(0, 7)))

    def rows(self, count):
        return [{name: at if name == "id" else self.of(kind) for name, _, kind in COLUMNS} for at in range(count)]


CONTEXT = Context(prec=60)


def plain(value, kind):
    """A value as bits and digits, which are equal only if the values are."""
    if value is None:
        return None
    if pa.types.is_floating(kind):
        return struct.pack("<d", value).hex()
    if pa.types.is_decimal(kind):
        return str(int(Decimal(value).scaleb(kind.scale, CONTEXT)))
    if pa.types.is_binary(kind):
        return bytes(value).hex()
    if pa.types.is_date(kind):
        return value.isoformat()
    if pa.types.is_timestamp(kind):
        at = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
        return (at - EPOCH) // timedelta(microseconds=1)
    if pa.types.is_map(kind):
        pairs = value.items() if isinstance(value, dict) else value
        return sorted((name, plain(item, kind.item_type)) for name, item in pairs)
    if pa.types.is_list(kind):
        return [plain(item, kind.value_type) for item in value]
    if pa.types.is_struct(kind):
        return {field.name: plain(value[field.name], field.type) for field in kind}
    return value


def differences(expected, found, names):
    """What is not the same, the first of each column."""
    kinds = {name: kind for name, _, kind in COLUMNS}
    by_id = {row["id"]: row for row in found}
    if len(found) != len(expected) or len(by_id) != len(expected):
        return [f"{len(found)} rows, {len(by_id)} ids, {len(expected)} were written"]
    wrong = {}
    for row in expected:
        for name in names:
            want, got = plain(row[name], kinds[name]), plain(by_id[row["id"]][name], kinds[name])
            if want != got:
                wrong.setdefault(name, f"{name} of row {row['id']}: {row[name]!r} became {by_id[row['id']][name]!r}")
    return list(wrong.values())


def table_of(rows, columns=COLUMNS):
    arrays = []
    for name, _, kind in columns:
        values = [row[name] for row in rows]
        arrays.append(pa.array([pairs_of(value, kind) for value in values], kind))
    return pa.table(arrays, names=[name for name, _, _ in columns])


def pairs_of(value, kind):
    """Maps as lists of pairs, from which Arrow makes them."""
    if value is None:
        return None
    if pa.types.is_map(kind):
        return [(name, pairs_of(item, kind.item_type)) for name, item in value.items()]
    if pa.types.is_list(kind):
        return [pairs_of(item, kind.value_type) for item in value]
    if pa.types.is_struct(kind):
        return {field.name: pairs_of(value[field.name], field.type) for field in kind}
    return value


# Files of other systems. Each writer returns the names of the columns that it wrote.

ALL = [name for name, _, _ in COLUMNS]
FLAT = [name for name, _, _ in SCALARS]


def arrow_parquet(rows, folder):
    pq.write_table(table_of(rows), folder / "a.parquet", row_group_size=100)
    return ALL


def arrow_old_parquet(rows, folder):
    """As writers of the first version; decimals as whole numbers."""
    options = {"store_decimal_as_integer": True, "version": "1.0", "use_dictionary": False, "compression": "none"}
    pq.write_table(table_of(rows), folder / "a.parquet", **options)
    return ALL


def duckdb_parquet(rows, folder):
    arrow = table_of(rows)
    duckdb.connect().execute(f"set timezone = 'UTC'; copy (select * from arrow) to '{folder}/a.parquet' (format parquet, row_group_size 2048)")
    return ALL


def duckdb_csv(rows, folder):
    arrow = table_of(rows, SCALARS)
    query = "select * replace (to_base64(bin) as bin) from arrow"
    duckdb.connect().execute(f"set timezone = 'UTC'; copy ({query}) to '{folder}/a.csv' (header, nullstr '{NULL}')")
    return FLAT


def duckdb_json(rows, folder):
    arrow = table_of(rows)
    query = "select * replace (to_base64(bin) as bin) from arrow"
    duckdb.connect().execute(f"set timezone = 'UTC'; copy ({query}) to '{folder}/a.json' (format json)")
    return ALL


def python_csv(rows, folder):
    """Nested values as JSON texts."""
    with (folder / "a.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(ALL)
        for row in rows:
            writer.writerow([NULL if row[name] is None else csv_text(row[name], kind) for name, _, kind in COLUMNS])
    return ALL


def csv_text(value, kind):
    written = json_text(value, kind)
    return json.loads(written) if written.startswith('"') else written


def json_text(value, kind):
    if value is None:
        return "null"
    if pa.types.is_decimal(kind):
        return f"{value:f}"
    if pa.types.is_binary(kind):
        return json.dumps(base64.b64encode(value).decode())
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return json.dumps(value.isoformat())
    if pa.types.is_map(kind):
        return "{" + ",".join(f"{json.dumps(name)}:{json_text(item, kind.item_type)}" for name, item in value.items()) + "}"
    if pa.types.is_list(kind):
        return "[" + ",".join(json_text(item, kind.value_type) for item in value) + "]"
    if pa.types.is_struct(kind):
        return "{" + ",".join(f"{json.dumps(field.name)}:{json_text(value[field.name], field.type)}" for field in kind) + "}"
    return json.dumps(value)


def json_object(row):
    return "{" + ",".join(f"{json.dumps(name)}:{json_text(row[name], kind)}" for name, _, kind in COLUMNS) + "}"


def python_json_lines(rows, folder):
    (folder / "a.json").write_text("".join(json_object(row) + "\n" for row in rows))
    return ALL


def python_json(rows, folder):
    (folder / "a.json").write_text('{"results": [' + ",\n".join(json_object(row) for row in rows) + "]}")
    return ALL


AVRO = {pa.bool_(): "boolean", pa.int8(): "int", pa.int16(): "int", pa.int32(): "int", pa.int64(): "long", pa.float32(): "float", pa.float64(): "double", pa.string(): "string", pa.binary(): "bytes"}


def avro_type(kind, name):
    if pa.types.is_decimal(kind):
        logical = {"logicalType": "decimal", "precision": kind.precision, "scale": kind.scale}
        fixed = {"type": "fixed", "name": f"{name}_fixed", "size": 16}
        found = {**(fixed if kind.precision == 38 else {"type": "bytes"}), **logical}
    elif pa.types.is_date(kind):
        found = {"type": "int", "logicalType": "date"}
    elif pa.types.is_timestamp(kind):
        found = {"type": "long", "logicalType": "timestamp-micros" if kind.tz else "local-timestamp-micros"}
    elif pa.types.is_map(kind):
        found = {"type": "map", "values": avro_type(kind.item_type, f"{name}_v")}
    elif pa.types.is_list(kind):
        found = {"type": "array", "items": avro_type(kind.value_type, f"{name}_i")}
    elif pa.types.is_struct(kind):
        found = {"type": "record", "name": f"{name}_r", "fields": [{"name": field.name, "type": avro_type(field.type, f"{name}_{field.name}")} for field in kind]}
    else:
        found = AVRO[kind]
    return ["null", found]


def fastavro_avro(rows, folder):
    schema = {"type": "record", "name": "r", "fields": [{"name": name, "type": avro_type(kind, name)} for name, _, kind in COLUMNS]}
    with (folder / "a.avro").open("wb") as file:
        fastavro.writer(file, schema, rows, codec="deflate", sync_interval=2000)
    return ALL


def arrow_csv(rows, folder):
    """Values in PyArrow's words; bytes have none. Nulls get a word, since without one they are written as the empty text is."""
    columns = [column for column in SCALARS if column[0] != "bin"]
    table = table_of(rows, columns)
    texts = [pc.fill_null(table[name].cast(pa.string()), NULL) for name in table.column_names]
    pyarrow.csv.write_csv(pa.table(texts, names=table.column_names), folder / "a.csv")
    return table.column_names


def deltalake_table(rows, folder):
    half = len(rows) // 2
    for part in (rows[:half], rows[half:]):
        write_deltalake(str(folder), table_of(part), mode="append")
    return ALL


JSON_LINES, CSV = "{ json_lines = {} }", "{ csv = {} }"
NULLS = f'nulls = ["{NULL}"]'
# Empty texts stay, where the format has its own nulls.
KEPT = "nulls = []"
# The name of a source, who writes it, its format and more of its feed; a table without a format is external.
WRITERS = {
    "arrow_parquet": (arrow_parquet, "{ parquet = {} }", KEPT),
    "arrow_old_parquet": (arrow_old_parquet, "{ parquet = {} }", KEPT),
    "duckdb_parquet": (duckdb_parquet, "{ parquet = {} }", KEPT),
    "duckdb_csv": (duckdb_csv, CSV, NULLS),
    "duckdb_json": (duckdb_json, JSON_LINES, NULLS),
    "python_csv": (python_csv, CSV, NULLS),
    "python_json_lines": (python_json_lines, JSON_LINES, NULLS),
    "python_json": (python_json, '{ json = { records = "/results" } }', NULLS),
    "fastavro_avro": (fastavro_avro, "{ avro = {} }", KEPT),
    "arrow_csv": (arrow_csv, CSV, NULLS),
    "deltalake_table": (deltalake_table, None, ""),
}


class Spark:
    """A session of Spark, and what it writes and reads."""

    def __init__(self, scratch):
        from pyspark.sql import SparkSession

        settings = {
            "spark.ui.enabled": "false",
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.shuffle.partitions": "1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
            "spark.sql.warehouse.dir": str(scratch / "warehouse"),
            "spark.driver.extraJavaOptions": "-Duser.timezone=UTC",
            # Dates and stamps as they are, not as the calendar of before 1582 has them.
            "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
            "spark.sql.parquet.int96RebaseModeInWrite": "CORRECTED",
            "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
            "spark.sql.parquet.int96RebaseModeInRead": "CORRECTED",
        }
        builder = SparkSession.builder.master("local[1]")
        for key, value in settings.items():
            builder = builder.config(key, value)
        self.session = builder.getOrCreate()
        self.session.sparkContext.setLogLevel("ERROR")

    def write(self, source, raw):
        """From the Parquet file of PyArrow, which Spark reads itself."""
        rows = self.session.read.parquet(str(raw / "arrow_parquet/a.parquet"))
        seconds = {"timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX", "timestampNTZFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS"}
        target = str(raw / source)
        if source == "spark_parquet":
            rows.write.parquet(target)
        elif source == "spark_json":
            rows.write.options(**seconds).json(target)
        else:
            blanks = {"ignoreLeadingWhiteSpace": "false", "ignoreTrailingWhiteSpace": "false"}
            flat = rows.select(*FLAT).selectExpr("* except (bin)", "base64(bin) as bin")
            flat.write.options(**seconds, **blanks, header="true", nullValue=NULL, emptyValue="").csv(target)

    def read(self, files):
        # Python's own stamps of Spark begin a year later.
        return self.session.read.parquet(*files).select(*ALL).toArrow().to_pylist()

    def stop(self):
        self.session.stop()


SPARK = {
    "spark_parquet": ("{ parquet = {} }", KEPT, ALL),
    "spark_json": (JSON_LINES, NULLS, ALL),
    "spark_csv": ('{ csv = { escape = "\\\\" } }', NULLS, FLAT),
}


def write_project(project, contracts):
    """`contracts` are the columns, the format and more of each source's feed."""
    types = {name: kind for name, kind, _ in COLUMNS}
    (project / "project.toml").write_text('name = "files"\n[defaults]\nowner = "verify"\n')
    text = []
    for source, (names, file_format, more) in contracts.items():
        folder = project / "bronze" / source
        folder.mkdir(parents=True)
        if file_format is None:
            text.append(f'[tables.{source}]\nlocation = "$raw/{source}"\n')
            query, grain = f"select {', '.join(names)} from external.{source}", '["id"]'
            sink = '[sink.merge]\nkeys = ["id"]\n'
        else:
            # PyArrow writes large floats without a point and with fewer digits than they have.
            rounds = {"f32"} if source == "arrow_csv" else set()
            columns = ", ".join(f'{{ name = "{name}", type = "{types[name]}"{", round = true" * (name in rounds)} }}' for name in names)
            ending = "part-*" if source in SPARK else "a.*"
            text.append(f'[files.{source}]\nroot = "$raw"\ncolumns = [{columns}]\n[files.{source}.feed.all]\npath = "{source}/{ending}"\nformat = {file_format}\n{more}\n')
            query, grain, sink = f"select * from raw.{source}", '["source_file", "line"]', "[sink.append]\n"
        (folder / "query.sql").write_text(query)
        (folder / "job.toml").write_text(f"grain = {grain}\n{sink}")
    (project / "sources.toml").write_text("".join(text))


def by_duckdb(files):
    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    return connection.sql(f"from read_parquet({files})").to_arrow_table().select(ALL).to_pylist()


READERS = {
    "deltalake": lambda table: table.to_pyarrow_table().select(ALL).to_pylist(),
    "pyarrow": lambda table: pa.concat_tables([pq.read_table(file) for file in table.file_uris()]).select(ALL).to_pylist(),
    "duckdb": lambda table: by_duckdb(table.file_uris()),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pulse", type=Path)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--no-spark", action="store_true")
    parser.add_argument("--keep", type=Path, help="a folder to leave the files in")
    arguments = parser.parse_args()
    scratch = arguments.keep or Path(tempfile.mkdtemp(prefix="pulse-files-"))
    try:
        report = verify(arguments, scratch)
    finally:
        if not arguments.keep:
            shutil.rmtree(scratch, ignore_errors=True)
    print(f"seed {arguments.seed}: {report.summary()}")
    sys.exit(0 if report.passed() else 1)


def verify(arguments, scratch):
    report, rows = Report(), Values(arguments.seed).rows(arguments.rows)
    project, raw, lake = (scratch / name for name in ("project", "raw", "lake"))
    project.mkdir(parents=True)
    contracts = {}
    for source, (write, file_format, more) in WRITERS.items():
        (raw / source).mkdir(parents=True)
        contracts[source] = (write(rows, raw / source), file_format, more)
    spark = None if arguments.no_spark else Spark(scratch)
    for source, (file_format, more, names) in SPARK.items() if spark else ():
        spark.write(source, raw)
        contracts[source] = (names, file_format, more)
    write_project(project, contracts)
    command = [arguments.pulse, "--project", project, "--lake", lake, "--var", f"raw={raw}", "run", "--all"]
    answer = subprocess.run(command, capture_output=True, text=True)
    report.line("pulse reads what others wrote", 0, answer.returncode, answer.returncode == 0, answer.stderr[-2000:] if answer.returncode else "")
    for source, (names, *_) in contracts.items():
        compared(report, f"written by {source}, read by pulse", lambda: read_back(lake, source), rows, names)
    for reader, read in READERS.items():
        compared(report, f"written by pulse, read by {reader}", lambda: read(DeltaTable(str(lake / "bronze/arrow_parquet"))), rows, ALL)
    for name, found, expected in skipped(arguments.pulse, scratch / "skipping"):
        report.line(f"written by pulse, filtered by deltalake: {name}", expected, found, found == expected)
    if spark:
        files = DeltaTable(str(lake / "bronze/arrow_parquet")).file_uris()
        compared(report, "written by pulse, read by spark", lambda: spark.read(files), rows, ALL)
        spark.stop()
    return report


# Rows whose bounds are hard to write: no JSON has NaN and infinity, and no stamp is after the year 9999.
HARD = """select * from (values
    (1, cast('NaN' as double), cast('2024-01-01 00:00:00.123456' as timestamp), cast('0.10' as decimal(20,2))),
    (2, -2.0, cast('9999-12-31 23:59:59.999999' as timestamp), cast('123456789012345678.01' as decimal(20,2))),
    (3, 3.5, cast('0001-01-01 00:00:00' as timestamp), cast('-0.01' as decimal(20,2))),
    (4, cast('-Infinity' as double), cast(null as timestamp), null)) v(id, d, t, m)"""
STAMP = datetime(2024, 1, 1, 0, 0, 0, 123456, tzinfo=timezone.utc)
FILTERS = {
    "d > 3": (field("d") > 3, {3}),
    "d < 0": (field("d") < 0, {2, 4}),
    "d = 3.5": (field("d") == 3.5, {3}),
    "t = its stamp": (field("t") == STAMP, {1}),
    "t > 9999-12-31": (field("t") > datetime(9999, 12, 31, tzinfo=timezone.utc), {2}),
    "t < 1900": (field("t") < datetime(1900, 1, 1, tzinfo=timezone.utc), {3}),
    "m = its digits": (field("m") == Decimal("123456789012345678.01"), {2}),
    "m < 0": (field("m") < Decimal("0.00"), {3}),
}


def skipped(pulse, folder):
    """Ids that each filter finds where files are skipped by their bounds, and those that it should find."""
    job = folder / "project/silver/hard"
    job.mkdir(parents=True)
    (folder / "project/project.toml").write_text('name = "skipping"\n[defaults]\nowner = "me"\n')
    (job / "job.toml").write_text('grain = ["id"]\n[sink.overwrite]\n')
    (job / "query.sql").write_text(HARD)
    command = [pulse, "--project", folder / "project", "--lake", folder / "lake", "run", "--all"]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode:
        raise SystemExit(answer.stderr)
    table = DeltaTable(str(folder / "lake/silver/hard"))
    for name, (condition, expected) in FILTERS.items():
        found = table.to_pyarrow_dataset().to_table(filter=condition)["id"].to_pylist()
        yield name, set(found), expected


def read_back(lake, source):
    return DeltaTable(str(lake / "bronze" / source)).to_pyarrow_table().to_pylist()


def compared(report, name, read, rows, columns):
    try:
        wrong = differences(rows, read(), columns)
    except Exception as error:  # noqa: BLE001: whatever a reader says is the finding
        wrong = [f"{type(error).__name__}: {error}"]
    detail = "; " + "; ".join(wrong)[:2000] if wrong else ""
    report.line(name, f"{len(columns)} columns of {len(rows)} rows", f"{len(wrong)} faults", not wrong, detail)


if __name__ == "__main__":
    main()
