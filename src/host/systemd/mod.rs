//! systemd over D-Bus, never through systemctl.
//!
//! Promise: an action has happened when it returns `Ok(Ok(()))`: its job ended as `done`. A unit that could not be
//! started is a finding with the reason; only what could not be found out is an error. Gap: a future that is dropped
//! leaves its job to systemd.

mod bus;
mod job;
mod private;
mod sandboxing;
mod state;

use std::{io, path::Path, time::Duration};

use tokio::time::timeout;
use zbus::{Connection, connection::Builder, fdo::PropertiesProxy, names::InterfaceName};

use crate::model::UnitName;

use bus::{ManagerProxy, Properties, SERVICE};
pub use job::{JobFailed, JobResult};
pub use sandboxing::{Effect, Sandboxing, waiting};
pub use state::{ActiveState, Exit, LoadState, UnitState};

/// systemd, or an answer of it, could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SystemdError {
    /// There is no way to systemd.
    #[error(
        "reaching systemd: the system bus: {bus}; its private socket: {private}. hostlet needs a host booted with systemd \
         (is /run/systemd/system there?), and root"
    )]
    Unreachable {
        /// Why not over the bus.
        bus: String,
        /// Why not directly.
        private: String,
    },
    /// A call failed.
    #[error("{doing}: {}", explain(source))]
    Call {
        /// What was tried, as a gerund.
        doing: String,
        /// What D-Bus answered.
        source: Box<zbus::Error>,
    },
    /// A property that every systemd has was not there, or was of another type.
    #[error("reading {property} of {unit}: systemd did not tell it")]
    Property {
        /// Whose.
        unit: String,
        /// Which.
        property: &'static str,
    },
    /// A file of a unit could not be read.
    #[error(transparent)]
    File(#[from] crate::host::files::FileError),
}

impl SystemdError {
    fn doing(doing: impl Into<String>) -> impl FnOnce(zbus::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Call { doing, source: Box::new(source) }
    }
}

/// The text of an error that systemd sent, without the rest.
fn explain(error: &zbus::Error) -> String {
    match error {
        zbus::Error::MethodError(_, Some(text), _) => text.clone(),
        other => other.to_string(),
    }
}

/// What enabling or disabling did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitFileChange {
    /// `symlink` or `unlink`.
    pub kind: String,
    /// The link.
    pub path: String,
    /// What it points to.
    pub target: String,
}

/// A connection to systemd. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Systemd {
    connection: Connection,
}

/// A call may take this long: Reload runs generators and reads every unit.
const CALL: Duration = Duration::from_secs(90);
/// Connecting and a first answer.
const CONNECT: Duration = Duration::from_secs(5);
/// systemd's own socket, for root.
const PRIVATE: &str = "/run/systemd/private";

impl Systemd {
    /// Connects over the system bus, or, when that is down, to systemd itself.
    pub async fn connect() -> Result<Self, SystemdError> {
        let bus = match Self::dial(Builder::system()).await {
            Ok(systemd) => return Ok(systemd),
            Err(reason) => reason,
        };
        if !Path::new(PRIVATE).exists() {
            let private = io::Error::from(io::ErrorKind::NotFound).to_string();
            return Err(SystemdError::Unreachable { bus, private });
        }
        Self::connect_privately().await.map_err(|private| SystemdError::Unreachable { bus, private })
    }

    /// Connects to systemd itself, or, where that does not answer, over the system bus. At boot the bus may be waiting for
    /// who waits for us.
    pub async fn connect_at_boot() -> Result<Self, SystemdError> {
        let private = match Self::connect_privately().await {
            Ok(systemd) => return Ok(systemd),
            Err(reason) => reason,
        };
        Self::dial(Builder::system()).await.map_err(|bus| SystemdError::Unreachable { bus, private })
    }

    async fn connect_privately() -> Result<Self, String> {
        let relay = private::connect(Path::new(PRIVATE)).await.map_err(|error| error.to_string())?;
        Self::dial(Builder::unix_stream(relay).p2p()).await
    }

    async fn dial(builder: Builder<'_>) -> Result<Self, String> {
        let attempt = async {
            let connection = builder.method_timeout(CALL).build().await?;
            let systemd = Self { connection };
            // A bus may be there without a systemd behind it.
            systemd.manager().await?.version().await.map(|_| systemd)
        };
        match timeout(CONNECT, attempt).await {
            Ok(Ok(systemd)) => Ok(systemd),
            Ok(Err(error)) => Err(explain(&error)),
            Err(_) => Err(format!("no answer within {} s", CONNECT.as_secs())),
        }
    }

    /// Whether this goes to systemd itself, because the system bus is down.
    #[must_use]
    pub fn is_private(&self) -> bool {
        !self.connection.is_bus()
    }

    /// systemd's version: `252.39-1~deb12u2`.
    pub async fn version(&self) -> Result<String, SystemdError> {
        let doing = SystemdError::doing("asking for systemd's version");
        async { self.manager().await?.version().await }.await.map_err(doing)
    }

    /// Reads all unit files again.
    pub async fn reload(&self) -> Result<(), SystemdError> {
        async { self.manager().await?.reload().await }.await.map_err(SystemdError::doing("reloading systemd"))
    }

    /// Enables units, and tells what that did.
    pub async fn enable(&self, units: &[UnitName]) -> Result<Vec<UnitFileChange>, SystemdError> {
        let names = units.iter().map(UnitName::as_str).collect::<Vec<_>>();
        let doing = SystemdError::doing(format!("enabling {}", names.join(", ")));
        let (_, changes) =
            async { self.manager().await?.enable_unit_files(&names, false, false).await }.await.map_err(doing)?;
        self.look_again(&changes).await?;
        Ok(changes.into_iter().map(UnitFileChange::from).collect())
    }

