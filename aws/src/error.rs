//! Maps AWS errors to error kinds; no other module inspects them.

use std::error::Error as StdError;

use aws_sdk_emr::error::{ProvideErrorMetadata, SdkError};
use pulse_core::{Error, ErrorKind};

/// `doing` describes the operation, `action` is the permission that it needs, such as `glue:GetTable`.
pub(crate) fn from_sdk<E>(doing: &str, action: &str, error: SdkError<E>) -> Error
where
    E: StdError + ProvideErrorMetadata + Send + Sync + 'static,
{
    let text = match (error.code(), error.message()) {
        (Some(code), message) => {
            let (kind, remedy) = of_code(code, message.unwrap_or_default(), action);
            return Error::new(kind, format!("{doing}: {remedy}"));
        }
        (None, _) => chain(&error),
    };
    let service = action.split(':').next().unwrap_or_default();
    let unreachable = || {
        Error::unavailable(format!(
            "{doing}: the endpoint of {service} does not answer; check AWS_ENDPOINT_URL and AWS_REGION, and in a private \
             network that the VPC has an endpoint for {service} whose security group lets this machine in"
        ))
    };
    match error {
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) => unreachable().with_source(text),
        SdkError::ResponseError(_) | SdkError::ServiceError(_) => {
            Error::unavailable(format!("{doing}: {service} gave an answer that is none; try again")).with_source(text)
        }
        _ => Error::internal(format!("{doing}: the request could not be made")).with_source(text),
    }
}

/// The messages of an error and its sources, without the SDK's debug output.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}

/// The kind and the message for an AWS error code.
fn of_code(code: &str, message: &str, action: &str) -> (ErrorKind, String) {
    let is_about_kms = message.to_lowercase().contains("kms");
    match code {
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => (
            ErrorKind::Invalid,
            "the session has expired: sign in again (`aws sso login`), or renew AWS_SESSION_TOKEN".to_owned(),
        ),
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "InvalidAccessKeyId" => (
            ErrorKind::Invalid,
            format!(
                "AWS does not accept the credentials ({code}): check AWS_PROFILE or AWS_ACCESS_KEY_ID, and this machine's clock"
            ),
        ),
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" | "NotAuthorizedException"
            if is_about_kms =>
        {
            (ErrorKind::Invalid, kms_denied(message))
        }
        "GlueEncryptionException" | "InvalidKeyId" | "KMSAccessDeniedException" | "KmsException" => {
            (ErrorKind::Invalid, kms_denied(message))
        }
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" | "NotAuthorizedException" => {
            (ErrorKind::Invalid, format!("access is denied ({message}); the caller's role needs `{action}`"))
        }
        "Throttling" | "ThrottlingException" | "TooManyRequestsException" | "RequestLimitExceeded" => {
            (ErrorKind::Unavailable, "AWS asks to slow down; try again in a minute".to_owned())
        }
        "ConcurrentModificationException" => (ErrorKind::Conflict, format!("somebody else changes it now ({message})")),
        "ResourceNumberLimitExceededException" => {
            (ErrorKind::Exhausted, format!("a quota of the account is used up ({message}); have it raised"))
        }
        "InternalServerException"
        | "InternalServerError"
        | "InternalServiceException"
        | "InternalFailure"
        | "OperationTimeoutException"
        | "ServiceUnavailable" => (ErrorKind::Unavailable, format!("AWS has trouble of its own ({code}); try again")),
        _ => (ErrorKind::Invalid, format!("AWS refuses ({code}): {message}")),
    }
}

fn kms_denied(message: &str) -> String {
    format!(
        "the KMS key is denied ({message}); the key's policy must allow the caller's role kms:Decrypt and kms:GenerateDataKey"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_has_a_kind_and_a_remedy() {
        let cases = [
            ("ExpiredTokenException", "", ErrorKind::Invalid, "sign in again"),
            ("UnrecognizedClientException", "", ErrorKind::Invalid, "does not accept the credentials"),
            ("AccessDeniedException", "User: x is not authorized", ErrorKind::Invalid, "needs `glue:GetTable`"),
            ("AccessDeniedException", "no access to the KMS key", ErrorKind::Invalid, "key's policy"),
            ("GlueEncryptionException", "x", ErrorKind::Invalid, "key's policy"),
            ("ThrottlingException", "Rate exceeded", ErrorKind::Unavailable, "slow down"),
            ("ConcurrentModificationException", "x", ErrorKind::Conflict, "somebody else"),
            ("InternalServiceException", "", ErrorKind::Unavailable, "try again"),
            ("ValidationException", "bad name", ErrorKind::Invalid, "(ValidationException): bad name"),
        ];
        for (code, message, kind, text) in cases {
            let (found, remedy) = of_code(code, message, "glue:GetTable");
            assert_eq!(found, kind, "{code}");
            assert!(remedy.contains(text), "{code}: {remedy}");
        }
    }
}
