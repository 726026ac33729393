//! Bounds, words and names, field by field.

/// Whole numbers and their bounds, both included.
pub(super) const RANGES: [(&str, i64, i64); 22] = [
    ("containerLogMaxFiles", 2, i32::MAX as i64),
    ("containerLogMaxWorkers", 1, i32::MAX as i64),
    ("eventBurst", 0, i32::MAX as i64),
    ("eventRecordQPS", 0, i32::MAX as i64),
    // 0 would turn it off, and the health gate needs it.
    ("healthzPort", 1, 65535),
    ("imageGCHighThresholdPercent", 0, 100),
    ("imageGCLowThresholdPercent", 0, 100),
    ("iptablesDropBit", 0, 31),
    ("iptablesMasqueradeBit", 0, 31),
    ("kubeAPIBurst", 0, i32::MAX as i64),
    ("kubeAPIQPS", 0, i32::MAX as i64),
    ("maxOpenFiles", 0, i64::MAX),
    ("maxParallelImagePulls", 1, i32::MAX as i64),
    ("maxPods", 0, i32::MAX as i64),
    ("nodeLeaseDurationSeconds", 1, i32::MAX as i64),
    ("nodeStatusMaxImages", -1, i32::MAX as i64),
    ("oomScoreAdj", -1000, 1000),
    ("podsPerCore", 0, i32::MAX as i64),
    ("port", 1, 65535),
    ("readOnlyPort", 0, 65535),
    ("registryBurst", 0, i32::MAX as i64),
    ("registryPullQPS", 0, i32::MAX as i64),
];

/// Words of fixed lists.
pub(super) const WORDS: [(&str, &str, &[&str]); 13] = [
    ("authorization.mode", "a mode of authorization", &["Webhook", "AlwaysAllow"]),
    ("cgroupDriver", "a cgroup driver", &["systemd", "cgroupfs"]),
    ("configMapAndSecretChangeDetectionStrategy", "a strategy", &["Watch", "Cache", "Get"]),
    ("cpuManagerPolicy", "a policy of the CPU manager", &["none", "static"]),
    ("hairpinMode", "a hairpin mode", &["promiscuous-bridge", "hairpin-veth", "none"]),
    (
        "imagePullCredentialsVerificationPolicy",
        "a policy",
        &["NeverVerify", "NeverVerifyPreloadedImages", "NeverVerifyAllowlistedImages", "AlwaysVerify"],
    ),
    ("logging.format", "a format of the log", &["text", "json"]),
    ("memoryManagerPolicy", "a policy of the memory manager", &["None", "Static"]),
    ("memoryReservationPolicy", "a policy", &["None", "TieredReservation"]),
    ("memorySwap.swapBehavior", "a swap behaviour", &["NoSwap", "LimitedSwap"]),
    ("tlsMinVersion", "a version of TLS", &["VersionTLS10", "VersionTLS11", "VersionTLS12", "VersionTLS13"]),
    ("topologyManagerPolicy", "a policy of the topology manager", &["none", "best-effort", "restricted", "single-numa-node"]),
    ("topologyManagerScope", "a scope of the topology manager", &["container", "pod"]),
];

pub(super) const SIGNALS: [&str; 8] = [
    "memory.available",
    "nodefs.available",
    "nodefs.inodesFree",
    "imagefs.available",
    "imagefs.inodesFree",
    "containerfs.available",
    "containerfs.inodesFree",
    "pid.available",
];

pub(super) const RESERVABLE: [&str; 4] = ["cpu", "memory", "ephemeral-storage", "pid"];
