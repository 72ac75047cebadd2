//! tokio: its current-thread scheduler, and two of those that wake each other.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use roving_peer_tokio::{cpu_time, percentile, usable_cores, use_core, Entry, Random, Run};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Two tasks that yield to each other.
fn yield_now(count: u64) {
    let half = |left: u64| async move {
        for _ in 0..left {
            tokio::task::yield_now().await;
        }
    };
    runtime().block_on(async {
        let first = tokio::spawn(half(count.div_ceil(2)));
        let second = tokio::spawn(half(count.div_ceil(2)));
        first.await.unwrap();
        second.await.unwrap();
    });
}

fn spawn_and_join(count: u64) {
    runtime().block_on(async {
        tokio::spawn(async move {
            for _ in 0..count {
                tokio::spawn(async {}).await.unwrap();
            }
        })
        .await
        .unwrap();
    });
}

fn spawn_1000_then_join(count: u64) {
    runtime().block_on(async {
        tokio::spawn(async move {
            let mut tasks = Vec::with_capacity(1000);
            let mut left = count;
            while left > 0 {
                tasks.extend((0..left.min(1000)).map(|_| tokio::spawn(async {})));
                left -= left.min(1000);
                for task in tasks.drain(..) {
                    task.await.unwrap();
                }
            }
        })
        .await
        .unwrap();
    });
}

async fn play(mine: Arc<Semaphore>, others: Arc<Semaphore>, turns: u64) {
    for _ in 0..turns {
        mine.acquire().await.unwrap().forget();
        others.add_permits(1);
    }
}

fn hop(count: u64) {
    runtime().block_on(async {
        let (there, back) = (Arc::new(Semaphore::new(1)), Arc::new(Semaphore::new(0)));
        let first = tokio::spawn(play(there.clone(), back.clone(), count.div_ceil(2)));
        let second = tokio::spawn(play(back, there, count.div_ceil(2)));
        first.await.unwrap();
        second.await.unwrap();
    });
}

/// A timer is set when it is polled, and cancelled when it is dropped. Another one ends before it, as there is in most
/// programs: each that is the next to end costs a write to an eventfd.
fn timer_set_cancel(count: u64) {
    runtime().block_on(async {
        tokio::spawn(tokio::time::sleep(Duration::from_secs(1800)));
        tokio::time::sleep(Duration::from_millis(2)).await;
        let deadline = tokio::time::Instant::now() + Duration::from_secs(3600);
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..count {
            let timer = pin!(tokio::time::sleep_until(deadline));
            assert!(timer.poll(&mut context).is_pending());
        }
    });
}

#[derive(Default)]
struct Sleepers {
    late: Mutex<Vec<Duration>>,
    started: AtomicU64,
    early: AtomicU64,
    all_are_there: AtomicBool,
}

async fn sleep(all: Arc<Sleepers>, span: Duration) {
    let deadline = Instant::now() + span;
    all.started.fetch_add(1, Relaxed);
    tokio::time::sleep_until(deadline.into()).await;
    let now = Instant::now();
    if now < deadline {
        all.early.fetch_add(1, Relaxed);
    } else if all.all_are_there.load(Relaxed) {
        all.late.lock().unwrap().push(now - deadline);
    }
}

/// Its timers are of whole milliseconds.
fn sleepers(count: u64) -> Entry {
    let mut random = Random(1);
    let spans: Vec<_> = (0..count).map(|_| Duration::from_nanos(1_000_000 + random.draw() % 999_000_000)).collect();
    let all = Arc::new(Sleepers::default());
    all.late.lock().unwrap().reserve(spans.len());
    let (began, used) = (Instant::now(), cpu_time());
    runtime().block_on(async {
        let mut tasks = Vec::with_capacity(spans.len());
        for span in spans {
            tasks.push(tokio::spawn(sleep(all.clone(), span)));
            while tasks.len() % 1000 == 0 && all.started.load(Relaxed) < tasks.len() as u64 {
                tokio::task::yield_now().await;
            }
        }
        all.all_are_there.store(true, Relaxed);
        for task in tasks {
            task.await.unwrap();
        }
    });
    let cpu = cpu_time() - used;
    let mut late = all.late.lock().unwrap();
    let counters = vec![
        ("cpu_s", cpu.as_secs_f64()),
        ("early", all.early.load(Relaxed) as f64),
        ("p50_late_us", percentile(&mut late, 50.0)),
        ("p99_late_us", percentile(&mut late, 99.0)),
    ];
    Entry { iterations: count, real: began.elapsed(), cpu, by_real: false, counters }
}

/// One of two sides: what it waits for, when it was rung, how long that took.
struct Side {
    bell: Semaphore,
    rung_at: Mutex<Instant>,
    latencies: Mutex<Vec<Duration>>,
}

