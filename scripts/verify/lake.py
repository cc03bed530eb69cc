"""Reads a lake's tables with deltalake, and once more with DuckDB."""

import json
import os
from collections import Counter
from math import fsum
from pathlib import Path
from urllib.parse import unquote, urlparse

import duckdb
import pyarrow.compute as pc
from deltalake import DeltaTable
from pyarrow import fs

NUMBERS = ("double", "long")


class Lake:
    def __init__(self, root):
        self.root = str(root).rstrip("/")
        self.layers = self._layers()

    def _layers(self):
        """Folders of layers that lie elsewhere."""
        files, root = file_system(self.root)
        try:
            with files.open_input_file(f"{root}/_pulse/layers.json") as file:
                return json.loads(file.read())
        except FileNotFoundError:
            return {}

    def tables(self):
        found = [path.split("/") for path in self.paths() if "/_delta_log/" in path]
        return sorted({f"{layer}.{table}" for layer, table, *_ in found})

    def exists(self, table):
        return DeltaTable.is_deltatable(self._folder(table))

    def versions(self, table):
        """Entries of the table's log."""
        log = "{}/{}/_delta_log/".format(*table.split("."))
        return sorted(path for path in self.paths() if path.startswith(log) and path.endswith(".json"))

    def is_local(self):
        return not self.root.startswith("s3://")

    def version(self, table):
        return self._open(table).version()

    def location(self, table):
        return self._folder(table)

    def files(self, table):
        """Data files that the newest version refers to, below the lake."""
        folder = "/{}/{}/".format(*table.split("."))
        return [folder[1:] + uri.partition(folder)[2] for uri in map(unquote, self._open(table).file_uris())]

    def text(self, path):
        """Of a file below the lake."""
        layer, _, rest = path.partition("/")
        files, folder = file_system(self.layers.get(layer, f"{self.root}/{layer}"))
        with files.open_input_file(f"{folder}/{rest}") as file:
            return file.read().decode()

    def paths(self):
        """Of all files, below the lake."""
        elsewhere = [path for layer, folder in self.layers.items() for path in below(folder, f"{layer}/")]
        return below(self.root, "") + elsewhere

    def schema(self, table):
        """Such as `ts timestamp, open double`; `timestamp` is an instant in microseconds."""
        if not self.exists(table):
            return "no such table"
        return ", ".join(f"{field.name} {field.type.type}" for field in self._open(table).schema().fields)

    def read(self, table):
        return self.arrow(table).to_pandas()

    def count(self, table):
        return self.arrow(table).num_rows if self.exists(table) else 0

    def count_by_file(self, table, name):
        """Rows by `name(source_file)`."""
        if not self.exists(table):
            return Counter()
        return Counter(name(path) for path in self.arrow(table)["source_file"].to_pylist())

    def count_nan(self, table):
        rows = self.arrow(table)
        doubles = [rows[column] for column in self._numbers(table, ("double",))]
        return sum(pc.sum(pc.is_nan(column)).as_py() or 0 for column in doubles)

    def sums(self, table):
        """Number of rows, and of each column of numbers its values and their sum."""
        rows = self.arrow(table)
        columns = [rows[column].drop_null().to_pylist() for column in self._numbers(table, NUMBERS)]
        return [rows.num_rows, *[(len(values), fsum(values)) for values in columns]]

    def sums_in_duckdb(self, table):
        files = [local_path(uri) for uri in self._open(table).file_uris()]
        if not files:
            return [0, *[(0, 0.0) for _ in self._numbers(table, NUMBERS)]]
        columns = self._numbers(table, NUMBERS)
        sums = "".join(f', count("{column}"), fsum("{column}")' for column in columns)
        found = duckdb.sql(f"select count(*){sums} from read_parquet($files)", params={"files": files}).fetchall()[0]
        return [found[0], *[(count, float(total or 0)) for count, total in zip(found[1::2], found[2::2])]]

    def _numbers(self, table, types):
        return [field.name for field in self._open(table).schema().fields if field.type.type in types]

    def arrow(self, table):
        return self._open(table).to_pyarrow_table()

    def _open(self, table):
        return DeltaTable(self._folder(table))

    def _folder(self, table):
        layer, name = table.split(".")
        return f"{self.layers.get(layer, f'{self.root}/{layer}')}/{name}"


def below(folder, prefix):
    files, root = file_system(folder)
    selector = fs.FileSelector(root, recursive=True, allow_not_found=True)
    found = (info.path for info in files.get_file_info(selector) if info.type == fs.FileType.File)
    return [prefix + path.removeprefix(root).lstrip("/") for path in found]


def file_system(root):
    """Of a folder, or of a bucket at the endpoint that the environment names."""
    if not root.startswith("s3://"):
        return fs.LocalFileSystem(), str(Path(root).absolute())
    scheme, _, host = os.environ.get("AWS_ENDPOINT_URL", "").rpartition("://")
    options = {"endpoint_override": host, "scheme": scheme} if host else {}
    return fs.S3FileSystem(region=os.environ.get("AWS_REGION"), **options), root.removeprefix("s3://")


def local_path(uri):
    return unquote(urlparse(uri).path) if uri.startswith("file:") else uri