    /// systemd tells whether a loaded unit is enabled as it was when it read the unit.
    async fn look_again<T>(&self, changes: &[T]) -> Result<(), SystemdError> {
        if changes.is_empty() { Ok(()) } else { self.reload().await }
    }

    /// Disables units, and tells what that did. One without a unit file is disabled: remove files after this, not before,
    /// or links to them stay.
    pub async fn disable(&self, units: &[UnitName]) -> Result<Vec<UnitFileChange>, SystemdError> {
        let mut all = Vec::new();
        for unit in units {
            match async { self.manager().await?.disable_unit_files(&[unit.as_str()], false).await }.await {
                Ok(changes) => all.extend(changes.into_iter().map(UnitFileChange::from)),
                Err(error) if bus::is_named(&error, "NoSuchUnit") => {}
                Err(error) => return Err(SystemdError::doing(format!("disabling {unit}"))(error)),
            }
        }
        self.look_again(&all).await?;
        Ok(all)
    }

    /// Starts a unit and waits until its job has ended. One that runs already is left alone, with its old configuration.
    pub async fn start(&self, unit: &UnitName, deadline: Duration) -> Result<Result<(), JobFailed>, SystemdError> {
        job::run(self, job::Action::Start, unit, deadline).await
    }

    /// Restarts (or starts) a unit and waits until its job has ended.
    pub async fn restart(&self, unit: &UnitName, deadline: Duration) -> Result<Result<(), JobFailed>, SystemdError> {
        job::run(self, job::Action::Restart, unit, deadline).await
    }

    /// Asks systemd to restart (or start) a unit when its turn comes, and does not wait: at boot its turn may come after ours. What that
    /// comes to is not told.
    pub async fn queue_restart(&self, unit: &UnitName) -> Result<(), SystemdError> {
        let doing = SystemdError::doing(format!("having {unit} started"));
        async { self.manager().await?.restart_unit(unit.as_str(), "replace").await }.await.map(drop).map_err(doing)
    }

    /// Stops a unit and waits until its job has ended. One that is not loaded is stopped.
    pub async fn stop(&self, unit: &UnitName, deadline: Duration) -> Result<Result<(), JobFailed>, SystemdError> {
        job::run(self, job::Action::Stop, unit, deadline).await
    }

    /// Forgets that a unit failed, and how often it was restarted. One that is not loaded has not failed.
    pub async fn reset_failed(&self, unit: &UnitName) -> Result<(), SystemdError> {
        match async { self.manager().await?.reset_failed_unit(unit.as_str()).await }.await {
            Err(error) if bus::is_named(&error, "NoSuchUnit") => Ok(()),
            other => other.map_err(SystemdError::doing(format!("resetting the failure of {unit}"))),
        }
    }

    /// The state of a unit; it is loaded for that.
    pub async fn unit(&self, unit: &UnitName) -> Result<UnitState, SystemdError> {
        let doing = SystemdError::doing(format!("asking for the state of {unit}"));
        let (general, specific) = self.properties(unit).await.map_err(doing)?;
        UnitState::from_properties(unit, general, specific)
    }

    /// The options in effect that keep a unit's mounts from the host, or take its right to mount; each with the file that
    /// sets it, where one does. For the kubelet and the container runtime: there should be none.
    pub async fn sandboxing(&self, unit: &UnitName) -> Result<Vec<Sandboxing>, SystemdError> {
        let doing = SystemdError::doing(format!("asking for the options of {unit}"));
        let (general, specific) = self.properties(unit).await.map_err(doing)?;
        let state = UnitState::from_properties(unit, general, specific.clone())?;
        sandboxing::find(&state, &specific)
    }

    /// The variables that a unit's processes are started with, as far as unit files and systemd itself set them: those of an
    /// `EnvironmentFile=` are read when the unit starts.
    pub async fn environment(&self, unit: &UnitName) -> Result<Vec<String>, SystemdError> {
        let doing = || SystemdError::doing(format!("asking for the environment of {unit}"));
        let own = async { self.manager().await?.environment().await }.await.map_err(doing())?;
        let (_, mut specific) = self.properties(unit).await.map_err(doing())?;
        let set = specific.remove("Environment").and_then(|list| Vec::<String>::try_from(list).ok()).unwrap_or_default();
        Ok(own.into_iter().chain(set).collect())
    }

    async fn manager(&self) -> zbus::Result<ManagerProxy<'_>> {
        ManagerProxy::builder(&self.connection).cache_properties(zbus::proxy::CacheProperties::No).build().await
    }

    /// The properties of a unit: those of every unit, and those of its type.
    async fn properties(&self, unit: &UnitName) -> zbus::Result<(Properties, Properties)> {
        let path = self.manager().await?.load_unit(unit.as_str()).await?;
        let proxy = PropertiesProxy::builder(&self.connection).destination(SERVICE).path(path).build().await?;
        let general = proxy.get_all(InterfaceName::from_static_str("org.freedesktop.systemd1.Unit")?).await?;
        let specific = match bus::interface_of(unit) {
            Some(interface) => proxy.get_all(InterfaceName::from_static_str(interface)?).await?,
            None => Properties::new(),
        };
        Ok((general, specific))
    }
}

impl From<(String, String, String)> for UnitFileChange {
    fn from((kind, path, target): (String, String, String)) -> Self {
        Self { kind, path, target }
    }
}
