"""Many submissions to one scheduler with two slots. usage: triggers.py PULSE FOLDER [COUNT]

Each trigger makes one table of its own. Prints latencies, the time until all have ended, the scheduler's peak memory, and fails if a trigger is
lost, fails or commits twice, or if the last one, which waits and is cancelled, runs."""

import concurrent.futures
import json
import os
import pathlib
import secrets
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request

sys.path.append(str(pathlib.Path(__file__).parent.parent / "verify"))
from ports import free_port

CLIENTS, LIMIT_S = 16, 900


class Scheduler:
    def __init__(self, pulse, folder):
        self.lake = folder / "lake"
        self.api = free_port()
        self.token = secrets.token_hex(32)
        # Nothing here is about limits of callers.
        settings = {"slots": 2, "memory_mib": 512, "api_port": self.api, "scheduler_port": free_port(), "api_calls_per_minute": 1_000_000}
        options = [text for key, value in settings.items() for text in ("--set", f"{key}={value}")]
        self.log = open(folder / "scheduler.log", "w")
        command = [pulse, "--lake", str(self.lake), *options, "serve", "scheduler"]
        environment = {**os.environ, "PULSE_API_TOKEN_SOURCE": "env:BENCH_TOKEN", "BENCH_TOKEN": self.token}
        self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=self.log)

    def __enter__(self):
        for _ in range(200):
            try:
                self.call("/healthz")
                return self
            except OSError:
                time.sleep(0.1)
        raise SystemExit("the scheduler does not answer")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)

    def call(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.api}{path}", data, self.headers())
        begun = time.monotonic()
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        return (json.loads(text) if text else None), time.monotonic() - begun

    def headers(self):
        return {"content-type": "application/json", "authorization": f"Bearer {self.token}"}

    def submit(self, number):
        files = {
            "project.toml": 'name = "bench"\n[defaults]\nowner = "bench"\n',
            f"silver/t{number:05}/job.toml": 'grain = ["a"]\n[sink.overwrite]\n',
            f"silver/t{number:05}/query.sql": f"select {number} as a, sum(value) as s from generate_series(1, 20000) g(value)",
        }
        request = {"key": f"k{number}", "files": files, "variables": {}, "lake": f"file://{self.lake}/", "jobs": [], "on": "local"}
        answer, seconds = self.call("/runs", request)
        return answer["trigger"], seconds

    def exit(self, trigger):
        answer, seconds = self.call(f"/runs/{trigger}")
        return answer["exit"], seconds

    def peak_mib(self):
        lines = pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024

    def commits(self, number):
        return len(list((self.lake / "silver" / f"t{number:05}" / "_delta_log").glob("*.json")))


def percentiles(seconds):
    ordered = sorted(seconds)
    half, most = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    return f"median {half:.3f} s, 99 % {most:.3f} s, longest {ordered[-1]:.3f} s"


def ended(scheduler, triggers, until):
    waiting, seconds = dict(triggers), []
    while waiting:
        for number, trigger in list(waiting.items())[:8]:
            code, took = scheduler.exit(trigger)
            seconds.append(took)
            if code is not None:
                assert code == 0, f"{trigger} ended with {code}"
                del waiting[number]
        assert time.monotonic() < until, f"{len(waiting)} triggers have not ended"
        time.sleep(0.02)
    return seconds


def main(pulse, folder, count=1000):
    folder, count = pathlib.Path(folder).resolve(), int(count)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with Scheduler(str(pathlib.Path(pulse).resolve()), folder) as scheduler:
        begun = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as clients:
            answers = list(clients.map(scheduler.submit, range(count)))
        print(f"{count} triggers submitted in {time.monotonic() - begun:.1f} s: {percentiles([took for _, took in answers])}")
        *others, (last, _) = answers
        asked = time.monotonic()
        scheduler.call(f"/runs/{last}/cancel", {})
        while (code := scheduler.exit(last)[0]) is None:
            time.sleep(0.02)
        print(f"cancelled the last one after {time.monotonic() - asked:.2f} s (exit {code})")
        looks = ended(scheduler, {number: trigger for number, (trigger, _) in enumerate(others)}, begun + LIMIT_S)
        print(f"all ended after {time.monotonic() - begun:.1f} s; peak memory {scheduler.peak_mib()} MiB")
        print(f"state of a trigger: {percentiles(looks)}")
        commits = [scheduler.commits(number) for number in range(count)]
    assert commits[:-1] == [1] * (count - 1), "a trigger was lost or committed twice"
    assert commits[-1] == (1 if code == 0 else 0), "a cancelled trigger committed"


if __name__ == "__main__":
    main(*sys.argv[1:])
