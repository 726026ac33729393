//! Transactions over files alone; units are in the booted tier.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{Change, ChangeError, Content, Ground, Transaction, journal::Header, recover};
use crate::{model::Secret, output::Silent, plan::Step};

struct Scene {
    directory: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Self { directory: tempfile::tempdir().unwrap() };
        fs::create_dir_all(scene.path("etc")).unwrap();
        fs::write(scene.path("etc/edited"), "old").unwrap();
        fs::set_permissions(scene.path("etc/edited"), fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("old-target", scene.path("etc/link")).unwrap();
        fs::write(scene.path("etc/removed"), "precious").unwrap();
        scene
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn ground(&self) -> Ground {
        Ground {
            opt: self.path("opt"),
            state: self.path("var/hostlet"),
            root_directory: self.path("kubelet"),
            systemd: None,
            job_deadline: Duration::from_secs(1),
        }
    }

    fn begin(&self) -> Transaction {
        Transaction::begin(self.ground(), &Header::new("install", "now"), Arc::new(Silent)).unwrap()
    }

    fn steps(&self) -> Vec<Step> {
        let content = |text: &str| Content::Plain(text.as_bytes().to_vec());
        let changes = vec![
            Change::CreateDirectory { path: self.path("kubelet"), mode: 0o750 },
            Change::WriteFile { path: self.path("etc/edited"), content: content("new"), mode: 0o644 },
            Change::WriteFile { path: self.path("a/b/new"), content: content("new"), mode: 0o644 },
            Change::WriteFile {
                path: self.path("etc/secret"),
                content: Content::Secret(Secret::new(b"abcdef".to_vec())),
                mode: 0o600,
            },
            Change::CreateLink { path: self.path("etc/link"), target: "new-target".into() },
            Change::RemoveFile { path: self.path("etc/removed") },
            Change::CreateDirectory { path: self.path("opt"), mode: 0o755 },
            Change::SwitchGeneration { from: None, to: 1 },
        ];
        changes.into_iter().map(|change| Step { change, reason: "test".to_owned() }).collect()
    }

    /// Every path with its kind, mode and content.
    fn picture(&self) -> BTreeMap<PathBuf, String> {
        let mut picture = BTreeMap::new();
        draw(self.directory.path(), &mut picture);
        picture
    }
}

fn draw(directory: &Path, picture: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        let mode = metadata.permissions().mode();
        let content = if metadata.is_symlink() {
            format!("-> {}", fs::read_link(&path).unwrap().display())
        } else if metadata.is_dir() {
            draw(&path, picture);
            "directory".to_owned()
        } else {
            fs::read_to_string(&path).unwrap()
        };
        picture.insert(path, format!("{mode:o} {content}"));
    }
}

#[tokio::test]
async fn undoing_leaves_everything_as_it_was_wherever_the_run_stopped() {
    for stop in 0..=8 {
        let scene = Scene::new();
        let before = scene.picture();
        let mut transaction = scene.begin();
        for step in &scene.steps()[..stop] {
            transaction.apply(step).await.unwrap();
        }
        fs::create_dir_all(scene.path("kubelet"))
            .map(|()| {
                if stop > 0 {
                    fs::write(scene.path("kubelet/state"), "of a kubelet that ran").unwrap();
                } else {
                    fs::remove_dir(scene.path("kubelet")).unwrap();
                }
            })
            .unwrap();
        let undone = transaction.undo().await;
        assert!(undone.is_complete(), "{undone:?}");
        assert_eq!(scene.picture(), before, "stopped after {stop} steps");
    }
}

#[tokio::test]
async fn a_run_that_was_killed_is_undone_by_the_next_and_undoing_twice_does_no_harm() {
    let scene = Scene::new();
    let before = scene.picture();
    let mut transaction = scene.begin();
    for step in &scene.steps() {
        transaction.apply(step).await.unwrap();
    }
    drop(transaction); // a kill: neither committed nor undone
    let journal = scene.path("var/hostlet/journal");
    let text = fs::read_to_string(&journal).unwrap();
    assert!(!text.contains("abcdef"), "no secret is in the journal");
    let events: crate::output::Events = Arc::new(Silent);
    let undone = recover(&scene.ground(), false, &events).await.unwrap().unwrap().1;
    assert!(undone.is_complete(), "{undone:?}");
    assert_eq!(scene.picture(), before);
    assert!(recover(&scene.ground(), false, &events).await.unwrap().is_none());
}

#[tokio::test]
async fn a_directory_in_the_way_of_a_file_is_not_replaced() {
    let scene = Scene::new();
    let before = scene.picture();
    let mut transaction = scene.begin();
    let change = Change::WriteFile { path: scene.path("etc"), content: Content::Plain(Vec::new()), mode: 0o644 };
    let error = transaction.apply(&Step { change, reason: String::new() }).await.unwrap_err();
    assert!(matches!(error, ChangeError::InTheWay { .. }), "{error}");
    assert!(transaction.undo().await.is_complete());
    assert_eq!(scene.picture(), before);
}

#[tokio::test]
async fn undoing_goes_on_after_a_step_of_it_failed_and_keeps_the_journal() {
    let scene = Scene::new();
    let mut transaction = scene.begin();
    for step in &scene.steps() {
        transaction.apply(step).await.unwrap();
    }
    // Something made a directory of a path that a link has to come back to.
    fs::remove_file(scene.path("etc/link")).unwrap();
    fs::create_dir_all(scene.path("etc/link/full")).unwrap();
    let undone = transaction.undo().await;
    assert_eq!(undone.left_behind.len(), 1, "{undone:?}");
    assert!(undone.left_behind[0].undo.to_string().ends_with("etc/link"));
    assert_eq!(fs::read_to_string(scene.path("etc/edited")).unwrap(), "old");
    assert!(scene.path("var/hostlet/journal").exists(), "a person, or the next run, needs it");
}
