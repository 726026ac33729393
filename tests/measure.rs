//! Figures that hostlet claims, measured on a throwaway copy of this machine: `cargo run --release --example measure`.
//!
//! Prints the time of `--version`, of an install with nothing to do, of a preflight and each of its checks, and the peak memory
//! of a fresh install.
//! Machines are noisy: compare figures of one run.
#![allow(clippy::print_stdout, reason = "it prints figures")]

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use hostlet::rehearse::{Layer, Machine, MachineOptions, set_up_stand_ins};

/// Of each figure the median of so many runs is taken.
const RUNS: usize = 15;
const HOSTLET: &str = "/usr/local/sbin/hostlet";
/// Reads the high-water mark of the resident set again and again: the kernel keeps it, so the last reading is the peak.
const PEAK: &str = "/usr/local/sbin/hostlet install >/dev/null 2>&1 & pid=$!; peak=0
    while line=$(grep VmHWM /proc/$pid/status 2>/dev/null); do peak=$line; sleep 0.01; done; wait $pid; echo \"$peak\"";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let program = hostlet_executable()?;
    let layer = Layer::prepare(&[]).await?;
    let machine = Machine::boot(&layer, MachineOptions::default()).await?;
    machine.copy_in(&program, HOSTLET, 0o755).await?;
    set_up_stand_ins(&machine, HOSTLET, "/etc/hostlet/hostlet.toml", "{}").await?;

    println!("fresh install, peak resident memory: {}", machine.script(PEAK).await?.trim());
    let nothing = median(&machine, "/bin/true").await?;
    for (what, command) in [
        ("hostlet --version", "/usr/local/sbin/hostlet --version"),
        ("hostlet install, nothing to do", "/usr/local/sbin/hostlet install"),
        ("hostlet preflight", "/usr/local/sbin/hostlet preflight"),
        ("hostlet status", "/usr/local/sbin/hostlet status"),
    ] {
        let time = median(&machine, command).await?;
        let net = time.saturating_sub(nothing);
        println!("{what}: median {:.1} ms ({:.1} ms above /bin/true)", millis(time), millis(net));
    }
    print_checks(&machine).await
}

/// The time of each check, the longest first, and of the whole: medians of 15 runs, in which all run at once.
async fn print_checks(machine: &Machine) -> Result<()> {
    let mut times: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let mut last = String::new();
    for _ in 0..RUNS {
        // Exit code 3 is no failure of the measuring.
        let printed = machine.script(&format!("{HOSTLET} --output json preflight || test $? = 3")).await?;
        let result = printed.lines().last().context("preflight printed nothing")?;
        let report: serde_json::Value = serde_json::from_str(result).context("reading preflight's result")?;
        let all = report["findings"].as_array().context("preflight's result has no findings")?;
        for finding in all {
            let time = finding["duration-ms"].as_f64().context("a finding has no duration")?;
            times.entry(finding["id"].to_string()).or_default().push(time);
        }
        times.entry("the whole".to_owned()).or_default().push(report["duration-ms"].as_f64().context("no duration")?);
        last = machine.script(&format!("{HOSTLET} preflight 2>&1 || test $? = 3")).await?;
    }
    let mut medians: Vec<_> = times.into_iter().map(|(id, mut times)| (middle(&mut times), id)).collect();
    medians.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    for (time, id) in medians {
        println!("  {time:7.2} ms  {}", id.trim_matches('"'));
    }
    println!("{}", last.trim());
    Ok(())
}

fn middle(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// The release build beside this program.
fn hostlet_executable() -> Result<PathBuf> {
    let own = std::env::current_exe().context("finding this program")?;
    let directory = own.parent().and_then(|examples| examples.parent()).context("finding the build directory")?;
    let program = directory.join("hostlet");
    ensure!(program.exists(), "{} is not built: cargo build --release", program.display());
    Ok(program)
}

/// The median of the runs, timed inside the copy so that entering it does not count.
async fn median(machine: &Machine, command: &str) -> Result<Duration> {
    let script = format!(
        "for _ in $(seq {RUNS}); do begun=$EPOCHREALTIME; {command} >/dev/null 2>&1; ended=$EPOCHREALTIME
        echo $(( ${{ended/./}} - ${{begun/./}} )); done | sort -n | sed -n {}p",
        RUNS / 2 + 1
    );
    let micros: u64 = machine.script(&script).await?.trim().parse().context("reading the median")?;
    Ok(Duration::from_micros(micros))
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
