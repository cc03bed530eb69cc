"""Checks milestone M7: figures, alarms and budget, bounds of scaling, and every table as it is in the Glue Data Catalog. Reads only."""

import sys

from checks import LAKE_READERS, read_specification, run

sys.path.append(LAKE_READERS)
from lake import Lake  # noqa: E402

# Of the heartbeat, every minute.
FIGURES = ["Busy", "Executors", "HeartbeatFailed", "OldestRunSeconds", "QueueAgeSeconds", "RunningRuns", "SchedulerDown"]
# As modules/cluster bounds them.
LEAST_UNITS, MOST_UNITS = 2, 100
# AWS publishes charges in this region only.
CHARGES_REGION = "us-east-1"


def validate(environment, report, _):
    check_watching(environment, report)
    specification = read_specification(environment, report)
    if not specification:
        return
    report.check(
        "machines with executors",
        f"{LEAST_UNITS} to {MOST_UNITS}",
        lambda: [specification["scaling"][key] for key in ("min_units", "max_units")],
        lambda found: LEAST_UNITS <= found[0] <= found[1] <= MOST_UNITS,
    )
    lake = Lake(specification["storage"]["lake"])
    names, databases = lake.tables(), environment.databases()
    report.check("tables", "some", lambda: len(names), bool)
    for name in names:
        check_entry(environment, report, lake, databases, name)


def check_watching(environment, report):
    name, watch = environment.name, environment.client("cloudwatch")
    report.check("dashboard", name, lambda: watch.get_dashboard(DashboardName=name)["DashboardName"])
    report.check(
        "figures of a cluster",
        FIGURES,
        lambda: sorted({metric["MetricName"] for metric in watch.list_metrics(Namespace=name)["Metrics"]}),
        lambda found: set(FIGURES) <= set(found),
    )
    budgets = lambda: environment.client("budgets").describe_budget(  # noqa: E731
        AccountId=environment.account, BudgetName=f"{name}-month"
    )["Budget"]
    limit = lambda: float(budgets()["BudgetLimit"]["Amount"])  # noqa: E731
    if environment.region != CHARGES_REGION:
        report.check("budget of a month", "more than 0", limit, lambda found: found > 0)
        return
    costs = lambda: watch.describe_alarms(AlarmNames=[f"{name}-cost"])["MetricAlarms"][0]  # noqa: E731
    report.check("somebody hears of costs", True, lambda: bool(costs()["AlarmActions"]))
    report.check(
        "budget of a month is the alarm's limit",
        "the same",
        lambda: [limit(), costs()["Threshold"]],
        lambda found: found[0] == found[1] > 0,
    )


def check_entry(environment, report, lake, databases, table):
    layer, name = table.split(".")
    entry = lambda: environment.client("glue").get_table(DatabaseName=databases[layer], Name=name)["Table"]  # noqa: E731
    columns = [column.split(" ")[0] for column in lake.schema(table).split(", ")]
    report.check(
        f"{table} in Glue: type, version, place, columns",
        ["delta", str(lake.version(table)), lake.location(table), columns],
        lambda: described(entry()),
    )


def described(entry):
    storage, parameters = entry["StorageDescriptor"], entry["Parameters"]
    columns = [column["Name"] for column in storage["Columns"] + entry.get("PartitionKeys", [])]
    return [parameters["table_type"], parameters["delta.lastUpdateVersion"], storage["Location"].rstrip("/"), columns]


if __name__ == "__main__":
    sys.exit(run(__doc__, validate))
