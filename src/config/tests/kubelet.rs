//! What the kubelet demands of its configuration and its flags, version by version: each rule accepts and refuses.

use super::{accepted, parse};

fn with_version(minor: u32, text: &str) -> String {
    format!("kubelet.version = \"1.{minor}.0\"\nsources.kubelet.digest = \"{}\"\n{text}", "0".repeat(64))
}

/// What is said of a configuration; nothing where it is accepted.
fn said(text: &str) -> String {
    parse(text).err().map_or_else(String::new, |error| error.to_string())
}

/// Rule, a configuration that holds, one that does not, and what is said of that.
const RULES: [(&str, &str, &str); 41] = [
    (
        "imageGCHighThresholdPercent = 90\nimageGCLowThresholdPercent = 85",
        "imageGCHighThresholdPercent = 80",
        "80 is not less than",
    ),
    ("imageGCLowThresholdPercent = 84", "imageGCLowThresholdPercent = 85", "not less than imageGCHighThresholdPercent 85"),
    ("imageGCHighThresholdPercent = 100", "imageGCHighThresholdPercent = 101", "101, and the kubelet takes 0 to 100"),
    ("imageMaximumGCAge = \"168h\"", "imageMaximumGCAge = \"1m\"", "not more than imageMinimumGCAge, which is 120 s"),
    ("imageMinimumGCAge = \"5m\"", "imageMinimumGCAge = \"-5m\"", "imageMinimumGCAge is negative"),
    (
        "maxParallelImagePulls = 5\nserializeImagePulls = false",
        "maxParallelImagePulls = 5\nserializeImagePulls = true",
        "one by one",
    ),
    ("maxParallelImagePulls = 1", "maxParallelImagePulls = 0", "takes 1 or more"),
    (
        "shutdownGracePeriod = \"30s\"\nshutdownGracePeriodCriticalPods = \"10s\"",
        "shutdownGracePeriodCriticalPods = \"10s\"",
        "is a part of shutdownGracePeriod, and is 10 s of 0 s",
    ),
    ("shutdownGracePeriod = \"1s\"", "shutdownGracePeriod = \"500ms\"", "neither 0 nor a second"),
    (
        "shutdownGracePeriodByPodPriority = [{ priority = 0, shutdownGracePeriodSeconds = 10 }]",
        "shutdownGracePeriod = \"9s\"\nshutdownGracePeriodByPodPriority = [{ priority = 0, shutdownGracePeriodSeconds = 9 }]",
        "two ways to say the same",
    ),
    (
        "evictionHard = { \"memory.available\" = \"100Mi\", \"nodefs.available\" = \"10%\", \"pid.available\" = \"5%\" }",
        "evictionHard = { \"memory.avail\" = \"100Mi\" }",
        "did you mean \"memory.available\"?",
    ),
    (
        "evictionHard = { \"nodefs.inodesFree\" = \"5%\" }",
        "evictionHard = { \"nodefs.inodesFree\" = \"105%\" }",
        "\"105%\" is no threshold",
    ),
    (
        "evictionMinimumReclaim = { \"imagefs.available\" = \"2Gi\" }",
        "evictionMinimumReclaim = { \"imagefs.available\" = \"2 GB\" }",
        "is no threshold",
    ),
    (
        "evictionSoft = { \"memory.available\" = \"1Gi\" }\nevictionSoftGracePeriod = { \"memory.available\" = \"1m30s\" }",
        "evictionSoft = { \"memory.available\" = \"1Gi\" }",
        "has no grace period, and the kubelet would exit",
    ),
    (
        "evictionSoftGracePeriod = { \"memory.available\" = \"90s\" }",
        "evictionSoftGracePeriod = { \"memory.available\" = \"90\" }",
        "\"90\" is not a duration",
    ),
    (
        "systemReserved = { cpu = \"500m\", memory = \"1Gi\", ephemeral-storage = \"5Gi\", pid = \"1000\" }",
        "systemReserved = { disk = \"5Gi\" }",
        "a resource that can be reserved",
    ),
    ("kubeReserved = { memory = \"0.5Gi\" }", "kubeReserved = { memory = \"512MB\" }", "\"512MB\" is not a quantity"),
    ("kubeReserved = { cpu = \"0\" }", "kubeReserved = { cpu = \"-1\" }", "\"-1\" is not a quantity"),
    (
        "enforceNodeAllocatable = [\"pods\", \"kube-reserved\"]\nkubeReservedCgroup = \"/kube.slice\"",
        "enforceNodeAllocatable = [\"pods\", \"kube-reserved\"]",
        "there is no kubeReservedCgroup",
    ),
    ("enforceNodeAllocatable = [\"none\"]", "enforceNodeAllocatable = [\"none\", \"pods\"]", "none, and others"),
    ("enforceNodeAllocatable = [\"pods\"]", "enforceNodeAllocatable = [\"pod\"]", "did you mean \"pods\"?"),
    (
        "enforceNodeAllocatable = []\ncgroupsPerQOS = false",
        "enforceNodeAllocatable = [\"pods\"]\ncgroupsPerQOS = false",
        "which is false",
    ),
    (
        "failSwapOn = false\nmemorySwap.swapBehavior = \"LimitedSwap\"",
        "memorySwap.swapBehavior = \"LimitedSwap\"",
        "set failSwapOn = false",
    ),
    ("memorySwap.swapBehavior = \"NoSwap\"", "memorySwap.swapBehavior = \"UnlimitedSwap\"", "NoSwap or LimitedSwap"),
    ("staticPodPath = \"/etc/static\"", "staticPodPath = \"manifests\"", "not an absolute path"),
    ("podLogsDir = \"/data/logs\"", "podLogsDir = \"/data//logs\"", "canonical"),
    ("systemCgroups = \"/system\"\ncgroupRoot = \"/\"", "systemCgroups = \"/system\"", "needs cgroupRoot"),
    ("reservedSystemCPUs = \"0-1\"", "reservedSystemCPUs = \"0-1\"\nsystemReservedCgroup = \"/system\"", "cannot be used with"),
    ("memoryThrottlingFactor = 0.9", "memoryThrottlingFactor = 1.5", "at most 1"),
    ("containerLogMonitorInterval = \"3s\"", "containerLogMonitorInterval = \"2s\"", "at least 3s"),
    ("containerLogMaxFiles = 2", "containerLogMaxFiles = 1", "takes 2 or more"),
    (
        "crashLoopBackOff.maxContainerRestartPeriod = \"60s\"",
        "crashLoopBackOff.maxContainerRestartPeriod = \"10m\"",
        "1s to 300s",
    ),
    ("cpuCFSQuotaPeriod = \"10ms\"", "cpuCFSQuotaPeriod = \"2s\"", "1ms to 1s"),
    (
        "enableSystemLogQuery = true",
        "enableSystemLogQuery = true\nenableSystemLogHandler = false",
        "needs enableSystemLogHandler",
    ),
    (
        "enforceNodeAllocatable = [\"pods\"]",
        "enforceNodeAllocatable = [\"pods\", \"pods\"]",
        "has pods twice, and the kubelet would exit",
    ),
    (
        "enforceNodeAllocatable = [\"kube-reserved\"]\nkubeReservedCgroup = \"/k\"",
        "enforceNodeAllocatable = [\"kube-reserved\", \"kube-reserved-compressible\"]\nkubeReservedCgroup = \"/k\"",
        "has both kube-reserved and kube-reserved-compressible",
    ),
    (
        "preloadedImagesVerificationAllowlist = [\"r/*\"]\nimagePullCredentialsVerificationPolicy = \"NeverVerifyAllowlistedImages\"",
        "preloadedImagesVerificationAllowlist = [\"r/*\"]",
        "for the policy NeverVerifyAllowlistedImages alone",
    ),
    ("topologyManagerPolicy = \"single-numa-node\"", "topologyManagerPolicy = \"single\"", "a policy of the topology manager"),
    ("port = 10250", "port = 0", "takes 1 to 65535"),
    ("oomScoreAdj = -999", "oomScoreAdj = -1001", "takes -1000 to 1000"),
    ("nodeStatusMaxImages = -1", "nodeStatusMaxImages = -2", "takes -1 or more"),
];

