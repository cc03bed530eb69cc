//! Window functions over a series in row order.

mod chain;
mod moving;
mod sliding;
#[cfg(test)]
mod tests;
mod vwap;

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, internal_datafusion_err, plan_err};
use datafusion::logical_expr::function::{ExpressionArgs, PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{LimitEffect, PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;

use chain::evaluator;
use moving::{Macd, MacdHistogram, MacdSignal, MovingAverage, RelativeStrength};
use sliding::{DrawdownFromPeak, LogReturnDeviation, MaximumDrawdown, MovingMean, StandardScore};
use vwap::VolumeWeightedPrice;

pub(super) fn functions() -> Vec<Arc<WindowUDF>> {
    Indicator::ALL.into_iter().map(|indicator| Arc::new(WindowUDF::from(IndicatorFunction::new(indicator)))).collect()
}

pub(super) fn is_indicator(function: &WindowUDF) -> bool {
    function.inner().downcast_ref::<IndicatorFunction>().is_some()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Indicator {
    Sma,
    Ema,
    Rsi,
    Macd,
    MacdSignal,
    MacdHist,
    Vwap,
    Drawdown,
    MaxDrawdown,
    Volatility,
    Zscore,
}

impl Indicator {
    const ALL: [Self; 11] = [
        Self::Sma,
        Self::Ema,
        Self::Rsi,
        Self::Macd,
        Self::MacdSignal,
        Self::MacdHist,
        Self::Vwap,
        Self::Drawdown,
        Self::MaxDrawdown,
        Self::Volatility,
        Self::Zscore,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Sma => "sma",
            Self::Ema => "ema",
            Self::Rsi => "rsi",
            Self::Macd => "macd",
            Self::MacdSignal => "macd_signal",
            Self::MacdHist => "macd_hist",
            Self::Vwap => "vwap",
            Self::Drawdown => "drawdown",
            Self::MaxDrawdown => "max_drawdown",
            Self::Volatility => "volatility",
            Self::Zscore => "zscore",
        }
    }

    /// The arguments that have a value per row; they come first.
    fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Vwap => &["price", "volume"],
            Self::Sma
            | Self::Ema
            | Self::Rsi
            | Self::Macd
            | Self::MacdSignal
            | Self::MacdHist
            | Self::Drawdown
            | Self::MaxDrawdown
            | Self::Volatility
            | Self::Zscore => &["x"],
        }
    }

    /// The arguments that are literals: lengths, counted in values.
    fn lengths(self) -> &'static [&'static str] {
        match self {
            Self::Vwap => &[],
            Self::Macd => &["fast", "slow"],
            Self::MacdSignal | Self::MacdHist => &["fast", "slow", "signal"],
            Self::Sma
            | Self::Ema
            | Self::Rsi
            | Self::Drawdown
            | Self::MaxDrawdown
            | Self::Volatility
            | Self::Zscore => &["n"],
        }
    }

    /// A sample standard deviation of one value does not exist.
    fn least_length(self) -> usize {
        match self {
            Self::Volatility | Self::Zscore => 2,
            Self::Sma
            | Self::Ema
            | Self::Rsi
            | Self::Macd
            | Self::MacdSignal
            | Self::MacdHist
            | Self::Vwap
            | Self::Drawdown
            | Self::MaxDrawdown => 1,
        }
    }

    fn evaluator(self, arguments: &[Arc<dyn PhysicalExpr>]) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(match self {
            Self::Sma => evaluator(MovingMean::new(self.one_length(arguments)?)),
            Self::Ema => evaluator(MovingAverage::exponential(self.one_length(arguments)?)),
            Self::Rsi => evaluator(RelativeStrength::new(self.one_length(arguments)?)),
            Self::Macd => {
                let [fast, slow] = self.parse_lengths(arguments)?;
                evaluator(self.macd(fast, slow)?)
            }
            Self::MacdSignal => {
                let [fast, slow, signal] = self.parse_lengths(arguments)?;
                evaluator(MacdSignal::new(self.macd(fast, slow)?, signal))
            }
            Self::MacdHist => {
                let [fast, slow, signal] = self.parse_lengths(arguments)?;
                evaluator(MacdHistogram::new(self.macd(fast, slow)?, signal))
            }
            Self::Vwap => evaluator(VolumeWeightedPrice::default()),
            Self::Drawdown => evaluator(DrawdownFromPeak::new(self.one_length(arguments)?)),
            Self::MaxDrawdown => evaluator(MaximumDrawdown::new(self.one_length(arguments)?)),
            Self::Volatility => evaluator(LogReturnDeviation::new(self.one_length(arguments)?)),
            Self::Zscore => evaluator(StandardScore::new(self.one_length(arguments)?)),
        })
    }

    fn macd(self, fast: usize, slow: usize) -> Result<Macd> {
        if fast >= slow {
            return plan_err!("{}: `fast` must be below `slow`, found {fast} and {slow}", self.name());
        }
        Ok(Macd::new(fast, slow))
    }

    fn one_length(self, arguments: &[Arc<dyn PhysicalExpr>]) -> Result<usize> {
        let [length] = self.parse_lengths(arguments)?;
        Ok(length)
    }

    fn parse_lengths<const N: usize>(self, arguments: &[Arc<dyn PhysicalExpr>]) -> Result<[usize; N]> {
        let literals = arguments.get(self.columns().len()..).unwrap_or_default();
        let lengths = self
            .lengths()
            .iter()
            .zip(literals)
            .map(|(name, literal)| self.parse_length(name, literal))
            .collect::<Result<Vec<_>>>()?;
        lengths.try_into().map_err(|_| internal_datafusion_err!("{}: arguments were not counted", self.name()))
    }

    fn parse_length(self, name: &str, argument: &Arc<dyn PhysicalExpr>) -> Result<usize> {
        let least = self.least_length();
        let length =
            argument.downcast_ref::<Literal>().and_then(|literal| match literal.value().cast_to(&DataType::UInt64) {
                Ok(ScalarValue::UInt64(length)) => length.and_then(|length| usize::try_from(length).ok()),
                Ok(_) | Err(_) => None,
            });
        match length {
            Some(length) if length >= least => Ok(length),
            Some(_) | None => {
                plan_err!("{}: `{name}` must be an integer literal of at least {least}, found {argument}", self.name())
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct IndicatorFunction {
    indicator: Indicator,
    signature: Signature,
}

impl IndicatorFunction {
    fn new(indicator: Indicator) -> Self {
        Self { indicator, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl WindowUDFImpl for IndicatorFunction {
    fn name(&self) -> &str {
        self.indicator.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Only the columns: a literal would be written out once per row.
    fn expressions(&self, arguments: ExpressionArgs) -> Vec<Arc<dyn PhysicalExpr>> {
        arguments.input_exprs().iter().take(self.indicator.columns().len()).map(Arc::clone).collect()
    }

    fn partition_evaluator(&self, arguments: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        self.indicator.evaluator(arguments.input_exprs())
    }

    fn field(&self, arguments: WindowUDFFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(arguments.name(), DataType::Float64, true)))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let (name, columns, lengths) = (self.name(), self.indicator.columns(), self.indicator.lengths());
        let arguments = [columns, lengths].concat();
        if types.len() != arguments.len() {
            return plan_err!("{name}: write {name}({}), found {} arguments", arguments.join(", "), types.len());
        }
        let (column_types, length_types) = types.split_at(columns.len());
        for (column, found) in columns.iter().zip(column_types) {
            if !found.is_numeric() && !found.is_null() {
                return plan_err!("{name}: `{column}` must be a number, found {found}");
            }
        }
        for (length, found) in lengths.iter().zip(length_types) {
            if !found.is_integer() {
                return plan_err!("{name}: `{length}` must be an integer literal, found {found}");
            }
        }
        let doubles = column_types.iter().map(|_| DataType::Float64);
        Ok(doubles.chain(length_types.iter().cloned()).collect())
    }

    /// A row depends on rows before it alone.
    fn limit_effect(&self, _arguments: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        LimitEffect::None
    }
}
