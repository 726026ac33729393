//! Random sequences of install, upgrade, hand edit, kill, rollback, reinstall and uninstall on a booted machine, against a
//! model of what must be in force after each. `HOSTLET_TEST_SEED=7` tries another sequence than the usual one; a failure
//! names the step, and all that came before it is in the output.

use hostlet::{host::process::Output, rehearse::Snapshot};
use proptest::{
    prelude::*,
    sample::select,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::Value;

use crate::kill::{HOSTLET, Scene, patient};

const STEPS: usize = 40;
const VERSIONS: [&str; 3] = ["1.36.3", "1.36.4", "1.36.5"];
/// A directory of somebody's, bound into the kubelet's root: it must outlive everything.
const BOUND: &str = "/var/lib/kubelet/pods/of-somebody/volumes/bound";

/// What is done.
#[derive(Debug, Clone)]
enum Step {
    /// The configuration is changed, and installed.
    Install {
        pods: u8,
    },
    Upgrade(&'static str),
    Rollback,
    Reinstall,
    Uninstall,
    /// Something is changed by hand, and mended by install.
    Edit(&'static str),
    /// The same, but hostlet is killed at this point of it.
    Killed(Box<Step>, usize),
}

/// Hand edits, each of which `status` must see and `install` must mend.
const EDITS: [&str; 12] = [
    "echo '# edited' >>/etc/systemd/system/kubelet.service",
    "chmod 0600 /etc/sysctl.d/90-hostlet.conf",
    "chown 1000 /etc/systemd/system/flanneld.service",
    "rm /usr/local/bin/kubelet",
    "ln -sfn /bin/true /opt/cni/bin/bridge",
    "rm /etc/cni/net.d/10-flannel.conflist",
    "systemctl --quiet disable kubelet.service",
    "systemctl --quiet stop kubelet.service",
    "rm /etc/systemd/system/kubelet.service; ln -s /dev/null /etc/systemd/system/kubelet.service",
    "f=$(readlink -f /opt/hostlet/current/bin/kubelet); cp $f /tmp/damaged; echo x >>/tmp/damaged; mv /tmp/damaged $f",
    "echo '{}' >/opt/hostlet/current/etc/kubelet.json",
    "rm /opt/hostlet/current",
];

/// What a version of the node consists of, as far as the steps change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Node {
    version: &'static str,
    pods: u8,
}

/// What must be so.
#[derive(Debug, Clone)]
struct Model {
    /// What the configuration and what is remembered in its drop-in say.
    wanted: Node,
    installed: Option<Node>,
    previous: Option<Node>,
}

impl Model {
    /// What is so once the step has succeeded.
    fn after(mut self, step: &Step) -> Self {
        match step {
            Step::Install { pods } => {
                self.wanted.pods = *pods;
                self.switch_to_wanted();
            }
            Step::Upgrade(version) => {
                self.wanted.version = version;
                self.switch_to_wanted();
            }
            Step::Rollback => {
                if let Some(previous) = self.previous {
                    self.wanted.version = previous.version;
                    self.previous = self.installed.replace(previous);
                }
            }
            Step::Reinstall | Step::Edit(_) => self.switch_to_wanted(),
            Step::Uninstall => (self.installed, self.previous) = (None, None),
            Step::Killed(..) => {}
        }
        self
    }

    fn switch_to_wanted(&mut self) {
        if self.installed != Some(self.wanted) {
            self.previous = self.installed.replace(self.wanted).or(self.previous);
        }
    }
}

fn steps() -> impl Strategy<Value = Step> {
    let plain = prop_oneof![
        3 => (1..4_u8).prop_map(|pods| Step::Install { pods }),
        4 => select(&VERSIONS[..]).prop_map(Step::Upgrade),
        3 => Just(Step::Rollback),
        1 => Just(Step::Reinstall),
        1 => Just(Step::Uninstall),
    ];
    let edit = select(&EDITS[..]).prop_map(Step::Edit);
    let killed = (plain.clone(), 1..80_usize).prop_map(|(step, point)| Step::Killed(Box::new(step), point));
    prop_oneof![4 => plain, 3 => edit, 4 => killed]
}

/// A machine on which the steps are done.
struct Sequence {
    scene: Scene,
    digests: Vec<(&'static str, String)>,
    model: Model,
    committed_kills: usize,
    undone_kills: usize,
}

impl Sequence {
    async fn new() -> Self {
        let scene = Scene::new().await;
        let mut digests = Vec::new();
        for version in VERSIONS {
            let release = format!(r#"{{"kubelet":{{"version":"{version}"}}}}"#);
            let made = scene.machine.expect(&[HOSTLET, "stand-in", "artifacts", "/srv/mirror", &release]).await.unwrap();
            let made: Value = serde_json::from_str(&made).unwrap();
            digests.push((version, made["kubelet"]["digest"].as_str().unwrap().to_owned()));
        }
        let model = Model { wanted: Node { version: "1.36.4", pods: 1 }, installed: None, previous: None };
        Self { scene, digests, model, committed_kills: 0, undone_kills: 0 }
    }

    /// The command of a step, after what comes before it.
    async fn prepare(&self, step: &Step) -> Vec<String> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        match step {
            Step::Install { pods } => {
                self.scene.configure(&format!("[kubelet.config]\nmaxPods = {pods}\n")).await;
                words(&["install"])
            }
            Step::Upgrade(version) => {
                let (_, digest) = self.digests.iter().find(|(known, _)| known == version).unwrap();
                words(&["upgrade", version, "--digest", digest, "--allow-downgrade"])
            }
            Step::Rollback => words(&["rollback"]),
            Step::Reinstall => words(&["install", "--reinstall"]),
            Step::Uninstall => words(&["uninstall"]),
            Step::Edit(script) => {
                self.scene.machine.script(script).await.unwrap();
                words(&["install"])
            }
            Step::Killed(..) => unreachable!("only plain steps are killed"),
        }
    }

    async fn hostlet(&self, arguments: &[String]) -> Output {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let command: Vec<&str> = [HOSTLET].into_iter().chain(patient(&arguments)).collect();
        self.scene.machine.run(&command).await.unwrap()
    }

    async fn carry_out(&mut self, step: &Step) {
        match step {
            Step::Killed(inner, point) => self.kill(inner, *point).await,
            Step::Edit(_) if self.model.installed != Some(self.model.wanted) => {}
            Step::Edit(_) => self.edit(step).await,
            Step::Rollback if self.model.previous.is_none() => {
                let output = self.hostlet(&["rollback".to_owned()]).await;
                assert_eq!(output.status.code(), Some(2), "{output}");
            }
            _ => {
                let command = self.prepare(step).await;
                let output = self.hostlet(&command).await;
                assert!(output.status.success(), "{output}");
                self.model = self.model.clone().after(step);
            }
        }
    }

    /// An edit is seen by `status` and `plan`, and after `install` all is as before.
    async fn edit(&mut self, step: &Step) {
        let before = self.state().await;
        let command = self.prepare(step).await;
        for look in ["status", "plan"] {
            let output = self.hostlet(&[look.to_owned(), "--exit-code".to_owned()]).await;
            assert_eq!(output.status.code(), Some(1), "{look} does not see it: {output}");
        }
        let output = self.hostlet(&command).await;
        assert!(output.status.success(), "{output}");
        let difference = before.diff(&self.state().await);
        assert!(difference.is_empty(), "{difference}");
    }

    /// All but the generations, of which a repair lays a new one and drives out the oldest, with what only that needed, and
    /// what is remembered of them.
    async fn state(&self) -> Snapshot {
        let own = ["generations", "current", "store"].map(|name| format!("/opt/hostlet/{name}"));
        let own: Vec<&str> = own.iter().map(String::as_str).chain(["/var/lib/hostlet/state.json"]).collect();
        self.scene.snapshot().await.without(&own)
    }

    async fn kill(&mut self, step: &Step, point: usize) {
        if matches!(step, Step::Rollback) && self.model.previous.is_none() {
            return;
        }
        let command = self.prepare(step).await;
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let killed = self.scene.at(point, &command).await;
        let ended = killed.point().is_none();
        let has_begun = if matches!(step, Step::Uninstall) { "intent is on the disk" } else { "journal: after its end" };
        let is_done = ended || killed.names.contains(has_begun);
        let status = self.hostlet(&["status".to_owned()]).await;
        assert!(status.status.success(), "status tells of a host in any state: {status}");
        self.scene.succeeds(&["recover"]).await;
        let pods = self.model.wanted.pods;
        if is_done {
            self.committed_kills += usize::from(!ended);
            self.model = self.model.clone().after(step);
        } else {
            self.undone_kills += 1;
            self.scene.configure(&format!("[kubelet.config]\nmaxPods = {pods}\n")).await;
        }
    }

    /// What holds after every step.
    async fn holds(&self) {
        self.scene.assert_nothing_left("").await;
        let machine = &self.scene.machine;
        let precious = machine.read("/srv/precious/data").await;
        assert_eq!(precious.as_deref().unwrap_or_default(), "data\n", "somebody's directory is lost");
        let status: Value = serde_json::from_str(
            machine.expect(&[HOSTLET, "--output", "json", "status"]).await.unwrap().lines().last().unwrap(),
        )
        .unwrap();
        assert_eq!(status["installed"], self.model.installed.is_some(), "{status:#}");
        let Some(node) = self.model.installed else {
            assert_eq!(self.scene.kubelet().await.trim(), "0", "a kubelet runs, and none is installed");
            return;
        };
        assert_eq!(status["differences"], serde_json::json!([]), "{status:#}");
        let pid = self.scene.kubelet().await.trim().to_owned();
        let running = machine.script(&format!("exec -a kubelet /proc/{pid}/exe --version")).await.unwrap();
        assert_eq!(running.trim(), format!("Kubernetes v{}", node.version), "another kubelet runs");
        let configuration: Value =
            serde_json::from_str(&machine.read("/opt/hostlet/current/etc/kubelet.json").await.unwrap()).unwrap();
        assert_eq!(configuration["maxPods"], node.pods);
        self.holds_on_the_disk().await;
    }

    /// What is committed is in force, there is a way back where there should be one, and nothing superfluous.
    async fn holds_on_the_disk(&self) {
        let machine = &self.scene.machine;
        let state: Value = serde_json::from_str(&machine.read("/var/lib/hostlet/state.json").await.unwrap()).unwrap();
        let current = machine.expect(&["readlink", "/opt/hostlet/current"]).await.unwrap();
        assert_eq!(current.trim(), format!("generations/{}", state["committed"]));
        assert_eq!(state["previous"].is_u64(), self.model.previous.is_some(), "{state} {:?}", self.model);
        let count = "ls /opt/hostlet/generations | wc -l
            for entry in /opt/hostlet/store/*; do
                find /opt/hostlet/generations -lname \"*/${entry##*/}/*\" | grep -q . || echo $entry is nobody\\'s
            done";
        let count = machine.script(count).await.unwrap();
        // One more where a run was killed before it collected.
        assert!(matches!(count.trim(), "1" | "2" | "3" | "4"), "{count}");
    }
}

#[tokio::test]
async fn sys_any_sequence_of_commands_edits_and_kills_leaves_what_the_model_says() {
    let seed: u8 = std::env::var("HOSTLET_TEST_SEED").map_or(1, |seed| seed.parse().unwrap());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let steps = proptest::collection::vec(steps(), STEPS).new_tree(&mut runner).unwrap().current();

    let mut sequence = Sequence::new().await;
    sequence.carry_out(&Step::Install { pods: 1 }).await;
    let bind = format!(
        "mkdir -p /srv/precious && echo data >/srv/precious/data && mkdir -p {BOUND} && mount --bind /srv/precious {BOUND}"
    );
    sequence.scene.machine.script(&bind).await.unwrap();
    sequence.holds().await;
    for (number, step) in steps.iter().enumerate() {
        println!("{:2} {step:?}, where {:?}", number + 1, sequence.model);
        sequence.carry_out(step).await;
        sequence.holds().await;
    }
    println!(
        "seed {seed}: {STEPS} steps; {} kills were undone, {} came after the run was committed",
        sequence.undone_kills, sequence.committed_kills
    );
    assert!(sequence.undone_kills > 3, "the seed kills too little to tell anything");
}
