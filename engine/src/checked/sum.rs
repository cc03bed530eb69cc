//! `sum` of whole numbers and of decimals: exact, or an error. That of whole numbers does not depend on the order of its values.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Decimal128Array, PrimitiveArray};
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, DecimalType as _, Field, FieldRef, Int64Type, UInt64Type,
};
use datafusion::common::{DataFusionError, ScalarValue, exec_datafusion_err, internal_err};
use datafusion::error::Result;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::expr::{AggregateFunctionParams, WindowFunctionParams};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature, Volatility,
};

/// What partial sums are: no number of values of 64 bits that fits a machine leaves it. For decimals it has their digits without the
/// point.
const PARTIAL: DataType = DataType::Decimal128(38, 0);

/// Stands for `sum` once its argument has its type. Executors look it up by name.
#[derive(Debug, PartialEq, Eq, Hash)]
struct CheckedSum {
    signature: Signature,
}

pub(super) fn function() -> AggregateUDF {
    AggregateUDF::new_from_impl(CheckedSum { signature: Signature::any(1, Volatility::Immutable) })
}

/// Whether DataFusion's own sum of such values wraps.
pub(super) fn wraps(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int64 | DataType::UInt64 | DataType::Decimal128(..))
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &'static str {
        "checked_sum"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    // Columns keep the name of the function that is written.
    fn schema_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        sum_udaf().schema_name(params)
    }

    fn display_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        sum_udaf().display_name(params)
    }

    fn window_function_schema_name(&self, params: &WindowFunctionParams) -> Result<String> {
        sum_udaf().window_function_schema_name(params)
    }

    fn window_function_display_name(&self, params: &WindowFunctionParams) -> Result<String> {
        sum_udaf().window_function_display_name(params)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            // As wide as DataFusion's own, and Spark's.
            [DataType::Decimal128(precision, scale)] => {
                Ok(DataType::Decimal128(precision.saturating_add(10).min(DECIMAL128_MAX_PRECISION), *scale))
            }
            [data_type] if wraps(data_type) => Ok(data_type.clone()),
            _ => internal_err!("checked_sum takes whole numbers of 64 bits or decimals, and has {types:?}"),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(match args.is_distinct {
            true => Field::new_list(
                format_state_name(args.name, "sum distinct"),
                Field::new_list_field(PARTIAL, true),
                false,
            ),
            false => Field::new(format_state_name(args.name, "sum"), PARTIAL, true),
        })])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let data_type = args.return_field.data_type().clone();
        Ok(match args.is_distinct {
            true => Box::new(DistinctSum { counts: HashMap::new(), sum: 0, data_type }),
            false => Box::new(Sum { sum: 0, count: 0, data_type }),
        })
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let data_type = args.return_field.data_type().clone();
        Ok(Box::new(GroupSums { sums: Vec::new(), seen: Vec::new(), data_type }))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// The sum of all values of a group or frame; `count` of them are no nulls.
#[derive(Debug)]
struct Sum {
    sum: i128,
    count: i64,
    data_type: DataType,
}

impl Accumulator for Sum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each(only(values)?, |value| {
            self.sum = self.sum.checked_add(value).ok_or_else(|| out_of_range(&self.data_type))?;
            self.count += 1;
            Ok(())
        })
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each(only(values)?, |value| {
            self.sum = self.sum.checked_sub(value).ok_or_else(|| out_of_range(&self.data_type))?;
            self.count -= 1;
            Ok(())
        })
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        scalar((self.count > 0).then_some(self.sum), &self.data_type)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Decimal128((self.count > 0).then_some(self.sum), 38, 0)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// The sum of different values, with how often each is in the frame.
#[derive(Debug)]
struct DistinctSum {
    counts: HashMap<i128, u64>,
    sum: i128,
    data_type: DataType,
}

