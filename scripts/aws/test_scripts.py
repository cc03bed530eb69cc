"""Parts of the scripts that decide something by themselves.

    python -m unittest test_scripts      # in this folder
"""

import io
import json
import subprocess
import sys
import tempfile
import unittest
from contextlib import redirect_stdout
from pathlib import Path

import cost
from checks import Report, statements

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
        self.assertEqual(self.check("colour", "red", lambda: "red"), (0, "ok    colour: expected red, found red\n1 checks: 1 hold, 0 do not\n"))
        self.assertEqual(self.check("colour", "red", lambda: "blue"), (1, "WRONG colour: expected red, found blue\n1 checks: 0 hold, 1 do not\n"))

    def test_what_cannot_be_looked_at_is_wrong_and_hides_nothing(self):
        code, said = self.check("colour", "red", lambda: {}["colour"])
        self.assertEqual(code, 1)
        self.assertIn("found KeyError", said)

    def test_statements_of_a_policy_have_lists(self):
        policy = {"Statement": {"Effect": "Allow", "Action": "a", "Resource": "r"}}
        self.assertEqual(statements(json.dumps(policy)), [{"Effect": "Allow", "Action": ["a"], "Resource": ["r"]}])


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
            subprocess.run(["cc", "-shared", "-x", "c", "-", "-o", "libf.so", "-Wl,--version-script=v"], cwd=name, input=b"int f(void) { return 0; }", check=True)
            done = self.build(self.compile(Path(name), newer, "-L.", "-lf"))
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn("asks for glibc 2.99, nodes have 2.34", done.stderr)

    def test_what_is_no_program(self):
        done = self.build(__file__)
        self.assertEqual((done.returncode, "is no program" in done.stderr), (1, True))


if __name__ == "__main__":
    sys.exit(unittest.main())
