"""Looks whether the account has what environments need of it, and says what is missing.

python account.py ENVIRONMENT [--roles|--idle] [--dry-run]
    --roles: prints the services whose role is there, as a list of JSON     --idle: only looks whether a cluster of the environment is up
"""

import json
import sys

from checks import connect, parser

# Of infra/account.
ROLES = {
    "elasticmapreduce.amazonaws.com": "AWSServiceRoleForEMRCleanup",
    "spot.amazonaws.com": "AWSServiceRoleForEC2Spot",
}


def main():
    made = parser(__doc__)
    made.add_argument("--roles", action="store_true")
    made.add_argument("--idle", action="store_true")
    options = made.parse_args()
    environment = connect(options)
    if options.idle:
        return tell_clusters(live_clusters(environment), options)
    there = roles(environment)
    if options.roles:
        print(json.dumps(there))
        return 0
    missing = [ROLES[service] for service in ROLES if service not in there]
    if missing:
        print(
            f"the account has no role {' and no '.join(missing)}: without them no cluster starts. Run scripts/deploy account first",
            file=sys.stderr,
        )
    return 1 if missing and not options.dry_run else 0


def tell_clusters(live, options):
    for cluster in live:
        print(f"cluster {cluster} is up, and cannot work without endpoints: end it with `pulse cluster down {cluster}`", file=sys.stderr)
    return 1 if live and not options.dry_run else 0


def live_clusters(environment):
    states = ["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING"]
    pages = environment.client("emr").get_paginator("list_clusters").paginate(ClusterStates=states)
    return [c["Id"] for page in pages for c in page["Clusters"] if c["Name"] == environment.name]


def roles(environment):
    """By the folder that a role of a service lies in."""
    pages = environment.client("iam").get_paginator("list_roles").paginate(PathPrefix="/aws-service-role/")
    services = {role["Path"].split("/")[2] for page in pages for role in page["Roles"]}
    return sorted(services & set(ROLES))


if __name__ == "__main__":
    sys.exit(main())