impl Accumulator for DistinctSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each(only(values)?, |value| {
            let count = self.counts.entry(value).or_default();
            *count += 1;
            if *count == 1 {
                self.sum = self.sum.checked_add(value).ok_or_else(|| out_of_range(&self.data_type))?;
            }
            Ok(())
        })
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each(only(values)?, |value| {
            let left = self.counts.get_mut(&value).map_or(0, |count| {
                *count -= 1;
                *count
            });
            if left == 0 && self.counts.remove(&value).is_some() {
                self.sum = self.sum.checked_sub(value).ok_or_else(|| out_of_range(&self.data_type))?;
            }
            Ok(())
        })
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        scalar((!self.counts.is_empty()).then_some(self.sum), &self.data_type)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values: Vec<ScalarValue> =
            self.counts.keys().map(|value| ScalarValue::Decimal128(Some(*value), 38, 0)).collect();
        Ok(vec![ScalarValue::List(ScalarValue::new_list_nullable(&values, &PARTIAL))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for values in only(states)?.as_list::<i32>().iter().flatten() {
            self.update_batch(&[values])?;
        }
        Ok(())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.counts.capacity() * size_of::<(i128, u64)>()
    }
}

/// The sums of many groups, by their index.
#[derive(Debug)]
struct GroupSums {
    sums: Vec<i128>,
    seen: Vec<bool>,
    data_type: DataType,
}

impl GroupSums {
    fn add<T: ArrowPrimitiveType>(
        &mut self,
        array: &PrimitiveArray<T>,
        groups: &[usize],
        filter: Option<&BooleanArray>,
    ) -> Result<()>
    where
        T::Native: Into<i128>,
    {
        let mut left = false;
        let mut add = |group: usize, value: T::Native| {
            if let (Some(sum), Some(seen)) = (self.sums.get_mut(group), self.seen.get_mut(group)) {
                let (added, overflowed) = sum.overflowing_add(value.into());
                *sum = added;
                *seen = true;
                left |= overflowed;
            }
        };
        if array.null_count() == 0 && filter.is_none() {
            array.values().iter().zip(groups).for_each(|(value, group)| add(*group, *value));
        } else {
            for (row, (value, group)) in array.iter().zip(groups).enumerate() {
                if let Some(value) = value.filter(|_| passes(filter, row)) {
                    add(*group, value);
                }
            }
        }
        match left {
            true => Err(out_of_range(&self.data_type)),
            false => Ok(()),
        }
    }

    fn add_array(
        &mut self,
        array: &ArrayRef,
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.sums.resize(total, 0);
        self.seen.resize(total, false);
        match array.data_type() {
            DataType::Int64 => self.add(array.as_primitive::<Int64Type>(), groups, filter),
            DataType::UInt64 => self.add(array.as_primitive::<UInt64Type>(), groups, filter),
            DataType::Decimal128(..) => self.add(array.as_primitive::<Decimal128Type>(), groups, filter),
            other => internal_err!("checked_sum has values of the type {other}"),
        }
    }

    fn take(&mut self, emit_to: EmitTo) -> impl Iterator<Item = Option<i128>> {
        let (sums, seen) = (emit_to.take_needed(&mut self.sums), emit_to.take_needed(&mut self.seen));
        sums.into_iter().zip(seen).map(|(sum, seen)| seen.then_some(sum))
    }
}

impl GroupsAccumulator for GroupSums {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.add_array(only(values)?, group_indices, opt_filter, total_num_groups)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.add_array(only(values)?, group_indices, None, total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let data_type = self.data_type.clone();
        match data_type {
            DataType::UInt64 => narrowed::<UInt64Type>(self.take(emit_to), &data_type),
            DataType::Decimal128(..) => decimals(self.take(emit_to), &data_type),
            _ => narrowed::<Int64Type>(self.take(emit_to), &data_type),
        }
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        partial(self.take(emit_to).collect())
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let array = only(values)?;
        let mut all: Vec<Option<i128>> = Vec::with_capacity(array.len());
        match array.data_type() {
            DataType::Decimal128(..) => all.extend(array.as_primitive::<Decimal128Type>().iter()),
            DataType::Int64 => all.extend(array.as_primitive::<Int64Type>().iter().map(|value| value.map(i128::from))),
            DataType::UInt64 => {
                all.extend(array.as_primitive::<UInt64Type>().iter().map(|value| value.map(i128::from)))
            }
            other => return internal_err!("checked_sum has values of the type {other}"),
        }
        for (row, value) in all.iter_mut().enumerate() {
            *value = value.filter(|_| passes(opt_filter, row));
        }
        partial(all)
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<i128>() + self.seen.capacity()
    }
}

