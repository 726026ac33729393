//! The few messages of the Container Runtime Interface that are needed, by the field numbers of its api.proto
//! (kubernetes/cri-api, pkg/apis/runtime/v1). Unknown fields are skipped, as protobuf asks.

/// `VersionRequest`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct VersionRequest {
    #[prost(string, tag = "1")]
    pub(super) version: String,
}

/// `VersionResponse`
#[allow(clippy::struct_field_names, reason = "the names of api.proto")]
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct VersionResponse {
    #[prost(string, tag = "2")]
    pub(super) runtime_name: String,
    #[prost(string, tag = "3")]
    pub(super) runtime_version: String,
    #[prost(string, tag = "4")]
    pub(super) runtime_api_version: String,
}

/// `StatusRequest`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct StatusRequest {
    #[prost(bool, tag = "1")]
    pub(super) verbose: bool,
}

/// `StatusResponse`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) status: Option<RuntimeStatus>,
    /// What the runtime tells of itself where it is asked to be verbose; the keys are its own.
    #[prost(btree_map = "string, string", tag = "2")]
    pub(super) info: std::collections::BTreeMap<String, String>,
}

/// `RuntimeStatus`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct RuntimeStatus {
    #[prost(message, repeated, tag = "1")]
    pub(super) conditions: Vec<RuntimeCondition>,
}

/// `RuntimeCondition`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct RuntimeCondition {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(bool, tag = "2")]
    pub(super) status: bool,
    #[prost(string, tag = "3")]
    pub(super) reason: String,
    #[prost(string, tag = "4")]
    pub(super) message: String,
}

/// `RuntimeConfigRequest`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct RuntimeConfigRequest {}

/// `RuntimeConfigResponse`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct RuntimeConfigResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) linux: Option<LinuxRuntimeConfiguration>,
}

/// `LinuxRuntimeConfiguration`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct LinuxRuntimeConfiguration {
    /// `CgroupDriver`: 0 systemd, 1 cgroupfs.
    #[prost(int32, tag = "1")]
    pub(super) cgroup_driver: i32,
}
