//! hostlet is killed at every checkpoint of a run, one after another, on one booted machine. Whoever starts next leaves the
//! host exactly as it was before the run or exactly as it is after one, and never in between: files, links, units, mounts,
//! kernel parameters and network links are compared. The checkpoints number themselves (src/host/checkpoint.rs).

use std::time::{Duration, Instant};

use hostlet::rehearse::Snapshot;

use crate::kill::{Scene, every, some};

/// The kubelet's own file, which nobody else has, below its root directory.
const PRECIOUS: &str = "/var/lib/kubelet/pods/of-somebody/precious";

/// A run that is killed.
struct Run<'a> {
    scene: &'a Scene,
    /// The run.
    command: &'a [&'a str],
    /// Whoever starts next; one after another is tried.
    next: &'a [&'a [&'a str]],
    /// What else the configuration says for the run, and for whoever starts next.
    configurations: (&'a str, &'a str),
    /// What it removes after it was committed.
    collected: &'a [&'a str],
}

/// What was found.
#[derive(Debug, Default)]
struct Tried {
    points: usize,
    old: usize,
    new: usize,
    recoveries: usize,
}

impl Run<'_> {
    /// The state of now is the one before the run. It is killed at each point, and so is its recovery.
    async fn try_all(&self) -> Tried {
        let begun = Instant::now();
        let old = self.scene.snapshot().await;
        self.scene.save("old").await;
        let new = self.to_its_end().await;
        assert!(!old.diff(&new).is_empty(), "a run that does nothing");
        self.scene.go_back("old").await;
        self.is_old(&old, "a run to its end").await;
        let mut tried = Tried { recoveries: self.kill_every_recovery(&old).await, ..Tried::default() };
        self.kill_everywhere(&old, &new, &mut tried).await;
        tell(self.command, &tried, begun);
        tried
    }

    async fn to_its_end(&self) -> Snapshot {
        self.scene.configure(self.configurations.0).await;
        self.scene.succeeds(self.command).await;
        self.scene.assert_installed("a run to its end").await;
        let new = self.scene.snapshot().await;
        self.scene.configure(self.configurations.1).await;
        new
    }

    async fn is_old(&self, old: &Snapshot, when: &str) {
        let difference = old.diff(&self.scene.snapshot().await);
        assert!(difference.is_empty(), "{when}:\n{difference}");
    }

    async fn kill_everywhere(&self, old: &Snapshot, new: &Snapshot, tried: &mut Tried) {
        let every = every();
        let mut number = fastrand::usize(1..=every);
        loop {
            self.scene.configure(self.configurations.0).await;
            let pid = self.scene.kubelet().await;
            let killed = self.scene.at(number, self.command).await;
            let Some(point) = killed.point() else { return };
            let is_committed = killed.names.contains("journal: after its end");
            if !is_committed {
                self.scene.configure(self.configurations.1).await;
            }
            let next = self.next[tried.points % self.next.len()];
            self.scene.succeeds(next).await;
            tried.points += 1;
            // What lies behind the commit is short, and all of it is tried.
            number += if is_committed { 1 } else { every };
            let when = format!("killed at {point:?}, and then {next:?}");
            if is_committed {
                // A run that is killed while it collects leaves a generation that the next one to commit collects.
                let difference = new.diff(&self.scene.snapshot().await.without(self.collected));
                assert!(difference.is_empty(), "{when}, committed:\n{difference}");
                tried.new += 1;
                self.scene.assert_installed(&when).await;
                self.scene.configure(self.configurations.1).await;
                self.scene.go_back("old").await;
            } else {
                let difference = old.diff(&self.scene.snapshot().await);
                assert!(difference.is_empty(), "{when}:\n{difference}");
                tried.old += 1;
                if !killed.names.contains("restarting kubelet.service is queued") {
                    assert_eq!(self.scene.kubelet().await, pid, "{when}: restarted for nothing");
                }
            }
            self.scene.assert_nothing_left(&when).await;
            self.assert_nothing_lost(&when).await;
        }
    }

    /// Kills the run right before it is committed, and then each recovery at one of its points.
    async fn kill_every_recovery(&self, old: &Snapshot) -> usize {
        self.kill_before_the_end().await;
        let points = self.scene.points(&["recover"]).await;
        self.is_old(old, "a recovery").await;
        self.kill_before_the_end().await;
        let kills = self.scene.kill_at_each(&some(points), &["recover"]).await;
        self.is_old(old, "recoveries that were killed").await;
        self.scene.assert_nothing_left("recoveries that were killed").await;
        self.assert_nothing_lost("recoveries").await;
        kills
    }

    async fn kill_before_the_end(&self) {
        self.scene.configure(self.configurations.0).await;
        let killed = self.scene.at("journal: before its end", self.command).await;
        assert!(killed.point().is_some());
        self.scene.configure(self.configurations.1).await;
    }

    /// What was put under the kubelet's root directory is there.
    async fn assert_nothing_lost(&self, when: &str) {
        if self.scene.machine.run(&["test", "-e", "/tmp/precious"]).await.unwrap().status.success() {
            let found = self.scene.machine.script(&format!("stat -c %a {PRECIOUS}; cat {PRECIOUS}")).await;
            assert_eq!(found.as_deref().unwrap_or_default(), "640\ndata", "{when}");
        }
    }
}

