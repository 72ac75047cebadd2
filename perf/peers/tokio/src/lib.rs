//! Does for Rust programs what Google Benchmark does for the C++ ones: repeats an operation until that took long enough,
//! and writes the same JSON. And what several programs want: cores, a generator of random numbers.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

pub const TOKIO_VERSION: &str = env!("ROVING_TOKIO_VERSION");
pub const FLAGS: &str = env!("ROVING_PEER_FLAGS");

/// A line of the result. Counters are written beside the other fields.
pub struct Entry {
    pub iterations: u64,
    pub real: Duration,
    pub cpu: Duration,
    /// Items per second go by elapsed time, as where several threads take part.
    pub by_real: bool,
    pub counters: Vec<(&'static str, f64)>,
}

/// What runs: an operation as often as it is told, or something that runs once and measures itself.
pub enum Run {
    Repeat(fn(u64)),
    Once(fn() -> Entry),
}

/// CPU time of all threads of the process.
pub fn cpu_time() -> Duration {
    let mut used = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes the struct that it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut used) };
    Duration::new(used.tv_sec as u64, used.tv_nsec as u32)
}

fn measure(run: &Run, least: Duration) -> Entry {
    let repeat = match run {
        Run::Once(once) => return once(),
        Run::Repeat(repeat) => repeat,
    };
    let mut count: u64 = 1;
    loop {
        let (began, used) = (Instant::now(), cpu_time());
        repeat(count);
        let (real, cpu) = (began.elapsed(), cpu_time() - used);
        if cpu >= least || real >= 5 * least {
            return Entry { iterations: count, real, cpu, by_real: false, counters: Vec::new() };
        }
        let wanted = 1.4 * count as f64 * least.as_secs_f64() / cpu.as_secs_f64().max(1e-9);
        count = (wanted as u64).min(10 * count).max(2 * count);
    }
}

fn json(found: &[(&str, Entry)]) -> String {
    let mut text = format!(
        "{{\"context\": {{\"executable\": {:?}, \"peer\": \"tokio\", \"peer_version\": {TOKIO_VERSION:?}, \
         \"peer_flags\": {FLAGS:?}}}, \"benchmarks\": [",
        std::env::args().next().unwrap_or_default()
    );
    for (i, (name, entry)) in found.iter().enumerate() {
        let counted = if entry.by_real { entry.real } else { entry.cpu };
        let items = entry.iterations as f64;
        write!(
            text,
            "{}\n{{\"name\": \"{name}\", \"run_name\": \"{name}\", \"run_type\": \"iteration\", \"threads\": 1, \
             \"iterations\": {}, \"real_time\": {}, \"cpu_time\": {}, \"time_unit\": \"ns\", \"items_per_second\": {}",
            if i == 0 { "" } else { "," },
            entry.iterations,
            entry.real.as_nanos() as f64 / items,
            entry.cpu.as_nanos() as f64 / items,
            items / counted.as_secs_f64()
        )
        .unwrap();
        for (counter, value) in &entry.counters {
            write!(text, ", \"{counter}\": {value}").unwrap();
        }
        text.push('}');
    }
    text.push_str("\n]}\n");
    text
}

/// Runs what the command line asks for in Google Benchmark's words; a filter is part of a name.
pub fn main(benchmarks: &[(&'static str, Run)]) {
    let (mut filter, mut out, mut print_json, mut least) = (String::new(), String::new(), false, 0.5);
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some(("--benchmark_filter", part)) => filter = part.to_string(),
            Some(("--benchmark_out", file)) => out = file.to_string(),
            Some(("--benchmark_out_format", "json")) => {}
            Some(("--benchmark_format", format)) => print_json = format == "json",
            Some(("--benchmark_min_time", time)) => {
                least = time.trim_end_matches('s').parse().expect("--benchmark_min_time wants seconds")
            }
            _ => panic!("what is {argument}? There are --benchmark_filter=, _out=, _format=, _min_time="),
        }
    }
    let mut found = Vec::new();
    for (name, run) in benchmarks.iter().filter(|(name, _)| name.contains(&filter)) {
        let entry = measure(run, Duration::from_secs_f64(least));
        if !print_json {
            let (real, cpu) = (entry.real.as_nanos() as f64, entry.cpu.as_nanos() as f64);
            let items = entry.iterations as f64;
            println!(
                "{name:<30} {:>12.1} ns {:>12.1} ns {:>10} {:?}",
                real / items,
                cpu / items,
                items,
                entry.counters
            );
        }
        found.push((*name, entry));
    }
    if print_json {
        print!("{}", json(&found));
    }
    if !out.is_empty() {
        std::fs::write(&out, json(&found)).expect("--benchmark_out");
    }
}

/// Percentiles of latencies, in microseconds; 0 without any.
pub fn percentile(latencies: &mut [Duration], percent: f64) -> f64 {
    latencies.sort_unstable();
    let at = (latencies.len() as f64 * percent / 100.0) as usize;
    latencies.get(at.min(latencies.len().saturating_sub(1))).map_or(0.0, |found| found.as_nanos() as f64 / 1000.0)
}

/// Marsaglia's xorshift: enough to spread what is asked.
pub struct Random(pub u64);

impl Random {
    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Binds the calling thread to the first or the second core of `usable`.
pub fn use_core(number: usize, usable: &[usize]) {
    let core = usable[number];
    // SAFETY: the set is a plain struct of bits, of the size that is passed.
    let result = unsafe {
        let mut one: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut one);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &one)
    };
    assert_eq!(result, 0, "sched_setaffinity");
}

/// The cores that the calling thread may use.
pub fn usable_cores() -> Vec<usize> {
    // SAFETY: as above.
    unsafe {
        let mut usable: libc::cpu_set_t = std::mem::zeroed();
        assert_eq!(libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut usable), 0);
        (0..libc::CPU_SETSIZE as usize).filter(|&core| libc::CPU_ISSET(core, &usable)).collect()
    }
}

/// What follows an option on the command line.
pub fn number_after(option: &str, otherwise: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != option);
    match arguments.nth(1) {
        Some(text) => text.parse().unwrap_or_else(|_| panic!("{option} wants a number, not {text}")),
        None => otherwise,
    }
}

/// Listens on that port of 127.0.0.1, or on one that the system chooses if it is 0, and says so.
pub fn listen(port: u16) -> std::io::Result<tokio::net::TcpListener> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(([127, 0, 0, 1], port).into())?;
    let listener = socket.listen(4096)?;
    println!("listening on {}", listener.local_addr()?);
    Ok(listener)
}