#[test]
fn each_rule_of_the_kubelet_accepts_and_refuses() {
    for (good, bad, says) in RULES {
        assert_eq!(said(&format!("[kubelet.config]\n{good}")), "", "{good}");
        let refused = said(&format!("[kubelet.config]\n{bad}"));
        assert!(refused.contains(says) && refused.contains("hostlet.toml:"), "{bad}\n{refused}");
    }
}

#[test]
fn a_field_or_flag_that_the_version_does_not_have_is_refused_with_the_version_that_added_or_removed_it() {
    let field = |minor, line: &str| said(&with_version(minor, &format!("[kubelet.config]\n{line}")));
    let flag = |minor, flag: &str| said(&with_version(minor, &format!("kubelet.extra-args = [{flag:?}]")));
    for (minor, says) in [(33, "1.36"), (34, "1.36"), (35, "1.36"), (36, ""), (37, "")] {
        let found = field(minor, "tlsCurvePreferences = [23, 29]");
        let expected = format!("kubelet 1.{minor}.0 has no tlsCurvePreferences: it was added in {says}");
        assert!(if says.is_empty() { found.is_empty() } else { found.contains(&expected) }, "1.{minor}: {found}");
        // The API server has a flag for it; a kubelet with the field exits when it is given that.
        let found = flag(minor, "--tls-curve-preferences=23");
        assert!(found.contains("has no --tls-curve-preferences"), "1.{minor}: {found}");
    }
    assert!(field(35, "memoryReservationPolicy = \"None\"").contains("set kubelet.version to 1.36.0 or later"));
    assert!(field(36, "defaultPodSysctls = { \"net.ipv4.tcp_syncookies\" = \"1\" }").contains("it was added in 1.37"));
    for (name, last, instead) in [
        ("--cloud-config=/etc/cloud.conf", 33, "cloud controller manager"),
        ("--register-schedulable=false", 33, "node.kubernetes.io/unschedulable"),
        ("--pod-infra-container-image=pause", 34, "the sandbox image in the container runtime"),
    ] {
        assert_eq!(flag(last, name), "");
        let refused = flag(last + 1, name);
        let expected = format!("it was removed in 1.{}", last + 1);
        assert!(refused.contains(&expected) && refused.contains(instead) && refused.contains("would exit"), "{refused}");
    }
}

