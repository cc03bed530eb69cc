//! AWS clients, configured from the environment (`AWS_PROFILE`, `AWS_REGION`, `AWS_ENDPOINT_URL`) or the instance role.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_emr::config::ProvideCredentials as _;
use pulse_core::{Error, Result};

/// Connect timeout.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Timeout of one attempt at a call.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(20);
/// Timeout of a call, retries included.
const CALL_LIMIT: Duration = Duration::from_secs(60);
/// Default attempts, unless `AWS_MAX_ATTEMPTS` is set. Waits double from one second, which is enough for throttling to
/// pass.
const ATTEMPTS: u32 = 5;

/// Configuration that all clients share.
#[derive(Debug, Clone)]
pub struct Clients {
    config: SdkConfig,
}

impl Clients {
    /// Loads region and credentials; makes no other calls.
    ///
    /// # Errors
    /// `Invalid` when there is no region or there are no credentials.
    pub async fn load() -> Result<Self> {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_LIMIT)
            .operation_attempt_timeout(ATTEMPT_LIMIT)
            .operation_timeout(CALL_LIMIT)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).timeout_config(timeouts);
        if std::env::var_os("AWS_MAX_ATTEMPTS").is_none() {
            loader = loader.retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS));
        }
        let config = loader.load().await;
        if config.region().is_none() {
            return Err(Error::invalid(
                "no AWS region is set: set AWS_REGION, or `region` in the profile of AWS_PROFILE",
            ));
        }
        let provider = config.credentials_provider().ok_or_else(no_credentials)?;
        provider.provide_credentials().await.map_err(|e| no_credentials().with_source(e))?;
        Ok(Self { config })
    }

    #[cfg(test)]
    pub(crate) fn with(config: SdkConfig) -> Self {
        Self { config }
    }

    pub fn region(&self) -> &str {
        self.config.region().map_or("", AsRef::as_ref)
    }

    pub(crate) fn glue(&self) -> aws_sdk_glue::Client {
        aws_sdk_glue::Client::new(&self.config)
    }

    pub(crate) fn emr(&self) -> aws_sdk_emr::Client {
        aws_sdk_emr::Client::new(&self.config)
    }

    pub(crate) fn ssm(&self) -> aws_sdk_ssm::Client {
        aws_sdk_ssm::Client::new(&self.config)
    }
}

fn no_credentials() -> Error {
    Error::invalid(
        "there are no AWS credentials: set AWS_PROFILE and sign in (`aws sso login`), set AWS_ACCESS_KEY_ID and \
         AWS_SECRET_ACCESS_KEY, or run where an instance profile is attached",
    )
}
