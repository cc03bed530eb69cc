"""What nodes run, with a folder for / and stand-ins for aws, systemctl and the like.

python -m unittest test_node      # in this folder
"""

import datetime
import gzip
import hashlib
import http.server
import json
import os
import shutil
import ssl
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

FILES = Path(__file__).resolve().parents[1] / "files"
PULSE = """#!/bin/sh
case "$*" in
    "certs init "*) mkdir -p "$3"; for name in scheduler executor client; do echo "own $name" >"$3/$name.pem"; done
        printf -- '-----BEGIN CERTIFICATE-----\nCA\n-----END CERTIFICATE-----\n' | tee "$3/authority.pem" >"$3/authority.signs.pem"
        printf -- '-----BEGIN PRIVATE KEY-----\nKEY\n-----END PRIVATE KEY-----\n' >"$3/authority.key" ;;
    "certs issue "*) cat "$3/authority.signs.pem" "$3/authority.key" >"$3/$4.pem" ;;
    *"runs list --open") echo "pulse $*" >>"$PULSE_ROOT/calls"; cat "$PULSE_ROOT/runs.json" 2>/dev/null || exit 1 ;;
    *) echo "pulse $*" ;;
esac
"""
# `s3 cp` copies between a folder per bucket and the disk; every call is noted.
AWS = """#!/bin/sh
echo "$*" >>"$PULSE_ROOT/calls"
for a; do case "$a" in file://*) cp "${a#file://}" "$PULSE_ROOT/events.$(echo "${a#file://}" | tr / _)" ;; esac; done
[ "$1 $2" = "logs put-log-events" ] && echo "${FAKE_AWS_ANSWER:-}"
[ "$1 $2" = "s3 cp" ] || exit "${FAKE_AWS_CODE:-0}"
shift 2
while :; do case "$1" in --recursive | --only-show-errors) shift ;; *) break ;; esac; done
from="$(echo "$1" | sed "s#^s3://#$PULSE_ROOT/s3/#")" to="$(echo "$2" | sed "s#^s3://#$PULSE_ROOT/s3/#")"
[ -e "$from" ] || exit 1
mkdir -p "$(dirname "$to")"
if [ -d "$from" ]; then cp -r "$from/." "$to"; else cp "$from" "$to"; fi
"""
STAND_INS = {
    "aws": AWS,
    "sudo": '#!/bin/sh\nexec "$@"\n',
    "id": "#!/bin/sh\nexit 1\n",
    "useradd": '#!/bin/sh\necho "useradd $*" >>"$PULSE_ROOT/calls"\n',
    "chown": "#!/bin/sh\n",
    "systemctl": '#!/bin/sh\necho "systemctl $*" >>"$PULSE_ROOT/calls"\n',
    "journalctl": '#!/bin/sh\necho "$*" >"$PULSE_ROOT/journalctl"\n'
    'cat "$PULSE_ROOT/journal" 2>/dev/null\nfor a; do case "$a" in --cursor-file=*) echo next >"${a#*=}" ;; esac; done\n',
}


def stamp(seconds):
    """As pulse prints it."""
    at = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Node(unittest.TestCase):
    def setUp(self):
        self.root = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.root)
        self.environment = {
            **os.environ,
            "PULSE_ROOT": str(self.root),
            "PATH": f"{self.root}/stand-ins:{os.environ['PATH']}",
            "PULSE_FETCH_WAIT": "0",
            "PULSE_NAME": "pulse-dev",
            "PULSE_LOG_GROUP": "/pulse/dev",
            "PULSE_LOG_URL": "s3://logs/emr",
            "PULSE_CLUSTER_ID": "j-1",
            "PULSE_BUSY_FILE": str(self.root / "mnt/pulse/busy"),
            "PULSE_API_PORT": "1",  # nobody listens there
        }
        for name, script in STAND_INS.items():
            self.program(f"stand-ins/{name}", script)

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def program(self, path, text):
        file = self.write(path, text)
        file.chmod(file.stat().st_mode | stat.S_IXUSR)

    def read(self, path):
        return (self.root / path).read_text()

    def calls(self):
        return self.read("calls").splitlines() if (self.root / "calls").exists() else []


