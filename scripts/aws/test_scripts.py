"""Parts of the scripts that decide something by themselves.

python -m unittest test_scripts      # in this folder
"""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import types
import unittest
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import account
import cost
import state
import teardown
from checks import Environment, Report, statements

# What reads tables needs packages that these tests do without.
sys.modules["lake"] = types.ModuleType("lake")
sys.modules["lake"].Lake = None
import validate_m7  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[2]
PRICES = {
    "date": "2026-01-01", "region": "r", "currency": "USD", "hours_per_month": 730, "spot_discount_assumed": 0.5, "unconfirmed": ["ec2.b"],
    "ec2_hour": {"a": 1.0, "b": 2.0}, "emr_hour": {"a": 0.25, "b": 0.5}, "interface_endpoint_hour": 0.01, "kms_key_month": 1.0,
    "ebs_gb_month": 0.0, "alarm_month": 0.1, "dashboard_month": 3.0, "parameter_advanced_month": 0.05,
}  # fmt: skip
PRICED = {
    "region": "r", "interface_endpoints": 10, "keys": 1, "alarms": 6, "dashboards": 1, "advanced_parameters": 0, "month_usd": 200,
    "instances": {"on_demand": [{"type": "a", "count": 2}], "spot": {"type": "b", "count": 1, "most": 3}, "volume_gb": 100},
}  # fmt: skip


class Costs(unittest.TestCase):
    def test_hours_and_months(self):
        # Two of a on demand (2 x 1.25); of b at first one at half its price, at most three at the whole; the uplift always whole.
        self.assertEqual(cost.hourly(PRICED["instances"], PRICES), (2.5 + 1.0 + 0.5, 2.5 + 3 * 2.5))
        self.assertAlmostEqual(sum(cost.monthly(PRICED, PRICES).values()), 10 * 7.3 + 1 + 0.6 + 3)

    def test_a_price_that_nobody_compared_is_named(self):
        with redirect_stdout(io.StringIO()) as said:
            cost.report(PRICED, PRICES)
        self.assertIn("not compared with the vendor's page: ec2.b", said.getvalue())
        self.assertIn("77.60 a month", said.getvalue())

    def test_what_an_account_has_free_is_not_paid_for(self):
        prices = PRICES | {"alarms_free": 4, "dashboards_free": 3}
        self.assertAlmostEqual(sum(cost.monthly(PRICED, prices).values()), 10 * 7.3 + 1 + 2 * 0.1)

    def test_prices_have_what_environments_use(self):
        prices = json.loads((REPOSITORY / "infra/prices.json").read_text())
        self.assertEqual(prices["ec2_hour"].keys(), prices["emr_hour"].keys())
        self.assertRegex(prices["date"], r"^\d{4}-\d\d-\d\d$")


class Checks(unittest.TestCase):
    def check(self, *arguments):
        report = Report()
        with redirect_stdout(io.StringIO()) as said:
            report.check(*arguments)
            code = report.end()
        return code, said.getvalue()

    def test_a_line_says_what_was_expected_and_found(self):
        self.assertEqual(
            self.check("colour", "red", lambda: "red"),
            (0, "ok    colour: expected red, found red\n1 checks: 1 hold, 0 do not\n"),
        )
        self.assertEqual(
            self.check("colour", "red", lambda: "blue"),
            (1, "WRONG colour: expected red, found blue\n1 checks: 0 hold, 1 do not\n"),
        )

    def test_what_cannot_be_looked_at_is_wrong_and_hides_nothing(self):
        code, said = self.check("colour", "red", lambda: {}["colour"])
        self.assertEqual(code, 1)
        self.assertIn("found KeyError", said)

    def test_statements_of_a_policy_have_lists(self):
        policy = {"Statement": {"Effect": "Allow", "Action": "a", "Resource": "r"}}
        self.assertEqual(statements(json.dumps(policy)), [{"Effect": "Allow", "Action": ["a"], "Resource": ["r"]}])


class Fake:
    """A client that answers what it was given, and remembers what it was asked."""

    def __init__(self, **answers):
        self.answers, self.asked = answers, []

    def __getattr__(self, name):
        def call(**arguments):
            self.asked.append((name, arguments))
            return self.answers.get(name, {})

        return call

    def get_paginator(self, name):
        pages = self.answers[name]

        class Pages:
            def paginate(self, **_):
                return pages

        return Pages()


