//! Plans as bytes, between scheduler and executors: our own nodes, and Ballista's for all others.

use std::sync::Arc;

use ballista_core::serde::BallistaPhysicalExtensionCodec;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, WindowUDF};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr_common::physical_expr::proto_decode::PhysicalExprDecodeCtx;
use datafusion::physical_expr_common::physical_expr::proto_encode::PhysicalExprEncodeCtx;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::pinned::PinnedExec;
use crate::sink::{SinkExec, SinkSpec};
use crate::source::{delta, file};

/// No protobuf message begins with 0xff (there is no wire type 7), so these cannot be taken for Ballista's.
const SINK: &[u8] = b"\xffpulse-sink-1:";
const FILES: &[u8] = b"\xffpulse-files-1:";
const TABLE: &[u8] = b"\xffpulse-table-1:";
const PINNED: &[u8] = b"\xffpulse-pinned-1:";

/// Whether a scan reads files in one of our own ways, which arrive by this codec.
#[must_use]
pub fn is_own_source(scan: &FileScanConfig) -> bool {
    file::is_own(scan) || delta::is_own(scan)
}

/// The same on scheduler and executors: a plan is only understood by the codec that wrote it.
#[derive(Debug, Default)]
pub struct PhysicalCodec {
    ballista: BallistaPhysicalExtensionCodec,
}

impl PhysicalExtensionCodec for PhysicalCodec {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        ctx: &TaskContext,
        proto_converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if let Some(spec) = buf.strip_prefix(SINK) {
            return decode_sink(spec, inputs);
        }
        if let Some(size) = buf.strip_prefix(PINNED) {
            return Ok(Arc::new(PinnedExec::new(only("a pinned input", inputs)?, from_json("a pinned input", size)?)));
        }
        if let Some(scan) = buf.strip_prefix(TABLE) {
            return delta::try_decode(scan);
        }
        match buf.strip_prefix(FILES) {
            Some(scan) => file::try_decode(scan),
            None => self.ballista.try_decode(buf, inputs, ctx, proto_converter),
        }
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buf: &mut Vec<u8>,
        proto_converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        if let Some(sink) = node.downcast_ref::<SinkExec>() {
            buf.extend(SINK);
            return to_json("a sink", sink.spec().as_ref(), buf);
        }
        if let Some(pinned) = node.downcast_ref::<PinnedExec>() {
            buf.extend(PINNED);
            return to_json("a pinned input", &pinned.size(), buf);
        }
        let scan = file::try_encode(&node).map(|scan| (FILES, scan));
        match scan.or_else(|| delta::try_encode(&node).map(|scan| (TABLE, scan))) {
            Some((tag, scan)) => {
                buf.extend(tag);
                buf.extend(scan?);
                Ok(())
            }
            None => self.ballista.try_encode(node, buf, proto_converter),
        }
    }

    fn try_decode_udf(&self, name: &str, buf: &[u8]) -> Result<Arc<ScalarUDF>> {
        self.ballista.try_decode_udf(name, buf)
    }

    fn try_encode_udf(&self, node: &ScalarUDF, buf: &mut Vec<u8>) -> Result<()> {
        self.ballista.try_encode_udf(node, buf)
    }

    fn try_decode_higher_order_function(&self, name: &str, buf: &[u8]) -> Result<Arc<HigherOrderUDF>> {
        self.ballista.try_decode_higher_order_function(name, buf)
    }

    fn try_encode_higher_order_function(&self, node: &HigherOrderUDF, buf: &mut Vec<u8>) -> Result<()> {
        self.ballista.try_encode_higher_order_function(node, buf)
    }

    fn try_decode_expr(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn PhysicalExpr>],
        ctx: &PhysicalExprDecodeCtx<'_>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        self.ballista.try_decode_expr(buf, inputs, ctx)
    }

    fn try_encode_expr(
        &self,
        node: &Arc<dyn PhysicalExpr>,
        buf: &mut Vec<u8>,
        ctx: &PhysicalExprEncodeCtx<'_>,
    ) -> Result<()> {
        self.ballista.try_encode_expr(node, buf, ctx)
    }

    fn try_decode_udaf(&self, name: &str, buf: &[u8]) -> Result<Arc<AggregateUDF>> {
        self.ballista.try_decode_udaf(name, buf)
    }

    fn try_encode_udaf(&self, node: &AggregateUDF, buf: &mut Vec<u8>) -> Result<()> {
        self.ballista.try_encode_udaf(node, buf)
    }

    fn try_decode_udwf(&self, name: &str, buf: &[u8]) -> Result<Arc<WindowUDF>> {
        self.ballista.try_decode_udwf(name, buf)
    }

    fn try_encode_udwf(&self, node: &WindowUDF, buf: &mut Vec<u8>) -> Result<()> {
        self.ballista.try_encode_udwf(node, buf)
    }
}

fn decode_sink(spec: &[u8], inputs: &[Arc<dyn ExecutionPlan>]) -> Result<Arc<dyn ExecutionPlan>> {
    let spec: SinkSpec = from_json("a sink", spec)?;
    Ok(Arc::new(SinkExec::try_new(only("a sink", inputs)?, Arc::new(spec))?))
}

fn only(what: &str, inputs: &[Arc<dyn ExecutionPlan>]) -> Result<Arc<dyn ExecutionPlan>> {
    match inputs {
        [input] => Ok(Arc::clone(input)),
        _ => Err(DataFusionError::Internal(format!("{what} arrived with {} inputs instead of one", inputs.len()))),
    }
}

fn to_json(what: &str, value: &impl Serialize, buf: &mut Vec<u8>) -> Result<()> {
    serde_json::to_writer(buf, value)
        .map_err(|error| DataFusionError::Internal(format!("{what} cannot be encoded: {error}")))
}

fn from_json<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| DataFusionError::Internal(format!("{what} cannot be decoded: {error}")))
}

#[cfg(test)]
pub(crate) mod tests;
