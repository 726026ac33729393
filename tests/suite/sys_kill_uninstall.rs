//! `hostlet uninstall` is killed at every checkpoint. It goes forward only: whoever starts next ends it, install as well.
//! Nothing below a mount is ever touched, however often it is killed.

use std::time::Instant;

use hostlet::rehearse::Snapshot;

use crate::kill::{KERNEL, Scene, every, some};

/// Somebody's directory, bound into the kubelet's root as a volume of a pod: no deletion may come to it (eks-hybrid#664).
const PRECIOUS: &str = "/srv/precious/data";
const BIND: &str = "
    mkdir -p /srv/precious/below /var/lib/kubelet/pods/of-somebody/volumes/bound
    echo data >/srv/precious/data
    mountpoint --quiet /var/lib/kubelet/pods/of-somebody/volumes/bound ||
        mount --bind /srv/precious /var/lib/kubelet/pods/of-somebody/volumes/bound";

struct Uninstalling {
    scene: Scene,
    bare: Snapshot,
    installed: Snapshot,
    points: Vec<String>,
}

impl Uninstalling {
    async fn new() -> Self {
        let scene = Scene::new().await;
        scene.warm_up().await;
        let bare = scene.snapshot().await.without(KERNEL);
        scene.succeeds(&["install"]).await;
        let installed = scene.snapshot().await;
        scene.save("installed").await;
        scene.machine.script(BIND).await.unwrap();
        let points = scene.points(&["uninstall"]).await;
        let uninstalling = Self { scene, bare, installed, points };
        uninstalling.is_bare("an uninstallation to its end").await;
        uninstalling
    }

    async fn installed_again(&self) {
        self.scene.go_back("installed").await;
        self.scene.machine.script(BIND).await.unwrap();
    }

    async fn is_bare(&self, when: &str) {
        let difference = self.bare.diff(&self.scene.snapshot().await.without(KERNEL));
        assert!(difference.is_empty(), "{when}:\n{difference}");
        self.nothing_is_lost(when).await;
    }

    async fn is_installed(&self, when: &str) {
        let difference = self.installed.diff(&self.scene.snapshot().await);
        assert!(difference.is_empty(), "{when}:\n{difference}");
        self.nothing_is_lost(when).await;
    }

    async fn nothing_is_lost(&self, when: &str) {
        assert_eq!(self.scene.machine.read(PRECIOUS).await.as_deref().unwrap_or_default(), "data\n", "{when}");
    }
}

#[tokio::test]
async fn sys_an_uninstallation_killed_anywhere_is_ended_by_whoever_starts_next() {
    let begun = Instant::now();
    let uninstalling = Uninstalling::new().await;
    let scene = &uninstalling.scene;

    uninstalling.installed_again().await;
    let kills = scene.kill_at_each(&some(uninstalling.points.clone()), &["uninstall"]).await;
    uninstalling.is_bare("uninstallations that were killed").await;

    // Of a tree that goes file by file the first and the last of its points stand for the others.
    let (mut tried, mut before_the_intent) = (0, 0);
    let next: [&[&str]; 3] = [&["recover"], &["install"], &["uninstall"]];
    for (point, command) in some(trees_once(&uninstalling.points)).into_iter().zip(next.iter().cycle()) {
        uninstalling.installed_again().await;
        let killed = scene.at(point, &["uninstall"]).await;
        assert!(killed.point().is_some(), "{point:?} was not passed again");
        scene.succeeds(command).await;
        let when = format!("killed at {point:?}, and then {command:?}");
        let is_begun = killed.names.contains("uninstall: its intent is on the disk");
        match command[0] {
            "install" => uninstalling.is_installed(&when).await,
            "recover" if !is_begun => {
                before_the_intent += 1;
                scene.machine.script("umount /var/lib/kubelet/pods/of-somebody/volumes/bound").await.unwrap();
                uninstalling.is_installed(&when).await;
            }
            _ => uninstalling.is_bare(&when).await,
        }
        scene.assert_nothing_left(&when).await;
        tried += 1;
    }
    println!(
        "uninstall: killed at {kills} of {} points one after another, and at {tried} from the start ({before_the_intent} before \
         it had begun); {:.0?}",
        uninstalling.points.len(),
        begun.elapsed()
    );
    assert!(tried * every() > 40 && kills * every() > 60, "{tried} {kills}");
}

/// The points, of the files of one tree only the first and the last.
fn trees_once(points: &[String]) -> Vec<&String> {
    let is_tree = |point: Option<&String>| point.is_some_and(|point| point.starts_with("tree: "));
    let inside = |at: usize| is_tree(points.get(at)) && is_tree(points.get(at + 1)) && at > 0 && is_tree(points.get(at - 1));
    (0..points.len()).filter(|at| !inside(*at)).map(|at| &points[at]).collect()
}