/// Puts something under the kubelet's root directory that nobody else has.
async fn put_something_precious(scene: &Scene) {
    scene.machine.write(PRECIOUS, "data", 0o640).await.unwrap();
    scene.machine.script("touch /tmp/precious").await.unwrap();
}

#[tokio::test]
async fn sys_a_fresh_install_killed_anywhere_leaves_a_bare_host_or_a_whole_node() {
    let scene = Scene::new().await;
    scene.warm_up().await;
    let run = Run { scene: &scene, command: &["install"], next: &[&["recover"]], configurations: ("", ""), collected: &[] };
    let tried = run.try_all().await;
    assert!(tried.old * every() > 40 && tried.new > 1 && tried.recoveries * every() > 20, "{tried:?}");
}

#[tokio::test]
async fn sys_an_upgrade_killed_anywhere_leaves_the_old_node_or_the_new_one() {
    let scene = Scene::new().await;
    scene.machine.write("/etc/hostlet/other-token", "fedcba.0123456789abcdef\n", 0o600).await.unwrap();
    scene.warm_up().await;
    // As many generations as there may be: the next one drives out the first.
    for pods in 1..4 {
        scene.succeeds(&["install", "--set", &format!("kubelet.config.maxPods={pods}")]).await;
    }
    put_something_precious(&scene).await;
    // Beside the version what lies in the generation changes, and what lies outside of it.
    let other = "[kubelet]\nconfig = { maxPods = 42 }\n[cluster]\ntoken-file = \"/etc/hostlet/other-token\"\n";
    let run = Run {
        scene: &scene,
        command: &["upgrade", "1.36.5", "--digest", &scene.newer],
        next: &[&["recover"], &["install"]],
        configurations: (other, "[kubelet]\nconfig = { maxPods = 3 }\n"),
        collected: &["/opt/hostlet/generations/1"],
    };
    let tried = run.try_all().await;
    assert!(tried.old * every() > 40 && tried.new > 1 && tried.recoveries * every() > 10, "{tried:?}");
}

#[tokio::test]
async fn sys_a_rollback_killed_anywhere_leaves_one_version_or_the_other() {
    let scene = Scene::new().await;
    scene.succeeds(&["install"]).await;
    scene.succeeds(&["upgrade", "1.36.5", "--digest", &scene.newer]).await;
    put_something_precious(&scene).await;
    let run = Run { scene: &scene, command: &["rollback"], next: &[&["recover"]], configurations: ("", ""), collected: &[] };
    let tried = run.try_all().await;
    assert!(tried.old * every() > 20 && tried.new > 1 && tried.recoveries * every() > 8, "{tried:?}");
}

fn tell(command: &[&str], tried: &Tried, begun: Instant) {
    let Tried { points, old, new, recoveries } = tried;
    let took = begun.elapsed();
    println!(
        "{}: killed at {points} points, {old} times back to the old state, {new} times on to the new one; its recovery \
         killed at {recoveries} points; {took:.0?}",
        command[0]
    );
    assert!(took < Duration::from_mins(10), "{tried:?}");
}
