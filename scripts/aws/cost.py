"""Prices a plan: what costs by the hour while a cluster runs, and what costs every month without one.

python cost.py PLAN.json PRICES.json      (of `terraform show -json`)
"""

import json
import sys


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1]) as plan, open(sys.argv[2]) as prices:
        report(json.load(plan)["planned_values"]["outputs"]["priced"]["value"], json.load(prices))


def report(priced, prices):
    if priced["region"] != prices["region"]:
        print(f"note: prices are those of {prices['region']}, the plan is for {priced['region']}")
    standing = monthly(priced, prices)
    print(f"\nCosts, prices of {prices['date']} in {prices['currency']}, without data, requests and taxes:")
    if "instances" not in priced:
        print(f"  standing                   {sum(standing.values()):8.2f} a month")
        return
    least, most = hourly(priced["instances"], prices)
    print(
        f"  while a cluster runs       {least:8.2f} to {most:.2f} an hour ({least * prices['hours_per_month']:.0f} to {most * prices['hours_per_month']:.0f} if it ran all month)"
    )
    for name, amount in standing.items():
        print(f"  {name:<26} {amount:8.2f} a month")
    print(
        f"  standing, cluster or not   {sum(standing.values()):8.2f} a month, until scripts/teardown; the budget warns at {priced['month_usd']:.0f}"
    )
    used = {
        f"{kind}.{one['type']}"
        for one in [*priced["instances"]["on_demand"], priced["instances"]["spot"]]
        for kind in ("ec2", "emr")
    }
    doubtful = sorted(used & set(prices["unconfirmed"])) + [name for name in prices["unconfirmed"] if "." not in name]
    print(f"  not compared with the vendor's page: {', '.join(doubtful)}")


def hourly(instances, prices):
    """At the start with Spot at its usual discount, and with the most task nodes at the on-demand price."""
    volume = instances["volume_gb"] * prices["ebs_gb_month"] / prices["hours_per_month"]
    always = sum(
        one["count"] * (prices["ec2_hour"][one["type"]] + prices["emr_hour"][one["type"]] + volume)
        for one in instances["on_demand"]
    )
    spot = instances["spot"]
    ec2, emr = prices["ec2_hour"][spot["type"]], prices["emr_hour"][spot["type"]]
    least = always + spot["count"] * (ec2 * (1 - prices["spot_discount_assumed"]) + emr + volume)
    return least, always + spot["most"] * (ec2 + emr + volume)


def monthly(priced, prices):
    # An account has some free of charge; environments that share one do so with these as well.
    alarms = max(priced["alarms"] - prices.get("alarms_free", 0), 0)
    dashboards = max(priced["dashboards"] - prices.get("dashboards_free", 0), 0)
    return {
        f"{priced['interface_endpoints']} interface endpoints": priced["interface_endpoints"]
        * prices["interface_endpoint_hour"]
        * prices["hours_per_month"],
        "key": priced["keys"] * prices["kms_key_month"],
        f"{priced['alarms']} alarms, {prices.get('alarms_free', 0)} are free": alarms * prices["alarm_month"],
        "dashboard": dashboards * prices["dashboard_month"],
        "parameter": priced["advanced_parameters"] * prices["parameter_advanced_month"],
    }


if __name__ == "__main__":
    main()
