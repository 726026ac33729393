//! A machine before its first boot: the package is in its image, cloud-init has user-data, and a mirror of the stand-ins runs on
//! it that plays the API server, too.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use hostlet::{
    model::Component,
    rehearse::{Layer, Machine, MachineOptions},
    standin::{FLANNEL_TOKEN, Made, Versions, make_artifacts},
};

const MIRROR: &str = "https://127.0.0.1:8443";
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/cloud-init");
const CNI_PLUGINS: [&str; 5] = ["bridge", "host-local", "loopback", "portmap", "bandwidth"];

/// What will be copied over the machine's root.
pub(crate) struct Image {
    directory: tempfile::TempDir,
    pub(crate) made: BTreeMap<Component, Made>,
}

impl Image {
    /// Of a container: with the package's files, the mirror, and a link with a default route.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        let root = directory.path();
        unpack(&package("deb"), root);
        let plugins = tempfile::tempdir().unwrap();
        for name in CNI_PLUGINS {
            fs::copy("/bin/true", plugins.path().join(name)).unwrap();
        }
        let program = root.join("usr/bin/hostlet");
        let image = Self::with_mirror(
            directory,
            &program,
            plugins.path(),
            "[kubelet]\nstable-window = 1\nhealth-timeout = 60\nconfig = { failCgroupV1 = false, failSwapOn = false }\n",
        );
        image.write(
            "etc/tmpfiles.d/rehearsal.conf",
            "f /run/hostlet-rehearsal 0644 root root - A machine made for tests.\nf /run/console 0600\n",
        );
        image.write(
            "etc/cloud/cloud.cfg.d/99-test.cfg",
            "network: {config: disabled}\nlocale: false\ndatasource_list: [NoCloud, None]\n",
        );
        image.write("usr/local/sbin/node-network", NETWORK);
        image.executable("usr/local/sbin/node-network");
        image.unit("node-network.service", &unit("network-pre.target", "oneshot", "/usr/local/sbin/node-network"));
        // What waits for ten minutes would end as a test that ran out of time and cannot tell why. A container has no console.
        let soon =
            "[Service]\nExecStart=\nExecStart=/usr/bin/hostlet install --wait 20s\nEnvironment=HOSTLET_CONSOLE=/run/console\n";
        image.write("etc/systemd/system/hostlet.service.d/10-soon.conf", soon);
        image
    }

    /// Of a computer, where the package is still to be installed. Its processor is emulated: what plays the projects' programs
    /// is small, and may take its time.
    pub(crate) fn of_a_computer(program: &Path, plugins: &Path) -> Self {
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        Self::with_mirror(directory, program, plugins, "[kubelet]\nstable-window = 1\nhealth-timeout = 120\n")
    }

    /// `settings` are what the examples leave to the machine; what no test has, the projects' own files, is added.
    fn with_mirror(directory: tempfile::TempDir, program: &Path, plugins: &Path, settings: &str) -> Self {
        let mirror = directory.path().join("srv/mirror");
        let made = make_artifacts(&mirror, program, plugins, &Versions::default()).unwrap();
        fs::write(mirror.join("version"), r#"{"major":"1","minor":"36","gitVersion":"v1.36.4"}"#).unwrap();
        let mut settings = format!("{settings}[flannel]\nversion = \"0.28.9\"\n[sources]\nca-file = \"/srv/mirror-ca.crt\"\n");
        for (component, made) in &made {
            let _ = write!(settings, "[sources.{component}]\ndigest = \"{}\"\n", made.digest);
        }
        let image = Self { directory, made };
        let serve =
            "/usr/bin/hostlet stand-in mirror --directory /srv/mirror --listen 127.0.0.1:8443 --ca-out /srv/mirror-ca.crt";
        image.unit("mirror.service", &unit("network-online.target", "notify", serve));
        image.write("etc/hostlet/hostlet.d/90-test.toml", &settings);
        image
    }

    /// One of the examples as user-data, with what its first lines say that the image brings.
    pub(crate) fn with_example(&self, name: &str) -> &Self {
        let text = example(name);
        match name {
            "mirror" => {
                self.offer_as_the_mirror_of_the_example();
                let text = text.replace("https://mirror.example", MIRROR);
                return self.user_data(&text.replace("/etc/hostlet/mirror-ca.crt\"", "/srv/mirror-ca.crt\""));
            }
            "air-gapped" => {
                let digest = self.bring_a_bundle();
                return self.user_data(&text.replace(&"0".repeat(64), &digest));
            }
            "secrets-from-a-file" => {
                let secrets = format!(
                    "d /run/secrets/hostlet 0700 root root -\n\
                    f /run/secrets/hostlet/bootstrap-token 0600 root root - abcdef.0123456789abcdef\n\
                    f /run/secrets/hostlet/flannel-token 0600 root root - {FLANNEL_TOKEN}\n"
                );
                self.write("etc/tmpfiles.d/secrets.conf", &secrets);
            }
            _ => {}
        }
        self.fetching_from_the_mirror().user_data(&text)
    }

    /// The mirror has the files where the example's template says.
    fn offer_as_the_mirror_of_the_example(&self) {
        for (component, file) in [
            (Component::Kubelet, "kubelet"),
            (Component::Flanneld, "flanneld-amd64"),
            (Component::CniPlugins, "cni-plugins-linux-amd64-v1.9.1.tgz"),
            (Component::FlannelCni, "cni-plugin-flannel-linux-amd64-v1.9.1.tgz"),
        ] {
            let made = &self.made[&component];
            let mirror = self.root().join("srv/mirror");
            let directory = mirror.join(format!("{component}/v{}/amd64", made.version));
            fs::create_dir_all(&directory).unwrap();
            fs::hard_link(mirror.join(&made.path), directory.join(file)).unwrap();
        }
    }

    /// `hostlet bundle create` where the files are, which are nowhere else from then on; gives what the bundle is pinned by.
    fn bring_a_bundle(&self) -> String {
        let mut text = "[flannel]\nenabled = true\nversion = \"0.28.9\"\ndatastore = \"etcd\"\netcd.endpoints = [\"https://10.0.0.1:2379\"]\n[node]\nip = \"10.0.0.2\"\n".to_owned();
        for (component, made) in &self.made {
            let path = self.root().join("srv/mirror").join(&made.path);
            let _ = write!(
                text,
                "[sources.{component}]\nurl = \"{}\"\ndigest = \"{}\"\nsignature = \"off\"\n",
                path.display(),
                made.digest
            );
        }
        let directory = tempfile::tempdir().unwrap();
        let configuration = directory.path().join("hostlet.toml");
        fs::write(&configuration, text).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_hostlet"))
            .args(["bundle", "create", "--output", "json", "--config"])
            .arg(&configuration)
            .arg("--cache")
            .arg(directory.path().join("cache"))
            .arg("-o")
            .arg(self.root().join("srv/node.bundle"))
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
        self.without_files_on_the_mirror();
        let result: serde_json::Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
        result["manifest-digest"].as_str().unwrap().to_owned()
    }

    /// What plays the API server stays.
    pub(crate) fn without_files_on_the_mirror(&self) {
        let entries = fs::read_dir(self.root().join("srv/mirror")).unwrap().map(|entry| entry.unwrap());
        for entry in entries.filter(|entry| entry.file_name() != "version") {
            fs::remove_dir_all(entry.path()).unwrap();
        }
    }

    /// That each artifact comes from the mirror's own place of it, whatever else is said.
    pub(crate) fn fetching_from_the_mirror(&self) -> &Self {
        let urls = self.made.iter().map(|(component, made)| format!("{component}.url = \"{MIRROR}/{}\"\n", made.template));
        self.write("etc/hostlet/hostlet.d/95-mirror.toml", &format!("[sources]\n{}", urls.collect::<String>()))
    }

    pub(crate) fn root(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn write(&self, path: &str, content: &str) -> &Self {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    fn executable(&self, path: &str) {
        fs::set_permissions(self.root().join(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A unit that is enabled.
    pub(crate) fn unit(&self, name: &str, content: &str) -> &Self {
        self.write(&format!("etc/systemd/system/{name}"), content);
        self.enable(name, &format!("/etc/systemd/system/{name}"))
    }

    pub(crate) fn enable(&self, name: &str, path: &str) -> &Self {
        let wants = self.root().join("etc/systemd/system/multi-user.target.wants");
        fs::create_dir_all(&wants).unwrap();
        symlink(path, wants.join(name)).unwrap();
        self
    }

    /// What a metadata service would give out.
    pub(crate) fn user_data(&self, text: &str) -> &Self {
        self.write("var/lib/cloud/seed/nocloud/meta-data", "instance-id: i-0123456789\nlocal-hostname: node-07\n");
        self.write("var/lib/cloud/seed/nocloud/user-data", text)
    }

    /// Boots it; cloud-init has come to its end by then.
    pub(crate) async fn boot(&self) -> Machine {
        let layer = Layer::prepare(&["cloud-init"]).await.unwrap_or_else(|error| panic!("{error}"));
        let options = MachineOptions { seed: Some(self.root()), without_network: true };
        Machine::boot(&layer, options).await.unwrap_or_else(|error| panic!("{error}"))
    }
}

/// An example of the package's, with a test's addresses, authorities and tokens.
pub(crate) fn example(name: &str) -> String {
    let text = fs::read_to_string(Path::new(EXAMPLES).join(format!("{name}.yaml"))).unwrap();
    let zeros = "0".repeat(64);
    text.replace("https://10.0.1.1:6443", MIRROR)
        .replace(&format!("ca-hash = \"sha256:{zeros}\""), "ca-file = \"/srv/mirror-ca.crt\"")
        .replace("ca-file = \"/etc/hostlet/ca.crt\"", "ca-file = \"/srv/mirror-ca.crt\"")
        .replace("the token of flannel's ServiceAccount", FLANNEL_TOKEN)
}

/// A package of the program under test: built now, unless another test did from the same program.
pub(crate) fn package(format: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format);
    fs::create_dir_all(&directory).unwrap();
    let lock = fs::File::create(directory.join("lock")).unwrap();
    lock.lock().unwrap();
    let built_from = directory.join("built-from");
    let program = fs::metadata(env!("CARGO_BIN_EXE_hostlet")).unwrap();
    let stamp = format!("{:?} {}", program.modified().unwrap(), program.len());
    if fs::read_to_string(&built_from).is_ok_and(|built| built == stamp) {
        return found(&directory, format);
    }
    let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/build"))
        .args(["--profile", "dev", "--format", format])
        .arg(&directory)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::write(built_from, stamp).unwrap();
    found(&directory, format)
}

fn found(directory: &Path, format: &str) -> PathBuf {
    let end = format!(".{format}");
    let mut paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths.find(|path| path.to_string_lossy().ends_with(&end)).unwrap()
}

fn unpack(deb: &Path, root: &Path) {
    let status = Command::new("dpkg-deb").arg("--extract").arg(deb).arg(root).status().unwrap();
    assert!(status.success(), "{status}");
    // Where units are is a link on a machine, which a copy over it must not replace.
    let unit = "lib/systemd/system/hostlet.service";
    let merged = root.join("usr").join(unit);
    fs::create_dir_all(merged.parent().unwrap()).unwrap();
    fs::rename(root.join(unit), merged).unwrap();
    fs::remove_dir_all(root.join("lib")).unwrap();
}

fn unit(before: &str, kind: &str, start: &str) -> String {
    format!(
        "[Unit]\nDefaultDependencies=no\nAfter=systemd-tmpfiles-setup.service\nBefore={before} cloud-init.service\nWants={before}\n\
         [Service]\nType={kind}\nRemainAfterExit={}\nExecStart={start}\n",
        if kind == "oneshot" { "yes" } else { "no" }
    )
}

/// As on a machine of `Machine::boot`, from the start: cloud-init begins before that could be made from outside.
const NETWORK: &str = "#!/bin/bash
set -eu
ip netns add gateway
ip link add node0 type veth peer name node0 netns gateway
ip -netns gateway link set lo up
ip -netns gateway address add 10.77.0.1/24 dev node0
ip -netns gateway link set node0 up
ip link set lo up
ip address add 10.77.0.2/24 dev node0
ip link set node0 up
ip route add default via 10.77.0.1
until ip link show node0 | grep --quiet 'state UP'; do sleep 0.02; done
";