impl Side {
    fn new() -> Arc<Self> {
        Arc::new(Side {
            bell: Semaphore::new(0),
            rung_at: Mutex::new(Instant::now()),
            latencies: Mutex::new(Vec::new()),
        })
    }
    fn ring(&self) {
        *self.rung_at.lock().unwrap() = Instant::now();
        self.bell.add_permits(1);
    }
    async fn wait(&self) {
        self.bell.acquire().await.unwrap().forget();
    }
    fn note_arrival(&self) {
        let took = self.rung_at.lock().unwrap().elapsed();
        self.latencies.lock().unwrap().push(took);
    }
}

fn pause() {
    let until = Instant::now() + Duration::from_micros(20);
    while Instant::now() < until {}
}

/// Two runtimes on two threads. With `idle` the first one sleeps before it rings, and the way back does not count;
/// without, each computes for 20 us first.
fn between_threads(rounds: u32, idle: Option<Duration>) -> Entry {
    let cores = usable_cores();
    assert!(cores.len() > 1, "needs two cores");
    let (first, second, stopping) = (Side::new(), Side::new(), Arc::new(AtomicBool::new(false)));
    let used = cpu_time();
    let other = std::thread::spawn({
        let (first, second, stopping, cores) = (first.clone(), second.clone(), stopping.clone(), cores.clone());
        move || {
            use_core(1, &cores);
            runtime().block_on(async move {
                loop {
                    second.wait().await;
                    if stopping.load(Relaxed) {
                        return;
                    }
                    second.note_arrival();
                    if idle.is_none() {
                        pause();
                    }
                    first.ring();
                }
            })
        }
    });
    let one = std::thread::spawn({
        let (first, second) = (first.clone(), second.clone());
        move || {
            use_core(0, &cores);
            runtime().block_on(async move {
                for _ in 0..rounds {
                    match idle {
                        Some(span) => tokio::time::sleep(span).await,
                        None => pause(),
                    }
                    second.ring();
                    first.wait().await;
                    if idle.is_none() {
                        first.note_arrival();
                    }
                }
                stopping.store(true, Relaxed);
                second.ring();
            })
        }
    });
    one.join().unwrap();
    other.join().unwrap();
    let mut all = first.latencies.lock().unwrap().clone();
    all.extend(second.latencies.lock().unwrap().iter());
    let counters = vec![("p50_us", percentile(&mut all, 50.0)), ("p99_us", percentile(&mut all, 99.0))];
    Entry { iterations: all.len() as u64, real: all.iter().sum(), cpu: cpu_time() - used, by_real: true, counters }
}

/// Two tasks on two workers: one wakes the other and computes for 2 ms, while the second worker has nothing to do.
fn wake_by_who_goes_on() -> Entry {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let (waiting, heard) = (Side::new(), Arc::new(Semaphore::new(0)));
    let (began, used) = (Instant::now(), cpu_time());
    const ROUNDS: u32 = 200;
    let other = runtime.spawn({
        let (waiting, heard) = (waiting.clone(), heard.clone());
        async move {
            for _ in 0..ROUNDS {
                waiting.wait().await;
                waiting.note_arrival();
                heard.add_permits(1);
            }
        }
    });
    let one = runtime.spawn({
        let waiting = waiting.clone();
        async move {
            for _ in 0..ROUNDS {
                tokio::time::sleep(Duration::from_micros(500)).await;
                let until = Instant::now() + Duration::from_millis(2);
                waiting.ring();
                while Instant::now() < until {}
                heard.acquire().await.unwrap().forget();
            }
        }
    });
    runtime.block_on(async {
        one.await.unwrap();
        other.await.unwrap();
    });
    let mut all = waiting.latencies.lock().unwrap().clone();
    let counters = vec![("p50_us", percentile(&mut all, 50.0)), ("p99_us", percentile(&mut all, 99.0))];
    Entry { iterations: all.len() as u64, real: began.elapsed(), cpu: cpu_time() - used, by_real: true, counters }
}

fn main() {
    roving_peer_tokio::main(&[
        ("yield", Run::Repeat(yield_now)),
        ("spawn_and_join", Run::Repeat(spawn_and_join)),
        ("spawn_1000_then_join", Run::Repeat(spawn_1000_then_join)),
        ("hop", Run::Repeat(hop)),
        ("timer_set_cancel", Run::Repeat(timer_set_cancel)),
        ("sleepers/tasks:100000", Run::Once(|| sleepers(100_000))),
        ("sleepers/tasks:1000000", Run::Once(|| sleepers(1_000_000))),
        ("hop_asleep", Run::Once(|| between_threads(4000, None))),
        ("wake", Run::Once(|| between_threads(400, Some(Duration::from_micros(500))))),
        ("wake_by_who_goes_on", Run::Once(wake_by_who_goes_on)),
    ]);
}
