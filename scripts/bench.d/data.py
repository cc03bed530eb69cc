"""Decimals against doubles, and nested JSON against Polars. usage: data.py PULSE FOLDER PYTHON [RUNS]

PYTHON has Polars and deltalake. Whole processes run alternately, each into a new lake; the medians, their ratio and the peak memory are printed.
Fails where results differ.
"""

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

ROWS = int(os.environ.get("PULSE_BENCH_ROWS", 3_000_000))
ORDERS = ROWS // 8
SOURCES = """
[files.money]
root = "$raw"
columns = [{ name = "id", type = "bigint" }, { name = "shop", type = "string" }, MONEY]
[files.money.feed.all]
path = "money_*.csv"
format = { csv = {} }
[files.orders]
root = "$raw"
columns = [
    { name = "id", type = "bigint" },
    { name = "at", type = "timestamp" },
    { name = "customer", type = "struct<name:string,city:string,vip:boolean>" },
    { name = "items", type = "array<struct<sku:string,qty:bigint,price:double>>" },
    { name = "tags", type = "array<string>" },
]
[files.orders.feed.all]
path = "orders_*.jsonl"
format = { json_lines = {} }
nulls = []
"""
JOBS = {
    "bronze/money": ("select id, shop, a, b, c, source_file, line from raw.money", ["source_file", "line"], "append"),
    "gold/shops": (
        "select shop, count(*) as n, sum(a) as a, sum(b) as b, max(c) as c from bronze.money where a > 10 group by shop",
        ["shop"],
        "overwrite",
    ),
    "bronze/orders": ("select id, at, customer, items, tags, source_file, line from raw.orders", ["source_file", "line"], "append"),
    "silver/items": (
        "select id, at, city, i.sku as sku, i.qty as qty, i.price as price, i.qty * i.price as value, row_number() over (partition by id order by i.sku, i.qty, i.price) as nr"
        " from (select id, at, customer.city as city, unnest(items) as i from bronze.orders)",
        ["id", "nr"],
        "overwrite",
    ),
}
PEER = """
import sys
from pathlib import Path
import polars as pl
raw, lake = Path(sys.argv[1]), Path(sys.argv[2])
schema = {"id": pl.Int64, "at": pl.String, "customer": pl.Struct({"name": pl.String, "city": pl.String, "vip": pl.Boolean}),
          "items": pl.List(pl.Struct({"sku": pl.String, "qty": pl.Int64, "price": pl.Float64})), "tags": pl.List(pl.String)}
orders = pl.scan_ndjson(raw / "orders_*.jsonl", schema=schema)
orders = orders.with_columns(pl.col("at").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC"))
orders = orders.collect()
orders.write_delta(lake / "bronze/orders")
items = orders.lazy().select("id", "at", pl.col("customer").struct.field("city"), "items")
items = items.explode("items").unnest("items").with_columns(value=pl.col("qty") * pl.col("price"))
items = items.sort("id", "sku", "qty", "price").with_columns(nr=pl.int_range(1, pl.len() + 1).over("id"))
items.collect().write_delta(lake / "silver/items")
"""


