//! The one place that says what a setting is called, what it defaults to, what it may be and what it means.

use std::fmt::Write as _;

use super::access::ACCESS;
use super::setting::{Setting, choice, number, port, text};

/// `docs/reference/settings.md`.
pub fn reference_markdown() -> String {
    let mut page = String::from(
        "# Settings\n\n\
         A setting is a key of the config file, a variable of the environment, or an option of the command line\n\
         (`--set batch_rows=4096`); of several, the last in this order wins. This page is generated from\n\
         `core/src/settings/table.rs`.\n\n\
         | key | environment | default | allowed | meaning |\n|---|---|---|---|---|\n",
    );
    for setting in SETTINGS {
        let (key, env, default) = (setting.key, setting.env(), setting.default_text());
        // Writing to a string does not fail.
        let _ = writeln!(page, "| `{key}` | `{env}` | `{default}` | {} | {} |", setting.allowed(), setting.doc);
    }
    page
}

/// A week; what waits longer is forgotten rather than slow.
const SECONDS: (u64, u64) = (1, 604_800);
/// 16 TiB.
const MIB: u64 = 16 * 1024 * 1024;

/// All settings, in the order of the reference.
pub const SETTINGS: &[Setting] = &joined();

const fn joined() -> [Setting; WORK.len() + ACCESS.len()] {
    let mut all = [WORK[0]; WORK.len() + ACCESS.len()];
    let mut at = 1;
    while at < all.len() {
        all[at] = if at < WORK.len() { WORK[at] } else { ACCESS[at - WORK.len()] };
        at += 1;
    }
    all
}

