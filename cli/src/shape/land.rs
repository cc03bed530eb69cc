use schemars::JsonSchema;
use serde::Serialize;

/// What is missing of a landing.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct LandPlan {
    pub(crate) landing: String,
    /// `<provider>.<request>`
    pub(crate) request: String,
    /// Requests to be sent.
    pub(crate) missing: usize,
    /// All requests of the landing.
    pub(crate) wanted: usize,
    /// Seconds that the missing ones take at least, under the provider's limits.
    pub(crate) takes_s: i64,
}

/// What has landed for a symbol.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct LandStatus {
    pub(crate) landing: String,
    /// Null for a request without symbols.
    pub(crate) symbol: Option<String>,
    /// Periods that are wanted.
    pub(crate) wanted: usize,
    /// Periods with data.
    pub(crate) landed: usize,
    /// Periods that are over, and have no data yet.
    pub(crate) late: usize,
    /// Periods that the provider has no data for.
    pub(crate) absent: usize,
    /// The newest period with data.
    pub(crate) newest: Option<String>,
}

/// What has landed for a symbol and a period.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct LandPeriod {
    pub(crate) landing: String,
    /// Null for a request without symbols.
    pub(crate) symbol: Option<String>,
    /// `2024-01-02`, `2024-01` or `all`
    pub(crate) period: String,
    /// `final` and `landed` have data, `late` and `awaited` have none yet, `absent` will have none.
    pub(crate) state: &'static str,
}

/// What a landing has done.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Landed {
    pub(crate) landing: String,
    /// `<provider>.<request>`
    pub(crate) request: String,
    /// Answers with data.
    pub(crate) data: usize,
    pub(crate) bytes: u64,
    /// Answers without data.
    pub(crate) without_data: usize,
    /// Requests that were to be sent and have no answer.
    pub(crate) left: usize,
    /// `complete`, `day_used`, `interrupted` or `stopped`
    pub(crate) ended: &'static str,
    /// When the limit of a day allows the next request.
    pub(crate) until: Option<String>,
}