class Bootstrap(Node):
    def setUp(self):
        super().setUp()
        self.write("s3/artifacts/pulse", PULSE)
        shutil.copy(FILES / "pulse-node", self.root / "s3/artifacts/pulse-node")
        self.write("s3/artifacts/pulse.env", "PULSE_NAME=pulse-dev\nPULSE_LAKE=s3://silver/lake\n")
        self.share()
        self.describe(primary=False)

    def describe(self, primary):
        info = "mnt/var/lib/info"
        self.write(f"{info}/instance.json", json.dumps({"isMaster": primary}))
        self.write(
            f"{info}/extraInstanceData.json",
            json.dumps(
                {
                    "instanceRole": "Master" if primary else "TASK",
                    "masterHost": "ip-10-20-0-9.ec2.internal",
                    "jobFlowId": "j-1",
                }
            ),
        )

    def share(self):
        pem = "-----BEGIN CERTIFICATE-----\nCA\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\nKEY\n-----END PRIVATE KEY-----\n"
        self.write("s3/artifacts/nodes/pulse-dev/j-1/authority", pem)

    def boot(self, sha256=hashlib.sha256(PULSE.encode()).hexdigest(), release="s3://artifacts/pulse"):
        arguments = [
            "--release",
            release,
            "--sha256",
            sha256,
            "--agent",
            "s3://artifacts/pulse-node",
            "--settings",
            "s3://artifacts/pulse.env",
        ]
        return subprocess.run(
            ["bash", FILES / "bootstrap.sh", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def authority(self):
        return self.root / "s3/artifacts/nodes/pulse-dev/j-1/authority"

    def test_nodes_share_an_authority_and_keep_no_key_that_signs(self):
        self.authority().unlink()
        self.describe(primary=True)
        self.assertEqual(self.boot().returncode, 0)
        shared = self.authority().read_text()
        self.assertIn("\nCA\n", shared)
        self.assertIn("\nKEY\n", shared)
        kept = {file.name for file in (self.root / "etc/pulse/certs").iterdir()}
        self.assertEqual(kept, {"authority.pem", "scheduler.pem"})
        self.assertFalse((self.root / "etc/pulse/authority").exists())
        self.assertFalse(any("KEY" in call for call in self.calls()), "seen in the list of processes")
        settings = self.read("etc/pulse/pulse.env")
        self.assertIn("PULSE_CLUSTER_CERTIFICATES=/etc/pulse/certs\n", settings)
        self.assertIn("PULSE_API_HOST=127.0.0.1\nPULSE_API_TOKEN_SOURCE=file:/etc/pulse/api-token\n", settings)
        self.assertRegex(self.read("etc/pulse/api-token"), "^[0-9a-f]{64}$")
        shutil.rmtree(self.root / "etc/pulse")
        self.describe(primary=False)
        self.assertEqual(self.boot().returncode, 0)
        certs = self.root / "etc/pulse/certs"
        self.assertEqual({file.name for file in certs.iterdir()}, {"authority.pem", "executor.pem"})
        self.assertEqual((certs / "executor.pem").read_text(), shared)
        self.assertEqual((certs / "authority.pem").stat().st_mode & 0o777, 0o600)
        self.assertEqual(certs.stat().st_mode & 0o777, 0o700)
        self.assertNotIn("PULSE_API", self.read("etc/pulse/pulse.env"))

    def test_the_next_cluster_has_the_token_that_seals_submissions(self):
        self.describe(primary=True)
        tokens = []
        for cluster in ("j-1", "j-2"):
            shutil.rmtree(self.root / "etc/pulse", ignore_errors=True)
            self.assertEqual(self.boot().returncode, 0, cluster)
            tokens.append(self.read("etc/pulse/api-token").strip())
        self.assertRegex(tokens[0], "^[0-9a-f]{64}$")
        self.assertEqual(tokens[0], tokens[1])
        self.assertEqual((self.root / "etc/pulse/api-token").stat().st_mode & 0o777, 0o440)
        self.assertFalse(any(tokens[0] in call for call in self.calls()), "seen in the list of processes")

    def test_an_executor_without_an_authority_does_not_stay(self):
        self.authority().unlink()
        done = self.boot()
        self.assertEqual(done.returncode, 1)
        self.assertIn("did the primary node start", done.stderr)

    def test_a_task_node_becomes_an_executor_of_the_primary(self):
        done = self.boot()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(
            "PULSE_LAKE=s3://silver/lake\nPULSE_SCHEDULER_HOST=ip-10-20-0-9.ec2.internal\n",
            self.read("etc/pulse/pulse.env"),
        )
        self.assertIn("PULSE_NODE_KIND=task\n", self.read("etc/pulse/pulse.env"))
        self.assertIn("PULSE_BUSY_FILE=/mnt/pulse/busy\n", self.read("etc/pulse/pulse.env"))
        unit = self.read("etc/systemd/system/pulse-executor.service")
        self.assertIn("ExecStart=/opt/pulse/bin/pulse -v serve executor\n", unit)
        self.assertIn("User=pulse\n", unit)
        self.assertFalse((self.root / "etc/systemd/system/pulse-heartbeat.timer").exists())
        self.assertIn("systemctl enable --now pulse-executor.service pulse-logs.timer", self.calls())

    def test_the_primary_becomes_the_scheduler_with_a_heartbeat(self):
        self.describe(primary=True)
        done = self.boot()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("serve scheduler\n", self.read("etc/systemd/system/pulse-scheduler.service"))
        self.assertIn("OnUnitActiveSec=30\n", self.read("etc/systemd/system/pulse-heartbeat.timer"))
        self.assertIn("systemctl enable --now pulse-heartbeat.timer", self.calls())

    def test_a_binary_with_another_checksum_is_not_installed(self):
        done = self.boot(sha256="0" * 64)
        self.assertEqual(done.returncode, 1)
        self.assertIn("expected " + "0" * 64, done.stderr)
        self.assertFalse((self.root / "opt/pulse/bin/pulse").exists())
        self.assertEqual([call for call in self.calls() if call.startswith("systemctl")], [])

    def test_a_node_that_cannot_reach_the_bucket_says_what_to_look_at(self):
        done = self.boot(release="s3://artifacts/absent")
        self.assertEqual(done.returncode, 1)
        self.assertIn("S3 endpoint's policy", done.stderr)
        self.assertEqual(sum("absent" in call for call in self.calls()), 5)

    def test_a_node_without_its_description_fails(self):
        shutil.rmtree(self.root / "mnt/var/lib/info")
        done = self.boot()
        self.assertEqual(done.returncode, 1)
        self.assertIn("where the primary node is", done.stderr)

    def test_a_step_runs_pulse_with_the_nodes_settings_on_the_project(self):
        self.describe(primary=True)
        self.assertEqual(self.boot().returncode, 0)
        self.write("s3/artifacts/projects/p/project.toml", "")
        done = subprocess.run(
            [
                sys.executable,
                self.root / "opt/pulse/bin/pulse-node",
                "step",
                "s3://artifacts/projects/p",
                "submit",
                "--all",
            ],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=30,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"^pulse --project /\S+ submit --all\n$")


class Agent(Node):
    def setUp(self):
        super().setUp()
        self.program("opt/pulse/bin/pulse", PULSE)
        self.activity = self.write("emr/metricscollector/isbusy", "")
        self.long_ago = time.time() - 5000
        os.utime(self.activity, (self.long_ago, self.long_ago))

    def run_agent(self, command):
        done = subprocess.run(
            [sys.executable, FILES / "pulse-node", command],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=30,
        )
        self.said = done.stdout + done.stderr
        return done.returncode, self.said

    def runs(self, *states, age=60, ended=None):
        now = time.time()
        listed = [
            {
                "run": f"r{n}",
                "trigger": f"20260101T0000{n:02d}-x",
                "state": state,
                "started": stamp(now - age),
                "ended": ended and stamp(ended / 1000),
                "error": "boom",
            }
            for n, state in enumerate(states)
        ]
        self.write("runs.json", "".join(json.dumps(run) + "\n" for run in listed))

    def touched(self):
        return self.activity.stat().st_mtime > self.long_ago + 1000

    def figures(self):
        """Of the last line that is one of figures, as CloudWatch reads it."""
        line = next(line for line in reversed(self.said.splitlines()) if line.startswith('{"_aws"'))
        found = json.loads(line)
        [described] = found["_aws"]["CloudWatchMetrics"]
        self.assertEqual((described["Namespace"], described["Dimensions"]), ("pulse-dev", [[]]))
        self.assertAlmostEqual(found["_aws"]["Timestamp"] / 1000, time.time(), delta=60)
        return {metric["Name"]: found[metric["Name"]] for metric in described["Metrics"]}

    def works(self, ago):
        """As the scheduler's own file says."""
        self.write("mnt/pulse/busy", "")
        os.utime(self.root / "mnt/pulse/busy", (time.time() - ago, time.time() - ago))

    def booted(self, ago):
        self.write("etc/pulse/pulse.env", "")
        os.utime(self.root / "etc/pulse/pulse.env", (time.time() - ago, time.time() - ago))

    def test_a_scheduler_that_works_keeps_the_cluster_alive_however_long_a_run_takes(self):
        for limit in (None, "0", "3600"):
            with self.subTest(limit):
                os.utime(self.activity, (self.long_ago, self.long_ago))
                self.environment.pop("PULSE_RUN_TIMEOUT_S", None)
                if limit is not None:
                    self.environment["PULSE_RUN_TIMEOUT_S"] = limit
                self.runs("running", age=7 * 3600)
                self.works(ago=5)
                self.assertEqual(self.run_agent("heartbeat")[0], 0)
                self.assertTrue(self.touched())
        self.assertEqual(self.figures()["Busy"], 1)

    def test_the_file_of_activity_is_as_old_as_the_last_work(self):
        self.runs()
        self.works(ago=100)
        self.run_agent("heartbeat")
        self.assertAlmostEqual(self.activity.stat().st_mtime, time.time() - 100, delta=20)
        self.run_agent("heartbeat")
        self.assertEqual((self.figures()["Busy"], self.figures()["HeartbeatFailed"]), (0, 0))

    def test_a_scheduler_that_has_driven_nothing_yet_does_not(self):
        self.runs()
        self.run_agent("heartbeat")
        self.assertFalse(self.touched())
        self.assertEqual((self.figures()["Busy"], self.figures()["HeartbeatFailed"]), (0, 0))

    def test_runs_that_nobody_here_drives_do_not(self):
        """Of a dead scheduler, of another cluster, of a laptop that was closed."""
        for state in ("running", "queued", "lost"):
            with self.subTest(state):
                self.runs(state)
                self.works(ago=6000)
                self.run_agent("heartbeat")
                self.assertFalse(self.touched())

    def test_a_ledger_that_cannot_be_read_changes_nothing_but_figures(self):
        self.works(ago=5)
        code, said = self.run_agent("heartbeat")
        self.assertEqual((code, "ledger cannot be read" in said), (0, True))
        self.assertTrue(self.touched())
        self.assertEqual(self.figures()["HeartbeatFailed"], 0)

    def test_the_ledger_is_asked_once_for_what_is_open(self):
        """Its other objects are thousands after a while, and each look at one is paid for."""
        self.runs("running")
        self.run_agent("heartbeat")
        asked = [call for call in self.calls() if call.startswith("pulse")]
        self.assertEqual(asked, ["pulse --output json runs list --open"])

    def test_figures_are_of_open_runs(self):
        self.runs("succeeded", "running", "lost", age=100)
        self.run_agent("heartbeat")
        self.assertEqual(self.figures()["RunningRuns"], 1)
        self.assertAlmostEqual(self.figures()["OldestRunSeconds"], 100, delta=20)

    def test_a_heartbeat_that_emr_cannot_see_is_told(self):
        shutil.rmtree(self.root / "emr")
        self.booted(ago=3600)
        self.runs("running")
        self.works(ago=5)
        self.assertIn("heartbeat failed", self.run_agent("heartbeat")[1])
        self.assertEqual(self.figures()["HeartbeatFailed"], 1)

    def test_a_node_that_emr_is_still_setting_up_raises_no_alarm(self):
        shutil.rmtree(self.root / "emr")
        self.booted(ago=300)
        self.runs("running")
        self.works(ago=5)
        self.assertNotIn("heartbeat failed", self.run_agent("heartbeat")[1])
        self.assertEqual(self.figures()["HeartbeatFailed"], 0)

    def test_executors_and_a_scheduler_that_does_not_answer(self):
        self.runs()
        self.run_agent("heartbeat")
        self.assertEqual((self.figures()["SchedulerDown"], self.figures()["Executors"]), (1, 0))
        server = http.server.HTTPServer(("127.0.0.1", 0), Health)
        self.addCleanup(server.server_close)
        threading.Thread(target=server.handle_request, daemon=True).start()
        self.environment["PULSE_API_PORT"] = str(server.server_port)
        self.run_agent("heartbeat")
        self.assertEqual((self.figures()["SchedulerDown"], self.figures()["Executors"]), (0, 3))

    def test_a_scheduler_with_a_certificate_is_asked_over_tls(self):
        key, certificate = self.root / "key.pem", self.root / "certificate.pem"
        made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
        made += ["-subj", "/CN=somewhere.example", "-keyout", key, "-out", certificate]
        subprocess.run(made, check=True, capture_output=True)
        server = http.server.HTTPServer(("127.0.0.1", 0), Health)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        self.addCleanup(server.server_close)
        threading.Thread(target=server.handle_request, daemon=True).start()
        self.environment |= {"PULSE_API_PORT": str(server.server_port), "PULSE_API_CERTIFICATE": str(certificate)}
        self.runs()
        said = self.run_agent("heartbeat")[1]
        self.assertEqual((self.figures()["SchedulerDown"], self.figures()["Executors"]), (0, 3), said)

    def test_a_submission_that_nobody_starts_ages_in_the_queue(self):
        self.runs("queued", age=1000)
        self.run_agent("heartbeat")
        self.assertGreater(self.figures()["QueueAgeSeconds"], 900)

    def journal(self, *messages, at=None):
        at = time.time() if at is None else at
        entries = [
            {"__REALTIME_TIMESTAMP": f"{int(at * 1000) + n}000", "_SYSTEMD_UNIT": unit, "MESSAGE": text, "__CURSOR": f"c{n}"}
            for n, (unit, text) in enumerate(messages)
        ]
        with (self.root / "journal").open("a") as file:
            file.writelines(json.dumps(entry) + "\n" for entry in entries)

    def put(self):
        return [call for call in self.calls() if "put-log-events" in call]

    def test_logs_go_to_their_groups_and_to_s3(self):
        now = int(time.time())
        self.journal(("pulse-scheduler.service", "hello"), ("pulse-heartbeat.service", "heartbeat failed: x"), at=now)
        code, said = self.run_agent("logs")
        self.assertEqual(code, 0, said)
        groups = {call.split("--log-group-name ")[1].split()[0] for call in self.calls() if "put-log-events" in call}
        self.assertEqual(groups, {"/pulse/dev/scheduler", "/pulse/dev/node"})
        shipped = list((self.root / "s3/logs/emr/j-1/pulse/scheduler").rglob("*.gz"))
        self.assertEqual(gzip.decompress(shipped[0].read_bytes()).decode(), f"{now}000 hello\n")
        self.assertTrue((self.root / "var/lib/pulse-node/cursor").exists())

    def test_what_did_not_arrive_is_shipped_again(self):
        self.journal(("pulse-executor.service", "hello"))
        self.environment["FAKE_AWS_CODE"] = "1"
        self.assertEqual(self.run_agent("logs")[0], 1)
        self.assertFalse((self.root / "var/lib/pulse-node/cursor").exists())

    def test_large_journals_are_cut_into_what_cloudwatch_takes(self):
        self.journal(*[("pulse-executor.service", "x" * 1000)] * 2000)
        self.assertEqual(self.run_agent("logs")[0], 0)
        self.assertEqual(sum("put-log-events" in call for call in self.calls()), 3)


    def test_long_fields_are_asked_for_and_cut_where_cloudwatch_ends(self):
        self.journal(("pulse-scheduler.service", "run failed: " + "é" * 200_000))
        self.assertEqual(self.run_agent("logs")[0], 0)
        self.assertIn("--all", self.read("journalctl"))
        [put] = self.put()
        [event] = json.loads(self.read("events." + put.split("file://")[1].replace("/", "_")))
        self.assertTrue(event["message"].startswith("run failed: é") and event["message"].endswith(" [cut]"))
        self.assertLess(len(event["message"].encode()), 256 * 1024)

    def test_a_burst_is_shipped_from_its_beginning_piece_by_piece(self):
        self.journal(*[("pulse-executor.service", f"line {n}") for n in range(25_000)])
        self.assertEqual(self.run_agent("logs")[0], 0)
        self.assertNotIn("--lines", self.read("journalctl"))
        [shipped] = (self.root / "s3/logs/emr/j-1/pulse/executor").rglob("*.gz")
        lines = gzip.decompress(shipped.read_bytes()).decode().splitlines()
        self.assertEqual((len(lines), lines[0].endswith(" line 0"), lines[-1].endswith(" line 19999")), (20_000, True, True))
        # The next one goes on there.
        self.assertEqual(self.read("var/lib/pulse-node/cursor"), "c19999")

    def test_what_lay_for_days_does_not_hold_up_the_rest(self):
        """PutLogEvents refuses a batch that spans a day, and drops events of more than two weeks ago."""
        day = 86400
        for days in (20, 3, 2, 0):
            self.journal(("pulse-executor.service", f"{days} days ago"), at=time.time() - days * day)
        self.assertEqual(self.run_agent("logs")[0], 0)
        self.assertEqual(len(self.put()), 3)
        [shipped] = (self.root / "s3/logs/emr/j-1/pulse/executor").rglob("*.gz")
        self.assertEqual(gzip.decompress(shipped.read_bytes()).decode().count("days ago"), 4)

    def test_events_that_cloudwatch_drops_are_told(self):
        self.journal(("pulse-executor.service", "hello"))
        self.environment["FAKE_AWS_ANSWER"] = '{"rejectedLogEventsInfo": {"tooOldLogEventEndIndex": 1}}'
        code, said = self.run_agent("logs")
        self.assertEqual((code, "CloudWatch rejected events" in said), (0, True))


class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"3")

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    unittest.main()
