//! Plans over raw files: groups, ranges, projection, metrics and the wire.

use std::fs;
use std::path::Path as FsPath;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use datafusion::config::ConfigOptions;
use datafusion::datasource::physical_plan::{FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, collect, displayable};
use datafusion::prelude::{SessionConfig, SessionContext};
use pulse_core::sources::FileSource;

use super::super::{RawFiles, SourceFile, scan, try_decode, try_encode};
use super::files::{listed, options, run, symbol_file};
use super::support::{bars, csv};

fn groups(plan: &Arc<dyn ExecutionPlan>) -> Vec<Vec<String>> {
    let config = config_of(plan);
    let name = |file: &SourceFile| file.path.trim_start_matches("bars/").to_owned();
    let groups = config.file_groups.iter();
    groups.map(|group| group.iter().map(|file| name(file.extension::<SourceFile>().unwrap())).collect()).collect()
}

fn config_of(plan: &Arc<dyn ExecutionPlan>) -> FileScanConfig {
    plan.downcast_ref::<DataSourceExec>().unwrap().data_source().downcast_ref::<FileScanConfig>().unwrap().clone()
}

/// A folder with three symbols of a hundred rows each, and one wrong row.
fn sample() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("bars")).unwrap();
    for symbol in ["A", "B", "C"] {
        let lines: String = (0..100).map(|at| format!("2020-12-21 09:31:00,1.5,{at},x\n")).collect();
        fs::write(root.path().join("bars").join(symbol), format!("time,price,volume,note\n{lines}oops\n")).unwrap();
    }
    root
}

async fn plan_of(root: &FsPath, target: u64) -> (Arc<FileSource>, Arc<dyn ExecutionPlan>) {
    let source = Arc::new(bars(&csv()));
    let files = listed(root, &source).await.files;
    let plan = scan(&source, files, &options(root, target)).unwrap();
    (source, plan)
}

#[test]
fn files_of_one_symbol_stay_together() {
    let source = Arc::new(bars(&csv()));
    let mut other = symbol_file("B", 40);
    other.path = "bars/B2".to_owned();
    let files = vec![symbol_file("C", 40), symbol_file("B", 40), symbol_file("A", 40), other];
    let root = tempfile::tempdir().unwrap();
    for (target, expected) in [
        (1, vec![vec!["A"], vec!["B", "B2"], vec!["C"]]),
        (80, vec![vec!["A", "B", "B2"], vec!["C"]]),
        (1000, vec![vec!["A", "B", "B2", "C"]]),
    ] {
        let plan = scan(&source, files.clone(), &options(root.path(), target)).unwrap();
        assert_eq!(groups(&plan), expected, "{target}");
    }
    let plan = scan(&source, files, &options(root.path(), 1)).unwrap();
    assert_eq!(plan.output_partitioning().to_string(), "Range([symbol@4 ASC], [(B), (C)], 3)");
}

#[test]
fn a_file_without_the_placeholder_forbids_ranges() {
    let source = Arc::new(bars(&csv()));
    let mut bare = symbol_file("A", 10);
    bare.captures.clear();
    let root = tempfile::tempdir().unwrap();
    let plan = scan(&source, vec![bare, symbol_file("B", 10)], &options(root.path(), 1)).unwrap();
    assert_eq!(plan.output_partitioning().to_string(), "UnknownPartitioning(2)");
    let plan = scan(&source, vec![], &options(root.path(), 1)).unwrap();
    assert_eq!(plan.output_partitioning().partition_count(), 0);
}

#[tokio::test]
async fn windows_and_groups_by_symbol_need_no_shuffle() {
    let root = sample();
    let source = Arc::new(bars(&csv()));
    let files = listed(root.path(), &source).await.files;
    for threads in [1, 2, 3] {
        let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(threads));
        let table = RawFiles::new(Arc::clone(&source), files.clone(), options(root.path(), 1));
        context.register_table("bars", Arc::new(table)).unwrap();
        for (sql, expected) in [
            ("select sum(volume) from bars group by symbol", 3 * 4950),
            ("select max(total) from (select sum(volume) over (partition by symbol) as total from bars)", 4950),
        ] {
            let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
            let picture = displayable(plan.as_ref()).indent(true).to_string();
            assert!(!picture.contains("Hash("), "{threads}: {picture}");
            let batch = run(plan).await;
            let total: i64 = batch.column(0).as_primitive::<Int64Type>().iter().flatten().sum();
            assert_eq!(total, expected, "{sql}");
        }
    }
}

