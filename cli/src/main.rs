//! `pulse`: the one composition root, and the only place that prints. stdout is data, stderr is progress and words.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line prints")]

/// As those of the standard library, but without a panic if nobody reads stderr any more, as in `pulse run 2>&1 | head -1`.
macro_rules! eprint {
    ($($text:tt)*) => { $crate::output::words(format_args!($($text)*)) };
}
macro_rules! eprintln {
    ($($text:tt)*) => { $crate::output::words(format_args!("{}\n", format_args!($($text)*))) };
}

mod agree;
mod args;
#[cfg(feature = "aws")]
mod aws;
#[cfg(not(feature = "aws"))]
#[path = "aws_absent.rs"]
mod aws;
mod command;
mod complete;
mod graph;
mod home;
mod interrupt;
mod live;
mod markup;
mod output;
mod prompt;
mod rows;
mod runnable;
mod setup;
mod shape;
mod site;
mod watch;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pulse_core::Error;
use pulse_engine::source::file::is_decoding;

use args::{Arguments, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Planning recurses over expressions; DataFusion's default stack overflows on wide queries.
const STACK_BYTES: usize = 32 << 20;

/// For threads to end that are still at work.
const LAST_WAIT: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    complete::answer();
    // The stack of a process's first thread is what the shell says.
    match std::thread::Builder::new().name("main".to_owned()).stack_size(STACK_BYTES).spawn(carry_out) {
        Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        Err(error) => ended(&Error::unavailable("the process cannot start its threads").with_source(error)),
    }
}

fn carry_out() -> ExitCode {
    let arguments = Arguments::of_command_line();
    output::set_colours(arguments.global.colour);
    keep_quiet_of_known_panics();
    env_logger::Builder::new()
        .filter_level(log::LevelFilter::Error)
        .filter_module("pulse", arguments.global.log_level())
        // Reports every stage of unlike tasks as an error; nothing is wrong with them.
        .filter_module("ballista_scheduler::display", log::LevelFilter::Off)
        // Names of lakes, plans and executors come from others: no line of theirs looks like one of the log.
        .format(|log, record| {
            let text = record.args().to_string();
            writeln!(log, "[{:<5}] {}", record.level(), pulse_core::shown::shown(&text).replace('\n', "\n    "))
        })
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK_BYTES).build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(dispatch(arguments));
            ENDING.store(true, Ordering::Relaxed);
            end(runtime);
            result
        }
        Err(error) => Err(Error::unavailable("the process cannot start its threads").with_source(error)),
    };
    match (result, output::unwritten()) {
        (Ok(code), Some(error)) if code == ExitCode::SUCCESS => ended(&error),
        (result, _) => result.unwrap_or_else(|error| ended(&error)),
    }
}

/// Joins the threads of the runtime. Those that still read or write must not hold up the end of the process, but they are not
/// detached either, as `Runtime::shutdown_timeout` does: detaching a thread that ends at that moment reads memory that is gone
/// (glibc 2.36, `pthread_detach`), and a process died of that after its work was done.
fn end(runtime: tokio::runtime::Runtime) {
    let (ended, joined) = std::sync::mpsc::channel();
    let joining = move || {
        drop(runtime);
        let _ = ended.send(());
    };
    if let Ok(thread) = std::thread::Builder::new().name("end".to_owned()).spawn(joining) {
        match joined.recv_timeout(LAST_WAIT) {
            Ok(()) => drop(thread.join()),
            Err(_) => std::mem::forget(thread),
        }
    }
}

fn ended(error: &Error) -> ExitCode {
    output::error(error);
    ExitCode::from(output::exit_code(error))
}

/// Set once there is nothing left to tell.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Panics of others that are no news: of a decoder on a damaged file, which the reader reports as the file's fault, of an upload that failed and cannot be aborted, which delta-rs catches and the run tells
/// as an error, and of threads that the end of the process cuts off.
fn keep_quiet_of_known_panics() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let file = panic.location().map(std::panic::Location::file).unwrap_or_default();
        let is_upload = file.contains("object_store") && file.ends_with("buffered.rs");
        if !is_upload && !is_decoding() && !ENDING.load(Ordering::Relaxed) {
            tell(panic);
        }
    }));
}

async fn dispatch(arguments: Arguments) -> pulse_core::Result<ExitCode> {
    let global = arguments.global;
    match arguments.command {
        Command::Init(options) => command::init::init(&options),
        Command::Land(options) => command::land::land(&global, options).await,
        Command::Check { jobs } => command::check::check(&global, &jobs).await,
        Command::Plan(selection) => command::plan::plan(&global, &selection).await,
        Command::Backfill(options) => command::backfill::backfill(&global, &options).await,
        Command::Run(options) => command::run::run(&global, &options).await,
        Command::RunDue { on, every } => command::schedule::run_due(&global, on, every).await,
        Command::Alert(action) => command::alert::alert(&global, action).await,
        Command::Schedule(action) => command::schedule::schedule(&global, action).await,
        Command::Submit(options) => command::submit::submit(&global, &options).await,
        Command::Queue => command::queue::queue(&global).await,
        Command::Certs(action) => command::certs::certs(action),
        Command::Serve(role) => command::serve::serve(&global, role).await,
        Command::Runs(action) => command::runs::runs(&global, action).await,
        Command::Cluster(action) => aws::cluster(&global, action).await,
        Command::Catalog(action) => command::catalog::catalog(&global, action).await,
        Command::Query(options) => command::query::query(&global, &options).await,
        Command::Source(action) => command::source::source(&global, action).await,
        Command::Table(action) => command::table::table(&global, action).await,
        Command::Graph(options) => command::graph::graph(&global, &options),
        Command::Docs(options) => command::docs::docs(&global, &options).await,
        Command::Test { jobs } => command::test::test(&global, &jobs).await,
        Command::Generate(what) => command::generate::generate(what).await,
        Command::Completions { shell } => {
            output::data(&complete::script(shell)?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Reference(page) => command::reference::reference(page),
    }
}