#[test]
fn flags_are_known_by_name_and_set_nothing_that_a_field_sets() {
    let flag = |flag: &str| said(&format!("[kubelet]\nextra-args = [{flag:?}]"));
    assert_eq!(flag("--max-pods=64") + &flag("--seccomp-default") + &flag("--v=2") + &flag("--max_open_files=9"), "");
    assert!(flag("--max-pod=64").contains("did you mean --max-pods?"));
    assert!(flag("--max-pods").contains("--max-pods needs a value"));
    assert!(flag("--cloud-provider=external").contains("set node.cloud-provider"));
    let both = said("[kubelet]\nextra-args = [\"--max-pods=64\"]\nconfig.maxPods = 65");
    assert!(both.contains("set the same, and the flag would win") && both.contains("kubelet.config.maxPods"), "{both}");
    // What a kubelet newer than the list has, only it can tell.
    assert_eq!(said(&with_version(38, "kubelet.extra-args = [\"--newly-made=1\"]")), "");
}

#[test]
fn a_cloud_provider_is_external_or_none() {
    assert!(accepted("").node.cloud_provider.is_none());
    assert!(accepted("[node]\ncloud-provider = \"external\"").node.cloud_provider.is_some());
    assert!(said("[node]\ncloud-provider = \"aws\"").contains("external"));
}

