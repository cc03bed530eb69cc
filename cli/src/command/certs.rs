//! `pulse certs`: certificates of a cluster.

use std::path::Path;
use std::process::ExitCode;

use pulse_core::Result;
use pulse_transport::{Role, Step, init, issue, rotate};

use crate::args::{CertsAction, CertsDays, CertsRole, CertsStep};

pub(crate) fn certs(action: CertsAction) -> Result<ExitCode> {
    match action {
        CertsAction::Init { folder, days: CertsDays { days, authority_days } } => {
            init(&folder, authority_days, days)?;
            done(&folder, "an authority and a certificate of each role");
        }
        CertsAction::Issue { folder, role, days } => {
            let role = of(role);
            issue(&folder, role, days)?;
            done(&folder, &format!("a new {}.pem", role.word()));
        }
        CertsAction::Rotate { folder, step, days: CertsDays { days, authority_days } } => {
            let (step, what) = match step {
                CertsStep::Trust => {
                    (Step::Trust, "authority.pem with a new authority beside the old one; next is `--step sign`")
                }
                CertsStep::Sign => {
                    (Step::Sign, "certificates of the new authority for each role; next is `--step forget`")
                }
                CertsStep::Forget => (Step::Forget, "authority.pem without the old authority"),
            };
            rotate(&folder, step, authority_days, days)?;
            done(&folder, what);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn of(role: CertsRole) -> Role {
    match role {
        CertsRole::Scheduler => Role::Scheduler,
        CertsRole::Executor => Role::Executor,
        CertsRole::Client => Role::Client,
    }
}

fn done(folder: &Path, what: &str) {
    eprintln!("{}: {what}", folder.display());
}
