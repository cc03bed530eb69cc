//! The wish of a person, or of whoever runs the process, that it stops.

/// Ctrl-C or SIGTERM.
pub(crate) async fn interrupted() {
    let mut terminate = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(_) => return std::future::pending().await,
    };
    tokio::select! {
        result = tokio::signal::ctrl_c() => if result.is_err() { std::future::pending::<()>().await },
        _ = terminate.recv() => {}
    }
}

/// Makes [`interrupted`] end although all threads of the runtime compute: they would not look for signals. A thread of its own does.
pub(crate) fn watch_for_signals() {
    let watching = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        if let Ok(runtime) = runtime {
            // What one runtime hears of a signal, all who wait for it hear.
            runtime.block_on(async {
                loop {
                    interrupted().await;
                }
            });
        }
    };
    // Without it, signals are noticed a little later.
    drop(std::thread::Builder::new().name("signals".to_owned()).spawn(watching));
}