/// How work is done, and where.
const WORK: &[Setting] = &[
    number("slots", |s| &mut s.slots, 0, (0, 1024), "Tasks at once in one process; 0 is one per core."),
    number(
        "target_partition_mib",
        |s| &mut s.target_partition_mib,
        256,
        (1, 65_536),
        "Most input, in MiB, that one task should read; of less input in all, every task reads a share.",
    ),
    number(
        "memory_mib",
        |s| &mut s.memory_mib,
        0,
        (0, MIB),
        "Memory for queries in one process, in MiB; 0 is 60 % of the machine's. Beyond it, sorts, joins and aggregates spill.",
    ),
    text(
        "spill_dir",
        |s| &mut s.spill_dir,
        "",
        "Folder where a process makes one of its own for what does not fit into memory; empty is the system's.",
    ),
    number(
        "spill_limit_mib",
        |s| &mut s.spill_limit_mib,
        102_400,
        (0, MIB),
        "Most that a process may spill at once, in MiB.",
    ),
    number(
        "local_limit_mib",
        |s| &mut s.local_limit_mib,
        4096,
        (0, MIB),
        "With `--on auto`: a run that reads more than this, in MiB, goes to the cluster.",
    ),
    number(
        "batch_rows",
        |s| &mut s.batch_rows,
        8192,
        (1, 1_048_576),
        "Rows that pass from operator to operator at once.",
    ),
    number(
        "max_line_bytes",
        |s| &mut s.max_line_bytes,
        16_777_216,
        (1024, 1_073_741_824),
        "Longest line of a CSV or JSON-lines file, and most text of a row of a Parquet file, in bytes; a longer one goes to quarantine.",
    ),
    number(
        "raw_text_bytes",
        |s| &mut s.raw_text_bytes,
        65_536,
        (0, 16_777_216),
        "How much of a rejected line the quarantine keeps, in bytes.",
    ),
    number(
        "max_object_mib",
        |s| &mut s.max_object_mib,
        256,
        (1, 16_384),
        "Largest file that must be read as a whole (JSON documents), in MiB; a larger one is rejected.",
    ),
    number(
        "commit_attempts",
        |s| &mut s.commit_attempts,
        16,
        (1, 1000),
        "Attempts at a commit when others commit to the same table.",
    ),
    number(
        "commit_backoff_ms",
        |s| &mut s.commit_backoff_ms,
        50,
        (1, 60_000),
        "Wait after the first conflict, in milliseconds; it doubles with each further one.",
    ),
    number(
        "checkpoint_every",
        |s| &mut s.checkpoint_every,
        20,
        (1, 10_000),
        "Commits from one checkpoint of a table's log to the next.",
    ),
    number(
        "optimize_files",
        |s| &mut s.optimize_files,
        0,
        (0, 1_000_000),
        "Small files in a table, or in one of its partitions, from which a run optimizes the table after its commit; 0 is never.",
    ),
    number("concurrent_runs", |s| &mut s.concurrent_runs, 4, (1, 1024), "Runs at once of one trigger."),
    number(
        "run_timeout_s",
        |s| &mut s.run_timeout_s,
        0,
        (0, 604_800),
        "A run that takes longer, in seconds, all attempts together, is stopped and fails; 0 is five times the longest of the \
         job's last five successful runs, at least six hours and at most `shuffle_ttl_s`.",
    ),
    number(
        "progress_timeout_s",
        |s| &mut s.progress_timeout_s,
        600,
        SECONDS,
        "A run of which no task ended for this long, in seconds, is stopped and tried again.",
    ),
    number(
        "run_attempts",
        |s| &mut s.run_attempts,
        4,
        (1, 100),
        "Attempts of a run that fails because something did not answer, was overtaken or made no progress.",
    ),
    number(
        "run_backoff_ms",
        |s| &mut s.run_backoff_ms,
        3000,
        (1, 300_000),
        "Wait before the second attempt of a run, in milliseconds, less a jitter of up to half; it doubles with each \
         further one, up to five minutes.",
    ),
    number(
        "lease_s",
        |s| &mut s.lease_s,
        15,
        (1, 3600),
        "A driver that does not renew its lease on a trigger for this long, in seconds, has lost it.",
    ),
    number(
        "clock_margin_ms",
        |s| &mut s.clock_margin_ms,
        5000,
        (0, 600_000),
        "How far the clocks of two machines may lie apart, in milliseconds: a trigger is taken up so much after its lease.",
    ),
    number(
        "store_retries",
        |s| &mut s.store_retries,
        10,
        (0, 100),
        "Further attempts when a store does not answer or is busy.",
    ),
    number(
        "store_timeout_s",
        |s| &mut s.store_timeout_s,
        30,
        SECONDS,
        "Longest wait for one request to a store, in seconds.",
    ),
    text("scheduler_host", |s| &mut s.scheduler_host, "127.0.0.1", "Host of the scheduler, for clients and executors."),
    port(
        "scheduler_port",
        |s| &mut s.scheduler_port,
        50_050,
        "Port of the scheduler for executors; 0 is any free one.",
    ),
    port("api_port", |s| &mut s.api_port, 50_080, "Port of the scheduler for clients; 0 is any free one."),
    port("executor_port", |s| &mut s.executor_port, 50_051, "Port of an executor for shuffles; 0 is any free one."),
    port(
        "executor_grpc_port",
        |s| &mut s.executor_grpc_port,
        50_052,
        "Port of an executor for the scheduler; 0 is any free one.",
    ),
    text(
        "metrics_host",
        |s| &mut s.metrics_host,
        "127.0.0.1",
        "Address at which an executor shows its metrics; one that other machines reach needs `cluster_certificates`.",
    ),
    port(
        "metrics_port",
        |s| &mut s.metrics_port,
        0,
        "Port of an executor for `GET /metrics`; 0 is none. With `cluster_certificates`, callers show a certificate of role client.",
    ),
    number("vcores", |s| &mut s.vcores, 0, (0, 1024), "Tasks at once on an executor; 0 is one per core."),
    number(
        "heartbeat_s",
        |s| &mut s.heartbeat_s,
        3,
        (1, 3600),
        "From one heartbeat of an executor to the next, in seconds.",
    ),
    number(
        "executor_timeout_s",
        |s| &mut s.executor_timeout_s,
        12,
        (2, 7200),
        "An executor that is silent for this long, in seconds, is lost and its tasks run elsewhere.",
    ),
    number(
        "speculation_factor",
        |s| &mut s.speculation_factor,
        0,
        (0, 1000),
        "A task that runs this many times as long as half of its stage's tasks took gets a second attempt on another executor, and the first to end counts; 0 never.",
    ),
    number(
        "drain_timeout_s",
        |s| &mut s.drain_timeout_s,
        90,
        (0, 604_800),
        "An executor that is asked to stop waits this long, in seconds, for its tasks and for those who still read its shuffles.",
    ),
    text(
        "spot_notice_url",
        |s| &mut s.spot_notice_url,
        "",
        "Root of the instance's metadata, such as `http://169.254.169.254`, where an executor looks every 5 s for a notice to stop; empty looks nowhere.",
    ),
    number(
        "grpc_mib",
        |s| &mut s.grpc_mib,
        128,
        (4, 2047),
        "Largest message between scheduler and executors, in MiB; plans of many files are large.",
    ),
    text(
        "work_dir",
        |s| &mut s.work_dir,
        "",
        "Folder where an executor makes one of its own for shuffles; empty is the system's.",
    ),
    number(
        "shuffle_ttl_s",
        |s| &mut s.shuffle_ttl_s,
        86_400,
        SECONDS,
        "Age at which files of shuffles are deleted, in seconds; not less than `run_timeout_s`.",
    ),
    choice(
        "catalog",
        |s| &mut s.catalog,
        &["local", "glue"],
        "local",
        "Where tables are registered after a run: nowhere but in the lake, or in the Glue Data Catalog.",
    ),
    text(
        "catalog_prefix",
        |s| &mut s.catalog_prefix,
        "",
        "Put before a layer's name to make the name of its database in the catalog, such as `dev_`.",
    ),
    choice(
        "catalog_databases",
        |s| &mut s.catalog_databases,
        &["existing", "create"],
        "existing",
        "Whether databases that the catalog lacks are an error or are created.",
    ),
    text(
        "cluster_spec",
        |s| &mut s.cluster_spec,
        "",
        "What `pulse cluster up` starts: `ssm:/path` of a parameter, `s3://bucket/key`, or a file.",
    ),
    text(
        "cluster_id",
        |s| &mut s.cluster_id,
        "",
        "EMR's id of the cluster that this process is part of; EMR's bootstrap sets it, and the scaler needs it.",
    ),
    choice(
        "scaler",
        |s| &mut s.scaler,
        &["none", "emr"],
        "none",
        "Who adds and removes executors: nobody, or the scheduler by the task instance groups of its own EMR cluster.",
    ),
    number(
        "scale_least_nodes",
        |s| &mut s.scale_least_nodes,
        2,
        (1, 1000),
        "Executors' machines that the scaler keeps when nothing runs.",
    ),
    number(
        "scale_most_nodes",
        |s| &mut s.scale_most_nodes,
        10,
        (1, 1000),
        "Executors' machines that the scaler never exceeds.",
    ),
    number(
        "scale_out_after_s",
        |s| &mut s.scale_out_after_s,
        60,
        SECONDS,
        "Tasks that wait for a slot this long, in seconds, bring more machines.",
    ),
    number(
        "scale_in_after_s",
        |s| &mut s.scale_in_after_s,
        300,
        SECONDS,
        "A machine that has had nothing to do for this long, in seconds, may go.",
    ),
    number(
        "scale_cooldown_s",
        |s| &mut s.scale_cooldown_s,
        120,
        SECONDS,
        "From one change of the number of machines to the next, in seconds.",
    ),
    text(
        "busy_file",
        |s| &mut s.busy_file,
        "",
        "File that the scheduler touches every 10 s while a run is queued or runs: `/emr/metricscollector/isbusy` keeps EMR from \
         taking the cluster for idle; empty touches nothing.",
    ),
];
