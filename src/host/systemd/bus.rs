//! systemd's D-Bus interface: org.freedesktop.systemd1(5), as far as it is used.

use std::collections::HashMap;

use zbus::{OwnedObjectPath, OwnedVariant, proxy};

use crate::model::UnitName;

/// systemd's name on the bus.
pub(super) const SERVICE: &str = "org.freedesktop.systemd1";

/// The properties of an object, as `GetAll` answers them.
pub(super) type Properties = HashMap<String, OwnedVariant>;

#[proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
pub(super) trait Manager {
    fn subscribe(&self) -> zbus::Result<()>;
    fn reload(&self) -> zbus::Result<()>;
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn reset_failed_unit(&self, name: &str) -> zbus::Result<()>;
    fn get_job(&self, id: u32) -> zbus::Result<OwnedObjectPath>;
    fn enable_unit_files(
        &self,
        files: &[&str],
        runtime: bool,
        force: bool,
    ) -> zbus::Result<(bool, Vec<(String, String, String)>)>;
    fn disable_unit_files(&self, files: &[&str], runtime: bool) -> zbus::Result<Vec<(String, String, String)>>;

    #[zbus(property)]
    fn environment(&self) -> zbus::Result<Vec<String>>;
    #[zbus(property)]
    fn version(&self) -> zbus::Result<String>;
}

/// The interface with the properties of a unit's type.
pub(super) fn interface_of(unit: &UnitName) -> Option<&'static str> {
    match unit.as_str().rsplit_once('.')?.1 {
        "service" => Some("org.freedesktop.systemd1.Service"),
        "mount" => Some("org.freedesktop.systemd1.Mount"),
        "socket" => Some("org.freedesktop.systemd1.Socket"),
        _ => None,
    }
}

/// Whether it is systemd's error of that name.
pub(super) fn is_named(error: &zbus::Error, name: &str) -> bool {
    match error {
        zbus::Error::MethodError(found, _, _) => {
            found.as_str().strip_prefix("org.freedesktop.systemd1.").is_some_and(|found| found == name)
        }
        _ => false,
    }
}

/// A property, where it is there and of the type asked for.
pub(super) fn take<T: TryFrom<OwnedVariant>>(properties: &mut Properties, name: &str) -> Option<T> {
    properties.remove(name).and_then(|value| T::try_from(value).ok())
}
