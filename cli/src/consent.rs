//! Asking before something is removed.

use std::io::{IsTerminal as _, Write as _};

use pulse_core::{Error, Result};

/// # Errors
/// `Cancelled` for no, `Invalid` where nobody can be asked.
pub(crate) fn agree(yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Error::invalid("nobody can be asked here: say --yes"));
    }
    eprint!("go on? [y/N] ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    let _ = std::io::stdin().read_line(&mut answer);
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Error::cancelled("nothing was changed")),
    }
}
