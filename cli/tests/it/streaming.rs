//! What the shipped jobs hold in memory.

use crate::support::Scene;

/// Plans as they were executed, by the name of what they were for.
fn plans(stderr: &str) -> Vec<(&str, String)> {
    let parts: Vec<&str> = stderr.split(", as executed:\n").collect();

    parts
        .windows(2)
        .map(|pair| {
            let name = pair[0].lines().last().and_then(|line| line.split_whitespace().last()).unwrap();
            let plan = pair[1].lines().take_while(|line| line.trim_start().contains("Exec")).collect::<Vec<_>>();
            (name, plan.join("\n"))
        })
        .collect()
}

#[test]
fn windows_of_the_shipped_jobs_hold_no_partition() {
    let scene = Scene::shipped();
    let answer = scene.pulse(&["-vv", "run", "--on", "local", "--all"]).ok();
    let plans = plans(&answer.stderr);
    for job in ["gold.indicators_1m", "gold.indicators_1d", "gold.trends", "gold.daily_summary"] {
        let plan = &plans.iter().find(|(name, _)| *name == job).unwrap_or_else(|| panic!("{job}: {}", answer.stderr)).1;
        assert!(plan.contains("StreamingWindowExec"), "{job}:\n{plan}");
        assert!(!plan.replace("BoundedWindowAggExec", "").contains("WindowAggExec"), "{job}:\n{plan}");
    }
    // Bars come by symbol, so they are sorted a few symbols at a time.
    let silver = &plans.iter().find(|(name, _)| *name == "silver.bars_1m").unwrap().1;
    assert!(
        silver.contains("ChunkedSortExec") && !silver.replace("ChunkedSortExec", "").contains("SortExec"),
        "{silver}"
    );
}