#[test]
fn a_feature_gate_that_the_version_does_not_take_is_refused_as_a_field_and_as_a_flag() {
    for (minor, gate, says, help) in [
        (36, "NodeSwapp = true", "kubelet 1.36.0 has no feature gate NodeSwapp, and it would exit", "did you mean NodeSwap?"),
        (37, "SidecarContainers = true", "it was removed in 1.37", "remove SidecarContainers"),
        (36, "DefaultPodSysctls = true", "it was added in 1.37", "set kubelet.version to 1.37.0 or later"),
        (34, "NodeSwap = false", "has NodeSwap locked to true, and it would exit", "can no longer be turned off"),
        (36, "Completely = true", "no feature gate Completely", "kubelet --help"),
        (
            36,
            "PodLevelResources = false",
            "InPlacePodLevelResourcesVerticalScaling is on in kubelet 1.36.0 and needs PodLevelResources, which is off",
            "turn InPlacePodLevelResourcesVerticalScaling off as well",
        ),
    ] {
        let field = said(&with_version(minor, &format!("[kubelet.config]\nfeatureGates.{gate}")));
        assert!(field.contains(says) && field.contains(help) && field.contains("hostlet.toml:4:"), "{gate}: {field}");
        let flag = format!("--feature-gates=NodeLogQuery=true,{}", gate.replace(" = ", "="));
        let flag = said(&with_version(minor, &format!("kubelet.extra-args = [{flag:?}]")));
        assert!(flag.contains(says) && flag.contains(help) && flag.contains("hostlet.toml:3:"), "{gate}: {flag}");
    }
    assert_eq!(said(&with_version(36, "[kubelet.config]\nfeatureGates = { SidecarContainers = true, AllAlpha = false }")), "");
    assert_eq!(said(&with_version(38, "[kubelet.config]\nfeatureGates.NewlyMade = true")), "", "only it can tell");
    assert!(said("[kubelet]\nextra-args = [\"--feature-gates=NodeSwap\"]").contains("is not NAME=true"));
    let both = said("[kubelet]\nextra-args = [\"--feature-gates=NodeSwap=true\"]\nconfig.featureGates.NodeSwap = true");
    assert!(both.contains("set the same, and the flag would win"), "{both}");
}

#[test]
fn a_field_whose_feature_gate_is_off_is_refused_with_the_gate() {
    let said = |minor, text: &str| said(&with_version(minor, &format!("[kubelet.config]\n{text}")));
    let period = "crashLoopBackOff.maxContainerRestartPeriod = \"60s\"";
    for (minor, text, gate) in [
        (34, period, "KubeletCrashLoopBackOffMax"),
        (35, "cpuCFSQuotaPeriod = \"10ms\"", "CustomCPUCFSQuotaPeriod"),
        (35, "enableSystemLogQuery = true", "NodeLogQuery"),
        (36, "memoryReservationPolicy = \"TieredReservation\"", "MemoryQoS"),
        (36, "logging.options.text.splitStream = true", "LoggingAlphaOptions"),
        (36, "logging.options.json.infoBufferSize = \"1Ki\"", "LoggingAlphaOptions"),
        (
            34,
            "shutdownGracePeriod = \"30s\"\nfeatureGates.GracefulNodeShutdown = false\nfeatureGates.GracefulNodeShutdownBasedOnPodPriority = false",
            "GracefulNodeShutdown",
        ),
        (36, "serverTLSBootstrap = true\nfeatureGates.AllBeta = false", "RotateKubeletServerCertificate"),
    ] {
        let found = said(minor, text);
        let expected = format!("needs the feature gate {gate}, which is off in kubelet 1.{minor}.0, and it would exit");
        assert!(found.contains(&expected) && found.contains(&format!("set featureGates.{gate} = true")), "{text}: {found}");
    }
    let nothing = said(37, "defaultPodSysctls = { \"net.ipv4.tcp_syncookies\" = \"1\" }");
    assert!(nothing.contains("DefaultPodSysctls, which is off in kubelet 1.37.0, and the field would do nothing"), "{nothing}");
    for (minor, text) in [
        (34, &*format!("{period}\nfeatureGates.KubeletCrashLoopBackOffMax = true")),
        (34, &*format!("{period}\nfeatureGates.AllAlpha = true")),
        (35, period),
        (35, "cpuCFSQuotaPeriod = \"100ms\""),
        (37, "memoryReservationPolicy = \"TieredReservation\""),
        (37, "defaultPodSysctls = { \"net.ipv4.tcp_syncookies\" = \"1\" }\nfeatureGates.DefaultPodSysctls = true"),
        (36, "logging.options.text.infoBufferSize = \"0\"\nlogging.format = \"json\""),
        (
            34,
            "shutdownGracePeriod = \"0s\"\nfeatureGates.GracefulNodeShutdownBasedOnPodPriority = false\nfeatureGates.GracefulNodeShutdown = false",
        ),
    ] {
        assert_eq!(said(minor, text), "", "1.{minor} {text}");
    }
}
