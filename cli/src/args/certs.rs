//! Arguments of `pulse certs`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum CertsAction {
    /// Make an authority and a certificate of each role, in a new folder. Scheduler and executors get `authority.pem` and the file of
    /// their role, and name the folder in `cluster_certificates`. `authority.key` stays where certificates are issued.
    Init {
        /// Folder to make.
        folder: PathBuf,
        #[command(flatten)]
        days: CertsDays,
    },
    /// Issue the certificate of a role again. Running processes take the new file in without a restart.
    Issue {
        /// Folder with `authority.pem` and `authority.key`.
        folder: PathBuf,
        /// Role that the certificate is for.
        role: CertsRole,
        /// Days that the certificate is valid.
        #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
        days: u32,
    },
    /// Go over to a new authority, in three steps. After each, give the changed files to all processes before the next.
    Rotate {
        /// Folder with `authority.pem` and `authority.key`.
        folder: PathBuf,
        /// Step to take.
        #[arg(long)]
        step: CertsStep,
        #[command(flatten)]
        days: CertsDays,
    },
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct CertsDays {
    /// Days that certificates of roles are valid.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub(crate) days: u32,
    /// Days that a new authority is valid.
    #[arg(long, default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=7300))]
    pub(crate) authority_days: u32,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum CertsRole {
    Scheduler,
    Executor,
    Client,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum CertsStep {
    /// Trust a new authority beside the old one.
    Trust,
    /// Let the new one issue the certificates of all roles.
    Sign,
    /// Trust the old one no more.
    Forget,
}