class Elsewhere(unittest.TestCase):
    """A second environment in an account, another region, another partition."""

    def environment(self, region="us-east-2", partition="aws", **clients):
        made = Environment.__new__(Environment)
        made.name, made.path, made.region, made.account, made.partition = "pulse-test", "/pulse/test", region, "1", partition
        made.client = clients.__getitem__
        return made

    def test_databases_are_found_by_place(self):
        listed = {
            "DatabaseList": [
                {"Name": "silver", "LocationUri": "s3://pulse-dev-1-silver/lake/silver"},
                {"Name": "test_silver", "LocationUri": "s3://pulse-test-1-silver/lake/silver/"},
                {"Name": "test_gold", "LocationUri": "s3://pulse-test-1-gold/lake/gold"},
                {"Name": "default"},
            ]
        }
        environment = self.environment(glue=Fake(get_databases=[listed]))
        self.assertEqual(environment.databases(), {"silver": "test_silver", "gold": "test_gold"})

    def test_names_are_of_the_partition(self):
        self.assertEqual(self.environment(partition="aws-us-gov").arn("s3", "b"), "arn:aws-us-gov:s3:::b")
        s3 = Fake(head_bucket={})
        state.make(self.environment(partition="aws-cn", s3=s3), "b")
        [policy] = [json.loads(asked["Policy"]) for name, asked in s3.asked if name == "put_bucket_policy"]
        self.assertEqual({r for s in policy["Statement"] for r in s["Resource"]}, {"arn:aws-cn:s3:::b", "arn:aws-cn:s3:::b/*"})
        self.assertIn({"NumericLessThan": {"s3:TlsVersion": "1.2"}}, [s["Condition"] for s in policy["Statement"]])
        [rules] = [asked["LifecycleConfiguration"]["Rules"] for name, asked in s3.asked if name == "put_bucket_lifecycle_configuration"]
        self.assertEqual(rules[0]["NoncurrentVersionExpiration"], {"NoncurrentDays": 90, "NewerNoncurrentVersions": 20})

    def test_charges_are_looked_for_where_they_are_published(self):
        said = {}
        for region in ("us-east-1", "us-east-2"):
            watch = Fake(list_metrics={"Metrics": []}, describe_alarms={"MetricAlarms": []}, get_dashboard={"DashboardName": "pulse-test"})
            budgets = Fake(describe_budget={"Budget": {"BudgetLimit": {"Amount": "200"}}})
            with redirect_stdout(io.StringIO()) as told:
                validate_m7.check_watching(self.environment(region, cloudwatch=watch, budgets=budgets), Report())
            said[region] = [line[6:].split(":")[0] for line in told.getvalue().splitlines() if line.startswith("WRONG")]
        missing = "figures of a cluster"
        self.assertEqual(said["us-east-2"], [missing])
        self.assertEqual(said["us-east-1"], [missing, "somebody hears of costs", "budget of a month is the alarm's limit"])

    def test_teardown_looks_whose_key_the_catalog_needs(self):
        def encrypted(key):
            settings = {"DataCatalogEncryptionSettings": {"EncryptionAtRest": {"SseAwsKmsKeyId": key}}}
            kms = Fake(describe_key={"KeyMetadata": {"Arn": "ours"}})
            return teardown.encrypts_catalog(self.environment(kms=kms, glue=Fake(get_data_catalog_encryption_settings=settings)))

        self.assertEqual([encrypted(key) for key in ("ours", "another", "")], [True, False, False])

    def test_all_clusters_end_and_are_waited_for(self):
        pages = [{"Clusters": [{"Id": f"j-{n}", "Name": "pulse-test"}]} for n in range(2)] + [{"Clusters": [{"Id": "j-9", "Name": "other"}]}]
        waits = []
        emr = Fake(list_clusters=pages)
        emr.get_waiter = lambda _: type("Waiter", (), {"wait": lambda _, ClusterId: waits.append(ClusterId)})()
        with redirect_stdout(io.StringIO()):
            teardown.end_clusters(self.environment(emr=emr), type("Options", (), {"dry_run": False}))
        self.assertEqual(emr.asked, [("terminate_job_flows", {"JobFlowIds": ["j-0", "j-1"]})])
        self.assertEqual(waits, ["j-0", "j-1"])

    def test_what_is_parked_has_no_cluster_that_is_up(self):
        pages = [{"Clusters": [{"Id": "j-1", "Name": "pulse-test"}, {"Id": "j-2", "Name": "other"}]}]
        live = account.live_clusters(self.environment(emr=Fake(list_clusters=pages)))
        self.assertEqual(live, ["j-1"])
        with redirect_stderr(io.StringIO()) as said:
            codes = [account.tell_clusters(found, type("Options", (), {"dry_run": dry})) for found, dry in ((live, False), (live, True), ([], False))]
        self.assertEqual((codes, "pulse cluster down j-1" in said.getvalue()), ([1, 0, 0], True))

    def test_roles_of_services_are_known_by_their_folder(self):
        listed = [{"Roles": [{"Path": f"/aws-service-role/{s}.amazonaws.com/"} for s in ("spot", "support")]}]
        self.assertEqual(account.roles(self.environment(iam=Fake(list_roles=listed))), ["spot.amazonaws.com"])


