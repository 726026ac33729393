//! Files as the projects publish them, made of this executable and of Debian's CNI plugins.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use serde::{Deserialize, Serialize};

use super::{Behaviour, Release};
use crate::{
    host::files::{self, FileError},
    model::{Architecture, Component, Digest},
};

/// Where Debian's containernetworking-plugins lie.
pub const DEBIAN_PLUGINS: &str = "/usr/lib/cni";

/// What to make.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Versions {
    /// The kubelet.
    pub kubelet: Release,
    /// flanneld.
    pub flanneld: Release,
    /// The version that the archive of Debian's plugins is given.
    pub cni_plugins: String,
    /// The version of flannel's plugin.
    pub flannel_cni: String,
}

impl Default for Versions {
    fn default() -> Self {
        let good = |version: &str| Release { version: version.to_owned(), behaviour: Behaviour::Good };
        Self {
            kubelet: good("1.36.4"),
            flanneld: good("0.28.9"),
            cni_plugins: "1.9.1".to_owned(),
            flannel_cni: "1.9.1-flannel1".to_owned(),
        }
    }
}

/// One file that was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Made {
    /// Its version.
    pub version: String,
    /// Its path below the directory, as it is on the project's server.
    pub path: String,
    /// The same with `{version}` and `{arch}` in it.
    pub template: String,
    /// Its SHA-256.
    pub digest: Digest,
}

/// Makes one file for each component, in the layout of the projects' servers, of this executable and the CNI plugins in a
/// directory. Files that are there are replaced.
pub fn make_artifacts(
    directory: &Path,
    executable: &Path,
    plugins: &Path,
    versions: &Versions,
) -> Result<BTreeMap<Component, Made>, FileError> {
    let architecture = Architecture::from_machine(std::env::consts::ARCH).unwrap_or(Architecture::Amd64);
    let mut made = BTreeMap::new();
    for component in Component::ALL {
        let (version, template) = match component {
            Component::Kubelet => (&versions.kubelet.version, "kubelet/v{version}/bin/linux/{arch}/kubelet"),
            Component::Flanneld => (&versions.flanneld.version, "flannel/v{version}/flanneld-{arch}"),
            Component::CniPlugins => (&versions.cni_plugins, "plugins/v{version}/cni-plugins-linux-{arch}-v{version}.tgz"),
            Component::FlannelCni => {
                (&versions.flannel_cni, "cni-plugin/v{version}/cni-plugin-flannel-linux-{arch}-v{version}.tgz")
            }
        };
        let path = template.replace("{version}", version).replace("{arch}", &architecture.to_string());
        let file = directory.join(&path);
        write_artifact(component, &file, (executable, plugins), versions, architecture)?;
        let digest = files::digest(&file)?;
        made.insert(component, Made { version: version.clone(), path, template: template.to_owned(), digest });
    }
    Ok(made)
}

fn write_artifact(
    component: Component,
    path: &Path,
    (executable, plugins): (&Path, &Path),
    versions: &Versions,
    architecture: Architecture,
) -> Result<(), FileError> {
    if let Some(parent) = path.parent() {
        files::create_directory(parent, 0o755)?;
    }
    files::if_present(files::remove_file(path))?;
    let mut file = files::create_new(path, 0o644)?;
    let written = match component {
        Component::Kubelet => write_executable(&mut file, executable, &versions.kubelet),
        Component::Flanneld => write_executable(&mut file, executable, &versions.flanneld),
        Component::CniPlugins => {
            let names = ["bridge", "host-local", "loopback", "portmap", "bandwidth"];
            write_archive(file, names.map(|name| (name.to_owned(), plugins.join(name))))
        }
        Component::FlannelCni => write_archive(file, [(format!("flannel-{architecture}"), executable.to_owned())]),
    };
    written.map_err(FileError::doing("making", path))
}

fn write_executable(file: &mut std::fs::File, executable: &Path, release: &Release) -> io::Result<()> {
    io::copy(&mut files::open(executable).map_err(io::Error::other)?, file)?;
    file.write_all(release.trailer().as_bytes())
}

/// At the fastest level: it is unpacked once. With a fixed time, so that the same content has the same digest.
fn write_archive(file: std::fs::File, members: impl IntoIterator<Item = (String, PathBuf)>) -> io::Result<()> {
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::fast()));
    for (name, path) in members {
        let content = files::open(&path).map_err(io::Error::other)?;
        let mut header = tar::Header::new_gnu();
        header.set_size(content.metadata()?.len());
        header.set_mode(0o755);
        header.set_mtime(0);
        archive.append_data(&mut header, name, content)?;
    }
    archive.into_inner()?.finish()?.flush()
}
