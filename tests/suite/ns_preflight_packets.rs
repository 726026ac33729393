//! What may happen to packets: filters, tracking, tunnels; set for real in the test's own network namespace.

use std::fs;

use hostlet::{config::Backend, model::Port, preflight::Outcome};

use crate::ns_preflight_world::{ends, fails, on_a_fresh_host, passes, printed, sh, start, subject};

#[test]
fn ns_a_strict_reverse_path_filter_on_flannels_path_is_warned_of() {
    on_a_fresh_host(|| {
        let set =
            |link: &str, value: u8| fs::write(format!("/proc/sys/net/ipv4/conf/{link}/rp_filter"), value.to_string()).unwrap();
        sh("ip link add eth0.7 type bridge");
        for link in ["all", "default", "bridge0", "eth0.7"] {
            set(link, 0);
        }
        passes(subject(), "rp-filter", "not strict on bridge0, default");
        set("bridge0", 1);
        let found = ends(subject(), "rp-filter", &Outcome::Warning, "strict on bridge0:");
        assert!(found.remedy.unwrap().contains("'net.ipv4.conf.bridge0.rp_filter = 2' >/etc/sysctl.d/"));
        set("all", 2);
        passes(subject(), "rp-filter", "not strict on bridge0, default");
        set("all", 1);
        set("bridge0", 2);
        ends(subject(), "rp-filter", &Outcome::Warning, "strict on default:");
        let mut elsewhere = subject();
        elsewhere.settings.flannel.as_mut().unwrap().interface = Some("eth0.7".to_owned());
        ends(elsewhere, "rp-filter", &Outcome::Warning, "strict on eth0.7, default:");
        let mut without = subject();
        without.settings.flannel = None;
        passes(without, "rp-filter", "not needed without flannel");
    });
}

/// The table's size is the whole machine's: what the kernel would say lies over its files.
#[test]
fn ns_a_connection_table_that_is_small_or_full_is_warned_of() {
    on_a_fresh_host(|| {
        let (max, count) = ("/mnt/max", "/mnt/count");
        let say =
            |values: [&str; 2]| [(max, values[0]), (count, values[1])].map(|(file, value)| fs::write(file, value).unwrap());
        say(["262144\n", "17\n"]);
        sh("for f in max count; do mount --bind /mnt/$f /proc/sys/net/netfilter/nf_conntrack_$f; done");
        passes(subject(), "conntrack", "17 of 262144 connections are tracked");
        say(["4096\n", "17\n"]);
        ends(subject(), "conntrack", &Outcome::Warning, "17 of 4096 connections");
        say(["65536\n", "60000\n"]);
        ends(subject(), "conntrack", &Outcome::Warning, "60000 of 65536 connections");
    });
}

/// Hides every iptables that this machine has.
fn hide(name: &str) {
    for place in printed(&format!("which -a {name}")).lines() {
        sh(&format!("mount --bind /dev/null $(readlink -f {place})"));
    }
}

#[test]
fn ns_flannel_needs_its_packet_filters_program() {
    on_a_fresh_host(|| {
        passes(subject(), "iptables-backend", "/usr/local/sbin/iptables");
        let mut dual = subject();
        dual.settings.flannel.as_mut().unwrap().ipv6_network = Some("fd00:10:244::/56".parse().unwrap());
        hide("ip6tables");
        fails(dual, "iptables-backend", "flannel needs ip6tables, which is not on the PATH of services");
        hide("iptables");
        fails(subject(), "iptables-backend", "flannel needs iptables, which is not on the PATH of services");
        let mut nftables = subject();
        nftables.settings.flannel.as_mut().unwrap().nftables = true;
        passes(nftables.clone(), "iptables-backend", "/nft");
        hide("nft");
        assert!(fails(nftables, "iptables-backend", "flannel needs nft").remedy.unwrap().contains("nftables"));
    });
}

#[test]
fn ns_a_firewall_that_decides_over_the_nodes_ports_is_named_with_what_opens_them() {
    on_a_fresh_host(|| {
        sh("rm -rf /etc/ufw");
        passes(subject(), "firewall", "none");
        sh("nft add table inet host; nft add chain inet host input '{ type filter hook input priority 0; policy accept; }'
            nft add chain inet host forward '{ type filter hook forward priority 0; policy drop; }'");
        passes(subject(), "firewall", "none");
        sh("nft add chain inet host input '{ type filter hook input priority 0; policy drop; }'");
        let found = ends(subject(), "firewall", &Outcome::Warning, "chain input of table inet host");
        assert_eq!(found.required, "from the other nodes: 10250/tcp, 10256/tcp, 8472/udp");
        assert!(found.remedy.unwrap().contains("nft add rule inet host input udp dport 8472 accept"));
        sh("nft delete table inet host && mkdir /etc/ufw && echo ENABLED=yes > /etc/ufw/ufw.conf");
        let found = ends(subject(), "firewall", &Outcome::Warning, "ufw is enabled");
        assert_eq!(found.remedy.unwrap(), "ufw allow 10250/tcp\nufw allow 10256/tcp\nufw allow 8472/udp");
        sh("rm -r /etc/ufw && mkdir -p /mnt/bin && cp /bin/sleep /mnt/bin/firewalld");
        let _firewalld = start("/mnt/bin/firewalld", &["30"]);
        let found = ends(subject(), "firewall", &Outcome::Warning, "firewalld (pid ");
        let opening =
            "firewall-cmd --permanent --add-port=10250/tcp --add-port=10256/tcp --add-port=8472/udp && firewall-cmd --reload";
        assert_eq!(found.remedy.unwrap(), opening);
    });
}

#[test]
fn ns_the_udp_backend_needs_a_device_for_tunnels_that_opens() {
    on_a_fresh_host(|| {
        let mut udp = subject();
        udp.settings.flannel.as_mut().unwrap().backend = Backend::Udp { port: Port::known(8285) };
        sh("mount -t tmpfs tmpfs /dev && mkdir /dev/net && mknod /dev/null c 1 3 && mknod /dev/net/tun c 10 200");
        passes(udp.clone(), "modules", "tun");
        sh("rm /dev/net/tun");
        let found = fails(udp, "modules", "opening /dev/net/tun: No such file or directory");
        assert!(found.remedy.unwrap().contains("mknod /dev/net/tun c 10 200"));
        // Who does not use that backend does not need it.
        passes(subject(), "modules", "vxlan");
    });
}
