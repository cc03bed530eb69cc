"""Stands for programs of a node, below a folder that stands for its / (PULSE_ROOT): started by nodes.py and by what it starts.

    python stand_ins.py aws|systemctl|journalctl ARGUMENT..

Only what bootstrap.sh, pulse-node and the shutdown action ask for. Units are started by nodes.py, which finds their names in
run/enabled, their ids in run/UNIT.pid and what they say in var/log/UNIT.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(os.environ.get("PULSE_ROOT", "/"))
UNITS, RUN, LOGS = ROOT / "etc/systemd/system", ROOT / "run", ROOT / "var/log"
STOP_SECONDS, LOOK_SECONDS = 90, 0.1


def main(program, *arguments):
    return {"aws": aws, "systemctl": systemctl, "journalctl": journalctl}[program](list(arguments))


# ---- aws


def aws(arguments):
    import boto3  # slow to load, and the other programs do without

    service, action, *rest = arguments
    if (service, action) == ("s3", "cp"):
        return copy(boto3.client("s3"), rest)
    # `--log-group-name x` of put-log-events is logGroupName of put_log_events; CloudWatch's own begin with a capital.
    options = {camel(name[2:], service == "cloudwatch"): value(text) for name, text in zip(rest[::2], rest[1::2])}
    try:
        answer = getattr(boto3.client(service), action.replace("-", "_"))(**options)
        print(json.dumps({key: found for key, found in answer.items() if key != "ResponseMetadata"}, default=str))
        return 0
    except Exception as error:  # as the real one: a line, and a code
        print(error, file=sys.stderr)
        return 254


def copy(s3, arguments):
    source, target = [argument for argument in arguments if not argument.startswith("--")]
    try:
        if target.startswith("s3://"):
            s3.upload_file(source, *place(target))
        elif "--recursive" in arguments:
            bucket, prefix = place(source)
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
            for key in [found["Key"] for page in pages for found in page.get("Contents", [])]:
                file = Path(target) / key.removeprefix(f"{prefix}/")
                file.parent.mkdir(parents=True, exist_ok=True)
                s3.download_file(bucket, key, str(file))
        else:
            s3.download_file(*place(source), target)
        return 0
    except Exception as error:
        print(f"fatal error: {error}", file=sys.stderr)
        return 1


def place(url):
    bucket, _, key = url.removeprefix("s3://").partition("/")
    return bucket, key


def camel(name, capital):
    first, *rest = name.split("-")
    return "".join([first.capitalize() if capital else first, *[word.capitalize() for word in rest]])


def value(text):
    text = Path(text.removeprefix("file://")).read_text() if text.startswith("file://") else text
    return json.loads(text) if text[:1] in "[{" or text.isdigit() else text


# ---- systemctl


def systemctl(arguments):
    command, *units = [argument for argument in arguments if not argument.startswith("-")]
    RUN.mkdir(parents=True, exist_ok=True)
    if command == "daemon-reload":
        # Before anything starts: what is different on one machine (nodes.py).
        with (ROOT / "etc/pulse/pulse.env").open("a") as file:
            file.write((ROOT / "etc/pulse/one-machine.env").read_text())
    elif command == "enable":
        with (RUN / "enabled").open("a") as file:
            file.writelines(f"{unit}\n" for unit in units)
    elif command == "stop":
        for unit in units:
            stop(unit)
    elif command == "start":
        return max([subprocess.run(**unit_command(ROOT, unit), check=False).returncode for unit in units])
    return 0


def stop(unit):
    pid_file = RUN / f"{unit}.pid"
    if not pid_file.exists():
        return
    (RUN / f"{unit}.stopped").touch()  # not to be started again
    end = time.monotonic() + STOP_SECONDS
    try:
        os.kill(int(pid_file.read_text()), signal.SIGTERM)
        # nodes.py takes the file away when the process has ended.
        while pid_file.exists() and time.monotonic() < end:
            time.sleep(LOOK_SECONDS)
    except ProcessLookupError:
        pass


def unit_command(root, unit, environment=os.environ):
    """Of a unit's file, as arguments of subprocess: its command, its environment and nothing of ours but where AWS is."""
    lines = [line.partition("=") for line in (root / "etc/systemd/system" / unit).read_text().splitlines()]
    fields = {name: text for name, _, text in lines if text}
    settings = (root / fields["EnvironmentFile"].lstrip("/")).read_text().splitlines()
    program, *arguments = shlex.split(fields["ExecStart"])
    kept = {name: text for name, text in environment.items() if not name.startswith("PULSE_") or name == "PULSE_ROOT"}
    log = root / "var/log" / unit
    log.parent.mkdir(parents=True, exist_ok=True)
    return {
        "args": [str(root / program.lstrip("/")), *arguments],
        "env": kept | dict(line.split("=", 1) for line in settings if "=" in line),
        "cwd": root,
        "stdin": subprocess.DEVNULL,
        "stdout": log.open("ab"),
        "stderr": subprocess.STDOUT,
    }


# ---- journalctl


def journalctl(arguments):
    """What units have said since the place that --cursor-file names, as JSON; where it ended is written there."""
    cursor = next(Path(a.partition("=")[2]) for a in arguments if a.startswith("--cursor-file="))
    read = json.loads(cursor.read_text()) if cursor.exists() else {}
    for log in sorted(LOGS.glob("pulse-*")):
        with log.open("rb") as file:
            file.seek(read.get(log.name, 0))
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        read[log.name] = read.get(log.name, 0) + len(whole)
        moment = str(int(log.stat().st_mtime * 1_000_000))
        for line in whole.decode(errors="replace").splitlines():
            print(json.dumps({"__REALTIME_TIMESTAMP": moment, "_SYSTEMD_UNIT": log.name, "MESSAGE": line}))
    cursor.write_text(json.dumps(read))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
