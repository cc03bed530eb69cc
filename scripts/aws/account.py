"""Looks whether the account has what environments need of it, and says what is missing.

python account.py ENVIRONMENT [--roles] [--dry-run]     --roles: prints the services whose role is there, as a list of JSON
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
    options = made.parse_args()
    there = roles(connect(options))
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


def roles(environment):
    """By the folder that a role of a service lies in."""
    pages = environment.client("iam").get_paginator("list_roles").paginate(PathPrefix="/aws-service-role/")
    services = {role["Path"].split("/")[2] for page in pages for role in page["Roles"]}
    return sorted(services & set(ROLES))


if __name__ == "__main__":
    sys.exit(main())
