#!/usr/bin/env bash
# Bootstrap action: makes a node of EMR a scheduler (primary) or an executor (core, task). Runs as hadoop on every node, also
# on those added later, before EMR installs its applications. A node that cannot be made one must not stay: any failure ends
# this with a code other than 0, and EMR ends the node.
# usage: bootstrap.sh --release URL --sha256 HEX --agent URL --settings URL
# PULSE_ROOT: folder that stands for / (tests).
set -euo pipefail
root="${PULSE_ROOT:-}"
opt="$root/opt/pulse/bin" etc="$root/etc/pulse" units="$root/etc/systemd/system" data="$root/mnt/pulse"
info="$root/mnt/var/lib/info" shutdown="$root/mnt/var/lib/instance-controller/public/shutdown-actions"
release="" sha256="" agent="" settings=""

fail() { echo "pulse bootstrap: $*" >&2; exit 1; }

while [ $# -gt 0 ]; do
    case "$1" in
        --release) release="$2" ;;
        --sha256) sha256="$2" ;;
        --agent) agent="$2" ;;
        --settings) settings="$2" ;;
        *) fail "unknown option $1" ;;
    esac
    shift 2
done
[[ $release && $sha256 && $agent && $settings ]] || fail "usage: bootstrap.sh --release URL --sha256 HEX --agent URL --settings URL"

# A field of EMR's description of the node; its spelling differs from release to release, so case does not count.
field() {
    python3 - "$1" "${@:2}" <<'PY'
import json, sys
try:
    found = {k.lower(): v for k, v in json.load(open(sys.argv[1])).items()}
except (OSError, ValueError):
    found = {}
print(next((str(found[name.lower()]) for name in sys.argv[2:] if found.get(name.lower()) is not None), ""))
PY
}

# The network may not be there in a node's first seconds; what is forbidden or absent stays so.
fetch() {
    local attempt
    for attempt in 1 2 3 4 5; do
        if sudo aws s3 cp --only-show-errors "$1" "$2"; then return; fi
        echo "pulse bootstrap: attempt $attempt to read $1 failed" >&2
        sleep "${PULSE_FETCH_WAIT:-$((attempt * 3))}"
    done
    fail "$1 cannot be read: is it uploaded (scripts/build-release --upload), does the node's role admit it, does the S3 endpoint's policy?"
}

sudo mkdir -p "$opt" "$etc" "$units" "$data/work" "$data/spill" "$shutdown"
id pulse >/dev/null 2>&1 || sudo useradd --system --no-create-home --shell /usr/sbin/nologin pulse

fetch "$release" "$opt/pulse.new"
found="$(sha256sum "$opt/pulse.new" | cut -d' ' -f1)"
if [ "$found" != "$sha256" ]; then
    sudo rm -f "$opt/pulse.new"
    fail "$release has sha256 $found, expected $sha256: build and upload it again, or deploy with its own checksum"
fi
sudo chmod 0755 "$opt/pulse.new"
sudo mv "$opt/pulse.new" "$opt/pulse"
"$opt/pulse" --version >/dev/null || fail "$release does not start on this node: was it built against a newer glibc (scripts/build-release checks this)?"
fetch "$agent" "$opt/pulse-node"
sudo chmod 0755 "$opt/pulse-node"
fetch "$settings" "$etc/pulse.env"

role=executor
[ "$(field "$info/instance.json" isMaster)" != True ] || role=scheduler
host="$(field "$info/extraInstanceData.json" masterHost masterPrivateDnsName)"
[ -n "$host" ] || host="$(field "$info/job-flow.json" masterPrivateDnsName)"
[ -n "$host" ] || fail "$info does not say where the primary node is"
cluster="$(field "$info/extraInstanceData.json" jobFlowId)"
certs="$etc/certs"
sudo tee -a "$etc/pulse.env" >/dev/null <<ENV
PULSE_SCHEDULER_HOST=$host
PULSE_CLUSTER_CERTIFICATES=/etc/pulse/certs
PULSE_WORK_DIR=/mnt/pulse/work
PULSE_SPILL_DIR=/mnt/pulse/spill
PULSE_BUSY_FILE=/mnt/pulse/busy
PULSE_NODE_ROLE=$role
PULSE_NODE_KIND=$(field "$info/extraInstanceData.json" instanceRole | tr '[:upper:]' '[:lower:]')
PULSE_CLUSTER_ID=$cluster
ENV
sudo chmod 0644 "$etc/pulse.env"
sudo chown -R pulse "$data"