fn passes(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}

fn only(values: &[ArrayRef]) -> Result<&ArrayRef> {
    match values {
        [values] => Ok(values),
        _ => internal_err!("checked_sum takes one argument, and has {}", values.len()),
    }
}

/// Takes each value that is none of the nulls.
fn each(array: &ArrayRef, mut take: impl FnMut(i128) -> Result<()>) -> Result<()> {
    match array.data_type() {
        DataType::Int64 => array.as_primitive::<Int64Type>().iter().flatten().try_for_each(|value| take(value.into())),
        DataType::UInt64 => {
            array.as_primitive::<UInt64Type>().iter().flatten().try_for_each(|value| take(value.into()))
        }
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().iter().flatten().try_for_each(take),
        other => internal_err!("checked_sum has values of the type {other}"),
    }
}

fn scalar(sum: Option<i128>, data_type: &DataType) -> Result<ScalarValue> {
    let array = match data_type {
        DataType::UInt64 => narrowed::<UInt64Type>(std::iter::once(sum), data_type)?,
        DataType::Decimal128(..) => decimals(std::iter::once(sum), data_type)?,
        _ => narrowed::<Int64Type>(std::iter::once(sum), data_type)?,
    };
    ScalarValue::try_from_array(&array, 0)
}

fn narrowed<T: ArrowPrimitiveType>(sums: impl Iterator<Item = Option<i128>>, data_type: &DataType) -> Result<ArrayRef>
where
    T::Native: TryFrom<i128>,
{
    let narrow = |sum: i128| T::Native::try_from(sum).map_err(|_| too_big(sum, data_type));
    let values: Vec<Option<T::Native>> = sums.map(|sum| sum.map(narrow).transpose()).collect::<Result<_>>()?;
    Ok(Arc::new(PrimitiveArray::<T>::from_iter(values)))
}

fn decimals(sums: impl Iterator<Item = Option<i128>>, data_type: &DataType) -> Result<ArrayRef> {
    let DataType::Decimal128(precision, scale) = data_type else { return internal_err!("{data_type} is no decimal") };
    let array = Decimal128Array::from_iter(sums).with_precision_and_scale(*precision, *scale)?;
    let fits = |sum: i128| Decimal128Type::is_valid_decimal_precision(sum, *precision);
    match array.iter().flatten().all(fits) {
        true => Ok(Arc::new(array)),
        false => Err(out_of_range(data_type)),
    }
}

#[cold]
fn too_big(sum: i128, data_type: &DataType) -> DataFusionError {
    let name = crate::type_name::type_name(data_type);
    exec_datafusion_err!(
        "Overflow happened on: {sum}: `sum` of values of the type {name} leaves the range of the type; sum a wider type, such as \
         `sum(cast(x as decimal(38,0)))`"
    )
}

#[cold]
fn out_of_range(data_type: &DataType) -> DataFusionError {
    let name = crate::type_name::type_name(data_type);
    exec_datafusion_err!(
        "Overflow happened on: `sum` leaves the range of its type {name}; sum values with fewer digits after the point, such as \
         `sum(cast(x as decimal(38,2)))`"
    )
}

fn partial(sums: Vec<Option<i128>>) -> Result<Vec<ArrayRef>> {
    Ok(vec![Arc::new(Decimal128Array::from(sums).with_precision_and_scale(38, 0)?)])
}

#[cfg(test)]
mod tests;