#[tokio::test]
async fn a_join_of_differently_cut_scans_is_whole() {
    let root = sample();
    let source = Arc::new(bars(&csv()));
    let files = listed(root.path(), &source).await.files;
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(4));
    let two = files.iter().map(|file| file.size).sum::<u64>() * 2 / 3;
    for (name, files, target) in [("a", files.clone(), 1), ("b", files.clone(), two), ("c", files[1..].to_vec(), 1)] {
        let table = RawFiles::new(Arc::clone(&source), files, options(root.path(), target));
        context.register_table(name, Arc::new(table)).unwrap();
    }
    for (left, right, expected) in [("a", "b", 300), ("a", "c", 200), ("c", "b", 200)] {
        let sql = format!(
            "select count(*) from {left} l join {right} r on l.symbol = r.symbol and l.volume = r.volume \
             where l._reason is null"
        );
        let batch = run(context.sql(&sql).await.unwrap().create_physical_plan().await.unwrap()).await;
        assert_eq!(batch.column(0).as_primitive::<Int64Type>().value(0), expected, "{sql}");
    }
}

#[tokio::test]
async fn only_the_columns_asked_for_are_built() {
    let root = sample();
    let source = Arc::new(bars(&csv()));
    let files = listed(root.path(), &source).await.files;
    let context = SessionContext::new();
    let table = RawFiles::new(Arc::clone(&source), files, options(root.path(), 1));
    context.register_table("bars", Arc::new(table)).unwrap();
    let sql = "select line, volume as v, _reason, volume from bars where symbol = 'B' order by line desc limit 2";
    let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    let picture = displayable(plan.as_ref()).indent(true).to_string();
    assert!(picture.contains("projection=[volume, symbol, line, _reason]"), "{picture}");
    let batch = run(plan).await;
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().values(), &[102, 101]);
    assert_eq!(batch.column(2).as_string::<i32>().value(0), "expected 4 fields, found 1");
    assert_eq!(batch.column(3).as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [None, Some(99)]);
    let batch =
        run(context.sql("select count(*) from bars").await.unwrap().create_physical_plan().await.unwrap()).await;
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().value(0), 303);
}

#[tokio::test]
async fn metrics_say_what_was_read() {
    let root = sample();
    let (_, plan) = plan_of(root.path(), 1).await;
    collect(Arc::clone(&plan), SessionContext::new().task_ctx()).await.unwrap();
    let metrics = plan.metrics().unwrap();
    let value = |name: &str| metrics.sum_by_name(name).map(|value| value.as_usize());
    let bytes: u64 =
        config_of(&plan).file_groups.iter().flat_map(|group| group.iter()).map(|file| file.object_meta.size).sum();
    assert_eq!(value("bytes_scanned"), Some(bytes as usize));
    assert_eq!(value("rejected_rows"), Some(3));
    assert_eq!(metrics.output_rows(), Some(303));
}

#[tokio::test]
async fn a_slice_of_a_scan_survives_the_wire() {
    let root = sample();
    let (_, plan) = plan_of(root.path(), 1).await;
    let config = config_of(&plan);
    for kept in [vec![0, 1, 2], vec![1], vec![0, 2], vec![2, 0], vec![]] {
        let file_groups = kept.iter().map(|at: &usize| config.file_groups[*at].clone()).collect();
        let slice = FileScanConfigBuilder::from(config.clone())
            .with_file_groups(file_groups)
            .with_projection_indices(Some(vec![4, 2, 6, 8]))
            .unwrap()
            .with_limit(Some(150))
            .build();
        let slice: Arc<dyn ExecutionPlan> = DataSourceExec::from_data_source(slice);
        let decoded = try_decode(&try_encode(&slice).unwrap().unwrap()).unwrap();
        assert_eq!(groups(&decoded), groups(&slice));
        assert_eq!(decoded.schema(), slice.schema());
        assert_eq!(decoded.output_partitioning().partition_count(), kept.len());
        assert!(config_of(&decoded).preserve_order);
        assert_eq!(config_of(&decoded).limit, Some(150));
        assert_eq!(run(decoded).await, run(slice).await);
    }
    let other: Arc<dyn ExecutionPlan> = Arc::new(datafusion::physical_plan::empty::EmptyExec::new(plan.schema()));
    assert!(try_encode(&other).is_none());
    assert!(try_decode(b"{}").is_err());
}

#[tokio::test]
async fn a_file_is_never_split() {
    let root = sample();
    let (_, plan) = plan_of(root.path(), u64::MAX).await;
    let options = ConfigOptions::default();
    let repartitioned = plan.repartitioned(8, &options).unwrap();
    assert!(repartitioned.is_none_or(|plan| groups(&plan) == [["A", "B", "C"]]));
}