# The processes of a cluster know each other by certificates of its own authority. The primary node makes it and leaves it where only nodes
# may read; the others wait for it. Each node issues its own certificate, and keeps no key that signs. S3 is what nodes reach in any network.
shared="s3://$(cut -d/ -f3 <<<"$settings")/nodes/$(sed -n 's/^PULSE_NAME=//p' "$etc/pulse.env")"
known() { sudo sh -c 'umask 077; exec aws s3 cp --only-show-errors "$1" "$2"' sh "$1" "$2" 2>/dev/null; }
share() { sudo aws s3 cp --only-show-errors "$1" "$2" || fail "$2 cannot be written: does the node's role admit it?"; }
secret() { sudo sh -c 'umask 077; cat >"$1"' sh "$1"; }
between() { sudo sed -n "/-BEGIN $1-/,/-END $1-/p" "$etc/authority"; }
certificates() {
    local url="$shared/$cluster/authority" attempt
    if [ "$role" = scheduler ] && ! known "$url" "$etc/authority"; then
        sudo "$opt/pulse" certs init "$certs"
        sudo cat "$certs/authority.pem" "$certs/authority.key" | secret "$etc/authority"
        share "$etc/authority" "$url"
        sudo rm "$etc/authority" "$certs/authority.key" "$certs/authority.signs.pem" "$certs/executor.pem" "$certs/client.pem"
        return
    fi
    for attempt in $(seq 60); do
        if sudo test -s "$etc/authority" || known "$url" "$etc/authority"; then break; fi
        sleep "${PULSE_FETCH_WAIT:-10}"
    done
    sudo test -s "$etc/authority" || fail "$url is not there: did the primary node start, does the node's role admit it?"
    sudo mkdir -p "$certs"
    sudo chmod 0700 "$certs"
    between CERTIFICATE | secret "$certs/authority.pem"
    between CERTIFICATE | secret "$certs/authority.signs.pem"
    between "PRIVATE KEY" | secret "$certs/authority.key"
    sudo "$opt/pulse" certs issue "$certs" "$role"
    sudo rm "$etc/authority" "$certs/authority.key" "$certs/authority.signs.pem"
}
certificates
sudo test -s "$certs/$role.pem" || fail "$opt/pulse has made no certificate"
sudo chown -R pulse "$certs"
# Steps run on the primary node, so nothing else needs its API. They run as hadoop, and the scheduler as pulse. The token seals submissions in
# the ledger as well, so the next cluster of this environment needs the same one to resume them: the first to start shares it.
set_already() { grep -q "^$1=" "$etc/pulse.env"; }
token() {
    local url="$shared/api-token"
    if known "$url" "$etc/api-token"; then return; fi
    od -An -N32 -tx1 /dev/urandom | tr -d ' \n' | secret "$etc/api-token"
    share "$etc/api-token" "$url"
    # Of two clusters that start at once, both use the token that was written last.
    sleep "${PULSE_FETCH_WAIT:-5}"
    known "$url" "$etc/api-token" || fail "$url cannot be read: does the node's role admit it?"
}
if [ "$role" = scheduler ]; then
    set_already PULSE_API_HOST || echo PULSE_API_HOST=127.0.0.1 | sudo tee -a "$etc/pulse.env" >/dev/null
    if ! set_already PULSE_API_TOKEN_SOURCE; then
        token
        sudo chown pulse:hadoop "$etc/api-token"
        sudo chmod 0440 "$etc/api-token"
        echo PULSE_API_TOKEN_SOURCE=file:/etc/pulse/api-token | sudo tee -a "$etc/pulse.env" >/dev/null
    fi
fi

unit() { sudo tee "$units/$1" >/dev/null; }
# Restarts without end: nodes boot in any order, an executor waits for its scheduler. With -v the log tells what the scaler does.
# TimeoutStopSec leaves time to drain
# within the two minutes between a Spot notice and the end.
unit "pulse-$role.service" <<UNIT
[Unit]
Description=pulse $role
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0
[Service]
User=pulse
EnvironmentFile=/etc/pulse/pulse.env
ExecStart=/opt/pulse/bin/pulse -v serve $role
Restart=always
RestartSec=5
TimeoutStopSec=90
LimitNOFILE=65536
UMask=0077
NoNewPrivileges=true
ProtectSystem=full
ProtectHome=true
[Install]
WantedBy=multi-user.target
UNIT
# A job of the node's agent, every $2 seconds. It is root: EMR's file of activity and the journal belong to others.
timer() {
    unit "pulse-$1.service" <<UNIT
[Unit]
Description=pulse-node $1
[Service]
Type=oneshot
EnvironmentFile=/etc/pulse/pulse.env
ExecStart=/opt/pulse/bin/pulse-node $1
TimeoutStartSec=120
UNIT
    unit "pulse-$1.timer" <<UNIT
[Unit]
Description=pulse-node $1 every $2 s
[Timer]
OnActiveSec=$2
OnUnitActiveSec=$2
AccuracySec=1
[Install]
WantedBy=timers.target
UNIT
}
timer logs 60
[ "$role" = executor ] || timer heartbeat 30
sudo tee "$shutdown/pulse.sh" >/dev/null <<'HOOK'
#!/usr/bin/env bash
# EMR gives this a minute: processes drain, then what they said last is shipped.
sudo timeout 40 systemctl stop pulse-scheduler.service pulse-executor.service
sudo timeout 15 systemctl start pulse-logs.service
HOOK
sudo chmod 0755 "$shutdown/pulse.sh"

sudo systemctl daemon-reload
sudo systemctl enable --now "pulse-$role.service" pulse-logs.timer
[ "$role" = executor ] || sudo systemctl enable --now pulse-heartbeat.timer
echo "pulse bootstrap: $role, scheduler at $host, binary $sha256"