class BuildRelease(unittest.TestCase):
    def build(self, binary):
        command = [REPOSITORY / "scripts/build-release", "--binary", binary, "--dry-run"]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    def compile(self, folder, source, *options):
        (folder / "main.c").write_text(source)
        subprocess.run(["cc", "main.c", "-o", "program", *options], cwd=folder, check=True)
        return folder / "program"

    def test_programs_that_nodes_can_and_cannot_start(self):
        with tempfile.TemporaryDirectory() as name:
            program = self.compile(Path(name), "int main(void) { return 0; }", "-static")
            self.assertIn("glibc none, static", self.build(program).stdout)
            # A symbol that no glibc has yet stands for one that is newer than the nodes'.
            newer = 'extern int f(void); __asm__(".symver f,f@GLIBC_2.99"); int main(void) { return f(); }'
            (Path(name) / "v").write_text("GLIBC_2.99 { f; };")
            subprocess.run(
                ["cc", "-shared", "-x", "c", "-", "-o", "libf.so", "-Wl,--version-script=v"],
                cwd=name,
                input=b"int f(void) { return 0; }",
                check=True,
            )
            done = self.build(self.compile(Path(name), newer, "-L.", "-lf"))
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn("asks for glibc 2.99, nodes have 2.34", done.stderr)

    def test_what_is_no_program(self):
        done = self.build(__file__)
        self.assertEqual((done.returncode, "is no program" in done.stderr), (1, True))

    def release(self, folder, *options):
        """What the checksums in dist/ are of, by suffix, after they were compared."""
        environment = {**os.environ, "PULSE_RELEASE_FILE": str(folder / "release.sha256"), "XDG_CACHE_HOME": str(folder)}
        command = [REPOSITORY / "scripts/build-release", *options]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        dist = folder / "dist"
        subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=dist, check=True)
        made = {dist / line[66:] for line in (dist / "SHA256SUMS").read_text().splitlines()}
        self.assertEqual({path for path in dist.iterdir() if path.is_file()}, made | {dist / "SHA256SUMS"})
        return {path.suffix: path for path in made}

    def unpack(self, tarball, folder):
        subprocess.run(["tar", "-xzf", tarball, "-C", folder], check=True)
        return folder / tarball.name.removesuffix(".tar.gz")

    def test_a_tarball_of_a_given_binary(self):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            program = self.compile(folder, "int main(void) { return 7; }", "-static")
            made = self.release(folder, "--binary", program)
            self.assertEqual(made.keys(), {".gz"})
            first = (folder / "dist/SHA256SUMS").read_text()
            with tarfile.open(made[".gz"]) as tar:
                members = tar.getmembers()
            date = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=REPOSITORY, capture_output=True, check=True).stdout
            self.assertEqual({(member.uid, member.gid, member.mtime) for member in members}, {(0, 0, int(date))})
            unpacked = self.unpack(made[".gz"], folder)
            self.assertEqual({path.name for path in unpacked.iterdir()}, {"pulse", "README.md", "LICENSE", "docs", "jobs", "sample", "scripts"})
            self.assertEqual({path.name for path in (unpacked / "scripts").iterdir()}, {"dev-cluster", "env", "quickstart", "submit"})
            self.assertTrue(os.access(unpacked / "scripts/quickstart", os.X_OK))
            self.assertEqual(subprocess.run([unpacked / "pulse"], check=False).returncode, 7)
            # The same bytes once more, from the binary that lies in dist/ itself.
            self.release(folder, "--binary", (folder / "release.sha256").read_text()[66:].strip())
            self.assertEqual((folder / "dist/SHA256SUMS").read_text(), first)

    def test_binary_and_sbom_are_those_of_the_wheel(self):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            program = self.compile(folder, "int main(void) { return 0; }", "-static")
            # Stands for maturin: its wheel, and the words that it was called with.
            venv, content = folder / "pulse/venv-aws", (REPOSITORY / "scripts/aws/requirements-build.txt").read_bytes()
            (venv / "bin").mkdir(parents=True)
            (venv / f"requirements-build.txt.{hashlib.sha256(content).hexdigest()[:12]}").touch()
            (venv / "bin/maturin").write_text(
                f"""#!{sys.executable}
import os, pathlib, sys, zipfile
with zipfile.ZipFile(pathlib.Path(sys.argv[-1]) / "pulse-0.0.0-py3-none-manylinux_2_34_x86_64.whl", "w") as wheel:
    wheel.write("{program}", "pulse-0.0.0.data/scripts/pulse")
    wheel.writestr("pulse-0.0.0.dist-info/sboms/pulse-cli.cyclonedx.json", os.environ["SOURCE_DATE_EPOCH"])
pathlib.Path("{folder}/called").write_text(" ".join(sys.argv[1:-1]))
"""
            )
            (venv / "bin/maturin").chmod(0o755)
            made = self.release(folder)
            self.assertEqual(made.keys(), {".gz", ".json", ".whl"})
            self.assertEqual(
                (folder / "called").read_text(),
                "build --release --locked --zig --compatibility manylinux_2_34 --target x86_64-unknown-linux-gnu"
                " --manifest-path cli/Cargo.toml --out",
            )
            unpacked = self.unpack(made[".gz"], folder)
            self.assertEqual((unpacked / "pulse").read_bytes(), program.read_bytes())
            self.assertRegex((unpacked / made[".json"].name).read_text(), r"^\d+$")
            self.assertEqual((unpacked / made[".json"].name).read_text(), made[".json"].read_text())
            # No wheel of an earlier build stays beside another binary.
            self.assertEqual(self.release(folder, "--binary", program).keys(), {".gz"})


if __name__ == "__main__":
    sys.exit(unittest.main())
