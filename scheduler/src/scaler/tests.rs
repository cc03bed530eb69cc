use std::sync::Mutex;

use chrono::TimeDelta;

use super::*;

const POLICY: ScalingPolicy = ScalingPolicy {
    least: 2,
    most: 6,
    out_after: TimeDelta::seconds(60),
    in_after: TimeDelta::seconds(300),
    cooldown: TimeDelta::seconds(120),
    settling: TimeDelta::seconds(600),
};

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
}

/// Machines that start with a delay, and executors with two slots that the test controls.
#[derive(Default)]
struct World {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    machines: Vec<Machine>,
    coming: usize,
    pending: usize,
    needed: BTreeSet<String>,
    drained: BTreeSet<String>,
    removed: Vec<String>,
    fails: bool,
    made: usize,
}

impl World {
    fn with(machines: usize) -> Arc<Self> {
        let world = Arc::new(Self::default());
        world.state.lock().unwrap().coming = machines;
        world.arrive(at(-7200));
        world
    }

    /// The requested machines arrive.
    fn arrive(&self, now: DateTime<Utc>) {
        let mut state = self.state.lock().unwrap();
        for _ in 0..std::mem::take(&mut state.coming) {
            state.made += 1;
            let id = format!("i-{}", state.made);
            let address = format!("10.0.0.{}", state.made);
            // The first is the core node.
            let removable = state.made > 1;
            state.machines.push(Machine { id: NodeId(id), address, since: now, removable });
        }
    }

    fn set(&self, pending: usize, needed: &[&str]) {
        let mut state = self.state.lock().unwrap();
        state.pending = pending;
        state.needed = needed.iter().map(|id| (*id).to_owned()).collect();
    }

    fn removed(&self) -> Vec<String> {
        self.state.lock().unwrap().removed.clone()
    }
}

#[async_trait]
impl NodePool for World {
    async fn machines(&self) -> Result<(Vec<Machine>, usize)> {
        let state = self.state.lock().unwrap();
        match state.fails {
            true => Err(pulse_core::Error::unavailable("no answer")),
            false => Ok((state.machines.clone(), state.coming)),
        }
    }

    async fn grow(&self, count: usize) -> Result<()> {
        self.state.lock().unwrap().coming += count;
        Ok(())
    }

    async fn remove(&self, ids: &[NodeId]) -> Result<()> {
        let mut state = self.state.lock().unwrap();
        for NodeId(id) in ids {
            assert!(state.drained.contains(id), "{id} was not drained");
            assert!(!state.needed.contains(id), "{id} has work");
            state.removed.push(id.clone());
        }
        Ok(())
    }
}

/// An executor has the id of its machine.
#[async_trait]
impl Workload for World {
    async fn load(&self) -> Load {
        let state = self.state.lock().unwrap();
        let executors = state.machines.iter().map(|machine| ExecutorLoad {
            id: machine.id.0.clone(),
            host: machine.address.clone(),
            slots: 2,
            is_needed: state.needed.contains(&machine.id.0),
        });
        Load { pending_tasks: state.pending, running_tasks: state.needed.len(), executors: executors.collect() }
    }

    fn drain(&self, executor: &str) {
        self.state.lock().unwrap().drained.insert(executor.to_owned());
    }
}

fn scaler(world: &Arc<World>) -> Scaler {
    Scaler::new(POLICY, Arc::clone(world) as _, Arc::clone(world) as _)
}

#[tokio::test]
async fn a_burst_brings_machines_and_its_end_takes_them_away() {
    let world = World::with(2);
    let mut scaler = scaler(&world);
    world.set(8, &["i-1", "i-2"]);
    assert_eq!(scaler.step(at(0)).await.unwrap(), Decision::Hold);
    // Two tasks run and eight wait: five machines with two slots.
    assert_eq!(scaler.step(at(60)).await.unwrap(), Decision::Grow(3));
    assert_eq!(scaler.step(at(300)).await.unwrap(), Decision::Hold, "they are on their way");
    world.arrive(at(400));
    world.set(0, &["i-1", "i-2", "i-3", "i-4", "i-5"]);
    assert_eq!(scaler.step(at(430)).await.unwrap(), Decision::Hold);
    // All work is done. They are idle, and may be removed once they are ten minutes old.
    world.set(0, &[]);
    assert_eq!(scaler.step(at(500)).await.unwrap(), Decision::Hold);
    assert_eq!(scaler.step(at(810)).await.unwrap(), Decision::Drain(vec![NodeId("i-2".into())]), "the others are new");
    assert_eq!(scaler.step(at(840)).await.unwrap(), Decision::Hold);
    assert_eq!(world.removed(), ["i-2"]);
    let ids = |ids: &[&str]| Decision::Drain(ids.iter().map(|id| NodeId((*id).to_owned())).collect());
    assert_eq!(scaler.step(at(1000)).await.unwrap(), ids(&["i-3", "i-4"]));
    scaler.step(at(1030)).await.unwrap();
    assert_eq!(world.removed(), ["i-2", "i-3", "i-4"]);
    assert_eq!(scaler.step(at(9000)).await.unwrap(), Decision::Hold, "the least stay");
}

#[tokio::test]
async fn a_machine_that_got_work_while_it_was_told_to_drain_ends_it_first() {
    let world = World::with(3);
    let mut scaler = scaler(&world);
    assert_eq!(scaler.step(at(0)).await.unwrap(), Decision::Hold);
    assert_eq!(scaler.step(at(300)).await.unwrap(), Decision::Drain(vec![NodeId("i-2".into())]));
    world.set(0, &["i-2"]);
    for seconds in [330, 360, 3000] {
        assert_eq!(scaler.step(at(seconds)).await.unwrap(), Decision::Hold);
        assert_eq!(world.removed(), Vec::<String>::new());
    }
    world.set(0, &[]);
    scaler.step(at(3030)).await.unwrap();
    // Released once, however long EMR takes to terminate it.
    scaler.step(at(3060)).await.unwrap();
    assert_eq!(world.removed(), ["i-2"]);
}

#[tokio::test]
async fn a_pool_that_does_not_answer_changes_nothing() {
    let world = World::with(2);
    let mut scaler = scaler(&world);
    world.set(8, &["i-1", "i-2"]);
    scaler.step(at(0)).await.unwrap();
    world.state.lock().unwrap().fails = true;
    assert!(scaler.step(at(100)).await.is_err());
    world.state.lock().unwrap().fails = false;
    assert_eq!(scaler.step(at(130)).await.unwrap(), Decision::Grow(3));
}

#[test]
fn looks_are_as_frequent_as_the_shortest_wait_asks_for() {
    assert_eq!(look_every(&POLICY), Duration::from_secs(30));
    let impatient = ScalingPolicy { in_after: TimeDelta::seconds(5), ..POLICY };
    assert_eq!(look_every(&impatient), Duration::from_secs(5));
    let never = ScalingPolicy { cooldown: TimeDelta::zero(), ..POLICY };
    assert_eq!(look_every(&never), Duration::from_secs(1));
}