def generate(raw):
    """The same files from every call."""
    if (raw / "done").exists():
        return
    raw.mkdir(parents=True, exist_ok=True)
    chance = random.Random(7)
    for part in range(4):
        with open(raw / f"money_{part}.csv", "w") as file:
            file.write("id,shop,a,b,c\n")
            for number in range(ROWS // 4):
                cents = [chance.randrange(10_000_000) for _ in range(3)]
                numbers = ",".join(f"{one // 100}.{one % 100:02}" for one in cents)
                file.write(f"{part * ROWS + number},shop{chance.randrange(500)},{numbers}\n")
        with open(raw / f"orders_{part}.jsonl", "w") as file:
            for number in range(ORDERS // 4):
                item = lambda: {"sku": f"sku-{chance.randrange(5000)}", "qty": chance.randrange(1, 9), "price": chance.randrange(9999) / 100}
                order = {
                    "id": part * ORDERS + number,
                    "at": f"2026-01-{chance.randrange(1, 29):02}T{chance.randrange(24):02}:00:00Z",
                    "customer": {"name": f"name {chance.randrange(99999)}", "city": f"city {chance.randrange(300)}", "vip": chance.random() < 0.1},
                    "items": [item() for _ in range(chance.randrange(1, 5))],
                    "tags": [f"tag{chance.randrange(20)}" for _ in range(chance.randrange(3))],
                }
                file.write(json.dumps(order) + "\n")
    (raw / "done").touch()


def project(folder, money):
    shutil.rmtree(folder, ignore_errors=True)
    for job, (query, grain, sink) in JOBS.items():
        (folder / job).mkdir(parents=True)
        (folder / job / "query.sql").write_text(query)
        (folder / job / "job.toml").write_text(f"grain = {json.dumps(grain)}\n[sink.{sink}]\n")
    (folder / "project.toml").write_text('name = "data"\n[defaults]\nowner = "bench"\n')
    columns = ", ".join(f'{{ name = "{name}", type = "{money}" }}' for name in "abc")
    (folder / "sources.toml").write_text(SOURCES.replace("MONEY", columns))
    return folder


def timed(command):
    """Seconds, and peak memory in MiB."""
    done = subprocess.run(["/usr/bin/time", "-f", "%e %M", *map(str, command)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    seconds, kib = done.stderr.strip().splitlines()[-1].split()
    return float(seconds), int(kib) // 1024


def alternate(runs, ways, lake):
    figures = {name: [] for name in ways}
    for _ in range(runs):
        for name, command in ways.items():
            shutil.rmtree(lake / name, ignore_errors=True)
            (lake / name).mkdir(parents=True)
            figures[name].append(timed(command(lake / name)))
    medians = {}
    for name, found in figures.items():
        medians[name] = statistics.median(seconds for seconds, _ in found)
        times = ", ".join(f"{seconds:.1f}" for seconds, _ in found)
        print(f"{name}: {times} s, median {medians[name]:.1f} s, {max(mib for _, mib in found)} MiB")
    one, other = medians
    print(f"{one} takes {medians[one] / medians[other]:.2f} times as long as {other}")


def check(lake, python):
    """Each way has left the same rows."""
    script = (
        "import sys, polars as pl\n"
        "def rows(name): return pl.read_delta(sys.argv[1] + '/' + name + '/silver/items').select('id', 'nr', 'at', 'city', 'sku', 'qty', 'price', 'value').sort('id', 'nr')\n"
        "ours, theirs = rows('pulse'), rows('polars')\n"
        "assert ours.equals(theirs), (ours.head(), theirs.head(), ours.shape, theirs.shape)\n"
        "def shops(name): return pl.read_delta(sys.argv[1] + '/' + name + '/gold/shops').select('shop', 'n', *[pl.col(c).cast(pl.Float64) for c in 'abc']).sort('shop')\n"
        "m, d = shops('decimals'), shops('doubles')\n"
        "assert (m['n'] == d['n']).all() and ((m['a'] - d['a']).abs() < 1e-3).all() and (m['c'] == d['c']).all()\n"
        "print('both have left the same rows')\n"
    )
    subprocess.run([python, "-c", script, lake], check=True)


def main(pulse, folder, python, runs="3"):
    folder = Path(folder)
    raw, lake = folder / f"raw-{ROWS}", folder / "lake"
    generate(raw)
    run = lambda project, jobs: lambda place: [pulse, "--project", project, "--lake", place, "--var", f"raw={raw}", "run", "--on", "local", *jobs]
    decimals, doubles = project(folder / "decimals", "decimal(18,2)"), project(folder / "doubles", "double")
    print(f"{ROWS:,} rows of CSV with three amounts, to bronze and gold:")
    money = ["bronze.money", "gold.shops"]
    alternate(int(runs), {"decimals": run(decimals, money), "doubles": run(doubles, money)}, lake)
    peer = folder / "peer.py"
    peer.write_text(PEER)
    print(f"{ORDERS:,} lines of nested JSON, to bronze and, an item a row, to silver:")
    orders = ["bronze.orders", "silver.items"]
    alternate(int(runs), {"pulse": run(doubles, orders), "polars": lambda place: [python, peer, raw, place]}, lake)
    check(lake, python)


if __name__ == "__main__":
    main(*sys.argv[1:])
