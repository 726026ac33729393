//! Where SELinux is, programs of ours are labelled as the system's are. The kernel's file is made by hand, the labels are real.

use std::{fs, path::Path, sync::Arc};

use hostlet::{
    config::{Site, Sources},
    fetch::{Fetcher, Request, Verified},
    generation,
    host::{files, labels},
    model::{Architecture, Artifact, Component, Digest, DigestOrigin, SignaturePolicy, Version},
    output::Silent,
};
use rustix::fs::{XattrFlags, setxattr};

use crate::ns_preflight_world::{on_a_fresh_host, sh};

/// A kubelet from a file, as a run would have it.
fn verified(content: &[u8]) -> Verified {
    fs::write("/mnt/kubelet", content).unwrap();
    let artifact = Artifact {
        component: Component::Kubelet,
        version: Version::new(1, 36, 4),
        architecture: Architecture::Amd64,
        digest: Digest::of(content),
        origin: DigestOrigin::Configuration,
    };
    let site = Site::of("file:///mnt/kubelet".parse().unwrap());
    let request = Request { artifact, sites: vec![site], signature: SignaturePolicy::Off };
    let fetcher = Fetcher::new(&Sources::default(), "/mnt/cache".into(), Arc::new(Silent)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(fetcher.fetch_all(vec![request])).unwrap().remove(0)
}

/// The type of the label of the kubelet in the store, and of a copy of hostlet's own program.
fn types_of_what_is_made(round: &str) -> [Option<String>; 2] {
    let opt = Path::new("/mnt/opt").join(round);
    let verified = verified(round.as_bytes());
    generation::admit(&opt, &verified).unwrap();
    let kubelet = opt.join("store").join(verified.artifact().store_name()).join("bin/kubelet");
    let hostlet = opt.join("hostlet");
    files::copy_program(Path::new("/bin/true"), &hostlet, 0o755).unwrap();
    [kubelet, hostlet].map(|path| labels::selinux_type(&path).unwrap())
}

#[test]
fn ns_programs_are_labelled_as_the_systems_programs_are_where_selinux_is() {
    on_a_fresh_host(|| {
        sh(
            "mkdir /mnt/up /mnt/work && mount -t overlay -o lowerdir=/usr/bin,upperdir=/mnt/up,workdir=/mnt/work overlay /usr/bin",
        );
        setxattr("/usr/bin", "security.selinux", b"system_u:object_r:bin_t:s0\0", XattrFlags::empty()).unwrap();
        assert_eq!(types_of_what_is_made("without"), [None, None]);
        sh("mount -t tmpfs tmpfs /sys/fs && mkdir /sys/fs/selinux && echo 1 > /sys/fs/selinux/enforce");
        let bin = Some("bin_t".to_owned());
        assert_eq!(types_of_what_is_made("with"), [bin.clone(), bin]);
    });
}
