//! Settings that say who may reach a cluster, and what they may ask of it.

use super::setting::{Setting, choice, number, text};

pub(super) const ACCESS: &[Setting] = &[
    text(
        "api_host",
        |s| &mut s.api_host,
        "",
        "Address at which the scheduler listens for clients; empty is `scheduler_host`.",
    ),
    text(
        "api_certificate",
        |s| &mut s.api_certificate,
        "",
        "PEM file with the certificate that the scheduler shows to clients, its chain after it. Without it, clients of this machine are shown one that is made for them, and the port speaks plain HTTP as well.",
    ),
    text("api_key", |s| &mut s.api_key, "", "PEM file with the private key of `api_certificate`."),
    text(
        "api_authority",
        |s| &mut s.api_authority,
        "",
        "What clients trust when they speak TLS to the scheduler: a PEM file, or `system`. Empty asks a scheduler of this machine to prove that it is of this account, or knows the token, and speaks plain HTTP to others.",
    ),
    text(
        "api_token_source",
        |s| &mut s.api_token_source,
        "",
        "Where scheduler and clients find the token that the API asks for: `env:NAME`, `file:/path` or `ssm:/path`; with none, the API on loopback takes calls of its own account only.",
    ),
    choice(
        "api_clients",
        |s| &mut s.api_clients,
        &["token", "certificate"],
        "token",
        "What the API asks callers for: the token, or with `certificate` a certificate of role client from the authority of `cluster_certificates`; the API then shows the scheduler's own certificate.",
    ),
    number(
        "api_calls_per_minute",
        |s| &mut s.api_calls_per_minute,
        12_000,
        (1, 1_000_000),
        "Calls of the API that one caller may make in a minute: a client's address, those with and those without a token apart. Further calls are refused (429).",
    ),
    text(
        "audit_log",
        |s| &mut s.audit_log,
        "",
        "File to which the scheduler adds a line of JSON for each call of the API but `GET /healthz`: from where, by whom, what, and the answer's status; empty writes none.",
    ),
    text(
        "cluster_certificates",
        |s| &mut s.cluster_certificates,
        "",
        "Folder with `authority.pem` and `scheduler.pem` or `executor.pem`, by which scheduler and executors know each other (`pulse certs init`); read again when they change. Empty works on loopback only, with certificates of this account.",
    ),
    choice(
        "insecure_cluster_anyone_can_run_code",
        |s| &mut s.insecure_cluster_anyone_can_run_code,
        &["false", "true"],
        "false",
        "`true` starts a cluster that other machines reach without certificates, and its API without a token: every client that connects runs code on it and reads and writes all that it can.",
    ),
    choice(
        "insecure_api_token_in_the_clear",
        |s| &mut s.insecure_api_token_in_the_clear,
        &["false", "true"],
        "false",
        "`true` lets the API's token travel to other machines over plain HTTP, where the network reads it.",
    ),
    text(
        "allowed_lakes",
        |s| &mut s.allowed_lakes,
        "",
        "Lakes that submissions may name beside the scheduler's own: URLs of folders, with commas; what lies below is allowed too. `*` is all.",
    ),
    text(
        "allowed_roots",
        |s| &mut s.allowed_roots,
        "",
        "Folders that sources of submissions may lie in, as `allowed_lakes`. Always allowed are the lakes, and the bucket of the scheduler's \
         own; of the machine's files, none but what is named.",
    ),
    text(
        "allowed_databases",
        |s| &mut s.allowed_databases,
        "",
        "Database servers that submissions may read: `host:port`, with commas; `*` is all. Empty allows none: a submission names the file \
         or the environment variable of the scheduler that holds the password, and where it is sent.",
    ),
    text(
        "task_places",
        |s| &mut s.task_places,
        "",
        "Folders that tasks of an executor may read and write, whatever its scheduler asks for: URLs with commas; what lies below is allowed too. Empty allows all that the account can reach.",
    ),
    choice(
        "ledger_seal",
        |s| &mut s.ledger_seal,
        &["auto", "off"],
        "auto",
        "With `auto`, a scheduler with `api_token_source` drives only submissions that one with the same token accepted; `off` drives all that lie in the ledger.",
    ),
    number(
        "driven_triggers",
        |s| &mut s.driven_triggers,
        100,
        (1, 100_000),
        "Triggers that a scheduler drives at once; further ones are queued, oldest first.",
    ),
    number(
        "queued_triggers",
        |s| &mut s.queued_triggers,
        10_000,
        (1, 1_000_000),
        "Triggers that a scheduler queues; further submissions are refused until one starts (503).",
    ),
    number(
        "scheduler_runs",
        |s| &mut s.scheduler_runs,
        8,
        (1, 10_000),
        "Runs at once of all triggers of a scheduler. They share its memory; triggers with more runs take turns.",
    ),
    text(
        "queues",
        |s| &mut s.queues,
        "",
        "Queues of a scheduler, which share its runs by weight: `etl weight=3; nightly runs=2; urgent priority=1`. A queue has the weight 1 and the \
         priority 0 if it does not say otherwise; `runs` limits its runs at once. There is always one called `default`.",
    ),
    text("queue", |s| &mut s.queue, "default", "Queue of the scheduler in which a submission waits."),
    number(
        "driver_attempts",
        |s| &mut s.driver_attempts,
        5,
        (1, 1000),
        "Schedulers that may die while they drive a submission; then it is refused.",
    ),
];
