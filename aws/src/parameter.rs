//! Reads the Parameter Store.

use pulse_core::{Error, Result};

use crate::clients::Clients;
use crate::error::from_sdk;

/// A parameter's value, decrypted.
///
/// # Errors
/// `Invalid` when it does not exist or access is denied, `Unavailable` when AWS does not answer.
pub async fn parameter(clients: &Clients, name: &str) -> Result<String> {
    let doing = format!("read parameter {name}");
    let answer = clients.ssm().get_parameter().name(name).with_decryption(true).send().await.map_err(|e| {
        match e.as_service_error().is_some_and(|e| e.is_parameter_not_found()) {
            true => Error::invalid(format!(
                "{doing}: there is none in {}; check its name, AWS_REGION and AWS_PROFILE",
                clients.region()
            )),
            false => from_sdk(&doing, "ssm:GetParameter", e),
        }
    })?;
    let value = answer.parameter.and_then(|parameter| parameter.value);
    value.ok_or_else(|| Error::invalid(format!("{doing}: it has no value")))
}
