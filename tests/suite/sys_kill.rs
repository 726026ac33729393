//! hostlet is killed at every checkpoint of a run, one after another, on one booted machine. Whoever starts next leaves the
//! host exactly as it was before the run or exactly as it is after one, and never in between.

use std::time::{Duration, Instant};

use hostlet::rehearse::Snapshot;

use crate::kill::{self, Scene};

/// What the two configurations differ in: the kubelet, its configuration, and files outside of the generation.
const NEW: &str =
    "[kubelet]\nversion = \"1.36.5\"\nconfig = { maxPods = 42 }\n[cluster]\nserver = \"https://10.77.0.1:7443\"\n";

/// A run that is killed, and how it is gone back before it where it was not.
struct Run<'a> {
    scene: &'a Scene,
    /// The run.
    command: &'a [&'a str],
    /// Whoever starts next; one after another is tried.
    next: &'a [&'a [&'a str]],
    /// Puts the machine back to before a run that was not undone.
    back: &'a str,
    /// Prepares the configuration for the run, and for whoever starts next.
    configurations: (&'a str, &'a str),
}

/// What was found.
#[derive(Debug, Default)]
struct Tried {
    points: usize,
    old: usize,
    new: usize,
}

impl Run<'_> {
    /// Kills the run at each point until it ends by itself.
    async fn kill_everywhere(&self) -> Tried {
        let machine = &self.scene.machine;
        let mut tried = Tried::default();
        let mut before = kill::snapshot(machine).await;
        loop {
            let number = tried.points + 1;
            self.scene.configure(self.configurations.0).await;
            let pid = self.scene.kubelet().await;
            let killed = kill::at(machine, number, self.command).await;
            let Some(point) = killed.point() else {
                assert!(tried.new > 0, "no kill came after the run was committed: {tried:?}");
                return tried;
            };
            self.scene.configure(self.configurations.1).await;
            let next = self.next[tried.points % self.next.len()];
            let output = machine.run(next).await.unwrap();
            assert!(output.status.success(), "after a kill at {point:?} (point {number}): {output}");
            let after = kill::snapshot(machine).await;
            let difference = before.diff(&after);
            tried.points = number;
            if difference.is_empty() {
                tried.old += 1;
                assert_eq!(tried.new, 0, "{point:?} (point {number}) came after a point at which the run was committed");
                if !killed.names.contains("restarting kubelet.service is queued") {
                    assert_eq!(self.scene.kubelet().await, pid, "restarted for nothing after a kill at {point:?}");
                }
            } else {
                assert!(killed.names.contains("journal: after its end"), "a mixture after {point:?} ({number}):\n{difference}");
                tried.new += 1;
                self.scene.configure(self.configurations.0).await;
                self.scene.assert_installed(&point).await;
                machine.script(self.back).await.unwrap();
                self.scene.configure(self.configurations.1).await;
                before = kill::snapshot(machine).await;
            }
            self.scene.assert_nothing_lost(&point).await;
        }
    }

    /// Kills the run right before it is committed, and then each recovery, one point later each time.
    async fn kill_every_recovery(&self, before: &Snapshot) -> usize {
        let machine = &self.scene.machine;
        self.scene.configure(self.configurations.0).await;
        let killed = kill::at(machine, "journal: before its end", self.command).await;
        assert!(killed.point().is_some());
        let mut points = 0;
        while let Some(point) = kill::at(machine, points + 1, &[kill::HOSTLET, "recover"]).await.point() {
            points += 1;
            assert!(points < 500, "{point:?}: recovery never ends");
        }
        self.scene.configure(self.configurations.1).await;
        let difference = before.diff(&kill::snapshot(machine).await);
        assert!(difference.is_empty(), "after {points} recoveries that were killed:\n{difference}");
        self.scene.assert_nothing_lost("recoveries").await;
        points
    }
}

#[tokio::test]
async fn sys_a_fresh_install_killed_anywhere_leaves_a_bare_host_or_a_whole_node() {
    let begun = Instant::now();
    let scene = Scene::new().await;
    let recover: &[&str] = &[kill::HOSTLET, "recover"];
    let run = Run {
        scene: &scene,
        command: &[kill::HOSTLET, "install"],
        next: &[recover],
        back: kill::REMOVE_ALL,
        configurations: ("", ""),
    };
    scene.warm_up(&["", NEW]).await;
    let before = kill::snapshot(&scene.machine).await;
    let recoveries = run.kill_every_recovery(&before).await;
    let tried = run.kill_everywhere().await;
    tell("fresh install", &tried, recoveries, begun);
}

#[tokio::test]
async fn sys_an_upgrade_killed_anywhere_leaves_the_old_node_or_the_new_one() {
    let begun = Instant::now();
    let scene = Scene::new().await;
    scene.install("").await;
    scene.put_something_precious().await;
    let back = format!("rm -f {}; {} install --quiet", kill::DROP_IN, kill::HOSTLET);
    let run = Run {
        scene: &scene,
        command: &[kill::HOSTLET, "install"],
        next: &[&[kill::HOSTLET, "recover"], &[kill::HOSTLET, "install"]],
        back: &back,
        configurations: (NEW, ""),
    };
    let before = kill::snapshot(&scene.machine).await;
    let recoveries = run.kill_every_recovery(&before).await;
    let tried = run.kill_everywhere().await;
    tell("upgrade", &tried, recoveries, begun);
}

fn tell(what: &str, tried: &Tried, recoveries: usize, begun: Instant) {
    let Tried { points, old, new } = tried;
    let took = begun.elapsed();
    println!(
        "{what}: killed at {points} points, {old} times back to the old state, {new} times on to the new one; its recovery \
         killed at {recoveries} points; {took:.0?}"
    );
    assert!(*points > 40 && took < Duration::from_mins(10), "{tried:?}");
}
