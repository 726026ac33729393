//! The power goes, and the disk loses what it was not asked to flush: hostlet's directories lie on a disk that logs every write
//! and every flush of an upgrade (dm-log-writes), and are then put back to what they were at one flush after another, once with
//! nothing more and once with every second write that came after it.
//!
//! Gap: of some 100 flushes a sample is tried, evenly spread. Only what lies in /opt/hostlet, /var/lib/hostlet and /etc/hostlet
//! is put back: an upgrade writes nothing else that must last, but an installation does. The machine is not booted for each;
//! systemd starts the recovery and the units as at a boot.

use hostlet::rehearse::Scene as _;

use crate::{
    machine::HOSTLET,
    vm::{Disk, NEW, Node, OLD, log_writes::Log},
};

/// Shell functions: hostlet's directories on a disk, and off it.
const MOUNTS: &str = "
    directories='opt/hostlet var/lib/hostlet etc/hostlet'
    mount_on() {
        mount $1 /mnt
        for directory in $directories; do
            mkdir --parents /mnt/$directory /$directory
            mount --bind /mnt/$directory /$directory
        done
    }
    unmount() { for directory in $directories; do umount /$directory; done; umount /mnt; }
    disk=/dev/disk/by-id/virtio";
const LOG_WRITES: &str = "
    modprobe dm-log-writes
    dmsetup create logged --table \"0 $(blockdev --getsz $disk-data) log-writes $disk-data $disk-log\"
    mkfs.ext4 -q -E nodiscard,lazy_itable_init=0,lazy_journal_init=0 /dev/mapper/logged
    mount_on /dev/mapper/logged";
/// Of some hundred flushes; more with `HOSTLET_FLUSHES`.
const TRIED: usize = 4;
const MEBIBYTE: u64 = 1 << 20;

#[tokio::test]
async fn vm_whatever_a_disk_loses_in_an_upgrade_the_old_or_the_new_generation_is_whole() {
    let disks = [("data", 512), ("log", 2048), ("replayed", 512)].map(|(name, size)| Disk::new(name, size * MEBIBYTE));
    let node = Node::install(disks.into(), &format!("{MOUNTS}{LOG_WRITES}")).await;
    let machine = &node.machine;
    machine.script("dmsetup message logged 0 mark before").await.unwrap();
    node.upgrade().await;
    machine.script("dmsetup message logged 0 mark after; systemctl stop kubelet flanneld").await.unwrap();
    machine.script(&format!("{MOUNTS}\nunmount; dmsetup remove logged; blockdev --flushbufs $disk-log")).await.unwrap();

    let log = Log::read(machine.disk("log"));
    let flushes = log.flushes("before".."after");
    let tries = std::env::var("HOSTLET_FLUSHES").map_or(TRIED, |flushes| flushes.parse().expect("HOSTLET_FLUSHES is a number"));
    assert!(flushes.len() >= tries, "an upgrade flushes all the time: {flushes:?}");
    println!("{} flushes", flushes.len());
    let mut versions = Vec::new();
    for tried in 0..tries {
        let at = tried * (flushes.len() - 1) / (tries - 1);
        log.replay(flushes[at], machine.disk("replayed"));
        let more = if tried % 2 == 1 { log.replay_some_of_the_rest(flushes[at], machine.disk("replayed")) } else { 0 };
        let when = format!("flush {at} and {more} writes after it");
        versions.push(comes_up(&node, &when).await);
    }
    println!("{versions:?}");
    assert!(versions.is_sorted(), "what was committed is never lost: {versions:?}");
    assert_eq!((versions.first().map(String::as_str), versions.last().map(String::as_str)), (Some(OLD), Some(NEW)));
}

/// Mounts what the disk holds, has systemd start what it starts at a boot, and says which version came up, healthy and whole.
async fn comes_up(node: &Node, when: &str) -> String {
    let machine = &node.machine;
    let mount = format!("{MOUNTS}\nblockdev --flushbufs $disk-replayed; mount_on $disk-replayed; systemctl daemon-reload");
    machine.script(&mount).await.unwrap();
    let journal = machine.run(&["test", "-e", "/var/lib/hostlet/journal"]).await.status.success();
    let start = machine.run(&["systemctl", "start", "hostlet-recover", "kubelet", "flanneld"]).await;
    let log =
        machine.expect(&["journalctl", "--no-pager", "--lines=30", "--unit=hostlet-recover", "--unit=kubelet"]).await.unwrap();
    assert!(start.status.success(), "{when}: {start}\n{log}");
    let status = machine.run(&[HOSTLET, "status", "--exit-code"]).await;
    assert!(status.status.success(), "{when}: {status}\n{log}");
    assert!(!machine.run(&["test", "-e", "/var/lib/hostlet/journal"]).await.status.success(), "{when}: {log}");
    let version = node.running_version().await;
    // All that belongs together is of the same run: the switch, what is committed, and the version that is remembered.
    let current = machine.expect(&["readlink", "/opt/hostlet/current"]).await.unwrap();
    let state = machine.expect(&["cat", "/var/lib/hostlet/state.json"]).await.unwrap();
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    assert_eq!(current.trim(), format!("generations/{}", state["committed"]), "{when}: {log}");
    let remembered = machine.run(&["test", "-e", "/etc/hostlet/hostlet.d/90-upgrade.toml"]).await.status.success();
    assert_eq!(remembered, version == NEW, "{when}: {log}");
    println!("{when}: {}, {version}", if journal { "a journal" } else { "no journal" });
    machine.script(&format!("{MOUNTS}\nsystemctl stop kubelet flanneld; unmount")).await.unwrap();
    version
}
