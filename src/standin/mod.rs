//! Stand-ins for the programs that hostlet installs, for rehearsals and tests: hostlet's own executable plays them.
//!
//! They do what matters to hostlet and what the real ones do too: read their flags and configuration, notify systemd, bind
//! their ports, mount secrets, make devices, and join a cluster, for which one plays the API server. What they never do is
//! run a pod. They refuse to run
//! where there is no rehearsal. Each artifact ends with a [`Release`]: the version it plays, and how it misbehaves.

mod api_server;
mod artifacts;
mod flags;
mod flannel_cni;
pub(crate) mod flannel_table;
mod flanneld;
mod join;
mod kubelet;
mod mirror;
mod notify;
mod release;

pub use api_server::{FLANNEL_TOKEN, TOKEN};
pub use artifacts::{DEBIAN_PLUGINS, Made, Versions, make_artifacts};
pub use mirror::{FAULTS, MirrorError};
pub use release::{Behaviour, Release};

use std::{
    ffi::OsString,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use crate::rehearse::MARKER;

/// The exit code of a stand-in outside of a rehearsal.
const REFUSED: u8 = 70;

/// Plays a stand-in if the program was called as one: under its name (`kubelet`, `flanneld`, `flannel`), or as
/// `hostlet stand-in NAME`. `None`: hostlet itself was meant.
pub fn dispatch(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter().map(|argument| argument.to_string_lossy().into_owned());
    let called_as = arguments.next()?;
    let mut rest: Vec<String> = arguments.collect();
    let mut name = Path::new(&called_as).file_name()?.to_str()?.to_owned();
    if rest.first().is_some_and(|first| first == "stand-in") {
        name = rest.get(1).cloned().unwrap_or_default();
        rest.drain(..rest.len().min(2));
    } else if !matches!(name.as_str(), "kubelet" | "flanneld" | "flannel") && !name.starts_with("flannel-") {
        return None;
    }
    Some(play(&name, &rest))
}

fn play(name: &str, arguments: &[String]) -> ExitCode {
    if !Path::new(MARKER).exists() {
        say(&format!(
            "this {name} is a stand-in of hostlet's, which runs in rehearsals only ({MARKER} is missing): it is no {name}. \
             Remove it and install the real one"
        ));
        return ExitCode::from(REFUSED);
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("starting: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        match name {
            "kubelet" => kubelet::run(arguments).await,
            "flanneld" => flanneld::run(arguments).await,
            "mirror" => mirror::run(arguments).await.map(|()| 0).map_err(|error| error.to_string()),
            "artifacts" => artifacts(arguments),
            name if name == "flannel" || name.starts_with("flannel-") => flannel_cni::run().await,
            name => Err(format!("{name:?} is no stand-in: kubelet, flanneld, flannel, mirror or artifacts")),
        }
    });
    ExitCode::from(code.unwrap_or_else(|message| {
        say(&message);
        1
    }))
}

/// `artifacts DIRECTORY [JSON]`, where JSON holds versions and behaviours: prints what was made, as JSON.
fn artifacts(arguments: &[String]) -> Result<u8, String> {
    let directory = arguments.first().ok_or("artifacts needs a directory")?;
    let versions = arguments.get(1).map_or_else(|| Ok(Versions::default()), |json| serde_json::from_str(json));
    let versions = versions.map_err(|error| format!("what to make: {error}"))?;
    let (executable, plugins) = (Path::new("/proc/self/exe"), Path::new(DEBIAN_PLUGINS));
    let made = make_artifacts(&PathBuf::from(directory), executable, plugins, &versions);
    let made = serde_json::to_string(&made.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
    writeln!(std::io::stdout(), "{made}").map_err(|error| error.to_string())?;
    Ok(0)
}

/// One line to standard error, as the real ones log.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// One line to standard output.
fn print(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
