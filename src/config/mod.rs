//! TOML fragments, merged, and parsed into [`Settings`]. Pure: the text comes from the caller.

mod settings;

pub use settings::{
    Backend, CertificateAuthority, Cluster, Cni, Datastore, EtcdTls, Flannel, FlannelIdentity, Kubelet, Node, Preflight, Role,
    Runtime, Settings, Source, Sources, Taint, UrlTemplate, Waiver,
};
